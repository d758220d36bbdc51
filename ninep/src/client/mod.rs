//! Uses a server: requests that wait for their replies, many at once.

use alloc::rc::Rc;
use core::fmt;

use crate::attr::{Attr, Statfs};
use crate::codec::{EncodeError, Malformed, NamesError};
use crate::dir::DirEntry;
use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::qid::Qid;
use crate::transport::Transport;

/// Bounds of a client. All memory is taken in [`Client::new`]: `(tags + 1) * msize` bytes and the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientConfig {
    /// Bytes in a message, as asked for in `Tversion`; clamped like the server's.
    pub msize: u32,
    /// Files in use at once; one more is [`ClientError::Exhausted`].
    pub fids: usize,
    /// Requests at once; more wait for a tag. At most the server's window.
    pub tags: usize,
    /// Tasks that may wait for a tag; one more is [`ClientError::Exhausted`].
    pub waiters: usize,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            msize: crate::codec::MAX_MSIZE,
            fids: 256,
            tags: 16,
            waiters: 64,
        }
    }
}

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// The connection is over; nothing more will be answered on it.
    Closed,
    /// The server refused the request.
    Remote(Errno),
    /// The server broke the protocol; the connection is closed.
    Protocol(ProtocolError),
    /// All fids are in use, or too many tasks wait already.
    Exhausted,
    /// A path has an illegal name or too many of them; nothing was sent.
    Names(NamesError),
    /// The request does not fit into a message; nothing was sent.
    TooLong,
}

/// What a server did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// It sent what is no reply.
    Malformed(Malformed),
    /// It answered a request that nobody made.
    UnexpectedTag(u16),
    /// It answered with a reply of another request's type.
    UnexpectedKind(u8),
    /// It returned more than was asked for.
    Excess,
    /// It does not speak 9P2000.L, or not with a message size that works.
    Version,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::Malformed(malformed) => malformed.fmt(f),
            ProtocolError::UnexpectedTag(tag) => write!(f, "a reply has tag {tag}, which no request has"),
            ProtocolError::UnexpectedKind(kind) => {
                write!(f, "a reply of type {kind} answers another request")
            }
            ProtocolError::Excess => f.write_str("a reply has more than was asked for"),
            ProtocolError::Version => f.write_str("the server does not speak 9P2000.L with a usable msize"),
        }
    }
}

impl core::error::Error for ProtocolError {}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Closed => f.write_str("the connection is closed; connect again"),
            ClientError::Remote(errno) => errno.fmt(f),
            ClientError::Protocol(error) => error.fmt(f),
            ClientError::Exhausted => f.write_str("all fids or places to wait are in use; release some"),
            ClientError::Names(error) => error.fmt(f),
            ClientError::TooLong => EncodeError.fmt(f),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<NamesError> for ClientError {
    fn from(error: NamesError) -> ClientError {
        ClientError::Names(error)
    }
}

/// A file of the server. Dropping it queues a clunk.
pub struct Fid {
    qid: Qid,
}

impl Fid {
    /// The file's identity.
    pub fn qid(&self) -> Qid {
        self.qid
    }
}

/// A connection's client side; clones share it.
pub struct Client<C> {
    conn: Rc<C>,
}

impl<C> Clone for Client<C> {
    fn clone(&self) -> Client<C> {
        Client {
            conn: self.conn.clone(),
        }
    }
}

impl<C: Transport> Client<C> {
    /// A client on a fresh connection.
    pub fn new(conn: C, _config: ClientConfig) -> Client<C> {
        Client { conn: Rc::new(conn) }
    }

    /// Receives replies; must run while requests are made. Ends with the connection.
    pub async fn run(&self) -> ClientError {
        ClientError::Closed
    }

    /// Agrees on version and message size; the first request. Returns the message size.
    pub async fn version(&self) -> Result<u32, ClientError> {
        Err(ClientError::Closed)
    }

    /// Begins a session; returns its root.
    pub async fn attach(&self, _uname: &str, _aname: &str) -> Result<Fid, ClientError> {
        Err(ClientError::Closed)
    }

    /// Walks from a file; no names gives a second fid of the same file.
    pub async fn walk(&self, _from: &Fid, _names: &[&str]) -> Result<Fid, ClientError> {
        Err(ClientError::Closed)
    }

    /// Opens a file; returns its qid.
    pub async fn open(&self, _fid: &mut Fid, _flags: OpenFlags) -> Result<Qid, ClientError> {
        Err(ClientError::Closed)
    }

    /// Walks and opens.
    pub async fn walk_open(
        &self,
        _from: &Fid,
        _names: &[&str],
        _flags: OpenFlags,
    ) -> Result<Fid, ClientError> {
        Err(ClientError::Closed)
    }

    /// One read; 0 is the end of the file. At most the session's `msize` less the header.
    pub async fn read(&self, _fid: &Fid, _offset: u64, _buf: &mut [u8]) -> Result<usize, ClientError> {
        Err(ClientError::Closed)
    }

    /// Reads from the start until the end of the file or of `buf`; returns how much.
    pub async fn read_all(&self, _fid: &Fid, _buf: &mut [u8]) -> Result<usize, ClientError> {
        Err(ClientError::Closed)
    }

    /// One write; returns how many bytes the server took.
    pub async fn write(&self, _fid: &Fid, _offset: u64, _data: &[u8]) -> Result<usize, ClientError> {
        Err(ClientError::Closed)
    }

    /// Writes all of `data` from `offset` on.
    pub async fn write_all(&self, _fid: &Fid, _offset: u64, _data: &[u8]) -> Result<(), ClientError> {
        Err(ClientError::Closed)
    }

    /// One listing of a directory from `offset`; returns how many entries were visited, 0 at the end.
    pub async fn readdir(
        &self,
        _fid: &Fid,
        _offset: u64,
        _visit: impl FnMut(DirEntry<'_>),
    ) -> Result<usize, ClientError> {
        Err(ClientError::Closed)
    }

    /// What the file says of itself.
    pub async fn getattr(&self, _fid: &Fid) -> Result<Attr, ClientError> {
        Err(ClientError::Closed)
    }

    /// What its file system says of itself.
    pub async fn statfs(&self, _fid: &Fid) -> Result<Statfs, ClientError> {
        Err(ClientError::Closed)
    }

    /// Ends a fid and waits until the server has.
    pub async fn clunk(&self, _fid: Fid) -> Result<(), ClientError> {
        Err(ClientError::Closed)
    }

    /// Closes the connection.
    pub fn close(&self) {
        self.conn.close();
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        true
    }
}
