//! Counters.
use alloc::sync::Arc;

/// Owner's handle.
#[derive(Clone)]
pub struct Counters {}

/// Why a request was refused, for counting.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Come back later.
    Busy,
    /// A limit of the caller.
    Quota,
    /// Cut off.
    Cut,
    /// Not allowed.
    Policy,
}

/// The counters at one time.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Turns taken.
    pub turns: u64,
    /// Task polls.
    pub polls: u64,
    /// Tasks woken by badges, timers and I/O.
    pub wakes: u64,
    /// Signals that left with a turn.
    pub signals_sent: u64,
    /// Signals not sent because the peer was awake.
    pub signals_suppressed: u64,
    /// Frames received on all links.
    pub frames_in: u64,
    /// Frames sent on all links.
    pub frames_out: u64,
    /// Incarnations of links that ended.
    pub link_resets: u64,
    /// Links closed because the peer broke the discipline.
    pub violations: u64,
    /// Refusals by reason: busy, quota, cut, policy.
    pub refusals: [u64; 4],
    /// The domain's own, see [`Counters::add_custom`].
    pub custom: [u64; 8],
}

/// Somebody else's counters, read-only.
#[derive(Clone)]
pub struct CountersView(Arc<()>);

impl Counters {
    /// Counts a refusal.
    pub fn refused(&self, _reason: Refused) {
        unimplemented!()
    }
    /// Adds to one of eight counters whose meaning is the domain's.
    pub fn add_custom(&self, _index: usize, _amount: u64) {
        unimplemented!()
    }
    /// A view.
    pub fn view(&self) -> CountersView {
        unimplemented!()
    }
    /// All of them.
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }
}

impl CountersView {
    /// All of them.
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }
}
