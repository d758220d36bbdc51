//! smoltcp and the socket table as one step function: frames and time in, frames and a deadline out.
//!
//! Answers for: when smoltcp is polled and how much it may do at a time; what happens to connections when the
//! link below goes away.
//! Never: waits, wakes a domain, or knows an executor. [`crate::Stack`] does that around it.

mod doors;
mod owner;
mod settle;
mod slots;
#[cfg(test)]
mod tests;

use core::net::Ipv4Addr;
use core::time::Duration;

use runtime::time::Instant;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult};
use smoltcp::time::{Duration as SmolDuration, Instant as SmolInstant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Cidr};

pub(crate) use doors::DoorId;
pub(crate) use slots::SlotId;
use slots::{Phase, Table};

use crate::config::StackConfig;
use crate::device::{FrameBuffers, FrameDevice, Incarnation, Wire};
use crate::error::{ConfigError, ConnectError};
use crate::segment::Segment;
use crate::stats::StackStats;

/// Ephemeral ports: IANA's range for them (RFC 6335).
const EPHEMERAL: core::ops::RangeInclusive<u16> = 49_152..=65_535;
/// How soon to look again when smoltcp says "now" and then does nothing. It never should.
const IDLE_RETRY: Duration = Duration::from_millis(1);

pub(crate) struct Engine {
    interface: Interface,
    pub(crate) table: Table,
    buffers: FrameBuffers,
    frames_per_turn: u16,
    next_port: u16,
    received: u64,
    /// Length of a frame in the buffer that waits for a listener to be attended to.
    deferred: Option<usize>,
    link: LinkWatch,
}

/// What a turn leaves to wait for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Look again then, at the latest.
    pub(crate) deadline: Option<Instant>,
    /// Look again when the device has room.
    pub(crate) room: bool,
}

/// What is known of the link, for telling a short break from a loss.
struct LinkWatch {
    incarnation: Option<Incarnation>,
    /// Since when nobody is on the other side.
    down_since: Option<Instant>,
    /// Whether this break has already cost the connections.
    lost: bool,
    /// Since when the other side takes no frame.
    stalled_since: Option<Instant>,
}

impl Engine {
    pub(crate) fn new<D: FrameDevice>(
        config: &StackConfig,
        device: &mut D,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.check(device.max_frame_bytes())?;
        let mut buffers = FrameBuffers::new(device.max_frame_bytes());
        let mut smol = Config::new(HardwareAddress::Ethernet(EthernetAddress(config.mac)));
        smol.random_seed = config.seed;
        let mut table = Table::new(config);
        let mut wire = Wire::new(device, &mut buffers, &mut table.flows, None);
        let mut interface = Interface::new(smol, &mut wire, stamp(now));
        interface.update_ip_addrs(|addresses| {
            // The list has room for two; this is the first.
            let _ = addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(config.ip, config.prefix)));
        });
        if let Some(gateway) = config.gateway {
            // Likewise: the first of two routes.
            let _ = interface.routes_mut().add_default_ipv4_route(gateway);
        }
        let ports = EPHEMERAL.end() - EPHEMERAL.start() + 1;
        Ok(Self {
            interface,
            table,
            buffers,
            frames_per_turn: config.limits.frames_per_turn,
            next_port: EPHEMERAL.start() + (config.seed >> 48) as u16 % ports,
            received: 0,
            deferred: None,
            // Whoever connects before the link is up for the first time has lost nothing.
            link: LinkWatch {
                incarnation: None,
                down_since: None,
                lost: true,
                stalled_since: None,
            },
        })
    }

    /// Takes frames from the device, at most `frames_per_turn`. How many there were.
    ///
    /// A request that finds its listener's backlog full of connections that only wait to be accepted ends the turn: it
    /// is looked at again in the next one, when whoever accepts has had the chance, and then takes what it finds.
    pub(crate) fn ingress<D: FrameDevice>(&mut self, device: &mut D, now: Instant) -> u16 {
        let mut frames = 0;
        while frames < self.frames_per_turn {
            let again = self.deferred.take();
            let Some(len) = again.or_else(|| self.buffers.fill(device)) else {
                break;
            };
            if again.is_none()
                && let Some(Segment::Open { from, to }) = Segment::peek(self.buffers.frame(len))
                && self.table.should_wait(from, to)
            {
                self.deferred = Some(len);
                break;
            }
            frames += 1;
            self.process(device, len, now);
        }
        self.received += u64::from(frames);
        frames
    }

    /// Whether [`Engine::ingress`], which took so many frames, may have left some.
    pub(crate) fn has_more(&self, frames: u16) -> bool {
        self.deferred.is_some() || frames == self.frames_per_turn
    }

    fn process<D: FrameDevice>(&mut self, device: &mut D, len: usize, now: Instant) {
        let segment = Segment::peek(self.buffers.frame(len));
        let (door, reset) = match segment {
            Some(Segment::Open { from, to }) => (self.table.before_open(from, to), None),
            Some(Segment::Reset { from, to }) => (None, self.table.find(from, to)),
            None => (None, None),
        };
        let mut wire = Wire::new(device, &mut self.buffers, &mut self.table.flows, Some(len));
        let _: PollIngressSingleResult =
            self.interface
                .poll_ingress_single(stamp(now), &mut wire, &mut self.table.set);
        if let Some(door) = door {
            self.table.after_open(door, now);
        }
        if let Some(slot) = reset {
            self.table.after_reset(slot);
        }
    }

    /// Sends what is due and says what to wait for.
    pub(crate) fn egress<D: FrameDevice>(&mut self, device: &mut D, now: Instant) -> Wait {
        self.watch_link(device.incarnation(), now);
        self.table.settle(now);
        let budget = self.buffers.outbox.sent + u64::from(self.frames_per_turn);
        // smoltcp takes a frame that waits for sent, and may have nothing to add. If it does not leave now, it
        // still waits below.
        let _ = self.buffers.outbox.flush(device);
        let (room, due) = loop {
            let mut wire = Wire::new(device, &mut self.buffers, &mut self.table.flows, None);
            let sent = self
                .interface
                .poll_egress(stamp(now), &mut wire, &mut self.table.set);
            let room = wire.blocked || self.buffers.outbox.is_waiting();
            let due = self.interface.poll_at(stamp(now), &self.table.set).map(unstamp);
            match due {
                _ if room => break (true, None),
                Some(at) if at > now => break (false, Some(at)),
                None => break (false, None),
                Some(_) if sent == PollResult::None => break (false, Some(now + IDLE_RETRY)),
                Some(_) if self.buffers.outbox.sent >= budget => break (false, Some(now)),
                Some(_) => {}
            }
        };
        self.table.settle(now);
        self.watch_room(room, now);
        let deadlines = [due, self.table.deadline(), self.link_deadline()];
        Wait {
            deadline: deadlines.into_iter().flatten().min(),
            room,
        }
    }

    /// Begins to connect. The socket belongs to the caller from now on.
    pub(crate) fn connect(&mut self, ip: Ipv4Addr, port: u16, now: Instant) -> Result<SlotId, ConnectError> {
        if port == 0 || ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() {
            return Err(ConnectError::Unaddressable);
        }
        let id = self.table.take().ok_or(ConnectError::Exhausted)?;
        let own = self.free_port();
        let remote = (IpAddress::Ipv4(ip), port);
        if self
            .table
            .socket_mut(id)
            .connect(self.interface.context(), remote, own)
            .is_err()
        {
            self.table.release(id);
            return Err(ConnectError::Unaddressable);
        }
        self.table.track(id);
        let deadline = now + self.table.timers.connect;
        self.table.enter(id, Phase::Connecting, now, Some(deadline));
        self.table.counts.connected += 1;
        Ok(id)
    }

    /// The next port that no socket uses. There are more ports than sockets, so there is one.
    fn free_port(&mut self) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = if port == *EPHEMERAL.end() {
                *EPHEMERAL.start()
            } else {
                port + 1
            };
            if !self.table.has_port(port) {
                return port;
            }
        }
    }

    /// Follows the other side of the link: gone for long, or another one than before, and the connections end.
    fn watch_link(&mut self, incarnation: Option<Incarnation>, now: Instant) {
        let grace = self.table.timers.link_grace;
        match incarnation {
            None => {
                let since = *self.link.down_since.get_or_insert(now);
                if !self.link.lost && now.since(since) >= grace {
                    self.lose_all();
                }
            }
            Some(_) => {
                let other = self.link.incarnation.is_some() && self.link.incarnation != incarnation;
                if other && grace.is_zero() && !self.link.lost {
                    self.lose_all();
                }
                self.link.incarnation = incarnation;
                self.link.down_since = None;
                self.link.lost = false;
            }
        }
    }

    /// A link that takes nothing keeps smoltcp from timing connections out, so that is done here.
    fn watch_room(&mut self, stalled: bool, now: Instant) {
        if !stalled {
            self.link.stalled_since = None;
            return;
        }
        let since = *self.link.stalled_since.get_or_insert(now);
        if now.since(since) >= self.table.timers.peer {
            self.link.stalled_since = Some(now);
            self.lose_all();
        }
    }

    fn link_deadline(&self) -> Option<Instant> {
        let timers = &self.table.timers;
        let stalled = self.link.stalled_since.map(|since| since + timers.peer);
        let down = self.link.down_since.map(|since| since + timers.link_grace);
        let down = down.filter(|_| !self.link.lost);
        [stalled, down].into_iter().flatten().min()
    }

    fn lose_all(&mut self) {
        self.link.lost = true;
        self.buffers.outbox.forget();
        self.table.lose_all();
    }

    pub(crate) fn stats(&self) -> StackStats {
        StackStats {
            frames_received: self.received,
            frames_sent: self.buffers.outbox.sent,
            replies_dropped: self.buffers.outbox.dropped,
            ..self.table.stats()
        }
    }
}

/// smoltcp's clock is signed; ours is not.
fn stamp(at: Instant) -> SmolInstant {
    SmolInstant::from_micros_const(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
}

fn unstamp(at: SmolInstant) -> Instant {
    Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0))
}

/// A day stands for any longer time, so that smoltcp's sums cannot overflow.
fn smol_duration(duration: Duration) -> SmolDuration {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    SmolDuration::from(duration.min(DAY))
}
