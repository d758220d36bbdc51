//! The queen's files, as a 9P server.
//!
//! Answers for `/queen/ctl`, `/queen/lifecycle/ctl` and `/proc/lifecycle/*`: who may open them, what they say, and
//! that a write is answered after its effect. Paths are full names of the namespace, so that NineDoor forwards a walk
//! as it is.
//!
//! Never decides a request: that is [`control`](crate::control).

use alloc::rc::Rc;
use core::fmt::Write as _;

use ninep::{Attr, DirWriter, Errno, FileTree, Name, OpenFlags, Qid};
use protocol::limits::CONTROL_BYTES;
use protocol::refusal::Refusal;
use protocol::role::Role;

use crate::control;
use crate::queen::Queen;

/// The longest content of a file under `/proc/lifecycle`.
type Text = heapless::String<64>;

/// A file of the queen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Root,
    Queen,
    Ctl,
    QueenLifecycle,
    LifecycleCtl,
    Proc,
    ProcLifecycle,
    State,
    Reason,
    Since,
}

/// Every file but the root: its name and its directory. Names of one directory are in their order in a listing.
const NAMES: [(File, &str, File); 9] = [
    (File::Proc, "proc", File::Root),
    (File::Queen, "queen", File::Root),
    (File::Ctl, "ctl", File::Queen),
    (File::QueenLifecycle, "lifecycle", File::Queen),
    (File::LifecycleCtl, "ctl", File::QueenLifecycle),
    (File::ProcLifecycle, "lifecycle", File::Proc),
    (File::Reason, "reason", File::ProcLifecycle),
    (File::Since, "since", File::ProcLifecycle),
    (File::State, "state", File::ProcLifecycle),
];

impl File {
    fn is_dir(self) -> bool {
        matches!(
            self,
            File::Root | File::Queen | File::QueenLifecycle | File::Proc | File::ProcLifecycle
        )
    }

    fn is_control(self) -> bool {
        matches!(self, File::Ctl | File::LifecycleCtl)
    }

    fn qid(self) -> Qid {
        let path = self as u64 + 1;
        if self.is_dir() {
            Qid::dir(path)
        } else if self.is_control() {
            Qid::append(path)
        } else {
            Qid::file(path)
        }
    }

    fn child(self, name: &str) -> Option<File> {
        NAMES
            .iter()
            .find(|entry| entry.2 == self && entry.1 == name)
            .map(|entry| entry.0)
    }
}

/// A file as one session sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    file: File,
    /// The session speaks for an operator.
    operator: bool,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Open {
    /// What it said when it was opened, so that reads in pieces fit together.
    text: Text,
}

/// The tree.
pub(crate) struct Tree {
    queen: Rc<Queen>,
}

impl Tree {
    pub(crate) fn new(queen: Rc<Queen>) -> Tree {
        Tree { queen }
    }

    fn text(&self, file: File) -> Text {
        let mut text = Text::new();
        // The capacity is that of the longest label, reason and number.
        let _ = self.queen.look(|ledger| {
            let standing = &ledger.state.lifecycle;
            match file {
                File::State => writeln!(text, "state={}", standing.state),
                File::Reason => writeln!(text, "reason={}", standing.reason),
                File::Since => writeln!(text, "since_ms={}", standing.since_ms),
                _ => Ok(()),
            }
        });
        text
    }

    /// Does what was written, and waits for its audit line.
    async fn control(&self, file: File, data: &[u8]) -> Result<(), Refusal> {
        if data.len() > CONTROL_BYTES + 1 {
            return Err(Refusal::TooLong);
        }
        let text = core::str::from_utf8(data).map_err(|_| Refusal::InvalidPayload)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        if text.contains('\n') {
            return Err(Refusal::InvalidPayload);
        }
        let (outcome, told) = match file {
            File::Ctl => (Ok(()), control::request(&self.queen, text).await?),
            _ => match control::command(&self.queen, text) {
                Ok(told) => (Ok(()), told),
                Err((refusal, told)) => (Err(refusal), told),
            },
        };
        self.queen.told(told).await;
        outcome
    }
}

fn errno(refusal: Refusal) -> Errno {
    Errno::from_raw(refusal.to_errno())
}

impl FileTree for Tree {
    type Node = Node;
    type Open = Open;

    async fn attach(&self, uname: &str, _aname: &str) -> Result<(Node, Qid), Errno> {
        let operator = Role::from_label(uname) == Some(Role::Queen);
        Ok((
            Node {
                file: File::Root,
                operator,
            },
            File::Root.qid(),
        ))
    }

    async fn walk(
        &self,
        from: &Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Node>), Errno> {
        let mut file = from.file;
        let mut walked = 0;
        for (name, qid) in names.iter().zip(qids) {
            let Some(child) = file.child(name) else { break };
            file = child;
            *qid = file.qid();
            walked += 1;
        }
        match walked {
            0 if !names.is_empty() => Err(Errno::ENOENT),
            _ if walked < names.len() => Ok((walked, None)),
            _ => Ok((walked, Some(Node { file, ..*from }))),
        }
    }

    async fn open(&self, node: &Node, flags: OpenFlags) -> Result<(Open, Qid, u32), Errno> {
        let refusal = match (node.file.is_control(), flags.reads(), flags.writes()) {
            // A control file has nothing to read.
            (true, true, _) => Some(Refusal::InvalidPath),
            (true, _, true) if !node.operator => Some(Refusal::Denied),
            (false, _, true) => Some(Refusal::Denied),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.queen.count(refusal);
            return Err(errno(refusal));
        }
        Ok((
            Open {
                text: self.text(node.file),
            },
            node.file.qid(),
            0,
        ))
    }

    async fn read(&self, _node: &Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = open.text.as_bytes().get(from..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        for (to, byte) in buf.iter_mut().zip(rest) {
            *to = *byte;
        }
        Ok(count)
    }

    async fn write(&self, node: &Node, _open: &mut Open, _offset: u64, data: &[u8]) -> Result<usize, Errno> {
        match self.control(node.file, data).await {
            Ok(()) => Ok(data.len()),
            Err(refusal) => {
                self.queen.count(refusal);
                Err(errno(refusal))
            }
        }
    }

    async fn readdir(
        &self,
        node: &Node,
        _open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        for (next, (file, name, directory)) in (1..).zip(NAMES) {
            if next > offset && directory == node.file {
                let name = Name::new(name).map_err(|_| Errno::EIO)?;
                if !out.push(file.qid(), next, name) {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn getattr(&self, node: &Node) -> Result<Attr, Errno> {
        let qid = node.file.qid();
        let attr = if node.file.is_dir() {
            Attr::dir(qid, 0o555)
        } else if node.file.is_control() {
            Attr::file(qid, if node.operator { 0o200 } else { 0 }, 0)
        } else {
            Attr::file(qid, 0o444, self.text(node.file).len() as u64)
        };
        Ok(attr.at(self.queen.look(|ledger| ledger.state.lifecycle.since_ms) / 1000))
    }

    async fn clunk(&self, _node: Node, _open: Option<Open>) {}
}
