//! Frames one way over rings whose indices begin anywhere, as after four billion frames.
//!
//! Answers for: driving the transmitter and the receiver that ship over the memory of a link, without its handshake, for
//! tests against other implementations of the rings.
//! Never: part of a hive, where indices begin at 0 with every incarnation.

use super::Violation;
use super::frames::{Received, Receiver, Transmitter};
use super::memory::{LinkMemory, Side};

/// What one side sends over.
#[derive(Debug)]
pub struct AgedTransmitter {
    memory: LinkMemory,
    side: Side,
    inner: Transmitter,
}

/// What one side receives over.
#[derive(Debug)]
pub struct AgedReceiver {
    memory: LinkMemory,
    side: Side,
    inner: Receiver,
}

impl AgedTransmitter {
    /// `side`'s transmitter, all slots at hand, its indices at `index`.
    pub fn new(memory: &LinkMemory, side: Side, index: u32) -> Self {
        let to = memory.view(side).out;
        let mut inner = Transmitter::new(to.shape);
        inner.reset_to(to, index);
        Self {
            memory: memory.clone(),
            side,
            inner,
        }
    }

    /// Sends `frame`; false if the peer has all slots.
    ///
    /// # Errors
    /// The [`Violation`] that the peer committed.
    pub fn send(&mut self, frame: &[u8]) -> Result<bool, Violation> {
        self.inner.send(self.memory.view(self.side).out, frame)
    }
}

impl AgedReceiver {
    /// `side`'s receiver, its indices at `index`.
    pub fn new(memory: &LinkMemory, side: Side, index: u32) -> Self {
        let from = memory.view(side).inn;
        let mut inner = Receiver::new(from);
        inner.reset_to(from, index);
        Self {
            memory: memory.clone(),
            side,
            inner,
        }
    }

    /// Copies the next frame into `buf`, if there is one; its length, which is more than `buf`'s if it did not fit and
    /// is lost.
    ///
    /// # Errors
    /// The [`Violation`] that the peer committed.
    pub fn receive(&mut self, buf: &mut [u8]) -> Result<Option<usize>, Violation> {
        let received = self.inner.receive(self.memory.view(self.side).inn, buf)?;
        Ok(match received {
            Received::Nothing => None,
            Received::Frame(len) | Received::TooLong(len) => Some(len),
        })
    }
}
