//! The queen's namespace, as a 9P server serves it.
//!
//! Answers for putting it together: her [own](own) files, and sub-trees that live in modules of their own, each hung
//! into a directory by a line of [`NAMES`]. Also for who asks ([`session`]), and for every refusal being counted. Paths
//! are full names of the namespace, so that NineDoor forwards a walk as it is.
//!
//! Never knows what a file of a sub-tree says or takes.
//!
//! # A sub-tree
//!
//! is a type that implements [`Subtree`]; it is added in three places here: a variant of [`At`] and of [`Open`], a
//! field of [`Tree`], and a line of [`NAMES`] for each directory it hangs in. Its own names stay sorted by itself.

mod own;
mod session;

use alloc::rc::Rc;

use ninep::{Attr, DirWriter, Errno, FileTree, Name, OpenFlags, Qid};
use protocol::refusal::Refusal;

pub(crate) use self::session::{Session, SessionId};

use self::own::File;
use self::session::Sessions;
use crate::gpu;
use crate::ingest;
use crate::queen::Queen;

/// A part of the namespace that lives in a module of its own.
///
/// The rules of [`FileTree`] hold for it. A node is small and says which file is meant, not that it still exists: a
/// file that is gone is refused as [`Refusal::InvalidPath`].
#[allow(async_fn_in_trait)] // static dispatch, one thread
pub(crate) trait Subtree {
    /// A file.
    type Node: Copy;
    /// What an open file keeps between operations.
    type Open;

    /// The file's identity. The upper 16 bits of its path are the sub-tree's own number.
    fn qid(&self, node: Self::Node) -> Qid;
    /// The file of that name in a directory, if there is one now.
    fn child(&self, node: Self::Node, name: &str) -> Option<Self::Node>;
    /// Opens a file for that session.
    fn open(&self, session: &Session, node: Self::Node, flags: OpenFlags) -> Result<Self::Open, Refusal>;
    /// Reads from `offset`; 0 is the end.
    async fn read(
        &self,
        node: Self::Node,
        open: &mut Self::Open,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Refusal>;
    /// Takes all of `data` or refuses it, after its effect and its audit line.
    async fn write(
        &self,
        session: &Session,
        node: Self::Node,
        open: &mut Self::Open,
        data: &[u8],
    ) -> Result<(), Refusal>;
    /// Lists a directory from `offset`, sorted by name; an entry's own offset is below 2^62.
    fn readdir(
        &self,
        node: Self::Node,
        open: &mut Self::Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Refusal>;
    /// What the file says of itself.
    fn getattr(&self, session: &Session, node: Self::Node) -> Result<Attr, Refusal>;
    /// A session has ended: none of its files is held any more.
    fn ended(&self, session: SessionId);
}

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Own(File),
    Gpu(gpu::Node),
    Ingest(ingest::Node),
}

/// Every file but the root and what is inside of sub-trees: its name and its directory. Names of one directory are in
/// their order in a listing. A sub-tree's directory crosses into it.
const NAMES: [(At, &str, File); 13] = [
    (At::Gpu(gpu::Node::ROOT), "gpu", File::Root),
    (At::Own(File::Proc), "proc", File::Root),
    (At::Own(File::Queen), "queen", File::Root),
    (At::Own(File::Ctl), "ctl", File::Queen),
    (At::Ingest(ingest::Node::Export), "export", File::Queen),
    (At::Own(File::QueenLifecycle), "lifecycle", File::Queen),
    (At::Ingest(ingest::Node::Telemetry), "telemetry", File::Queen),
    (At::Own(File::LifecycleCtl), "ctl", File::QueenLifecycle),
    (At::Ingest(ingest::Node::Ingest), "ingest", File::Proc),
    (At::Own(File::ProcLifecycle), "lifecycle", File::Proc),
    (At::Own(File::Reason), "reason", File::ProcLifecycle),
    (At::Own(File::Since), "since", File::ProcLifecycle),
    (At::Own(File::State), "state", File::ProcLifecycle),
];

/// A file as one session sees it.
#[derive(Clone)]
pub(crate) struct Node {
    at: At,
    session: Session,
}

/// An open file.
pub(crate) enum Open {
    Own(own::Open),
    Gpu(gpu::Open),
    Ingest(ingest::Open),
}

/// The tree.
pub(crate) struct Tree {
    queen: Rc<Queen>,
    sessions: Sessions,
    gpu: gpu::Tree,
    ingest: ingest::Tree,
}

impl Tree {
    /// The tree of a queen, for at most that many sessions.
    pub(crate) fn new(queen: Rc<Queen>, sessions: usize) -> Tree {
        Tree {
            gpu: gpu::Tree::new(queen.clone()),
            ingest: ingest::Tree::new(queen.clone()),
            sessions: Sessions::new(sessions),
            queen,
        }
    }

    fn child(&self, at: At, name: &str) -> Option<At> {
        match at {
            At::Own(file) => NAMES
                .iter()
                .find(|entry| entry.2 == file && entry.1 == name)
                .map(|entry| entry.0),
            At::Gpu(node) => self.gpu.child(node, name).map(At::Gpu),
            At::Ingest(node) => self.ingest.child(node, name).map(At::Ingest),
        }
    }

    fn qid(&self, at: At) -> Qid {
        match at {
            At::Own(file) => file.qid(),
            At::Gpu(node) => self.gpu.qid(node),
            At::Ingest(node) => self.ingest.qid(node),
        }
    }

    /// Counts a refusal and turns it into its errno.
    fn answer<T>(&self, outcome: Result<T, Refusal>) -> Result<T, Errno> {
        outcome.map_err(|refusal| {
            self.queen.count(refusal);
            Errno::from_raw(refusal.to_errno())
        })
    }

    fn list_own(&self, directory: File, offset: u64, out: &mut DirWriter<'_>) -> Result<(), Refusal> {
        for (next, (at, name, parent)) in (1..).zip(NAMES) {
            if next > offset && parent == directory {
                let name = Name::new(name).map_err(|_| Refusal::InvalidPath)?;
                if !out.push(self.qid(at), next, name) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Copies what is at `offset` of some bytes; gives how many.
pub(crate) fn copy(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = bytes.get(from..).unwrap_or_default();
    let count = rest.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

impl FileTree for Tree {
    type Node = Node;
    type Open = Open;

    async fn attach(&self, uname: &str, aname: &str) -> Result<(Node, Qid), Errno> {
        let node = Node {
            at: At::Own(File::Root),
            session: self.sessions.begin(uname, aname)?,
        };
        Ok((node, File::Root.qid()))
    }

    async fn walk(
        &self,
        from: &Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Node>), Errno> {
        let mut at = from.at;
        let mut walked = 0;
        for (name, qid) in names.iter().zip(qids) {
            let Some(child) = self.child(at, name) else {
                break;
            };
            at = child;
            *qid = self.qid(at);
            walked += 1;
        }
        match walked {
            0 if !names.is_empty() => Err(Errno::ENOENT),
            _ if walked < names.len() => Ok((walked, None)),
            _ => Ok((
                walked,
                Some(Node {
                    at,
                    session: from.session.clone(),
                }),
            )),
        }
    }

    async fn open(&self, node: &Node, flags: OpenFlags) -> Result<(Open, Qid, u32), Errno> {
        let open = match node.at {
            At::Own(file) => own::open(&self.queen, &node.session, file, flags).map(Open::Own),
            At::Gpu(file) => self.gpu.open(&node.session, file, flags).map(Open::Gpu),
            At::Ingest(file) => self.ingest.open(&node.session, file, flags).map(Open::Ingest),
        };
        Ok((self.answer(open)?, self.qid(node.at), 0))
    }

    async fn read(&self, node: &Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let read = match (node.at, open) {
            (At::Own(_), Open::Own(open)) => Ok(own::read(open, offset, buf)),
            (At::Gpu(file), Open::Gpu(open)) => self.gpu.read(file, open, offset, buf).await,
            (At::Ingest(file), Open::Ingest(open)) => self.ingest.read(file, open, offset, buf).await,
            _ => Err(Refusal::InvalidPath),
        };
        self.answer(read)
    }

    async fn write(&self, node: &Node, open: &mut Open, _offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let written = match (node.at, open) {
            (At::Own(file), Open::Own(_)) => own::write(&self.queen, file, data).await,
            (At::Gpu(file), Open::Gpu(open)) => self.gpu.write(&node.session, file, open, data).await,
            (At::Ingest(file), Open::Ingest(open)) => {
                self.ingest.write(&node.session, file, open, data).await
            }
            _ => Err(Refusal::InvalidPath),
        };
        self.answer(written)?;
        Ok(data.len())
    }

    async fn readdir(
        &self,
        node: &Node,
        open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        let listed = match (node.at, open) {
            (At::Own(directory), Open::Own(_)) => self.list_own(directory, offset, out),
            (At::Gpu(directory), Open::Gpu(open)) => self.gpu.readdir(directory, open, offset, out),
            (At::Ingest(directory), Open::Ingest(open)) => self.ingest.readdir(directory, open, offset, out),
            _ => Err(Refusal::InvalidPath),
        };
        self.answer(listed)
    }

    async fn getattr(&self, node: &Node) -> Result<Attr, Errno> {
        let attr = match node.at {
            At::Own(file) => Ok(own::getattr(&self.queen, &node.session, file)),
            At::Gpu(file) => self.gpu.getattr(&node.session, file),
            At::Ingest(file) => self.ingest.getattr(&node.session, file),
        };
        self.answer(attr)
    }

    async fn clunk(&self, node: Node, open: Option<Open>) {
        let session = node.session.id();
        drop((node, open));
        if !self.sessions.is_live(session) {
            self.gpu.ended(session);
            self.ingest.ended(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_directory_are_in_order() {
        for (at, name, directory) in NAMES {
            let following = NAMES.iter().skip_while(|entry| entry.0 != at).skip(1);
            for (_, other, parent) in following {
                assert!(*parent != directory || *other > name, "{name} before {other}");
            }
        }
    }
}
