//! What can go wrong with a stack, a listener or a connection.
//!
//! Answers for: one small error per operation, each saying what happened and what would be right.
//! Never: carries a smoltcp type outwards, so that no caller depends on the library underneath.

use core::fmt;

/// Why a connection can no longer be read or written.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TcpError {
    /// This side has already closed the direction that was asked for.
    Closed,
    /// The peer aborted the connection; bytes it had not acknowledged may be lost.
    Reset,
    /// The peer stayed silent longer than [`Timers::peer`](crate::Timers::peer), or did not take the rest of
    /// the stream within [`Timers::close`](crate::Timers::close).
    TimedOut,
    /// The link below went away for longer than [`Timers::link_grace`](crate::Timers::link_grace), and with it
    /// every connection.
    LinkLost,
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed on this side; open another one",
            Self::Reset => "the peer reset the connection; connect again",
            Self::TimedOut => "the peer did not answer in time; connect again",
            Self::LinkLost => "the network link was lost; connect again once it is up",
        })
    }
}

impl core::error::Error for TcpError {}

/// Why [`Stack::connect`](crate::Stack::connect) gave no connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Every socket of the stack is in use.
    Exhausted,
    /// The address is unspecified or broadcast, or the port is zero.
    Unaddressable,
    /// The peer answered with a reset: nothing listens there, or it is full.
    Refused,
    /// No answer within [`Timers::connect`](crate::Timers::connect).
    TimedOut,
    /// The link below went away while the connection was being made.
    LinkLost,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => "all connections of this stack are in use; close one or raise `connections`",
            Self::Unaddressable => {
                "not an address to connect to; give a unicast address and a port above zero"
            }
            Self::Refused => "the peer refused the connection; check that something listens on that port",
            Self::TimedOut => "the peer did not answer the connection request in time",
            Self::LinkLost => "the network link was lost while connecting; try again once it is up",
        })
    }
}

impl core::error::Error for ConnectError {}

/// Why [`TcpListener::bind`](crate::TcpListener::bind) gave no listener.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Port zero, or a backlog of zero connections.
    Zero,
    /// Another listener of this stack has the port.
    PortInUse(u16),
    /// The stack has no listener left.
    Exhausted,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("a listener needs a port and a backlog of at least 1"),
            Self::PortInUse(port) => write!(f, "port {port} already has a listener; drop that one first"),
            Self::Exhausted => f.write_str("no listener left in this stack; raise `listeners`"),
        }
    }
}

impl core::error::Error for BindError {}

/// What is wrong with a [`StackConfig`](crate::StackConfig).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The hardware address is zero, or a group address.
    HardwareAddress,
    /// The address is not one a host can have.
    Address,
    /// A prefix leaves room for no second host, or is longer than the address.
    Prefix(u8),
    /// The gateway is outside the network that the address and prefix name.
    Gateway,
    /// A limit or a timer is outside the range that its documentation gives.
    Limit(&'static str),
    /// The device cannot carry a full frame of 590 bytes (IPv4's smallest MTU and the Ethernet header).
    FrameTooShort(usize),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HardwareAddress => f.write_str("the hardware address must be unicast and not zero"),
            Self::Address => f.write_str("the address must be a unicast IPv4 address"),
            Self::Prefix(bits) => write!(f, "a prefix of {bits} bits leaves no other host; use 1 to 30"),
            Self::Gateway => f.write_str("the gateway must be inside the network of the address"),
            Self::Limit(field) => write!(f, "`{field}` is out of the range its documentation gives"),
            Self::FrameTooShort(bytes) => {
                write!(
                    f,
                    "the device carries frames of {bytes} bytes; at least 590 are needed"
                )
            }
        }
    }
}

impl core::error::Error for ConfigError {}
