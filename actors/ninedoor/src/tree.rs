//! The namespace of one door, as a 9P server serves it.
//!
//! Answers for taking each request to whoever serves it: the door's own files through the [`hall`](crate::hall), the
//! files of others through [`forward`](crate::forward); for merging directories that both have a part in; and for
//! every refusal being counted and told.
//!
//! Never holds the hall across an await.

use alloc::rc::Rc;

use ninep::{Attr, DirEntry, DirWriter, Errno, Fid, FileTree, OpenFlags, Qid, QidKind};
use protocol::control::QueenRequest;
use protocol::lifecycle::{self, Gate};
use protocol::refusal::Refusal;
use runtime::fault::{Fault, FaultError};

use crate::attach::NoEntry;
use crate::attr::{MODE_APPEND, own_attr, own_qid};
use crate::audit::{Fail, Verb};
use crate::binds::{BindError, PathBuf, below, join};
use crate::forward::{Behalf, Held, describe};
use crate::hall::Hall;
use crate::listing::{self, Scene};
use crate::place::{self, Kind, Place, SESSION_CTL, identity};
use crate::procfs::House;
use crate::session::{Lease, Who};
use crate::shared::Shared;
use crate::view::{Open, View};

/// The tree that one door serves.
pub(crate) struct Tree {
    shared: Rc<Shared>,
    door: u8,
}

/// A file as a fid names it.
#[derive(Clone)]
pub(crate) struct Node {
    session: Lease,
    /// The path as the session sees it.
    view: PathBuf,
    at: At,
}

#[derive(Clone)]
enum At {
    Own(Place),
    Owner(Held, QidKind),
}

impl Tree {
    /// The tree of one door.
    pub(crate) fn new(shared: Rc<Shared>, door: u8) -> Self {
        Self { shared, door }
    }

    /// Whether the lifecycle lets workers attach; asked of its owner.
    async fn lifecycle_gate(&self, outside_worker: bool) -> Result<(), NoEntry> {
        let no = |refusal| NoEntry::because(refusal, false);
        let path = {
            let hall = self.shared.hall.borrow();
            let path = hall.config.lifecycle.as_deref().filter(|_| outside_worker);
            path.and_then(|path| PathBuf::try_from(path).ok())
        };
        let Some(path) = path else { return Ok(()) };
        let mut text = [0; 64];
        let read = self.shared.forward.peek(&path, "queen", &mut text).await;
        let len = read.map_err(|_| no(Refusal::OwnerDown))?;
        let text = text
            .get(..len)
            .and_then(|text| core::str::from_utf8(text).ok())
            .unwrap_or_default();
        let state = text
            .trim()
            .strip_prefix("state=")
            .and_then(lifecycle::State::from_label);
        match state {
            Some(state) if Gate::WorkerAttach.open_in(state) => Ok(()),
            Some(state) => {
                let (mut hall, now) = (self.shared.hall.borrow_mut(), self.shared.now());
                let gate = Gate::WorkerAttach;
                let line = format_args!("lifecycle denied action={gate} state={state} reason=gate-denied");
                hall.tell_attach(self.door, line, now);
                Err(no(Refusal::LifecycleDenied))
            }
            None => Err(no(Refusal::OwnerDown)),
        }
    }

    async fn enter(&self, uname: &str, aname: &str) -> Result<Node, NoEntry> {
        let session = self
            .shared
            .hall
            .borrow()
            .judge(self.door, uname, aname, self.shared.now())?;
        let outside_worker = session.is_worker() && self.shared.hall.borrow().is_outside(&session);
        self.lifecycle_gate(outside_worker).await?;
        let lease = self.shared.hall.borrow_mut().begin(session, self.shared.now())?;
        let view = PathBuf::try_from("/").unwrap_or_default();
        Ok(Node {
            session: lease,
            view,
            at: At::Own(Place::Root),
        })
    }

    /// What a path of a session stands for, after its ticket was asked whether it may go there. Neither binds nor
    /// scopes keep a session from the file by which it says that it is lost.
    fn real(&self, node: &Node, view: &PathBuf) -> Result<PathBuf, Fail> {
        let hall = self.shared.hall.borrow();
        let slot = node.session.slot();
        if view.as_str() == SESSION_CTL {
            return Ok(view.clone());
        }
        let session = hall.sessions.get(slot).ok_or(Refusal::Unauthenticated)?;
        let real = session.binds.rewrite(view).ok_or(Refusal::InvalidPath)?;
        if below(SESSION_CTL, view).is_none() {
            hall.may_walk(slot, &real)?;
        }
        Ok(real)
    }

    /// Judges a request before its path is looked at; `leaving` if it is about the file by which a session says that
    /// it is lost.
    fn admit(&self, node: &Node, leaving: bool) -> Result<(), Fail> {
        let (mut hall, slot) = (self.shared.hall.borrow_mut(), node.session.slot());
        if leaving {
            hall.may_leave(slot)
        } else {
            hall.admit(slot, self.shared.now())
        }
    }

    /// The door's own place of a path, if it has one.
    fn own(&self, node: &Node, view: &PathBuf, real: &PathBuf) -> Option<Place> {
        let hall = self.shared.hall.borrow();
        let scene = Scene::new(&hall, &*self.shared, node.session.slot());
        if let Some(place) = place::find(real, &scene) {
            return Some(place);
        }
        let session = hall.sessions.get(node.session.slot())?;
        // Something may be mounted, bound or needed further down.
        let above = self.shared.forward.leads_to_mount(real)
            || session.binds.leads_to_target(view)
            || (session.binds.len() > 0 && below(SESSION_CTL, view).is_some());
        above.then_some(Place::Above)
    }

    async fn walk_from(
        &self,
        from: &Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Node>), Fail> {
        let target = names
            .iter()
            .try_fold(from.view.clone(), |view, name| join(&view, name));
        self.admit(from, target.is_some_and(|view| view.as_str() == SESSION_CTL))?;
        let mut node = from.clone();
        let mut done = 0;
        while let Some(name) = names.get(done) {
            let Some(view) = join(&node.view, name) else { break };
            let real = self.real(&node, &view)?;
            let Some(owner) = self.shared.forward.owner(&real) else {
                let Some(place) = self.own(&node, &view, &real) else {
                    break;
                };
                node = Node {
                    view,
                    at: At::Own(place),
                    ..node
                };
                set(qids, done, own_qid(place, &real));
                done += 1;
                continue;
            };
            // As many names as lead on through the same owner's files go in one walk.
            let (mut last_view, mut last_real, mut run) = (view, real, 1);
            while let Some(name) = names.get(done + run) {
                let (Some(view), Some(straight)) = (join(&last_view, name), join(&last_real, name)) else {
                    break;
                };
                let real = self.real(&node, &view)?;
                if real != straight || self.shared.forward.owner(&real) != Some(owner) {
                    break;
                }
                (last_view, last_real, run) = (view, real, run + 1);
            }
            let held = match &node.at {
                At::Owner(held, _) => Some(held),
                At::Own(_) => None,
            };
            let walked = self.with_behalf(from, async |behalf| {
                self.shared.forward.walk(behalf, owner, held, &last_real).await
            });
            let (at, kind) = match walked.await {
                Ok((held, kind)) => (At::Owner(held, kind), kind),
                // What the owner does not have may still lead to a bind.
                Err(Fail::Owner(Errno::ENOENT)) if self.leads_to_bind(&node, &last_view) => {
                    (At::Own(Place::Above), QidKind::DIR)
                }
                Err(fail) => return Err(fail),
            };
            let mut through = node.view.clone();
            for index in done..done + run {
                through = names
                    .get(index)
                    .and_then(|name| join(&through, name))
                    .unwrap_or(through);
                let real = self.real(&node, &through)?;
                let kind = if index + 1 == done + run {
                    kind
                } else {
                    QidKind::DIR
                };
                set(
                    qids,
                    index,
                    Qid {
                        kind,
                        version: 0,
                        path: identity(&real),
                    },
                );
            }
            node = Node {
                view: last_view,
                at,
                ..node
            };
            done += run;
        }
        match done {
            0 => Err(Refusal::InvalidPath.into()),
            _ if done < names.len() => {
                self.shared.count(Refusal::InvalidPath.into());
                Ok((done, None))
            }
            _ => Ok((done, Some(node))),
        }
    }

    fn leads_to_bind(&self, node: &Node, view: &PathBuf) -> bool {
        let hall = self.shared.hall.borrow();
        hall.sessions
            .get(node.session.slot())
            .is_some_and(|session| session.binds.leads_to_target(view))
    }

    /// Runs a request on behalf of a node's session.
    async fn with_behalf<R>(
        &self,
        node: &Node,
        request: impl AsyncFnOnce(Behalf<'_>) -> Result<R, Fail>,
    ) -> Result<R, Fail> {
        let slot = node.session.slot();
        let (uname, aname) = {
            let hall = self.shared.hall.borrow();
            let session = hall.sessions.get(slot).ok_or(Refusal::Unauthenticated)?;
            let link = hall
                .config
                .doors
                .get(usize::from(session.door))
                .map_or("", |door| &door.link);
            let mut uname = heapless::String::<64>::new();
            // A longer identity is cut; the owner only reports it.
            let _ = uname.push_str(hall.role_label(session));
            (uname, describe(session.id.0, session.ticket_label(), link))
        };
        request(Behalf {
            slot,
            uname: &uname,
            aname: &aname,
        })
        .await
    }

    async fn open_node(&self, node: &Node, flags: OpenFlags) -> Result<(Open, Qid, u32), Fail> {
        let slot = node.session.slot();
        self.admit(node, node.says_lost())?;
        let real = self.real(node, &node.view)?;
        let own = match &node.at {
            At::Own(place) => Some(*place),
            At::Owner(..) => None,
        };
        self.shared
            .hall
            .borrow_mut()
            .may_open(slot, &real, own, flags, self.shared.now())?;
        match &node.at {
            At::Own(place) => {
                let view = View::open(*place, &self.shared.hall.borrow(), slot)?;
                Ok((Open::new(view), own_qid(*place, &real), 0))
            }
            At::Owner(held, _) => {
                let (fid, qid) = self.shared.forward.open(held, flags).await?;
                let qid = Qid {
                    kind: qid.kind,
                    version: 0,
                    path: identity(&real),
                };
                Ok((Open::new(View::Owner(fid)), qid, 0))
            }
        }
    }

    async fn read_open(
        &self,
        node: &Node,
        open: &mut Open,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Fail> {
        let slot = node.session.slot();
        self.shared.hall.borrow_mut().admit(slot, self.shared.now())?;
        let count = match (&node.at, &mut open.view) {
            (At::Owner(held, _), View::Owner(fid)) => {
                self.shared.forward.read(held, fid, offset, buf).await?
            }
            (At::Own(_), view) => {
                let mut hall = self.shared.hall.borrow_mut();
                return view.read(
                    &mut hall,
                    &*self.shared,
                    &self.shared.snapshots,
                    slot,
                    offset,
                    buf,
                );
            }
            _ => return Err(Refusal::InvalidPath.into()),
        };
        self.shared.hall.borrow_mut().spend(slot, count)?;
        Ok(count)
    }

    async fn write_open(
        &self,
        node: &Node,
        open: &mut Open,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Fail> {
        let slot = node.session.slot();
        let now = self.shared.now();
        self.admit(node, node.says_lost())?;
        match (&node.at, &open.view) {
            (At::Own(Place::ActorFault(index)), _) => self.inject_fault(node, *index, data),
            (At::Own(place), _) => self.shared.hall.borrow_mut().write(slot, *place, data, now),
            (At::Owner(held, _), View::Owner(fid)) => {
                return self.write_owner(node, held, fid, offset, data).await;
            }
            _ => Err(Refusal::InvalidPath.into()),
        }?;
        Ok(data.len())
    }

    async fn write_owner(
        &self,
        node: &Node,
        held: &Held,
        fid: &Fid,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Fail> {
        let slot = node.session.slot();
        let real = self.real(node, &node.view)?;
        let is_control = self.shared.hall.borrow().config.control == real.as_str();
        let request = is_control.then(|| core::str::from_utf8(data).ok()).flatten();
        let request = request.and_then(|line| QueenRequest::parse(line).ok());
        if let Some(request) = &request {
            self.bind(slot, request, false)?;
        }
        self.shared.hall.borrow_mut().spend(slot, data.len())?;
        let count = self.shared.forward.write(held, fid, offset, data).await?;
        if count < data.len() {
            self.shared.hall.borrow_mut().short_writes += 1;
        } else if let Some(request) = &request {
            self.bind(slot, request, true)?;
        }
        Ok(count)
    }

    /// Checks, or makes, the bind that a request of the control file is, if it is one.
    fn bind(&self, slot: usize, request: &QueenRequest<'_>, make: bool) -> Result<(), Fail> {
        let mut hall = self.shared.hall.borrow_mut();
        let Hall { config, sessions, .. } = &mut *hall;
        let (from, to) = match request {
            QueenRequest::Bind { from, to } => (*from, *to),
            QueenRequest::Mount { service, at } => {
                let known = config.services.iter().find(|(name, _)| name == service);
                (
                    known.map(|(_, path)| path.as_str()).ok_or(Refusal::InvalidPath)?,
                    *at,
                )
            }
            _ => return Ok(()),
        };
        let max = config.limits.binds;
        let session = sessions.get_mut(slot).ok_or(Refusal::Unauthenticated)?;
        let done = if make {
            session.binds.add(from, to, max)
        } else {
            session.binds.check(from, to, max)
        };
        Ok(done.map_err(|error| match error {
            BindError::Full => Refusal::BufferFull,
            BindError::Path => Refusal::InvalidPayload,
        })?)
    }

    fn inject_fault(&self, node: &Node, index: u8, data: &[u8]) -> Result<(), Fail> {
        let asked = core::str::from_utf8(data.trim_ascii()).ok();
        let fault = asked.and_then(Fault::from_label).ok_or(Refusal::InvalidPayload)?;
        let name = self.shared.actor(index).ok_or(Refusal::InvalidPath)?;
        self.shared
            .ctx
            .inject_fault(name, fault)
            .map_err(|error| match error {
                FaultError::NotAllowed => Refusal::Denied,
                FaultError::UnknownDomain => Refusal::InvalidPath,
                FaultError::Unsupported(_) => Refusal::Unsupported,
            })?;
        let mut hall = self.shared.hall.borrow_mut();
        let role = match hall.sessions.get(node.session.slot()).map(|session| session.who) {
            Some(Who::Role(role)) => role.label(),
            _ => "actor",
        };
        hall.note(
            format_args!("fault injected actor={name} fault={fault} role={role}"),
            self.shared.now(),
        );
        Ok(())
    }

    async fn list_open(
        &self,
        node: &Node,
        open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Fail> {
        let slot = node.session.slot();
        self.shared.hall.borrow_mut().admit(slot, self.shared.now())?;
        let real = self.real(node, &node.view)?;
        match (&node.at, &mut open.view) {
            (At::Own(place), View::Dir(snapshot)) => {
                let bytes = {
                    let hall = self.shared.hall.borrow();
                    let dir = listing::Dir {
                        place: *place,
                        view: &node.view,
                        real: &real,
                        slot,
                    };
                    listing::list(&dir, &hall, &self.shared, snapshot, offset, out)?
                };
                self.shared.hall.borrow_mut().spend(slot, bytes)
            }
            (At::Owner(held, _), View::Owner(fid)) => {
                self.list_owner(node, &real, held, fid, offset, out).await
            }
            _ => Err(Refusal::InvalidPath.into()),
        }
    }

    /// Lists an owner's directory, and behind it the names that mounts and binds add to it.
    async fn list_owner(
        &self,
        node: &Node,
        real: &PathBuf,
        held: &Held,
        fid: &Fid,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Fail> {
        let slot = node.session.slot();
        let mut at = offset;
        while at < listing::ADDED {
            let (mut full, mut bytes, mut seen) = (false, 0, at);
            let visit = |entry: DirEntry<'_>| {
                let name = entry.name.as_str();
                if !full && !listing::is_added(&self.shared, slot, &node.view, real, name) {
                    let path = join(real, name).map_or(0, |path| identity(&path));
                    let qid = Qid {
                        kind: entry.qid.kind,
                        version: 0,
                        path,
                    };
                    full = !out.push(qid, entry.next, entry.name);
                    bytes += if full { 0 } else { name.len() };
                }
                seen = entry.next;
            };
            let count = self.shared.forward.readdir(held, fid, at, visit).await?;
            if full || !out.is_empty() {
                return self.shared.hall.borrow_mut().spend(slot, bytes);
            }
            if count == 0 || seen == at {
                break;
            }
            // Nothing but names that are listed behind: go on.
            at = seen;
        }
        let bytes = listing::list_added(&self.shared, slot, &node.view, real, offset, out)?;
        self.shared.hall.borrow_mut().spend(slot, bytes)
    }

    async fn describe_node(&self, node: &Node) -> Result<Attr, Fail> {
        self.shared
            .hall
            .borrow_mut()
            .admit(node.session.slot(), self.shared.now())?;
        let real = self.real(node, &node.view)?;
        match &node.at {
            At::Own(place) => {
                let (hall, now) = (self.shared.hall.borrow(), self.shared.now());
                own_attr(*place, &real, &hall, &*self.shared, now).ok_or(Refusal::InvalidPath.into())
            }
            At::Owner(held, _) => {
                let attr = self.shared.forward.getattr(held).await?;
                let qid = Qid {
                    path: identity(&real),
                    version: 0,
                    ..attr.qid
                };
                let append = if qid.kind.contains(QidKind::APPEND) {
                    MODE_APPEND
                } else {
                    0
                };
                Ok(Attr {
                    qid,
                    mode: attr.mode | append,
                    ..attr
                })
            }
        }
    }
}

impl FileTree for Tree {
    type Node = Node;
    type Open = Open;

    async fn attach(&self, uname: &str, aname: &str) -> Result<(Node, Qid), Errno> {
        let _busy = self.shared.busy();
        match self.enter(uname, aname).await {
            Ok(node) => Ok((node, own_qid(Place::Root, "/"))),
            Err(no) => {
                self.shared.count(no.fail);
                self.shared
                    .hall
                    .borrow_mut()
                    .turned_away(self.door, uname, no, self.shared.now());
                Err(no.fail.errno())
            }
        }
    }

    async fn walk(
        &self,
        from: &Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Node>), Errno> {
        let _busy = self.shared.busy();
        let result = self.walk_from(from, names, qids).await;
        if result.is_ok() {
            return result.map_err(Fail::errno);
        }
        // The refusal names the whole path that was wanted.
        let view = names
            .iter()
            .try_fold(from.view.clone(), |view, name| join(&view, name));
        let view = view.as_ref().unwrap_or(&from.view);
        self.shared.answer(from.session.slot(), view, Verb::Walk, result)
    }

    async fn open(&self, node: &Node, flags: OpenFlags) -> Result<(Open, Qid, u32), Errno> {
        let _busy = self.shared.busy();
        let result = self.open_node(node, flags).await;
        self.shared
            .answer(node.session.slot(), &node.view, node.verb(flags.writes()), result)
    }

    async fn read(&self, node: &Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let _busy = self.shared.busy();
        let result = self.read_open(node, open, offset, buf).await;
        self.shared
            .answer(node.session.slot(), &node.view, node.verb(false), result)
    }

    async fn write(&self, node: &Node, open: &mut Open, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let _busy = self.shared.busy();
        let result = self.write_open(node, open, offset, data).await;
        self.shared
            .answer(node.session.slot(), &node.view, Verb::Write, result)
    }

    async fn readdir(
        &self,
        node: &Node,
        open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        let _busy = self.shared.busy();
        let result = self.list_open(node, open, offset, out).await;
        self.shared
            .answer(node.session.slot(), &node.view, Verb::List, result)
    }

    async fn getattr(&self, node: &Node) -> Result<Attr, Errno> {
        let _busy = self.shared.busy();
        let result = self.describe_node(node).await;
        self.shared
            .answer(node.session.slot(), &node.view, Verb::Walk, result)
    }

    async fn clunk(&self, node: Node, open: Option<Open>) {
        drop(open);
        drop(node);
        self.shared.sweep();
    }
}

impl Node {
    /// Whether it is the file by which a session says that it is lost.
    fn says_lost(&self) -> bool {
        matches!(self.at, At::Own(Place::SessionCtl))
    }

    fn verb(&self, writes: bool) -> Verb {
        let dir = match &self.at {
            At::Own(place) => place.kind() == Kind::Dir,
            At::Owner(_, kind) => kind.contains(QidKind::DIR),
        };
        match (writes, dir) {
            (true, _) => Verb::Write,
            (false, true) => Verb::List,
            (false, false) if self.view.ends_with("/telemetry") => Verb::Tail,
            (false, false) => Verb::Read,
        }
    }
}

fn set(qids: &mut [Qid], index: usize, qid: Qid) {
    if let Some(place) = qids.get_mut(index) {
        *place = qid;
    }
}
