//! The table of sockets: who owns each, and when it may be used again.
//!
//! Answers for: every connection being in exactly one [`Phase`], and for a freed socket knowing nothing of its
//! last connection. The set that smoltcp walks for every frame holds connections only: free sockets wait in a
//! pool. Listening sockets stand behind all connections, because smoltcp hands a segment to the first socket
//! that takes it, and a repeated SYN must find its connection, not a listener.
//! Never: allocates after construction, and never frees a socket that a stream still owns.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddrV4};

use runtime::time::Instant;
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::{Socket, tcp};
use smoltcp::wire::IpEndpoint;

use super::doors::{Door, DoorId};
use super::smol_duration;
use crate::config::{StackConfig, Timers};
use crate::error::TcpError;
use crate::flows::Flows;
use crate::stats::StackStats;

/// Any port: used for a moment to bring a socket back to its first state.
const SCRATCH_PORT: u16 = 1;

/// Number of a connection socket. Made by the table only, so it is always in range.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(u16);

/// Who owns a connection socket.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody; its place in the set is empty.
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
    /// The place in the set.
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

impl Slot {
    fn new(handle: SocketHandle) -> Self {
        Self {
            handle,
            phase: Phase::Free,
            since: Instant::ZERO,
            deadline: None,
            ended: None,
            shut: false,
        }
    }
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
    pub(crate) flows: Flows,
    /// As many sockets as there are free slots.
    pool: Vec<tcp::Socket<'static>>,
    /// Whether [`Table::settle`] may have something to do.
    pub(super) unsettled: bool,
    pub(crate) timers: Timers,
    pub(crate) counts: Counts,
}

impl Table {
    pub(crate) fn new(config: &StackConfig) -> Self {
        let connections = usize::from(config.limits.connections);
        let places = connections + usize::from(config.limits.listeners);
        let storage: Vec<SocketStorage<'static>> = (0..places).map(|_| SocketStorage::EMPTY).collect();
        let mut set = SocketSet::new(storage);
        let mut slots = Vec::with_capacity(connections);
        for _ in 0..connections {
            slots.push(Slot::new(set.add(new_socket(config))));
        }
        let mut doors = Vec::with_capacity(places - connections);
        for _ in connections..places {
            doors.push(Door::new(set.add(new_socket(config)), connections));
        }
        let pool = slots
            .iter()
            .map(|slot| take_socket(&mut set, slot.handle))
            .collect();
        let (timers, counts) = (config.timers.clone(), Counts::default());
        Self {
            set,
            slots,
            doors,
            flows: Flows::new(connections),
            pool,
            unsettled: false,
            timers,
            counts,
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

    /// The socket of a slot that is not free.
    pub(crate) fn socket(&self, id: SlotId) -> &tcp::Socket<'static> {
        self.set.get(self.slot(id).handle)
    }

    /// The socket of a slot that is not free.
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
        self.unsettled = true;
    }

    /// The slots that have a connection.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = SlotId> {
        self.ids().filter(|id| self.slot(*id).phase != Phase::Free)
    }

    /// Gives a socket that nobody uses a slot, if need be one whose connection is over for its owner. The caller
    /// says what it is for ([`Table::enter`]).
    pub(crate) fn take(&mut self) -> Option<SlotId> {
        if !self.make_free() {
            return None;
        }
        let socket = self.pool.pop()?;
        self.place(socket)
    }

    /// Makes what has become of the listening socket of a door a connection of its own, and puts a fresh socket
    /// at the door. If there is none, everything stays as it was.
    pub(crate) fn take_from(&mut self, door: DoorId) -> Option<SlotId> {
        if !self.make_free() {
            return None;
        }
        let fresh = self.pool.pop()?;
        let at_door = self.door(door).handle;
        let connection = core::mem::replace(self.set.get_mut(at_door), fresh);
        self.place(connection)
    }

    /// Puts a socket into the first empty place of the set, as `SocketSet::add` does.
    fn place(&mut self, socket: tcp::Socket<'static>) -> Option<SlotId> {
        let id = self.ids().find(|id| self.slot(*id).phase == Phase::Free)?;
        let place = self.set.add(socket);
        assert!(
            place == self.slot(id).handle,
            "the first free slot is the first empty place"
        );
        Some(id)
    }

    /// Whether [`Table::take`] would find a socket without ending anything.
    pub(crate) fn has_free(&self) -> bool {
        !self.pool.is_empty()
    }

    /// Makes sure that [`Table::take`] finds a socket, at the same price.
    pub(crate) fn make_free(&mut self) -> bool {
        self.has_free() || self.reclaim()
    }

    /// Frees the socket that is missed least: in TIME-WAIT, then one whose peer has everything and only
    /// lingers, then the oldest half-open one.
    fn reclaim(&mut self) -> bool {
        let rank = |id: &SlotId| match (self.slot(*id).phase, self.socket(*id).state()) {
            (Phase::Lingering, tcp::State::TimeWait) => Some(0),
            (Phase::Lingering, _) => Some(1),
            (Phase::HalfOpen { .. }, tcp::State::SynReceived) => Some(2),
            _ => None,
        };
        let victim = self
            .in_use()
            .filter_map(|id| rank(&id).map(|rank| (rank, self.slot(id).since, id)))
            .min_by_key(|(rank, since, _)| (*rank, *since));
        let Some((rank, _, id)) = victim else { return false };
        if rank > 0 {
            self.counts.evicted += 1;
        }
        self.release(id);
        true
    }

    /// Frees a slot: its socket forgets the connection, without a word to the peer.
    pub(crate) fn release(&mut self, id: SlotId) {
        let place = self.slot(id).handle;
        let mut socket = take_socket(&mut self.set, place);
        wipe(&mut socket);
        self.pool.push(socket);
        self.flows.close(usize::from(id.0));
        self.enter(id, Phase::Free, Instant::ZERO, None);
        let slot = self.slot_mut(id);
        slot.ended = None;
        slot.shut = false;
    }

    /// Follows what is sent on a connection that has just begun.
    pub(crate) fn track(&mut self, id: SlotId) {
        if let (Some(peer), Some(own)) = (self.peer(id), self.own(id)) {
            self.flows.open(usize::from(id.0), peer, own.port());
        }
    }

    /// The connection between these two, if there is one.
    pub(crate) fn find(&self, peer: SocketAddrV4, own: SocketAddrV4) -> Option<SlotId> {
        self.in_use()
            .find(|id| self.peer(*id) == Some(peer) && self.own(*id) == Some(own))
    }

    /// Whether any socket has this port on our side.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.has_door(port)
            || self
                .in_use()
                .any(|id| self.own(id).is_some_and(|own| own.port() == port))
    }

    /// The address of a socket's peer.
    pub(crate) fn peer(&self, id: SlotId) -> Option<SocketAddrV4> {
        self.socket(id).remote_endpoint().and_then(address)
    }

    fn own(&self, id: SlotId) -> Option<SocketAddrV4> {
        self.socket(id).local_endpoint().and_then(address)
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

/// Brings a socket back to its first state. Whoever waits on it is woken.
pub(super) fn wipe(socket: &mut tcp::Socket<'static>) {
    // An aborted socket can listen, and listening empties it; closing a listening socket says nothing.
    socket.abort();
    let _ = socket.listen(SCRATCH_PORT);
    socket.close();
    socket.set_congestion_control(tcp::CongestionControl::Reno);
}

fn take_socket(set: &mut SocketSet<'static>, handle: SocketHandle) -> tcp::Socket<'static> {
    match set.remove(handle) {
        Socket::Tcp(socket) => socket,
    }
}

fn address(endpoint: IpEndpoint) -> Option<SocketAddrV4> {
    match IpAddr::from(endpoint.addr) {
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, endpoint.port)),
        IpAddr::V6(_) => None,
    }
}
