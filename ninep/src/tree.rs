//! What a server serves: a tree of files whose operations may wait.
//!
//! Answers for the contract between the engine and an actor's files. The engine
//! has checked every argument before a tree sees it. Never knows fids, tags or
//! messages: those are the engine's.

use alloc::rc::Rc;

use crate::attr::{Attr, Statfs};
use crate::dir::DirWriter;
use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::qid::Qid;

/// A tree of files, served by [`Server`](crate::server::Server).
///
/// Several operations are in progress at once, on one connection and on many,
/// but never two on the same open file. Any future but that of
/// [`clunk`](FileTree::clunk) may be dropped at any point where it waits: the
/// client flushed the request or went away. What it has not returned did not
/// happen for the client, so it must not keep something half done.
#[allow(async_fn_in_trait)] // static dispatch, one thread
pub trait FileTree {
    /// A file, as a fid names it. A clone names the same file.
    type Node: Clone;
    /// What an open file keeps between operations.
    type Open;

    /// Begins a session for `uname`; returns the root it sees.
    async fn attach(&self, uname: &str, aname: &str) -> Result<(Self::Node, Qid), Errno>;

    /// Walks from a file along `names` (1 to 8 legal names, never `.` or `..`).
    ///
    /// Fills `qids` (as long as `names`) from the front and returns how many
    /// names were walked, with the node when all of them were. If the first name
    /// leads nowhere that is an error; if a later one does, it is a short count.
    async fn walk(
        &self,
        from: &Self::Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Self::Node>), Errno>;

    /// Opens a file; the access mode is valid, and not writing if it is a directory.
    ///
    /// The number is the `iounit`: the most bytes one read or write moves
    /// atomically; 0 leaves it to the message size.
    async fn open(&self, node: &Self::Node, flags: OpenFlags) -> Result<(Self::Open, Qid, u32), Errno>;

    /// Reads into `buf` from `offset`; 0 is the end of the file. May wait for data.
    async fn read(
        &self,
        node: &Self::Node,
        open: &mut Self::Open,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Errno>;

    /// Writes `data` at `offset`; returns how many bytes were taken.
    async fn write(
        &self,
        node: &Self::Node,
        open: &mut Self::Open,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Errno>;

    /// Lists a directory from `offset` (0, or the offset of the last entry the client has seen).
    ///
    /// Pushes entries until the writer is full or there are no more.
    async fn readdir(
        &self,
        node: &Self::Node,
        open: &mut Self::Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno>;

    /// What the file says of itself.
    async fn getattr(&self, node: &Self::Node) -> Result<Attr, Errno>;

    /// What the file system says of itself.
    async fn statfs(&self, _node: &Self::Node) -> Result<Statfs, Errno> {
        Ok(Statfs::default())
    }

    /// A fid has ended. Called exactly once for every fid, also when the
    /// connection ends, a walk replaces its own fid, or the session is reset.
    /// This future is never dropped before it completes.
    async fn clunk(&self, node: Self::Node, open: Option<Self::Open>);
}

macro_rules! forward {
    ($pointer:ty) => {
        impl<T: FileTree + ?Sized> FileTree for $pointer {
            type Node = T::Node;
            type Open = T::Open;

            async fn attach(&self, uname: &str, aname: &str) -> Result<(T::Node, Qid), Errno> {
                (**self).attach(uname, aname).await
            }

            async fn walk(
                &self,
                from: &T::Node,
                names: &[&str],
                qids: &mut [Qid],
            ) -> Result<(usize, Option<T::Node>), Errno> {
                (**self).walk(from, names, qids).await
            }

            async fn open(&self, node: &T::Node, flags: OpenFlags) -> Result<(T::Open, Qid, u32), Errno> {
                (**self).open(node, flags).await
            }

            async fn read(
                &self,
                node: &T::Node,
                open: &mut T::Open,
                offset: u64,
                buf: &mut [u8],
            ) -> Result<usize, Errno> {
                (**self).read(node, open, offset, buf).await
            }

            async fn write(
                &self,
                node: &T::Node,
                open: &mut T::Open,
                offset: u64,
                data: &[u8],
            ) -> Result<usize, Errno> {
                (**self).write(node, open, offset, data).await
            }

            async fn readdir(
                &self,
                node: &T::Node,
                open: &mut T::Open,
                offset: u64,
                out: &mut DirWriter<'_>,
            ) -> Result<(), Errno> {
                (**self).readdir(node, open, offset, out).await
            }

            async fn getattr(&self, node: &T::Node) -> Result<Attr, Errno> {
                (**self).getattr(node).await
            }

            async fn statfs(&self, node: &T::Node) -> Result<Statfs, Errno> {
                (**self).statfs(node).await
            }

            async fn clunk(&self, node: T::Node, open: Option<T::Open>) {
                (**self).clunk(node, open).await;
            }
        }
    };
}

forward!(&T);
forward!(Rc<T>);
