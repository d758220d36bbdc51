//! What a domain did, counted in a page that everybody may read.
//!
//! Answers for: plain words in shared memory, written by one domain and read by all, without locks. A snapshot is a
//! set of reads one after the other: each number is true, their sum may be a moment apart.
//! Never: decides anything on a number. Two words here are no counters: which fault a test asked for, and when.

use alloc::sync::Arc;

use crate::fault::Fault;
use crate::page::Page;
use crate::sync::{AtomicU64, Ordering};

/// Counters of a domain's own, whose meaning it documents.
pub const CUSTOM_COUNTERS: usize = 8;

/// The counters as they lie in memory.
#[repr(C)]
pub struct RawCounters {
    values: [AtomicU64; Counter::COUNT],
    refusals: [AtomicU64; 4],
    custom: [AtomicU64; CUSTOM_COUNTERS],
    /// Bytes of heap in use, where the host counts them.
    heap_bytes: AtomicU64,
    /// 0: none. 1: at the start of the next turn. n: after n - 1 more polls.
    fault: AtomicU64,
    /// Which fault; see [`Fault`].
    fault_kind: AtomicU64,
}

/// The domain's own handle: it alone counts.
#[derive(Clone)]
pub struct Counters {
    page: Page<RawCounters>,
}

/// Somebody else's counters, read-only.
#[derive(Clone)]
pub struct CountersView {
    page: Page<RawCounters>,
}

/// Why a request was refused, as the console's `reason=` says it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Come back later.
    Busy,
    /// A limit of the caller is reached.
    Quota,
    /// The other end was cut off.
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
    /// Tasks woken by links, timers and the supervisor.
    pub wakes: u64,
    /// Signals that left with a turn, or for it.
    pub signals_sent: u64,
    /// Signals not sent because the peer was awake.
    pub signals_suppressed: u64,
    /// Frames received on all links.
    pub frames_in: u64,
    /// Frames sent on all links.
    pub frames_out: u64,
    /// Incarnations of links that ended.
    pub link_resets: u64,
    /// Of these, those that ended because the peer broke the discipline.
    pub violations: u64,
    /// Sleeps that found no free timer and polled instead: raise the domain's limit.
    pub timers_exhausted: u64,
    /// Refusals by reason: busy, quota, cut, policy.
    pub refusals: [u64; 4],
    /// Bytes of heap in use; 0 where the host does not count them.
    pub heap_bytes: u64,
    /// The domain's own, see [`Counters::add_custom`].
    pub custom: [u64; CUSTOM_COUNTERS],
}

#[derive(Copy, Clone)]
pub(crate) enum Counter {
    Turns,
    Polls,
    Wakes,
    SignalsSent,
    SignalsSuppressed,
    FramesIn,
    FramesOut,
    LinkResets,
    Violations,
    TimersExhausted,
}

impl Counter {
    const COUNT: usize = 10;
}

impl RawCounters {
    /// All zero.
    pub fn new() -> Self {
        Self {
            values: core::array::from_fn(|_| AtomicU64::new(0)),
            refusals: core::array::from_fn(|_| AtomicU64::new(0)),
            custom: core::array::from_fn(|_| AtomicU64::new(0)),
            heap_bytes: AtomicU64::new(0),
            fault: AtomicU64::new(0),
            fault_kind: AtomicU64::new(0),
        }
    }
}

impl Default for RawCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl Counters {
    /// A page of its own, all zero.
    pub fn new() -> Self {
        Self::over(Page::Counted(Arc::new(RawCounters::new())))
    }

    /// The page that a host set aside for the domain. It goes on counting where it stands.
    pub fn over(page: Page<RawCounters>) -> Self {
        Self { page }
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: Refused) {
        if let Some(counter) = self.page.refusals.get(reason as usize) {
            add(counter, 1);
        }
    }

    /// Counts a signal that the host sends for the domain besides those of a turn: that of its deadline to a timer.
    pub fn signalled(&self) {
        self.add(Counter::SignalsSent, 1);
    }

    /// Adds to one of [`CUSTOM_COUNTERS`] counters whose meaning is the domain's. Others are not counted.
    pub fn add_custom(&self, index: usize, amount: u64) {
        if let Some(counter) = self.page.custom.get(index) {
            add(counter, amount);
        }
    }

    /// Says how many bytes of heap the domain has in use: for its host.
    pub fn set_heap_bytes(&self, bytes: u64) {
        self.page.heap_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What others may see.
    pub fn view(&self) -> CountersView {
        CountersView {
            page: self.page.clone(),
        }
    }

    /// All of them now.
    pub fn snapshot(&self) -> Snapshot {
        self.page.snapshot()
    }

    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        if let Some(counter) = self.page.values.get(counter as usize) {
            add(counter, amount);
        }
    }

    /// Asks the domain for `fault` after so many more polls, and at its next turn if that is none.
    pub(crate) fn set_fault(&self, fault: Fault, after_polls: u64) {
        self.page.fault_kind.store(fault.to_word(), Ordering::Relaxed);
        self.page
            .fault
            .store(after_polls.saturating_add(1), Ordering::Release);
    }

    /// The fault that is due at the start of a turn.
    pub(crate) fn fault_at_turn(&self) -> Option<Fault> {
        if self.page.fault.load(Ordering::Acquire) != 1 {
            return None;
        }
        self.page.fault.store(0, Ordering::Release);
        Some(self.fault_kind())
    }

    /// The fault that is due at this poll.
    pub(crate) fn fault_at_poll(&self) -> Option<Fault> {
        let left = self.page.fault.load(Ordering::Acquire).checked_sub(1)?;
        self.page.fault.store(left, Ordering::Release);
        (left == 0).then(|| self.fault_kind())
    }

    fn fault_kind(&self) -> Fault {
        Fault::from_word(self.page.fault_kind.load(Ordering::Relaxed))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl CountersView {
    /// All of them now.
    pub fn snapshot(&self) -> Snapshot {
        self.page.snapshot()
    }
}

impl RawCounters {
    fn snapshot(&self) -> Snapshot {
        let get = |counter: Counter| self.values.get(counter as usize).map_or(0, read);
        Snapshot {
            turns: get(Counter::Turns),
            polls: get(Counter::Polls),
            wakes: get(Counter::Wakes),
            signals_sent: get(Counter::SignalsSent),
            signals_suppressed: get(Counter::SignalsSuppressed),
            frames_in: get(Counter::FramesIn),
            frames_out: get(Counter::FramesOut),
            link_resets: get(Counter::LinkResets),
            violations: get(Counter::Violations),
            timers_exhausted: get(Counter::TimersExhausted),
            refusals: self.refusals.each_ref().map(read),
            heap_bytes: read(&self.heap_bytes),
            custom: self.custom.each_ref().map(read),
        }
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// One writer per page, so a load and a store will do.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(read(counter).wrapping_add(amount), Ordering::Relaxed);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_view_shows_what_the_owner_counts() {
        let counters = Counters::new();
        let view = counters.view();
        counters.add(Counter::TimersExhausted, 2);
        counters.refused(Refused::Policy);
        counters.signalled();
        counters.add_custom(7, 5);
        counters.add_custom(8, 5);
        let expected = Snapshot {
            timers_exhausted: 2,
            signals_sent: 1,
            refusals: [0, 0, 0, 1],
            custom: [0, 0, 0, 0, 0, 0, 0, 5],
            ..Snapshot::default()
        };
        assert_eq!(view.snapshot(), expected);
    }

    #[test]
    fn a_fault_is_due_after_so_many_polls_and_once() {
        let counters = Counters::new();
        counters.set_fault(Fault::BadPointer, 2);
        assert_eq!(counters.fault_at_turn(), None);
        let polls = [(); 4].map(|()| counters.fault_at_poll());
        assert_eq!(polls, [None, None, Some(Fault::BadPointer), None]);
        counters.set_fault(Fault::Scribble, 0);
        assert_eq!(counters.fault_at_turn(), Some(Fault::Scribble));
        assert_eq!(counters.fault_at_turn(), None);
    }
}
