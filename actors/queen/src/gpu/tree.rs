//! `/gpu`, as a part of the queen's namespace.
//!
//! Answers for which files there are and who may open them, for reads that fit together, and for writes being answered
//! after they are in the journal and their line is in the log.
//!
//! Never keeps a line: that is [`store`](super::store); never judges a publish: that is [`publish`](super::publish).

use alloc::rc::Rc;

use ninep::{Attr, DirWriter, Name, OpenFlags, Qid};
use protocol::lifecycle::Gate;
use protocol::refusal::Refusal;
use protocol::role::Role;

use super::names::{Node, next_name};
use super::publish::{Publisher, StatusText};
use super::record::File;
use super::store::{GpuRef, Gpus};
use super::window::Window;
use crate::queen::Queen;
use crate::tree::{Session, SessionId, Subtree, copy};

/// An open file.
pub(crate) struct Open {
    /// How often something had been published when it was opened, or read from its beginning.
    installs: u32,
    /// What a reader of lines sees.
    window: Window,
    /// What the bridge's status said.
    status: StatusText,
}

/// The sub-tree.
pub(crate) struct Tree {
    queen: Rc<Queen>,
    publisher: Publisher,
}

impl Tree {
    pub(crate) fn new(queen: Rc<Queen>) -> Tree {
        Tree {
            publisher: Publisher::new(&queen),
            queen,
        }
    }

    /// Looks at a file that must still be there.
    fn look<T>(&self, look: impl FnOnce(&Gpus) -> Option<T>) -> Result<T, Refusal> {
        look(&self.queen.gpus.borrow()).ok_or(Refusal::InvalidPath)
    }

    /// Whether the session is of a worker that has a lease of the GPU.
    fn is_holder(&self, session: &Session, gpu: GpuRef) -> bool {
        let gpus = self.queen.gpus.borrow();
        session.role() == Some(Role::WorkerGpu)
            && gpus
                .id(gpu)
                .is_some_and(|id| self.queen.has_lease(&session.subject(), id))
    }

    /// Whether the session may write the file: an operator may, and a GPU's holder its status.
    fn may_write(&self, session: &Session, node: Node) -> bool {
        let reports = |gpu| self.is_holder(session, gpu);
        node.writer(session) || matches!(node, Node::Lines(gpu, File::Status) if reports(gpu))
    }

    /// Whether the lifecycle lets anybody write here; what it does not is told in the log.
    async fn pass(&self, gate: Gate) -> Result<(), Refusal> {
        let state = self.queen.look(|ledger| ledger.state.lifecycle.state);
        if gate.open_in(state) {
            return Ok(());
        }
        let told = self.queen.note(format_args!(
            "lifecycle denied action={gate} state={state} reason=gate-denied"
        ));
        self.queen.told(told).await;
        Err(Refusal::Denied)
    }

    fn append(&self, gpu: GpuRef, file: File, line: &str) -> Result<(), Refusal> {
        self.queen.gpus.borrow_mut().append(gpu, file, line)?;
        self.queen.bell.ring();
        Ok(())
    }

    /// Activates a model. Clients activate right after an import, before the host has published it: the log says so.
    async fn activate(&self, session: &Session, id: &str) -> Result<(), Refusal> {
        self.queen.may_operate()?;
        self.queen.gpus.borrow_mut().activate(id)?;
        self.queen.bell.ring();
        let known = self.look(|gpus| Some(gpus.published().models().any(|model| model.0 == id)))?;
        let available = if known { "yes" } else { "no" };
        let session = session.door_number();
        let told = self.queen.note(format_args!(
            "model activated id={id} session={session} available={available}"
        ));
        self.queen.told(told).await;
        Ok(())
    }

    /// Reads a text that a publish replaces as a whole.
    fn read_text(&self, node: Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Refusal> {
        let gpus = self.queen.gpus.borrow();
        if offset == 0 {
            open.installs = gpus.installs();
        } else if open.installs != gpus.installs() {
            // In the middle of a text that is not there any more.
            return Err(Refusal::Busy);
        }
        let text = node.text(&gpus).ok_or(Refusal::InvalidPath)?;
        Ok(copy(text.as_bytes(), offset, buf))
    }

    fn mode(&self, session: &Session, node: Node) -> u32 {
        let writer = self.may_write(session, node);
        match (node.is_dir(), node.is_control(), writer) {
            (true, ..) => 0o555,
            (_, true, true) => 0o200,
            (_, true, false) => 0,
            (_, false, true) => 0o644,
            (_, false, false) => 0o444,
        }
    }
}

impl Subtree for Tree {
    type Node = Node;
    type Open = Open;

    fn qid(&self, node: Node) -> Qid {
        node.qid()
    }

    fn child(&self, node: Node, name: &str) -> Option<Node> {
        node.child(&self.queen.gpus.borrow(), name)
    }

    fn open(&self, session: &Session, node: Node, flags: OpenFlags) -> Result<Open, Refusal> {
        if flags.writes() && !node.is_writable() || flags.reads() && node.is_control() {
            // Nobody does that here, and the wire has no better word for it (WIRE 4.8).
            return Err(Refusal::InvalidPath);
        }
        if flags.writes() && !self.may_write(session, node) {
            return Err(Refusal::Denied);
        }
        self.look(|gpus| node.exists(gpus).then_some(()))?;
        Ok(Open {
            installs: self.queen.gpus.borrow().installs(),
            window: Window::default(),
            status: StatusText::new(),
        })
    }

    async fn read(&self, node: Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Refusal> {
        match node {
            Node::BridgeStatus => {
                if offset == 0 {
                    open.status = self.publisher.status(&self.queen);
                }
                Ok(copy(open.status.as_bytes(), offset, buf))
            }
            Node::Lines(..) | Node::Active => self.look(|gpus| {
                let lines = node.lines(gpus)?;
                let Some((position, limit)) = open.window.at(offset, lines.span()) else {
                    return Some(Ok(0));
                };
                Some(lines.read(position, limit, buf).map_err(|_| Refusal::Busy))
            })?,
            _ => self.read_text(node, open, offset, buf),
        }
    }

    async fn write(
        &self,
        session: &Session,
        node: Node,
        _open: &mut Open,
        data: &[u8],
    ) -> Result<(), Refusal> {
        // A worker reports as long as it lives, and its lease may have ended since it opened the file.
        if session.is_operator() {
            self.pass(Gate::HostPublish).await?;
        } else {
            self.pass(Gate::WorkerTelemetry).await?;
            if !self.may_write(session, node) {
                return Err(Refusal::Denied);
            }
        }
        let text = core::str::from_utf8(data).map_err(|_| Refusal::InvalidPayload)?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        match node {
            Node::BridgeCtl => {
                let (outcome, told) = self.publisher.write(&self.queen, session, line);
                self.queen.told(told).await;
                outcome
            }
            Node::Lines(gpu, file) => self.append(gpu, file, line),
            Node::Active => self.activate(session, line).await,
            _ => Err(Refusal::InvalidPath),
        }
    }

    fn readdir(
        &self,
        node: Node,
        open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Refusal> {
        let gpus = self.queen.gpus.borrow();
        if offset == 0 {
            open.installs = gpus.installs();
        } else if open.installs != gpus.installs() {
            return Err(Refusal::Busy);
        }
        let mut after = None;
        for next in 1.. {
            let Some((name, child)) = next_name(node, &gpus, after) else {
                break;
            };
            after = Some(name);
            let name = Name::new(name).map_err(|_| Refusal::InvalidPath)?;
            if next > offset && !out.push(child.qid(), next, name) {
                break;
            }
        }
        Ok(())
    }

    fn getattr(&self, session: &Session, node: Node) -> Result<Attr, Refusal> {
        let (qid, mode) = (node.qid(), self.mode(session, node));
        let size = self.look(|gpus| node.exists(gpus).then(|| node.size(gpus)))?;
        Ok(match node {
            _ if node.is_dir() => Attr::dir(qid, mode),
            Node::BridgeStatus => Attr::file(qid, mode, self.publisher.status(&self.queen).len() as u64),
            _ => Attr::file(qid, mode, size as u64),
        })
    }

    fn ended(&self, session: SessionId) {
        self.publisher.ended(&self.queen, session);
    }
}
