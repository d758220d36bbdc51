//! Time: the physical counter, and the word in which a domain leaves its deadline for the timer.
//!
//! Answers for: microseconds since power-up, the same in all domains, and for telling the timer only what it must hear,
//! as `runtime::deadline` says.
//! Never: programs the timer; that is the timer domain's.

use core::arch::asm;

use runtime::deadline;
use runtime::sync::{AtomicU64, Ordering};
use runtime::time::Instant;

pub use deadline::NEVER;

/// Ticks of the physical counter since power-up.
pub fn ticks() -> u64 {
    let ticks;
    // SAFETY: reads a counter that the kernel lets user programs read; the barrier keeps the read in its place.
    unsafe { asm!("isb", "mrs {}, cntpct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// The counter's frequency in Hz.
pub fn frequency() -> u64 {
    let hz: u64;
    // SAFETY: reads a constant register.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, pure)) };
    hz.max(1)
}

/// Microseconds since power-up.
pub fn now() -> Instant {
    let micros = u128::from(ticks()) * 1_000_000 / u128::from(frequency());
    Instant::from_micros(u64::try_from(micros).unwrap_or(NEVER))
}

/// The counter's value at that time, rounded up so that it is not read too early.
pub fn ticks_at(at: Instant) -> u64 {
    let ticks = (u128::from(at.as_micros()) * u128::from(frequency())).div_ceil(1_000_000);
    u64::try_from(ticks).unwrap_or(NEVER)
}

/// A domain's side of its deadline word.
pub struct Deadline {
    word: &'static AtomicU64,
}

impl Deadline {
    /// The deadline in that word; there is none at first.
    pub fn new(word: &'static AtomicU64) -> Self {
        word.store(NEVER, Ordering::Release);
        Self { word }
    }

    /// Leaves a deadline that is after `now`, if the word must change for it; whether the timer must be told.
    pub fn set(&self, at: Option<Instant>, now: Instant) -> bool {
        let known = self.word.load(Ordering::Relaxed);
        let wanted = at.map_or(NEVER, Instant::as_micros);
        let changed = deadline::change(known, wanted, now.as_micros());
        if let Some(word) = changed {
            self.word.store(word, Ordering::Release);
        }
        changed.is_some_and(|word| word != NEVER)
    }
}
