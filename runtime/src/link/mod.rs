//! Links: frames between two domains, with an end to every conversation.
//!
//! Answers for: connections that live from the moment both sides are up until one side closes, dies or breaks the
//! discipline of the rings; frames in order and whole while it lives; and for every task that waits on a connection
//! hearing of its end. A full ring makes `send` wait, which is the back-pressure.
//! Never: trusts the peer, and never carries anything over from one connection to the next. What was in flight when a
//! connection ended is gone; who needs an answer asks again on the next one.
//!
//! From the inside out: `ring` (one descriptor ring), `frames` (slots and two rings: one direction), `handshake`
//! (incarnations), `endpoint` (one side, all of the above), `memory` (where it lies), `end` (a side and its tasks).

use alloc::rc::Rc;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll, ready};

#[cfg(any(fuzzing, feature = "sim"))]
pub mod aged;
pub(crate) mod end;
mod endpoint;
mod frames;
mod handshake;
mod memory;
#[cfg(loom)]
mod models;
mod ring;

#[cfg(any(test, fuzzing, feature = "sim"))]
pub mod hostile;

pub use memory::{Line, LinkMemory, MAX_FRAME_BYTES, MAX_SLOTS, ShapeError, Side};

use end::{End, Generation};

/// A domain's side of a link. It outlives the connections over it.
#[derive(Clone)]
pub struct Link {
    pub(crate) end: Rc<End>,
}

/// One incarnation of a link, shared by its clones. When the last clone is dropped, it is closed.
///
/// After it is over (closed by either side, peer died or misbehaved) every operation fails, for ever: frames of
/// different incarnations never mix. Several tasks may wait on one connection; each frame goes to one of them.
pub struct Connection {
    end: Rc<End>,
    generation: Generation,
}

/// How a peer broke the ring discipline.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An index is further ahead than the ring is long, or moved backwards.
    Index,
    /// A descriptor's address is not that of a slot.
    Address,
    /// A slot was returned that was not out, or offered while it was on its way back.
    Slot,
    /// A descriptor's length is more than a slot holds.
    Length,
    /// There are more descriptors than slots.
    Overflow,
    /// What one side says was overwritten by the other.
    Words,
}

/// Why a connection did not do what it was asked.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// This incarnation is over: one side closed it, or the peer's domain died.
    Closed,
    /// This incarnation is over because the peer broke the discipline.
    Violation(Violation),
    /// A frame is longer than the link (sending) or the buffer (receiving; the frame is then lost) allows. The
    /// connection goes on.
    TooLong {
        /// The frame's length, in bytes.
        len: usize,
        /// What would fit, in bytes.
        max: usize,
    },
}

/// Why a frame was not sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TrySendError {
    /// The peer has all slots. Try when [`Connection::writable`].
    Full,
    /// See [`LinkError`].
    Link(LinkError),
}

impl Link {
    /// The link's name in the topology.
    pub fn name(&self) -> &str {
        &self.end.name
    }

    /// The name of the domain at the other end.
    pub fn peer(&self) -> &str {
        &self.end.peer
    }

    /// Longest frame, in bytes.
    pub fn frame_bytes(&self) -> usize {
        self.end.frame_bytes()
    }

    /// Waits until both sides are up and gives the connection: the one under way, if a handle to it is alive in this
    /// domain, else a fresh one. This side is up while somebody waits here or holds a connection.
    pub fn connect(&self) -> impl Future<Output = Connection> + use<> {
        Connect {
            end: Rc::clone(&self.end),
            waiting: false,
        }
    }
}

impl Connection {
    /// Longest frame, in bytes.
    pub fn frame_bytes(&self) -> usize {
        self.end.frame_bytes()
    }

    /// Sends a frame, waiting for a slot. Dropped before it is ready, nothing was sent.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn send(&self, frame: &[u8]) -> Result<(), LinkError> {
        poll_fn(|cx| self.poll_send(cx, frame)).await
    }

    /// As [`Connection::send`], for futures written by hand.
    pub fn poll_send(&self, cx: &mut TaskContext<'_>, frame: &[u8]) -> Poll<Result<(), LinkError>> {
        ready!(self.end.core.poll_budget(cx));
        loop {
            match self.try_send(frame) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(TrySendError::Link(error)) => return Poll::Ready(Err(error)),
                Err(TrySendError::Full) => {}
            }
            if !self.end.await_space(self.generation)? {
                self.end.writers.register(cx.waker());
                return Poll::Pending;
            }
        }
    }

    /// Sends a frame if a slot is free.
    ///
    /// # Errors
    /// See [`TrySendError`].
    pub fn try_send(&self, frame: &[u8]) -> Result<(), TrySendError> {
        self.end.send(self.generation, frame)
    }

    /// Waits for one frame and copies it into `buf`; its length in bytes. `buf` should hold
    /// [`Connection::frame_bytes`]. Dropped before it is ready, no frame is lost.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn recv(&self, buf: &mut [u8]) -> Result<usize, LinkError> {
        poll_fn(|cx| self.poll_recv(cx, buf)).await
    }

    /// As [`Connection::recv`], for futures written by hand.
    pub fn poll_recv(&self, cx: &mut TaskContext<'_>, buf: &mut [u8]) -> Poll<Result<usize, LinkError>> {
        ready!(self.end.core.poll_budget(cx));
        loop {
            if let Some(len) = self.try_recv(buf)? {
                return Poll::Ready(Ok(len));
            }
            if !self.end.await_frame(self.generation)? {
                self.end.readers.register(cx.waker());
                return Poll::Pending;
            }
        }
    }

    /// Copies one frame into `buf` if there is one; its length in bytes.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn try_recv(&self, buf: &mut [u8]) -> Result<Option<usize>, LinkError> {
        self.end.receive(self.generation, buf)
    }

    /// Waits until a frame is there. Another task may still take it first.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn readable(&self) -> Result<(), LinkError> {
        poll_fn(|cx| {
            ready!(self.end.core.poll_budget(cx));
            if self.end.await_frame(self.generation)? {
                return Poll::Ready(Ok(()));
            }
            self.end.readers.register(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Waits until a frame could be sent. Another task may still take the slot first.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn writable(&self) -> Result<(), LinkError> {
        poll_fn(|cx| {
            ready!(self.end.core.poll_budget(cx));
            if self.end.await_space(self.generation)? {
                return Poll::Ready(Ok(()));
            }
            self.end.writers.register(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Waits until this incarnation is over.
    pub async fn closed(&self) {
        poll_fn(|cx| {
            if self.is_closed() {
                return Poll::Ready(());
            }
            self.end.watchers.register(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Whether this incarnation is over.
    pub fn is_closed(&self) -> bool {
        self.end.check(self.generation).is_err()
    }

    /// Ends this incarnation for both sides. Frames that the peer has not taken yet are lost.
    pub fn close(&self) {
        self.end.close(self.generation);
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        self.end.add_handle(self.generation);
        Self {
            end: Rc::clone(&self.end),
            generation: self.generation,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end.drop_handle(self.generation);
    }
}

/// A task that waits for a connection, from its first poll on.
struct Connect {
    end: Rc<End>,
    waiting: bool,
}

impl Future for Connect {
    type Output = Connection;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Connection> {
        if !self.waiting {
            self.waiting = true;
            self.end.begin_connect();
        }
        match self.end.poll_connect() {
            Some(generation) => Poll::Ready(Connection {
                end: Rc::clone(&self.end),
                generation,
            }),
            None => {
                self.end.connectors.register(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if self.waiting {
            self.end.end_connect();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("name", &self.name())
            .field("peer", &self.peer())
            .finish()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("link", &self.end.name)
            .field("generation", &self.generation)
            .finish()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "an index must move forward and stay within the ring",
            Self::Address => "a descriptor's address must be that of a slot",
            Self::Slot => "a slot is offered when it is back, and returned when it is out",
            Self::Length => "a descriptor's length must not exceed its slot",
            Self::Overflow => "there must be no more descriptors than slots",
            Self::Words => "a side must not write what the other side says",
        })
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is over: connect again"),
            Self::Violation(violation) => write!(f, "the peer broke the ring discipline: {violation}"),
            Self::TooLong { len, max } => write!(f, "a frame of {len} bytes where at most {max} fit"),
        }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the peer has all slots: wait until the connection is writable"),
            Self::Link(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Violation {}
impl core::error::Error for LinkError {}
impl core::error::Error for TrySendError {}
