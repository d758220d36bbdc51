//! `/gpu`, as a part of the queen's namespace.
//!
//! Answers for which files there are and who may open them, for reads that fit together, and for writes being answered
//! after they are in the journal.
//!
//! Never keeps a line: that is [`store`](super::store).

use alloc::rc::Rc;

use ninep::{Attr, DirWriter, Name, OpenFlags, Qid};
use protocol::lifecycle::Gate;
use protocol::refusal::Refusal;
use protocol::role::Role;

use super::record::File;
use super::store::{GpuRef, Gpus};
use crate::queen::Queen;
use crate::tree::{Session, SessionId, Subtree, copy};

/// This sub-tree's number in its files' identities.
const NUMBER: u64 = 1 << 48;

/// A file below `/gpu`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node {
    /// `/gpu`
    Root,
    /// `/gpu/<id>`
    Gpu(GpuRef),
    /// `/gpu/<id>/info`
    Info(GpuRef),
    /// `/gpu/<id>/{ctl,lease,status}`
    Lines(GpuRef, LineFile),
}

/// A file of lines of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineFile(File);

/// Names in a GPU's directory, sorted.
const GPU_FILES: [&str; 4] = ["ctl", "info", "lease", "status"];

impl Node {
    /// The sub-tree's own directory.
    pub(crate) const ROOT: Node = Node::Root;

    fn of_gpu(gpu: GpuRef, name: &str) -> Option<Node> {
        let lines = |file| Node::Lines(gpu, LineFile(file));
        match name {
            "ctl" => Some(lines(File::Ctl)),
            "info" => Some(Node::Info(gpu)),
            "lease" => Some(lines(File::Lease)),
            "status" => Some(lines(File::Status)),
            _ => None,
        }
    }

    fn is_dir(self) -> bool {
        matches!(self, Node::Root | Node::Gpu(_))
    }
}

/// An open file.
pub(crate) struct Open {
    /// How often something had been published when it was opened.
    installs: u32,
    /// What a reader of lines sees.
    window: Window,
}

/// A window on lines that come and go. The end is told where the file ended at the first read; the next read sees what
/// came since, so that a file can be followed.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Position of offset 0.
    start: u64,
    /// Where the file ends for this reader, until it was told so.
    limit: Option<u64>,
}

impl Window {
    /// Position and limit for an offset in a file that spans `span`; `None` is the end.
    fn at(&mut self, offset: u64, span: (u64, u64)) -> Option<(u64, u64)> {
        if offset == 0 {
            *self = Window {
                start: span.0,
                limit: None,
            };
        }
        let position = self.start.saturating_add(offset);
        let limit = *self.limit.get_or_insert(span.1);
        if position >= limit {
            self.limit = None;
            return None;
        }
        Some((position, limit))
    }
}

/// The sub-tree.
pub(crate) struct Tree {
    queen: Rc<Queen>,
}

impl Tree {
    pub(crate) fn new(queen: Rc<Queen>) -> Tree {
        Tree { queen }
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
}

impl Subtree for Tree {
    type Node = Node;
    type Open = Open;

    fn qid(&self, node: Node) -> Qid {
        let of = |gpu: GpuRef, file: u64| 16 + 8 * u64::from(gpu.slot()) + file;
        let path = NUMBER
            + match node {
                Node::Root => 1,
                Node::Gpu(gpu) => of(gpu, 0),
                Node::Info(gpu) => of(gpu, 1),
                Node::Lines(gpu, LineFile(file)) => of(gpu, 2 + file as u64),
            };
        match node {
            Node::Root | Node::Gpu(_) => Qid::dir(path),
            Node::Info(_) => Qid::file(path),
            Node::Lines(..) => Qid::append(path),
        }
    }

    fn child(&self, node: Node, name: &str) -> Option<Node> {
        match node {
            Node::Root => self.queen.gpus.borrow().find(name).map(Node::Gpu),
            Node::Gpu(gpu) => Node::of_gpu(gpu, name),
            Node::Info(_) | Node::Lines(..) => None,
        }
    }

    fn open(&self, session: &Session, node: Node, flags: OpenFlags) -> Result<Open, Refusal> {
        if flags.writes() {
            match node {
                Node::Lines(..) if session.is_operator() => {}
                Node::Lines(gpu, LineFile(File::Status)) if self.is_holder(session, gpu) => {}
                Node::Lines(..) => return Err(Refusal::Denied),
                // Nobody writes there, and the wire has no better word for it (WIRE 4.8).
                Node::Root | Node::Gpu(_) | Node::Info(_) => return Err(Refusal::InvalidPath),
            }
        }
        self.getattr(session, node)?;
        Ok(Open {
            installs: self.queen.gpus.borrow().installs(),
            window: Window::default(),
        })
    }

    async fn read(&self, node: Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Refusal> {
        match node {
            Node::Root | Node::Gpu(_) => Err(Refusal::InvalidPath),
            // In the middle of a text that a publish has replaced.
            Node::Info(_) if offset > 0 && open.installs != self.queen.gpus.borrow().installs() => {
                Err(Refusal::Busy)
            }
            Node::Info(gpu) => {
                open.installs = self.queen.gpus.borrow().installs();
                self.look(|gpus| Some(copy(gpus.info(gpu)?.as_bytes(), offset, buf)))
            }
            Node::Lines(gpu, LineFile(file)) => self.look(|gpus| {
                let lines = gpus.lines(gpu, file)?;
                let Some((position, limit)) = open.window.at(offset, lines.span()) else {
                    return Some(Ok(0));
                };
                Some(lines.read(position, limit, buf).map_err(|_| Refusal::Busy))
            })?,
        }
    }

    async fn write(
        &self,
        session: &Session,
        node: Node,
        _open: &mut Open,
        data: &[u8],
    ) -> Result<(), Refusal> {
        let Node::Lines(gpu, LineFile(file)) = node else {
            return Err(Refusal::InvalidPath);
        };
        // A worker reports as long as it lives, and its lease may have ended since it opened the file.
        if session.is_operator() {
            self.pass(Gate::HostPublish).await?;
        } else {
            self.pass(Gate::WorkerTelemetry).await?;
            if !self.is_holder(session, gpu) {
                return Err(Refusal::Denied);
            }
        }
        let text = core::str::from_utf8(data).map_err(|_| Refusal::InvalidPayload)?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let appended = self.queen.gpus.borrow_mut().append(gpu, file, line);
        appended?;
        self.queen.bell.ring();
        Ok(())
    }

    fn readdir(
        &self,
        node: Node,
        open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Refusal> {
        let gpus = self.queen.gpus.borrow();
        if offset > 0 && open.installs != gpus.installs() {
            return Err(Refusal::Busy);
        }
        open.installs = gpus.installs();
        let mut push = |next: u64, name: &str| {
            let child = self.child(node, name).ok_or(Refusal::InvalidPath)?;
            let name = Name::new(name).map_err(|_| Refusal::InvalidPath)?;
            Ok(next <= offset || out.push(self.qid(child), next, name))
        };
        match node {
            Node::Root => list((1..).zip(gpus.ids()), &mut push),
            Node::Gpu(_) => list((1..).zip(GPU_FILES), &mut push),
            Node::Info(_) | Node::Lines(..) => Err(Refusal::InvalidPath),
        }
    }

    fn getattr(&self, session: &Session, node: Node) -> Result<Attr, Refusal> {
        let qid = self.qid(node);
        let (mode, size) = match node {
            Node::Root => (0o555, 0),
            Node::Gpu(gpu) => self.look(|gpus| gpus.info(gpu).map(|_| (0o555, 0)))?,
            Node::Info(gpu) => self.look(|gpus| Some((0o444, gpus.info(gpu)?.len())))?,
            Node::Lines(gpu, LineFile(file)) => {
                let mode = if session.is_operator() { 0o644 } else { 0o444 };
                self.look(|gpus| Some((mode, gpus.lines(gpu, file)?.len())))?
            }
        };
        Ok(if node.is_dir() {
            Attr::dir(qid, mode)
        } else {
            Attr::file(qid, mode, size as u64)
        })
    }

    fn ended(&self, _session: SessionId) {}
}

/// Pushes names until one does not fit.
fn list<'n>(
    names: impl Iterator<Item = (u64, &'n str)>,
    push: &mut impl FnMut(u64, &str) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    for (next, name) in names {
        if !push(next, name)? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_once_and_then_the_window_goes_on() {
        let mut window = Window::default();
        assert_eq!(window.at(0, (100, 110)), Some((100, 110)));
        assert_eq!(window.at(10, (100, 150)), None);
        assert_eq!(window.at(10, (100, 150)), Some((110, 150)));
        assert_eq!(window.at(50, (100, 150)), None);
        assert_eq!(window.at(0, (120, 160)), Some((120, 160)));
    }
}
