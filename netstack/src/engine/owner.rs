//! What the owner of a connection asks of the table: closing, leaving, and why it failed.
//!
//! Answers for: telling an orderly end from a failure, and what happens to a socket whose owner goes away.
//! Never: blocks; an outcome that is not there yet is `Pending`, and the socket's wakers say when to ask again.

use core::task::Poll;

use runtime::time::Instant;
use smoltcp::socket::tcp;

use super::slots::{Phase, SlotId, Table};
use crate::error::{ConnectError, TcpError};

impl Table {
    /// Whether a connection request was answered.
    pub(crate) fn connect_outcome(&mut self, id: SlotId, now: Instant) -> Poll<Result<(), ConnectError>> {
        match self.socket(id).state() {
            tcp::State::SynSent | tcp::State::SynReceived => Poll::Pending,
            tcp::State::Closed => Poll::Ready(Err(match self.slot(id).ended {
                Some(TcpError::Reset) => ConnectError::Refused,
                Some(TcpError::LinkLost) => ConnectError::LinkLost,
                _ => ConnectError::TimedOut,
            })),
            _ => {
                self.enter(id, Phase::Held, now, None);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Closes the owner's direction.
    pub(crate) fn shutdown(&mut self, id: SlotId) {
        self.slot_mut(id).shut = true;
        self.socket_mut(id).close();
    }

    /// Aborts a connection that is not closed in time from now.
    pub(crate) fn limit_close(&mut self, id: SlotId, now: Instant) {
        let deadline = now + self.timers.close;
        self.slot_mut(id).deadline = Some(deadline);
        self.unsettled = true;
    }

    /// Whether the peer has acknowledged everything, the end included.
    pub(crate) fn close_outcome(&self, id: SlotId) -> Poll<Result<(), TcpError>> {
        let socket = self.socket(id);
        match socket.state() {
            tcp::State::FinWait2 | tcp::State::TimeWait => Poll::Ready(Ok(())),
            tcp::State::Closed => Poll::Ready(match self.slot(id).ended {
                Some(error) => Err(error),
                None if socket.send_queue() == 0 => Ok(()),
                None => Err(TcpError::TimedOut),
            }),
            _ => Poll::Pending,
        }
    }

    /// Why an operation on this connection failed.
    pub(crate) fn failure(&self, id: SlotId) -> TcpError {
        let slot = self.slot(id);
        let closed = self.socket(id).state() == tcp::State::Closed;
        match slot.ended {
            Some(error) => error,
            // smoltcp ends a connection by itself for one reason only.
            None if closed && !slot.shut => TcpError::TimedOut,
            None => TcpError::Closed,
        }
    }

    /// Takes a connection over from an owner that has gone: one that ended well may linger, any other is aborted.
    pub(crate) fn leave(&mut self, id: SlotId, now: Instant) {
        match self.socket(id).state() {
            tcp::State::FinWait2 | tcp::State::TimeWait => {
                self.enter(id, Phase::Lingering, now, Some(now + self.timers.linger));
            }
            state => {
                let slot = self.slot(id);
                if state == tcp::State::Closed && slot.ended.is_none() && !slot.shut {
                    self.counts.timeouts += 1;
                }
                self.abort(id, now);
            }
        }
    }

    /// Takes a connection over from its owner: delivers what was written, says goodbye, frees the socket.
    pub(crate) fn drain(&mut self, id: SlotId, now: Instant) {
        self.socket_mut(id).close();
        self.enter(id, Phase::Draining, now, Some(now + self.timers.close));
        self.settle_slot(id, now);
    }
}
