//! How connections move from phase to phase when time passes, and how they end.
//!
//! Answers for: every phase that must end having a deadline, and for the wake-up of whoever waits.
//! Never: looks at a socket whose owner looks after it.

use core::time::Duration;

use runtime::time::Instant;
use smoltcp::socket::tcp::{self, State};

use super::slots::{Phase, Slot, SlotId, Table, wipe};
use crate::error::TcpError;

/// Time a reset has to leave for a peer that may not even be reachable.
const RESET_GRACE: Duration = Duration::from_secs(1);

impl Slot {
    /// Whether time or the peer may move it to another phase.
    fn is_unsettled(&self) -> bool {
        match self.phase {
            Phase::Free => false,
            Phase::Held => self.deadline.is_some(),
            _ => true,
        }
    }
}

impl Table {
    /// Aborts a connection whose owner has gone: the peer is told with one reset.
    pub(crate) fn abort(&mut self, id: SlotId, now: Instant) {
        let socket = self.socket_mut(id);
        socket.abort();
        if socket.remote_endpoint().is_none() {
            self.release(id);
        } else {
            self.enter(id, Phase::Aborting, now, Some(now + RESET_GRACE));
        }
    }

    /// Lets every connection take the next step that time or its peer has made possible.
    pub(crate) fn settle(&mut self, now: Instant) {
        if !self.unsettled {
            return;
        }
        for id in self.ids() {
            self.settle_slot(id, now);
        }
        self.open_doors();
        self.unsettled = self.slots.iter().any(Slot::is_unsettled) || self.has_shut_door();
    }

    /// When [`Table::settle`] has something to do even if no frame arrives.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.unsettled {
            return None;
        }
        self.slots.iter().filter_map(|slot| slot.deadline).min()
    }

    pub(crate) fn settle_slot(&mut self, id: SlotId, now: Instant) {
        let slot = self.slot(id);
        if !slot.is_unsettled() {
            return;
        }
        let late = slot.deadline.is_some_and(|deadline| now >= deadline);
        let phase = slot.phase;
        let socket = self.socket_mut(id);
        let state = socket.state();
        match (phase, state) {
            (Phase::HalfOpen { door }, State::Established | State::CloseWait) => self.queue(door, id, now),
            (Phase::HalfOpen { .. }, State::SynReceived) if !late => {}
            (Phase::HalfOpen { .. }, _) => {
                self.counts.timeouts += 1;
                self.release(id);
            }
            (Phase::Ready { door }, State::Closed) => {
                self.unqueue(door, id);
                self.release(id);
            }
            (Phase::Connecting | Phase::Held, _) if late => {
                socket.abort();
                self.counts.timeouts += 1;
                let slot = self.slot_mut(id);
                slot.deadline = None;
                slot.ended = slot.ended.or(Some(TcpError::TimedOut));
            }
            (Phase::Draining, State::FinWait2 | State::TimeWait) => {
                self.enter(id, Phase::Lingering, now, Some(now + self.timers.linger));
                self.settle_slot(id, now);
            }
            (Phase::Lingering, State::TimeWait) => self.slot_mut(id).deadline = None,
            (Phase::Draining | Phase::Lingering | Phase::Aborting, State::Closed)
                if socket.remote_endpoint().is_none() || late =>
            {
                self.release(id);
            }
            (Phase::Draining | Phase::Lingering, _) if late => self.abort(id, now),
            (Phase::Draining | Phase::Lingering, _) => discard(socket),
            _ => {}
        }
    }

    /// Acts on a reset that smoltcp has accepted for this connection.
    pub(crate) fn after_reset(&mut self, id: SlotId) {
        let state = self.socket(id).state();
        match self.slot(id).phase {
            // smoltcp makes it a listening socket again, in a place that is for connections.
            Phase::HalfOpen { .. } if matches!(state, State::Listen | State::Closed) => self.release(id),
            Phase::Connecting | Phase::Held if state == State::Closed => {
                self.counts.resets += 1;
                let slot = self.slot_mut(id);
                slot.ended = slot.ended.or(Some(TcpError::Reset));
            }
            _ => {}
        }
    }

    /// Ends every connection, silently: the link took the peers with it.
    pub(crate) fn lose_all(&mut self) {
        for id in self.ids() {
            match self.slot(id).phase {
                Phase::Free => {}
                Phase::Connecting | Phase::Held => {
                    self.counts.link_losses += 1;
                    let slot = self.slot_mut(id);
                    slot.ended = slot.ended.or(Some(TcpError::LinkLost));
                    slot.deadline = None;
                    wipe(self.socket_mut(id));
                }
                Phase::Ready { door } => {
                    self.unqueue(door, id);
                    self.release(id);
                }
                _ => self.release(id),
            }
        }
    }
}

/// Throws away what a peer still sends to a connection that nobody reads any more.
fn discard(socket: &mut tcp::Socket<'static>) {
    while socket.can_recv() {
        if socket.recv(|bytes| (bytes.len(), ())).is_err() {
            return;
        }
    }
}
