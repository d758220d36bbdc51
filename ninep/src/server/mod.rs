//! Serves a file tree: many requests of a connection in progress at once.
//!
//! Answers for the session (version, tags, fids, flushes), for every bound, and
//! for clunking each fid exactly once whatever happens to the connection. The
//! receiver reads frames, answers what needs no file, and queues the rest for the
//! handlers. Never allocates once a connection has begun, never looks into a file.

mod feed;
mod fids;
mod handler;
mod session;
mod window;

pub use feed::Feed;

use alloc::boxed::Box;
use core::fmt;

use futures::future::join;
use futures::stream::{FuturesUnordered, StreamExt};

use self::handler::Handler;
use self::session::{File, Session, Task, yield_now};
use self::window::Claims;
use crate::codec::kind;
use crate::codec::{
    DecodeError, MAX_MSIZE, MIN_MSIZE, Malformed, Rmessage, Tag, Tmessage, VERSION, VERSION_UNKNOWN, parse_t,
};
use crate::errno::Errno;
use crate::transport::Transport;
use crate::tree::FileTree;

/// The most names a walk may have here. More are refused with `EINVAL`.
pub const MAX_WALK_DEPTH: usize = 8;

/// Bounds of a connection. All memory is taken when a connection begins:
/// `(tags + 1) * msize` bytes and the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// Bytes in a message; clamped to [`MIN_MSIZE`]..=[`MAX_MSIZE`].
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
    ///
    /// Bounds out of range are moved into it: `msize` as said there, `tags` and
    /// `fids` to at least 1, `handlers` to 1..=`tags`.
    pub fn new(tree: T, config: ServerConfig) -> Server<T> {
        let tags = config.tags.max(1);
        let config = ServerConfig {
            msize: config.msize.clamp(MIN_MSIZE, MAX_MSIZE),
            fids: config.fids.max(1),
            tags,
            handlers: config.handlers.clamp(1, tags),
        };
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

    /// Serves one connection until it is over, closes it, and clunks what the client left open.
    ///
    /// Dropping the future drops the files without a clunk.
    pub async fn serve<C: Transport>(&self, conn: &C) -> Ended {
        let session = Session::new(&self.config);
        let receiver = async {
            let ended = self.receive(&session, conn).await;
            session.close();
            conn.close();
            ended
        };
        let mut handlers: FuturesUnordered<_> = (0..self.config.handlers)
            .map(|task| self.handle(&session, conn, Task(task)))
            .collect();
        let (ended, ()) = join(receiver, async { while handlers.next().await.is_some() {} }).await;
        self.clunk_all(&session).await;
        ended
    }

    async fn handle<C: Transport>(&self, session: &Session<T>, conn: &C, task: Task) {
        while let Some(mut work) = session.work(task).await {
            let handler = Handler {
                server: self,
                session,
                task,
                id: work.id,
            };
            let len = handler.perform(&mut work).await;
            let wanted = session.performed(work.id);
            let sent = match len.and_then(|len| work.frame.get(..len)) {
                Some(answer) if wanted => self.send(session, conn, task, answer).await,
                _ => Some(()),
            };
            session.finish(work.id, work.frame);
            if sent.is_none() || self.send_flushes(session, conn, task).await.is_none() {
                session.close();
            }
        }
    }

    async fn receive<C: Transport>(&self, session: &Session<T>, conn: &C) -> Ended {
        let task = session.receiver();
        let mut frame = alloc::vec![0; self.config.msize as usize].into_boxed_slice();
        loop {
            // One turn takes no more than the window holds, however fast the client sends.
            for _ in 0..self.config.tags {
                let Some(Ok(len)) = session.unless_closing(task, conn.recv(&mut frame)).await else {
                    return Ended::Closed;
                };
                let answer = match self.accept(session, &mut frame, len).await {
                    Ok(answer) => answer,
                    Err(ended) => return ended,
                };
                if let Some((tag, message)) = answer
                    && self
                        .send_message(session, conn, task, tag, &message)
                        .await
                        .is_none()
                {
                    return Ended::Closed;
                }
                if self.send_flushes(session, conn, task).await.is_none() {
                    return Ended::Closed;
                }
            }
            yield_now().await;
        }
    }

    /// Queues the request in `frame`, or returns the answer to it.
    async fn accept(
        &self,
        session: &Session<T>,
        frame: &mut Box<[u8]>,
        len: usize,
    ) -> Result<Option<(Tag, Rmessage<'static>)>, Ended> {
        let msize = session.msize();
        let Some(request) = frame.get(..len).filter(|request| request.len() <= msize as usize) else {
            return Err(Ended::Oversized { frame: len, msize });
        };
        let refuse = |tag, errno| Ok(Some((tag, Rmessage::Error(errno))));
        match parse_t(request) {
            Err(DecodeError::Malformed(malformed)) => Err(Ended::Malformed(malformed)),
            Err(DecodeError::Refused { tag, errno }) => refuse(tag, errno),
            Ok((tag, Tmessage::Version { msize, version })) => {
                let speaks = version == VERSION;
                Ok(Some((tag, self.begin(session, msize, speaks).await)))
            }
            Ok((tag, _)) if !session.is_versioned() => refuse(tag, Errno::EPROTO),
            Ok((tag, _)) if tag == Tag::NONE => refuse(tag, Errno::EINVAL),
            // "No authentication required", as diod's clients understand it: they then attach without.
            Ok((tag, Tmessage::Other(other))) if other.raw() == kind::TAUTH => refuse(tag, Errno::ENOENT),
            Ok((tag, Tmessage::Other(_))) => refuse(tag, Errno::EOPNOTSUPP),
            Ok((tag, Tmessage::Flush { old })) => match session.flush(tag, old) {
                Ok(true) => Ok(Some((tag, Rmessage::Flush))),
                Ok(false) => Ok(None),
                Err(errno) => refuse(tag, errno),
            },
            Ok((tag, message)) => {
                let claims = Claims::of(&message);
                match session.admit(tag, claims, frame, len).await {
                    Ok(()) => Ok(None),
                    Err(errno) => refuse(tag, errno),
                }
            }
        }
    }

    /// Gives up all that was, and begins a session if the client's version and size will do.
    async fn begin(&self, session: &Session<T>, msize: u32, speaks: bool) -> Rmessage<'static> {
        session.reset().await;
        self.clunk_all(session).await;
        let agreed = msize.min(self.config.msize);
        if !speaks {
            session.begin(None);
            Rmessage::Version {
                msize: agreed,
                version: VERSION_UNKNOWN,
            }
        } else if msize < MIN_MSIZE {
            session.begin(None);
            Rmessage::Error(Errno::EMSGSIZE)
        } else {
            session.begin(Some(agreed));
            Rmessage::Version {
                msize: agreed,
                version: VERSION,
            }
        }
    }

    async fn clunk_all(&self, session: &Session<T>) {
        while let Some(file) = session.pop() {
            self.clunk(file).await;
        }
    }

    async fn clunk(&self, file: File<T>) {
        self.tree.clunk(file.node, file.open.map(|open| open.state)).await;
    }

    /// `None`: the connection is over.
    async fn send<C: Transport>(
        &self,
        session: &Session<T>,
        conn: &C,
        task: Task,
        frame: &[u8],
    ) -> Option<()> {
        session.unless_closing(task, conn.send(frame)).await?.ok()
    }

    async fn send_message<C: Transport>(
        &self,
        session: &Session<T>,
        conn: &C,
        task: Task,
        tag: Tag,
        message: &Rmessage<'static>,
    ) -> Option<()> {
        let mut frame = [0; SMALL_FRAME_BYTES];
        let len = message.emit(tag, &mut frame).ok()?;
        self.send(session, conn, task, frame.get(..len)?).await
    }

    /// Answers the flushes whose requests are answered or dropped by now.
    async fn send_flushes<C: Transport>(&self, session: &Session<T>, conn: &C, task: Task) -> Option<()> {
        while let Some(due) = session.next_flush() {
            self.send_message(session, conn, task, due.tag, &Rmessage::Flush)
                .await?;
            session.flush_sent(due);
        }
        Some(())
    }
}

/// Bytes for the receiver's own answers: `Rlerror`, `Rflush` and `Rversion`.
const SMALL_FRAME_BYTES: usize = 32;
