//! What a stack has done and holds, as plain numbers.
//!
//! Answers for: the counters an operator reads (`NETSTATS`, `/proc`).
//! Never: decides anything.

/// A reading of a stack's counters. Totals count from construction; a total never falls.
#[derive(Copy, Clone, Default, Debug, PartialEq, Eq)]
pub struct StackStats {
    /// Frames taken from the device.
    pub frames_received: u64,
    /// Frames the device took.
    pub frames_sent: u64,
    /// Replies (acknowledgements, resets) thrown away because the device was full.
    pub replies_dropped: u64,
    /// Connections that a listener handed out.
    pub accepted: u64,
    /// Connection requests this side made.
    pub connected: u64,
    /// Peers' connection requests answered with a reset, for want of backlog or sockets.
    pub refused: u64,
    /// Half-open or lingering connections given up for a newer one.
    pub evicted: u64,
    /// Connections that a peer reset.
    pub resets: u64,
    /// Connections given up because a deadline passed.
    pub timeouts: u64,
    /// Connections that ended with their link.
    pub link_losses: u64,
    /// Now: connections that streams own, connecting ones included.
    pub held: u16,
    /// Now: requests that have not completed the handshake.
    pub half_open: u16,
    /// Now: established connections that nobody has accepted.
    pub ready: u16,
    /// Now: closing ones without an owner, TIME-WAIT included.
    pub closing: u16,
    /// Now: sockets without a connection.
    pub free: u16,
}
