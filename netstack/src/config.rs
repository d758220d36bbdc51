//! What a stack is told when it is built: its addresses, its limits, its timers.
//!
//! Answers for: every bound of the crate, with its unit, reason and range, and for refusing a bad one.
//! Never: changes after construction.

use core::net::Ipv4Addr;
use core::time::Duration;

use crate::error::ConfigError;

/// Bytes of an Ethernet header; a frame's check sequence is not ours to carry.
pub(crate) const ETHERNET_HEADER_BYTES: usize = 14;
/// The longest frame a stack makes or takes: an MTU of 1500 bytes and the Ethernet header.
pub const FRAME_BYTES: usize = 1500 + ETHERNET_HEADER_BYTES;
/// The shortest maximum a device may have: every IPv4 host takes 576 bytes.
const FRAME_BYTES_MIN: usize = 576 + ETHERNET_HEADER_BYTES;

/// Who a stack is on its network, and how much it may hold.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Hardware address: unicast, not zero.
    pub mac: [u8; 6],
    /// Own address.
    pub ip: Ipv4Addr,
    /// Length of the network's prefix in bits, 1 to 30.
    pub prefix: u8,
    /// Where packets for other networks go, if anywhere.
    pub gateway: Option<Ipv4Addr>,
    /// Start of initial sequence numbers and ephemeral ports. Give a fresh one per boot
    /// (`ctx.random_u64()`), or an old connection's segments may be taken for a new one's.
    pub seed: u64,
    /// How much it may hold.
    pub limits: Limits,
    /// How long it waits.
    pub timers: Timers,
}

impl StackConfig {
    /// A host with the default limits and timers, without a gateway.
    pub fn new(mac: [u8; 6], ip: Ipv4Addr, prefix: u8, seed: u64) -> Self {
        Self {
            mac,
            ip,
            prefix,
            gateway: None,
            seed,
            limits: Limits::default(),
            timers: Timers::default(),
        }
    }

    pub(crate) fn check(&self, device_frame_bytes: usize) -> Result<(), ConfigError> {
        if self.mac[0] & 1 == 1 || self.mac == [0; 6] {
            return Err(ConfigError::HardwareAddress);
        }
        if !unicast(self.ip) {
            return Err(ConfigError::Address);
        }
        if !(1..=30).contains(&self.prefix) {
            return Err(ConfigError::Prefix(self.prefix));
        }
        let network = |ip: Ipv4Addr| ip.to_bits() >> (32 - u32::from(self.prefix));
        if self
            .gateway
            .is_some_and(|gateway| !unicast(gateway) || network(gateway) != network(self.ip))
        {
            return Err(ConfigError::Gateway);
        }
        if device_frame_bytes < FRAME_BYTES_MIN {
            return Err(ConfigError::FrameTooShort(device_frame_bytes));
        }
        self.limits.check()?;
        self.timers.check()
    }
}

fn unicast(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast())
}

/// How much a stack may hold. All of it is allocated when the stack is built.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once, counting half-open ones and those that are still closing; 1 to 1024.
    pub connections: u16,
    /// Listeners at once; 0 to 16. Each holds one more pair of buffers.
    pub listeners: u16,
    /// A connection's receive buffer, which is also the window it offers; 1460 to 65,535 bytes (so that no
    /// window scaling is needed).
    pub receive_bytes: usize,
    /// A connection's send buffer: how far a writer may run ahead of the peer; 1460 to 65,535 bytes.
    pub send_bytes: usize,
    /// Frames taken from the device before other tasks have their turn; 1 to 512.
    pub frames_per_turn: u16,
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        let buffer = 1460..=usize::from(u16::MAX);
        let fields = [
            ("connections", (1..=1024).contains(&self.connections)),
            ("listeners", self.listeners <= 16),
            ("receive_bytes", buffer.contains(&self.receive_bytes)),
            ("send_bytes", buffer.contains(&self.send_bytes)),
            ("frames_per_turn", (1..=512).contains(&self.frames_per_turn)),
        ];
        fields
            .into_iter()
            .find(|(_, good)| !good)
            .map_or(Ok(()), |(field, _)| Err(ConfigError::Limit(field)))
    }
}

impl Default for Limits {
    /// For the console: 16 sessions and as many that are not authenticated yet, with room for those that
    /// are closing; a buffer holds the longest console frame (8192 bytes) twice. 1.6 MiB in all.
    fn default() -> Self {
        Self {
            connections: 48,
            listeners: 2,
            receive_bytes: 16 * 1024,
            send_bytes: 16 * 1024,
            frames_per_turn: 64,
        }
    }
}

/// How long a stack waits for what.
#[derive(Clone, Debug)]
pub struct Timers {
    /// How long an acknowledgement may wait for data to ride on. Long enough for an actor to answer a
    /// request (microseconds), short enough that a peer with Nagle's algorithm on, which holds the rest
    /// of a request back until then, does not notice. Zero acknowledges at once.
    pub ack_delay: Duration,
    /// A peer that was silent this long is asked for a sign of life. At least 2 s, since peers limit their
    /// answers to one a second.
    pub keep_alive: Duration,
    /// A connection is closed when nothing at all was heard of the peer for this long. More than `keep_alive`,
    /// and at least 62 s: a peer that does not read is asked at intervals that grow to 60 s whether it has
    /// room again, and must not count as gone in between.
    pub peer: Duration,
    /// A peer that asked for a connection has this long to complete the handshake: three repetitions, at 1, 3 and
    /// 7 s. A flood does not have to wait for it; it pushes the oldest request out.
    pub handshake: Duration,
    /// An own connection request is given up after this long.
    pub connect: Duration,
    /// What was written before a close has this long to be acknowledged, which four repetitions at 1, 3, 7 and 15 s
    /// make likely on a bad wire; then the connection is aborted.
    pub close: Duration,
    /// After a close the peer has this long to close its own direction; what it still sends is thrown away.
    pub linger: Duration,
    /// How long connections outlive their link. Zero where the other side of the link keeps TCP state that
    /// it loses with its restart (the host forward, the simulated wire); more where it only moves frames.
    pub link_grace: Duration,
}

impl Timers {
    fn check(&self) -> Result<(), ConfigError> {
        if self.keep_alive < Duration::from_secs(2) {
            return Err(ConfigError::Limit("keep_alive"));
        }
        if self.peer < Duration::from_secs(62) || self.peer <= self.keep_alive {
            return Err(ConfigError::Limit("peer"));
        }
        Ok(())
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            ack_delay: Duration::from_millis(2),
            keep_alive: Duration::from_secs(15),
            peer: Duration::from_secs(75),
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            close: Duration::from_secs(20),
            linger: Duration::from_secs(5),
            link_grace: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> StackConfig {
        StackConfig::new([2, 0, 0, 0, 0, 1], Ipv4Addr::new(10, 0, 0, 1), 24, 1)
    }

    #[test]
    fn a_bad_field_is_refused_by_its_name() {
        type Spoil = fn(&mut StackConfig);
        let table: [(Spoil, ConfigError); 13] = [
            (|c| c.mac = [0; 6], ConfigError::HardwareAddress),
            (|c| c.mac[0] = 3, ConfigError::HardwareAddress),
            (|c| c.ip = Ipv4Addr::BROADCAST, ConfigError::Address),
            (|c| c.prefix = 31, ConfigError::Prefix(31)),
            (|c| c.prefix = 0, ConfigError::Prefix(0)),
            (
                |c| c.gateway = Some(Ipv4Addr::new(10, 0, 1, 1)),
                ConfigError::Gateway,
            ),
            (|c| c.limits.connections = 0, ConfigError::Limit("connections")),
            (
                |c| c.limits.receive_bytes = 65_536,
                ConfigError::Limit("receive_bytes"),
            ),
            (|c| c.limits.send_bytes = 1459, ConfigError::Limit("send_bytes")),
            (
                |c| c.limits.frames_per_turn = 0,
                ConfigError::Limit("frames_per_turn"),
            ),
            (
                |c| c.timers.keep_alive = Duration::from_secs(1),
                ConfigError::Limit("keep_alive"),
            ),
            (
                |c| c.timers.peer = Duration::from_secs(61),
                ConfigError::Limit("peer"),
            ),
            (
                |c| c.timers.keep_alive = Duration::from_secs(75),
                ConfigError::Limit("peer"),
            ),
        ];
        for (spoil, error) in table {
            let mut config = good();
            spoil(&mut config);
            assert_eq!(config.check(FRAME_BYTES), Err(error));
        }
        assert_eq!(good().check(589), Err(ConfigError::FrameTooShort(589)));
        assert_eq!(good().check(590), Ok(()));
    }
}
