//! Links.
use core::fmt;

use crate::memory::Violation;

/// One side of a link.
#[derive(Clone)]
pub struct Link {}

/// One incarnation.
#[derive(Clone)]
pub struct Connection {}

/// Why a connection failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// This incarnation is over.
    Closed,
    /// The peer broke the discipline; this incarnation is over.
    Violation(Violation),
    /// A frame does not fit.
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
    /// All slots are with the peer.
    Full,
    /// The connection failed.
    Link(LinkError),
}

impl Link {
    /// The link's name.
    pub fn name(&self) -> &str {
        unimplemented!()
    }
    /// The peer's name.
    pub fn peer(&self) -> &str {
        unimplemented!()
    }
    /// The longest frame, in bytes.
    pub fn frame_bytes(&self) -> usize {
        unimplemented!()
    }
    /// Waits until both sides are up.
    pub async fn connect(&self) -> Connection {
        unimplemented!()
    }
}

impl Connection {
    /// The longest frame, in bytes.
    pub fn frame_bytes(&self) -> usize {
        unimplemented!()
    }
    /// Sends a frame, waiting for space.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn send(&self, _frame: &[u8]) -> Result<(), LinkError> {
        unimplemented!()
    }
    /// Sends a frame if there is space now.
    ///
    /// # Errors
    /// See [`TrySendError`].
    pub fn try_send(&self, _frame: &[u8]) -> Result<(), TrySendError> {
        unimplemented!()
    }
    /// Receives one frame into `buf`; its length.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn recv(&self, _buf: &mut [u8]) -> Result<usize, LinkError> {
        unimplemented!()
    }
    /// Receives one frame if there is one now.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn try_recv(&self, _buf: &mut [u8]) -> Result<Option<usize>, LinkError> {
        unimplemented!()
    }
    /// Waits until a frame is there.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn readable(&self) -> Result<(), LinkError> {
        unimplemented!()
    }
    /// Waits until there is space.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn writable(&self) -> Result<(), LinkError> {
        unimplemented!()
    }
    /// Waits until this incarnation is over.
    pub async fn closed(&self) {
        unimplemented!()
    }
    /// Whether this incarnation is over.
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
    /// Ends this incarnation.
    pub fn close(&self) {
        unimplemented!()
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is over: connect again"),
            Self::Violation(violation) => write!(f, "the peer broke the ring's discipline: {violation}"),
            Self::TooLong { len, max } => write!(f, "a frame of {len} bytes where at most {max} fit"),
        }
    }
}

impl core::error::Error for LinkError {}
