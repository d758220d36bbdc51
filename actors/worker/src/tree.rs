//! A worker domain's files, as a 9P server for the queen: `ctl` and `events`.
//!
//! Answers for: a start that is answered once the worker is attached or once it is clear that it cannot be in time, a
//! stop that is answered once the worker is gone, the list of running workers, and each end being told once.
//!
//! Never decides which workers there are: that is the queen's.

use alloc::rc::Rc;
use core::fmt::Write as _;

use ninep::{Attr, DirWriter, Errno, FileTree, Name, OpenFlags, Qid};
use protocol::limits::{WORKER_ID_BYTES, WORKER_RECORD_BYTES};
use protocol::refusal::Refusal;
use protocol::role::QUEEN_ACTOR;
use protocol::worker::{EndReason, Start, WorkerEvent, WorkerRequest};

use crate::host::Host;
use crate::slots::{Job, Stage};
use crate::{MAX_SLOTS, Trade};

/// The ids of running workers, one a line.
type List = heapless::String<{ MAX_SLOTS * (WORKER_ID_BYTES + 1) }>;

/// A file of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// The directory of both.
    Root,
    /// Write a request; read the list of running workers.
    Ctl,
    /// Read the next end; a read waits for one.
    Events,
}

/// Every file but the root, in the order of a listing.
const FILES: [(Node, &str); 2] = [(Node::Ctl, "ctl"), (Node::Events, "events")];

impl Node {
    fn qid(self) -> Qid {
        match self {
            Node::Root => Qid::dir(1),
            Node::Ctl => Qid::append(2),
            Node::Events => Qid::file(3),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Open {
    /// The list as it was when `ctl` was opened.
    list: List,
}

/// The tree.
pub(crate) struct Tree<T> {
    host: Rc<Host<T>>,
}

impl<T: Trade> Tree<T> {
    pub(crate) fn new(host: Rc<Host<T>>) -> Tree<T> {
        Tree { host }
    }

    fn list(&self) -> List {
        let mut list = List::new();
        self.host.look(|slots| {
            for id in slots.running() {
                // There is room for as many as there are slots.
                let _ = writeln!(list, "{id}");
            }
        });
        list
    }

    async fn request(&self, data: &[u8]) -> Result<(), Refusal> {
        if data.len() > WORKER_RECORD_BYTES + 1 {
            return Err(Refusal::TooLong);
        }
        let text = core::str::from_utf8(data).map_err(|_| Refusal::InvalidPayload)?;
        match WorkerRequest::parse(text).map_err(|_| Refusal::InvalidPayload)? {
            WorkerRequest::Start(start) => self.start(&start).await,
            WorkerRequest::Stop { id } => self.stop(id).await,
        }
    }

    async fn start(&self, start: &Start<'_>) -> Result<(), Refusal> {
        let job = Job::of(start).ok_or(Refusal::InvalidPayload)?;
        if !self.host.trade.takes(&job) {
            return Err(Refusal::InvalidPayload);
        }
        self.host.change(|slots| slots.start(job))?;
        let settled = self.host.until(|slots| match slots.stage(start.id) {
            Some(Stage::Starting) => None,
            stage => Some(stage),
        });
        match self
            .host
            .ctx
            .timeout(self.host.config.start_timeout, settled)
            .await
        {
            Ok(Some(Stage::Attached | Stage::Ended(EndReason::Ticks | EndReason::Ops))) => Ok(()),
            Ok(Some(Stage::Ended(EndReason::Expired))) => Err(Refusal::TicketExpired),
            Ok(Some(Stage::Ended(EndReason::Refused))) => Err(Refusal::TicketRejected),
            Ok(Some(Stage::Ended(EndReason::Released))) => Err(Refusal::OwnerDown),
            // It was stopped in the meantime.
            Ok(Some(Stage::Starting | Stage::Stopping) | None) => Err(Refusal::OwnerDown),
            Err(_) => {
                self.host.change(|slots| slots.stop(start.id));
                Err(Refusal::OwnerDown)
            }
        }
    }

    async fn stop(&self, id: &str) -> Result<(), Refusal> {
        self.host.change(|slots| slots.stop(id));
        let gone = self.host.until(|slots| slots.stage(id).is_none().then_some(()));
        self.host
            .ctx
            .timeout(self.host.config.start_timeout, gone)
            .await
            .map_err(|_| Refusal::OwnerDown)
    }
}

fn errno(refusal: Refusal) -> Errno {
    Errno::from_raw(refusal.to_errno())
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    for (to, byte) in to.iter_mut().zip(from) {
        *to = *byte;
    }
    count
}

impl<T: Trade> FileTree for Tree<T> {
    type Node = Node;
    type Open = Open;

    async fn attach(&self, uname: &str, _aname: &str) -> Result<(Node, Qid), Errno> {
        if uname != QUEEN_ACTOR {
            return Err(errno(Refusal::Denied));
        }
        Ok((Node::Root, Node::Root.qid()))
    }

    async fn walk(
        &self,
        from: &Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Node>), Errno> {
        let (Some(name), Some(qid)) = (names.first(), qids.first_mut()) else {
            return Ok((0, Some(*from)));
        };
        let file = FILES.iter().find(|file| *from == Node::Root && file.1 == *name);
        let node = file.ok_or(Errno::ENOENT)?.0;
        *qid = node.qid();
        Ok((1, (names.len() == 1).then_some(node)))
    }

    async fn open(&self, node: &Node, flags: OpenFlags) -> Result<(Open, Qid, u32), Errno> {
        if flags.writes() && *node != Node::Ctl {
            return Err(errno(Refusal::Denied));
        }
        let list = if *node == Node::Ctl && flags.reads() {
            self.list()
        } else {
            List::new()
        };
        Ok((Open { list }, node.qid(), 0))
    }

    async fn read(&self, node: &Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        if *node == Node::Ctl {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            return Ok(copy(open.list.as_bytes().get(from..).unwrap_or_default(), buf));
        }
        if buf.len() < WORKER_RECORD_BYTES {
            // An end is told once: not to a reader that could not take it.
            return Err(errno(Refusal::InvalidPayload));
        }
        // Nothing waits between taking an event and returning it, so that dropping this future loses none.
        let (id, reason) = self.host.until(|slots| slots.event()).await;
        let event = WorkerEvent::Ended { id: &id, reason };
        event.render(buf).map(str::len).map_err(|_| Errno::EIO)
    }

    async fn write(&self, _node: &Node, _open: &mut Open, _offset: u64, data: &[u8]) -> Result<usize, Errno> {
        self.request(data).await.map(|()| data.len()).map_err(errno)
    }

    async fn readdir(
        &self,
        node: &Node,
        _open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        for (next, (file, name)) in (1..).zip(FILES) {
            let name = Name::new(name).map_err(|_| Errno::EIO)?;
            if *node == Node::Root && next > offset && !out.push(file.qid(), next, name) {
                break;
            }
        }
        Ok(())
    }

    async fn getattr(&self, node: &Node) -> Result<Attr, Errno> {
        Ok(match node {
            Node::Root => Attr::dir(node.qid(), 0o555),
            Node::Ctl => Attr::file(node.qid(), 0o600, 0),
            Node::Events => Attr::file(node.qid(), 0o400, 0),
        })
    }

    async fn clunk(&self, _node: Node, _open: Option<Open>) {}
}
