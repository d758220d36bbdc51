//! What carries 9P frames: one message per frame, in order, or closed for ever.
//!
//! Answers for the contract between the engine and whatever moves the bytes.
//! Never looks inside a frame.

use alloc::rc::Rc;
use core::fmt;

/// The connection has ended and will never carry a frame again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed; a new one is needed")
    }
}

impl core::error::Error for Closed {}

/// Carries frames between a client and a server. A frame is one 9P message with
/// its length field.
///
/// Several tasks may wait in `send` on one transport at once, and one in `recv`.
#[allow(async_fn_in_trait)] // static dispatch, one thread
pub trait Transport {
    /// Waits for the next frame, copies it to the front of `buf` and returns its length.
    ///
    /// A frame that is longer than `buf` is an error and ends the connection.
    /// Dropping the future loses no frame.
    async fn recv(&self, buf: &mut [u8]) -> Result<usize, Closed>;

    /// Waits for space and hands over one frame.
    ///
    /// The future completes in the poll that hands the frame over, so that a
    /// future dropped before it has completed has sent nothing.
    async fn send(&self, frame: &[u8]) -> Result<(), Closed>;

    /// Ends the connection: both sides' `recv` and `send` fail from now on.
    fn close(&self) {}
}

impl<C: Transport + ?Sized> Transport for &C {
    async fn recv(&self, buf: &mut [u8]) -> Result<usize, Closed> {
        (**self).recv(buf).await
    }

    async fn send(&self, frame: &[u8]) -> Result<(), Closed> {
        (**self).send(frame).await
    }

    fn close(&self) {
        (**self).close();
    }
}

impl<C: Transport + ?Sized> Transport for Rc<C> {
    async fn recv(&self, buf: &mut [u8]) -> Result<usize, Closed> {
        (**self).recv(buf).await
    }

    async fn send(&self, frame: &[u8]) -> Result<(), Closed> {
        (**self).send(frame).await
    }

    fn close(&self) {
        (**self).close();
    }
}

/// A link's connection: one incarnation of both sides. A fresh one needs a fresh
/// server session and a fresh client.
impl Transport for runtime::link::Connection {
    async fn recv(&self, buf: &mut [u8]) -> Result<usize, Closed> {
        self.recv(buf).await.map_err(|_| Closed)
    }

    async fn send(&self, frame: &[u8]) -> Result<(), Closed> {
        self.send(frame).await.map_err(|_| Closed)
    }

    fn close(&self) {
        self.close();
    }
}
