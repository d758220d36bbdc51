//! Crashes at chosen writes of a region, for tests and the simulator.
//!
//! Answers for: dying (or refusing, which is a crash that the test survives) at exactly the n-th write from now.
//! Never: compiled into a hive.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{Region, RegionError};

/// What happens at the chosen write.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing is written and the writer panics; once.
    Panic,
    /// The first `prefix` bytes are written, then the writer panics; once.
    Torn {
        /// Bytes of the write that still reach the region (all of it, if it is shorter).
        prefix: usize,
    },
    /// Nothing is written, now and until [`Region::crash_never`]: as if the process had died, seen from outside.
    Refuse,
    /// The first `prefix` bytes are written, then as [`Crash::Refuse`].
    TornRefuse {
        /// Bytes of the write that still reach the region (all of it, if it is shorter).
        prefix: usize,
    },
}

impl Region {
    /// At the `nth` write from now on (1 is the next), `crash`. Replaces an earlier plan.
    pub fn crash_at(&self, nth: u64, crash: Crash) {
        self.inner.plan.set(nth, crash);
    }

    /// Forgets the plan and accepts writes again.
    pub fn crash_never(&self) {
        self.inner.plan.countdown.store(0, Ordering::SeqCst);
    }

    /// Writes attempted since the region was made, refused ones included.
    pub fn writes(&self) -> u64 {
        self.inner.plan.writes.load(Ordering::SeqCst)
    }
}

/// A countdown to a crash: 0 is none planned, 1 is "now" (and, for refusals, stays).
pub(super) struct Plan {
    countdown: AtomicU64,
    /// Which [`Crash`].
    kind: AtomicU64,
    prefix: AtomicUsize,
    writes: AtomicU64,
}

impl Plan {
    pub(super) fn new() -> Self {
        Self {
            countdown: AtomicU64::new(0),
            kind: AtomicU64::new(0),
            prefix: AtomicUsize::new(0),
            writes: AtomicU64::new(0),
        }
    }

    fn set(&self, nth: u64, crash: Crash) {
        let (kind, prefix) = match crash {
            Crash::Panic => (0, 0),
            Crash::Torn { prefix } => (0, prefix),
            Crash::Refuse => (1, 0),
            Crash::TornRefuse { prefix } => (1, prefix),
        };
        self.kind.store(kind, Ordering::SeqCst);
        self.prefix.store(prefix, Ordering::SeqCst);
        self.countdown.store(nth.max(1), Ordering::SeqCst);
    }

    /// Counts a write; what of it is to be written, and what happens then.
    pub(super) fn next_write<'a>(&self, from: &'a [u8]) -> (&'a [u8], Option<Happening>) {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let refuses = self.kind.load(Ordering::SeqCst) == 1;
        match self.countdown.load(Ordering::SeqCst) {
            0 => return (from, None),
            1 if refuses => {}
            left => {
                self.countdown.store(left - 1, Ordering::SeqCst);
                if left > 1 {
                    return (from, None);
                }
            }
        }
        // Whatever follows the torn write is refused whole.
        let prefix = self.prefix.swap(0, Ordering::SeqCst).min(from.len());
        let happening = if refuses {
            Happening::Refusal
        } else {
            Happening::Panic
        };
        (from.get(..prefix).unwrap_or_default(), Some(happening))
    }
}

#[derive(Copy, Clone)]
pub(super) enum Happening {
    Refusal,
    Panic,
}

impl Happening {
    pub(super) fn happen(self) -> Result<(), RegionError> {
        match self {
            Self::Refusal => Err(RegionError::Refused),
            // Who is dying already, and writes while it is taken down, cannot die once more.
            Self::Panic if std::thread::panicking() => Err(RegionError::Refused),
            // Not through the panic hook: a test that asks for a crash does not want its report.
            Self::Panic => {
                std::panic::resume_unwind(std::boxed::Box::new("injected crash at a region write"))
            }
        }
    }
}
