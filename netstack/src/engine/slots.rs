//! The table of sockets: who owns each, and when it may be used again.
//!
//! Answers for: every connection socket being in exactly one [`Phase`], and for a freed socket knowing nothing
//! of its last connection. Listening sockets are kept behind all connection sockets, because smoltcp hands a
//! segment to the first socket that takes it: a repeated SYN must find its connection, not a listener.
//! Never: allocates after construction, and never frees a socket that a stream still owns.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddrV4};

use runtime::time::Instant;
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::{Socket, tcp};

use super::doors::{Door, DoorId};
use super::smol_duration;
use crate::config::{StackConfig, Timers};
use crate::error::TcpError;
use crate::stats::StackStats;

/// Time a reset has to leave for a peer that may not even be reachable.
const RESET_GRACE: core::time::Duration = core::time::Duration::from_secs(1);
/// Any port: used for a moment to bring a socket back to its first state.
const SCRATCH_PORT: u16 = 1;

/// Number of a connection socket. Made by the table only, so it is always in range.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(u16);

/// Who owns a connection socket.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody; it is on the free list.
    Free,
    /// The listener: a peer asked for a connection and has to complete the handshake.
    HalfOpen { door: DoorId },
    /// The listener: established, and waits to be accepted.
    Ready { door: DoorId },
    /// A stream whose connection request is under way.
    Connecting,
    /// A stream.
    Held,
    /// The table: what was written is being delivered, then the socket is freed.
    Draining,
    /// The table: this side is done, the peer is not, or the pair is in TIME-WAIT.
    Lingering,
    /// The table: a reset is on its way out.
    Aborting,
}

#[derive(Debug)]
pub(crate) struct Slot {
    handle: SocketHandle,
    pub(crate) phase: Phase,
    /// When the phase began.
    pub(super) since: Instant,
    /// When the phase must end.
    pub(crate) deadline: Option<Instant>,
    /// Why the connection ended, if it did not end as TCP wants it.
    pub(crate) ended: Option<TcpError>,
    /// Whether the owner has closed its direction.
    pub(crate) shut: bool,
}

/// What became of connections since the stack was built.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) connected: u64,
    pub(crate) refused: u64,
    pub(crate) evicted: u64,
    pub(crate) resets: u64,
    pub(crate) timeouts: u64,
    pub(crate) link_losses: u64,
}

pub(crate) struct Table {
    pub(crate) set: SocketSet<'static>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) doors: Vec<Door>,
    free: Vec<SlotId>,
    pub(crate) timers: Timers,
    pub(crate) counts: Counts,
}

impl Table {
    pub(crate) fn new(config: &StackConfig) -> Self {
        let connections = usize::from(config.limits.connections);
        let sockets = connections + usize::from(config.limits.listeners);
        let storage: Vec<SocketStorage<'static>> = (0..sockets).map(|_| SocketStorage::EMPTY).collect();
        let mut set = SocketSet::new(storage);
        let mut add = || set.add(new_socket(config));
        let slots = (0..connections)
            .map(|_| Slot {
                handle: add(),
                phase: Phase::Free,
                since: Instant::ZERO,
                deadline: None,
                ended: None,
                shut: false,
            })
            .collect();
        let doors = (0..config.limits.listeners)
            .map(|_| Door::new(add(), connections))
            .collect();
        let free = (0..config.limits.connections).rev().map(SlotId).collect();
        Self {
            set,
            slots,
            doors,
            free,
            timers: config.timers.clone(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = SlotId> + use<> {
        (0..self.slots.len() as u16).map(SlotId)
    }

    pub(crate) fn slot(&self, id: SlotId) -> &Slot {
        &self.slots[usize::from(id.0)]
    }

    pub(crate) fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        &mut self.slots[usize::from(id.0)]
    }

    pub(crate) fn socket(&self, id: SlotId) -> &tcp::Socket<'static> {
        self.set.get(self.slot(id).handle)
    }

    pub(crate) fn socket_mut(&mut self, id: SlotId) -> &mut tcp::Socket<'static> {
        let handle = self.slot(id).handle;
        self.set.get_mut(handle)
    }

    /// Moves a slot to another phase.
    pub(crate) fn enter(&mut self, id: SlotId, phase: Phase, now: Instant, deadline: Option<Instant>) {
        let slot = self.slot_mut(id);
        slot.phase = phase;
        slot.since = now;
        slot.deadline = deadline;
    }

    /// A socket that nobody uses, if need be one whose connection is over for its owner.
    pub(crate) fn take(&mut self) -> Option<SlotId> {
        if self.free.is_empty() && !self.reclaim() {
            return None;
        }
        self.free.pop()
    }

    /// Whether [`Table::take`] would find a socket without ending anything.
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Frees the socket that is missed least: in TIME-WAIT, then one whose peer has everything and only
    /// lingers, then the oldest half-open one.
    fn reclaim(&mut self) -> bool {
        let rank = |id: &SlotId| match self.slot(*id).phase {
            Phase::Lingering if self.socket(*id).state() == tcp::State::TimeWait => Some(0),
            Phase::Lingering => Some(1),
            Phase::HalfOpen { .. } => Some(2),
            _ => None,
        };
        let victim = self
            .ids()
            .filter_map(|id| rank(&id).map(|rank| (rank, self.slot(id).since, id)))
            .min_by_key(|(rank, since, _)| (*rank, *since));
        let Some((rank, _, id)) = victim else { return false };
        if rank > 0 {
            self.counts.evicted += 1;
        }
        self.release(id);
        true
    }

    /// Makes a socket free: it forgets its connection without a word to the peer.
    pub(crate) fn release(&mut self, id: SlotId) {
        self.wipe(id);
        self.enter(id, Phase::Free, Instant::ZERO, None);
        let slot = self.slot_mut(id);
        slot.ended = None;
        slot.shut = false;
        self.free.push(id);
    }

    /// Brings a socket back to its first state. Whoever waits on it is woken.
    pub(crate) fn wipe(&mut self, id: SlotId) {
        let handle = self.slot(id).handle;
        wipe_socket(&mut self.set, handle);
    }

    /// Puts the listening socket of a door, which has just become a connection, in the place of the free
    /// socket `id`, and that one at the door.
    pub(crate) fn exchange(&mut self, door: DoorId, id: SlotId) {
        let at_door = self.door(door).handle;
        let at_slot = self.slot(id).handle;
        let connection = take_socket(&mut self.set, at_door);
        let idle = core::mem::replace(self.set.get_mut::<tcp::Socket>(at_slot), connection);
        // The place at the door is the only empty one.
        let place = self.set.add(idle);
        assert!(place == at_door, "a socket set has one place for each socket");
    }

    /// The connection between these two, if there is one.
    pub(crate) fn find(&self, peer: SocketAddrV4, own: SocketAddrV4) -> Option<SlotId> {
        self.ids().find(|id| {
            self.slot(*id).phase != Phase::Free && self.peer(*id) == Some(peer) && self.own(*id) == Some(own)
        })
    }

    /// The address of a socket's peer.
    pub(crate) fn peer(&self, id: SlotId) -> Option<SocketAddrV4> {
        self.socket(id).remote_endpoint().map(address)
    }

    fn own(&self, id: SlotId) -> Option<SocketAddrV4> {
        self.socket(id).local_endpoint().map(address)
    }

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
        for id in self.ids() {
            self.settle_slot(id, now);
        }
        self.open_doors();
    }

    /// When [`Table::settle`] has something to do even if no frame arrives.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.deadline).min()
    }

    pub(crate) fn settle_slot(&mut self, id: SlotId, now: Instant) {
        use tcp::State;
        let slot = self.slot(id);
        if matches!(slot.phase, Phase::Free) || (matches!(slot.phase, Phase::Held) && slot.deadline.is_none())
        {
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
            Phase::HalfOpen { .. } if matches!(state, tcp::State::Listen | tcp::State::Closed) => {
                self.release(id)
            }
            Phase::Connecting | Phase::Held if state == tcp::State::Closed => {
                self.counts.resets += 1;
                let slot = self.slot_mut(id);
                slot.ended = slot.ended.or(Some(TcpError::Reset));
            }
            _ => {}
        }
    }

    /// What became of connections, and where they are now.
    pub(crate) fn stats(&self) -> StackStats {
        let Counts {
            accepted,
            connected,
            refused,
            evicted,
            resets,
            timeouts,
            link_losses,
        } = self.counts;
        let mut stats = StackStats {
            accepted,
            connected,
            refused,
            evicted,
            resets,
            timeouts,
            link_losses,
            ..StackStats::default()
        };
        for slot in &self.slots {
            *match slot.phase {
                Phase::Free => &mut stats.free,
                Phase::HalfOpen { .. } => &mut stats.half_open,
                Phase::Ready { .. } => &mut stats.ready,
                Phase::Connecting | Phase::Held => &mut stats.held,
                Phase::Draining | Phase::Lingering | Phase::Aborting => &mut stats.closing,
            } += 1;
        }
        stats
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
                    self.wipe(id);
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

fn new_socket(config: &StackConfig) -> tcp::Socket<'static> {
    let buffer = |bytes: usize| tcp::SocketBuffer::new(vec![0; bytes]);
    let mut socket = tcp::Socket::new(
        buffer(config.limits.receive_bytes),
        buffer(config.limits.send_bytes),
    );
    let timers = &config.timers;
    socket.set_nagle_enabled(false);
    socket.set_ack_delay((!timers.ack_delay.is_zero()).then(|| smol_duration(timers.ack_delay)));
    socket.set_keep_alive(Some(smol_duration(timers.keep_alive)));
    socket.set_timeout(Some(smol_duration(timers.peer)));
    socket.set_congestion_control(tcp::CongestionControl::Reno);
    socket
}

/// Brings a socket and smoltcp's notes on it back to their first state.
pub(super) fn wipe_socket(set: &mut SocketSet<'static>, handle: SocketHandle) {
    let mut socket = take_socket(set, handle);
    // An aborted socket can listen, and listening empties it; closing a listening socket says nothing.
    socket.abort();
    let _ = socket.listen(SCRATCH_PORT);
    socket.close();
    socket.set_congestion_control(tcp::CongestionControl::Reno);
    let place = set.add(socket);
    assert!(place == handle, "a socket set has one place for each socket");
}

fn take_socket(set: &mut SocketSet<'static>, handle: SocketHandle) -> tcp::Socket<'static> {
    match set.remove(handle) {
        Socket::Tcp(socket) => socket,
    }
}

fn address(endpoint: smoltcp::wire::IpEndpoint) -> SocketAddrV4 {
    let IpAddr::V4(ip) = IpAddr::from(endpoint.addr) else {
        unreachable!("smoltcp is built without IPv6")
    };
    SocketAddrV4::new(ip, endpoint.port)
}
