//! Listeners inside the engine: one listening socket each, and the connections it has yet to hand out.
//!
//! Answers for: a burst of connection requests being taken, request by request, as far as the backlog and the
//! socket table go; a flood of requests pushing out only requests that never completed; a visible refusal
//! (a reset) when there is no room.
//! Never: lets one listener's flood touch an established connection.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddrV4;
use core::task::Waker;

use runtime::time::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;

use super::slots::{Phase, SlotId, Table, wipe};
use crate::error::BindError;

/// Number of a listener. Made by the table only, so it is always in range.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct DoorId(u16);

pub(crate) struct Door {
    pub(crate) handle: SocketHandle,
    /// The port; 0 while nobody listens.
    port: u16,
    /// Connections it may hold that nobody has accepted yet, half-open ones included.
    backlog: u16,
    /// Established ones, oldest first.
    ready: VecDeque<SlotId>,
    waiters: Waiters,
}

impl Door {
    pub(crate) fn new(handle: SocketHandle, connections: usize) -> Self {
        Self {
            handle,
            port: 0,
            backlog: 0,
            ready: VecDeque::with_capacity(connections),
            waiters: Waiters::new(connections),
        }
    }
}

impl Table {
    pub(crate) fn door(&self, id: DoorId) -> &Door {
        &self.doors[usize::from(id.0)]
    }

    fn door_mut(&mut self, id: DoorId) -> &mut Door {
        &mut self.doors[usize::from(id.0)]
    }

    fn door_ids(&self) -> impl Iterator<Item = DoorId> + use<> {
        (0..self.doors.len() as u16).map(DoorId)
    }

    /// Begins to listen.
    pub(crate) fn bind(&mut self, port: u16, backlog: u16) -> Result<DoorId, BindError> {
        if port == 0 || backlog == 0 {
            return Err(BindError::Zero);
        }
        if self.has_door(port) {
            return Err(BindError::PortInUse(port));
        }
        let id = self
            .door_ids()
            .find(|id| self.door(*id).port == 0)
            .ok_or(BindError::Exhausted)?;
        let door = self.door_mut(id);
        door.port = port;
        door.backlog = backlog;
        self.open_doors();
        Ok(id)
    }

    /// Ends a listener; connections that nobody accepted are reset.
    pub(crate) fn unbind(&mut self, id: DoorId, now: Instant) {
        for slot in self.ids() {
            match self.slot(slot).phase {
                Phase::HalfOpen { door } | Phase::Ready { door } if door == id => self.abort(slot, now),
                _ => {}
            }
        }
        let door = self.door_mut(id);
        door.port = 0;
        door.ready.clear();
        door.waiters.wake_all();
        let handle = door.handle;
        wipe(self.set.get_mut(handle));
    }

    pub(crate) fn has_door(&self, port: u16) -> bool {
        self.doors.iter().any(|door| door.port == port)
    }

    /// The next established connection; it belongs to the caller from now on.
    pub(crate) fn accept(&mut self, id: DoorId, now: Instant) -> Option<SlotId> {
        let slot = self.door_mut(id).ready.pop_front()?;
        self.enter(slot, Phase::Held, now, None);
        self.counts.accepted += 1;
        self.open_doors();
        Some(slot)
    }

    /// Wakes `waker` when [`Table::accept`] may have a connection.
    pub(crate) fn wait(&mut self, id: DoorId, waker: &Waker) {
        self.door_mut(id).waiters.add(waker);
    }

    /// Whether a connection request had better wait a turn: the backlog is full, and with connections that whoever
    /// accepts has had no chance to take yet.
    pub(crate) fn should_wait(&self, from: SocketAddrV4, to: SocketAddrV4) -> bool {
        let door = self.door_ids().find(|id| self.door(*id).port == to.port());
        let Some(id) = door.filter(|_| self.find(from, to).is_none()) else {
            return false;
        };
        self.pending(id) >= usize::from(self.door(id).backlog)
            && self.ids().any(|slot| self.is_ready(slot, id))
    }

    /// Whether a connection of this door can be accepted, or can as soon as the table has settled.
    fn is_ready(&self, slot: SlotId, id: DoorId) -> bool {
        match self.slot(slot).phase {
            Phase::Ready { door } => door == id,
            Phase::HalfOpen { door } => door == id && self.socket(slot).state() != tcp::State::SynReceived,
            _ => false,
        }
    }

    /// Prepares for a connection request that smoltcp is about to see; which door it may reach.
    pub(crate) fn before_open(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> Option<DoorId> {
        let mut known = self.find(from, to);
        if let Some(id) = known {
            // The peer uses its port again, while we are in TIME-WAIT or about to send a reset.
            let over = match self.slot(id).phase {
                Phase::Lingering => self.socket(id).state() == tcp::State::TimeWait,
                phase => phase == Phase::Aborting,
            };
            if over {
                self.release(id);
                known = None;
            }
        }
        let door = self
            .door_ids()
            .find(|id| self.door(*id).port == to.port() && to.port() != 0)?;
        if known.is_none() && !self.open_door(door, true) {
            self.counts.refused += 1;
        }
        Some(door)
    }

    /// Takes the connection request that smoltcp has given to the listening socket, if it did.
    pub(crate) fn after_open(&mut self, id: DoorId, now: Instant) {
        let handle = self.door(id).handle;
        if self.set.get::<tcp::Socket>(handle).state() != tcp::State::SynReceived {
            return;
        }
        match self.take_from(id) {
            Some(slot) => {
                self.track(slot);
                self.enter(
                    slot,
                    Phase::HalfOpen { door: id },
                    now,
                    Some(now + self.timers.handshake),
                );
                self.open_door(id, false);
            }
            // A stream took the last socket since the door was opened. Not worth a reset, which might have to wait
            // for an address that nobody answers for while the door is shut: the peer asks again.
            None => {
                self.counts.refused += 1;
                wipe(self.set.get_mut(handle));
                self.unsettled = true;
            }
        }
    }

    /// Opens every door that has room again.
    pub(crate) fn open_doors(&mut self) {
        for id in self.door_ids() {
            self.open_door(id, false);
        }
    }

    /// Opens a door, if there is room for one more connection; with `make_room`, at the cost of a request that
    /// never completed or a connection that only lingers. Whether it is open.
    fn open_door(&mut self, id: DoorId, make_room: bool) -> bool {
        let door = self.door(id);
        let (port, backlog, handle) = (door.port, door.backlog, door.handle);
        let socket = self.set.get::<tcp::Socket>(handle);
        if port == 0 || socket.is_listening() {
            return port != 0;
        }
        if self.pending(id) >= usize::from(backlog) && !(make_room && self.evict(id)) {
            return false;
        }
        let found = if make_room {
            self.make_free()
        } else {
            self.has_free()
        };
        if !found {
            return false;
        }
        self.set.get_mut::<tcp::Socket>(handle).listen(port).is_ok()
    }

    /// Whether a listener is waiting for room.
    pub(crate) fn has_shut_door(&self) -> bool {
        let shut = |door: &Door| door.port != 0 && !self.set.get::<tcp::Socket>(door.handle).is_listening();
        self.doors.iter().any(shut)
    }

    /// Connections of this door that nobody has accepted.
    fn pending(&self, id: DoorId) -> usize {
        let own = |phase| matches!(phase, Phase::HalfOpen { door } | Phase::Ready { door } if door == id);
        self.slots.iter().filter(|slot| own(slot.phase)).count()
    }

    /// Forgets the oldest request of this door that has not completed its handshake.
    fn evict(&mut self, id: DoorId) -> bool {
        let oldest = self
            .ids()
            .filter(|slot| self.slot(*slot).phase == Phase::HalfOpen { door: id })
            // One that completed in this very turn is not in the queue yet.
            .filter(|slot| self.socket(*slot).state() == tcp::State::SynReceived)
            .min_by_key(|slot| self.slot(*slot).since);
        let Some(slot) = oldest else { return false };
        self.counts.evicted += 1;
        self.release(slot);
        true
    }

    pub(crate) fn queue(&mut self, id: DoorId, slot: SlotId, now: Instant) {
        self.enter(slot, Phase::Ready { door: id }, now, None);
        let door = self.door_mut(id);
        door.ready.push_back(slot);
        door.waiters.wake_all();
    }

    pub(crate) fn unqueue(&mut self, id: DoorId, slot: SlotId) {
        self.door_mut(id).ready.retain(|ready| *ready != slot);
    }
}

/// Tasks that wait for the same thing. All are woken at once: a waiter that has gone must not swallow the wake
/// meant for another, and connections are rare beside what happens on them.
struct Waiters {
    wakers: Vec<Waker>,
    capacity: usize,
}

impl Waiters {
    fn new(capacity: usize) -> Self {
        Self {
            wakers: Vec::with_capacity(capacity),
            capacity,
        }
    }

    fn add(&mut self, waker: &Waker) {
        if self.wakers.iter().any(|known| known.will_wake(waker)) {
            return;
        }
        // More waiters than connections: let all look again rather than forget one.
        if self.wakers.len() == self.capacity {
            self.wake_all();
        }
        self.wakers.push(waker.clone());
    }

    fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}
