//! One TCP connection.
//!
//! Answers for: reads and writes that await, half-close, an orderly close with a bound on its time, abort.
//! Never: loses a byte it has reported as written without saying so: a [`TcpStream::close`] that returns `Ok`
//! means that the peer has acknowledged everything.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::net::SocketAddrV4;
use core::task::Poll;

use smoltcp::socket::tcp;

use crate::engine::SlotId;
use crate::error::{ConnectError, TcpError};
use crate::stack::Shared;

/// A read that leaves at least this share of the receive buffer's room unused needs no news to the peer.
const WINDOW_SHARE: usize = 4;

/// A connection. Dropping it aborts it, unless it was closed.
///
/// One task may read and one may write at the same time; two readers (or two writers) would take each other's
/// wake-ups. Every wait may be dropped without loss.
pub struct TcpStream {
    shared: Rc<Shared>,
    slot: SlotId,
    peer: SocketAddrV4,
    /// Whether the socket is still ours to give back.
    owned: bool,
}

impl TcpStream {
    pub(crate) fn new(shared: Rc<Shared>, slot: SlotId, peer: SocketAddrV4) -> Self {
        Self {
            shared,
            slot,
            peer,
            owned: true,
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddrV4 {
        self.peer
    }

    /// Reads at least one byte into `buf`; 0 says that the peer has closed its direction (or `buf` is empty).
    pub async fn read(&self, buf: &mut [u8]) -> Result<usize, TcpError> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let read = self.try_read_with(|bytes| {
                let len = bytes.len().min(buf.len());
                buf[..len].copy_from_slice(&bytes[..len]);
                (len, len)
            })?;
            match read {
                Some(len) => return Ok(len),
                None => self.readable().await,
            }
        }
    }

    /// Writes as much of `data` as the send buffer takes, at least one byte (or none of none).
    pub async fn write(&self, data: &[u8]) -> Result<usize, TcpError> {
        if data.is_empty() {
            return Ok(0);
        }
        loop {
            let written = self.try_write_with(|space| {
                let len = space.len().min(data.len());
                space[..len].copy_from_slice(&data[..len]);
                (len, len)
            })?;
            match written {
                Some(len) => return Ok(len),
                None => self.writable().await,
            }
        }
    }

    /// Writes all of `data`. If it fails, or is dropped half-way, a part may have been written.
    pub async fn write_all(&self, mut data: &[u8]) -> Result<(), TcpError> {
        while !data.is_empty() {
            let written = self.write(data).await?;
            data = data.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for bytes to read, the end of the peer's direction, or a failure.
    pub async fn readable(&self) {
        poll_fn(|cx| {
            let mut engine = self.shared.engine.borrow_mut();
            let socket = engine.table.socket_mut(self.slot);
            if socket.can_recv() || !socket.may_recv() {
                return Poll::Ready(());
            }
            socket.register_recv_waker(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Waits for room to write, or a failure.
    pub async fn writable(&self) {
        poll_fn(|cx| {
            let mut engine = self.shared.engine.borrow_mut();
            let socket = engine.table.socket_mut(self.slot);
            if socket.can_send() || !socket.may_send() {
                return Poll::Ready(());
            }
            socket.register_send_waker(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Lets `take` have the bytes at the front of the receive buffer, as many as lie in one piece, without
    /// copying them; it says how many it has used up. `Ok(None)`: nothing there yet. An empty slice: the peer
    /// has closed its direction. `take` must not use this stack.
    pub fn try_read_with<R>(&self, take: impl FnOnce(&[u8]) -> (usize, R)) -> Result<Option<R>, TcpError> {
        let mut engine = self.shared.engine.borrow_mut();
        let socket = engine.table.socket_mut(self.slot);
        if socket.may_recv() && !socket.can_recv() {
            return Ok(None);
        }
        let unread = socket.recv_queue();
        let mut take = Some(take);
        let result = socket.recv(|bytes| match take.take() {
            Some(take) => {
                let (used, result) = take(bytes);
                (used.min(bytes.len()), Some(result))
            }
            None => (0, None),
        });
        match result {
            Ok(result) => {
                let touch = unread > socket.recv_capacity() / WINDOW_SHARE;
                drop(engine);
                if touch {
                    self.shared.touch();
                }
                Ok(result)
            }
            Err(tcp::RecvError::Finished) => Ok(take.map(|take| take(&[]).1)),
            Err(tcp::RecvError::InvalidState) => Err(engine.table.failure(self.slot)),
        }
    }

    /// Lets `fill` write into the free space of the send buffer, as much as lies in one piece, without a copy;
    /// it says how many bytes it has written. `Ok(None)`: no room now. `fill` must not use this stack.
    pub fn try_write_with<R>(
        &self,
        fill: impl FnOnce(&mut [u8]) -> (usize, R),
    ) -> Result<Option<R>, TcpError> {
        let mut engine = self.shared.engine.borrow_mut();
        let socket = engine.table.socket_mut(self.slot);
        if socket.may_send() && !socket.can_send() {
            return Ok(None);
        }
        let result = socket.send(|space| {
            let (filled, result) = fill(space);
            let filled = filled.min(space.len());
            (filled, (filled, result))
        });
        match result {
            Ok((filled, result)) => {
                drop(engine);
                if filled > 0 {
                    self.shared.touch();
                }
                Ok(Some(result))
            }
            Err(tcp::SendError::InvalidState) => Err(engine.table.failure(self.slot)),
        }
    }

    /// Closes this side's direction: the peer reads what was written and then the end. Reading goes on.
    pub fn shutdown(&self) {
        self.shared.engine.borrow_mut().table.shutdown(self.slot);
        self.shared.touch();
    }

    /// Closes the connection and waits until the peer has acknowledged everything that was written, at most
    /// [`Timers::close`](crate::Timers::close); then it is aborted. What the peer still sends is thrown away.
    pub async fn close(self) -> Result<(), TcpError> {
        self.shutdown();
        let now = self.shared.now();
        self.shared.engine.borrow_mut().table.limit_close(self.slot, now);
        poll_fn(|cx| {
            let mut engine = self.shared.engine.borrow_mut();
            let outcome = engine.table.close_outcome(self.slot);
            if outcome.is_pending() {
                engine.table.socket_mut(self.slot).register_send_waker(cx.waker());
            }
            outcome
        })
        .await
    }

    /// Closes the connection without waiting: the stack delivers what was written, within the same time as
    /// [`TcpStream::close`], and then frees the socket.
    pub fn finish(mut self) {
        self.owned = false;
        let now = self.shared.now();
        self.shared.engine.borrow_mut().table.drain(self.slot, now);
        self.shared.touch();
    }

    /// Ends the connection at once: the peer sees a reset, and what it has not acknowledged may be lost.
    pub fn abort(self) {
        drop(self);
    }

    /// Waits until the connection is over, and says why. Takes the place of the reader: do not read meanwhile.
    pub async fn failed(&self) -> TcpError {
        poll_fn(|cx| {
            let mut engine = self.shared.engine.borrow_mut();
            if engine.table.socket(self.slot).state() == tcp::State::Closed {
                return Poll::Ready(engine.table.failure(self.slot));
            }
            engine.table.socket_mut(self.slot).register_recv_waker(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Waits until a connection request was answered.
    pub(crate) async fn connected(&self) -> Result<(), ConnectError> {
        poll_fn(|cx| {
            let mut engine = self.shared.engine.borrow_mut();
            let outcome = engine.table.connect_outcome(self.slot, self.shared.now());
            if outcome.is_pending() {
                engine.table.socket_mut(self.slot).register_send_waker(cx.waker());
            }
            outcome
        })
        .await
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        if self.owned {
            let now = self.shared.now();
            self.shared.engine.borrow_mut().table.leave(self.slot, now);
            self.shared.touch();
        }
    }
}
