//! Failed attaches of one session: back-off and window (WIRE 1.4).
//!
//! Answers for when an ATTACH may be tried and what a failed one is told. Never judges a ticket.

use core::time::Duration;

use heapless::Deque;
use runtime::time::Instant;

/// The pause after the first failed attach; it doubles with each further one.
const BACKOFF: Duration = Duration::from_millis(250);
/// Doublings at most: 64 s.
const BACKOFF_DOUBLINGS: u32 = 8;
/// Failures within [`WINDOW`] that begin a cool-down.
const WINDOW_FAILURES: usize = 3;
/// See [`WINDOW_FAILURES`].
const WINDOW: Duration = Duration::from_secs(60);
/// How long failing attaches are answered as rate-limited then; a right one still gets in.
const COOLDOWN: Duration = Duration::from_secs(90);

/// The limiter of one session.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    /// Failures since the last attach that succeeded.
    failures: u32,
    /// No attach is tried before.
    blocked_until: Option<Instant>,
    /// The last failures, oldest first.
    recent: Deque<Instant, WINDOW_FAILURES>,
    cooldown_until: Option<Instant>,
}

impl Limiter {
    /// Whether an attach may be tried now; if not, for how many milliseconds not.
    pub fn check(&self, now: Instant) -> Result<(), u64> {
        match self.blocked_until {
            Some(until) if until > now => Err(whole_millis(until.since(now))),
            _ => Ok(()),
        }
    }

    /// An attach was denied. Says whether the answer is to be "rate-limited", and for how many milliseconds.
    pub fn failed(&mut self, now: Instant) -> Option<u64> {
        let pause = BACKOFF * (1 << self.failures.min(BACKOFF_DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        self.blocked_until = Some(now + pause);
        if let Some(until) = self.cooldown_until.filter(|until| *until > now) {
            return Some(whole_millis(until.since(now)));
        }
        while self.recent.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        // There is room: a full window was cleared when it began the cool-down.
        let _ = self.recent.push_back(now);
        if self.recent.len() < WINDOW_FAILURES {
            return None;
        }
        self.recent.clear();
        self.cooldown_until = Some(now + COOLDOWN);
        Some(whole_millis(COOLDOWN))
    }

    /// An attach succeeded: all is forgiven.
    pub fn succeeded(&mut self) {
        *self = Limiter::default();
    }
}

/// Rounded up, so that whoever waits so long is not early.
fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn the_first_failures_back_off() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.check(at(0)), Ok(()));
        assert_eq!(limiter.failed(at(1000)), None);
        assert_eq!(limiter.check(at(1000)), Err(250));
        assert_eq!(limiter.check(at(1249)), Err(1));
        assert_eq!(limiter.check(at(1250)), Ok(()));
        assert_eq!(limiter.failed(at(1250)), None);
        assert_eq!(limiter.check(at(1250)), Err(500));
    }

    #[test]
    fn the_third_failure_in_a_minute_begins_a_cooldown() {
        let mut limiter = Limiter::default();
        assert_eq!((limiter.failed(at(0)), limiter.failed(at(30_000))), (None, None));
        assert_eq!(limiter.failed(at(59_000)), Some(90_000));
        assert_eq!(limiter.check(at(59_000)), Err(1000), "the back-off goes on");
        assert_eq!(limiter.check(at(60_000)), Ok(()), "a right ticket may be tried");
        assert_eq!(limiter.failed(at(60_000)), Some(89_000));
        assert_eq!(
            limiter.failed(at(149_001)),
            None,
            "the cool-down is over, the window is new"
        );
    }

    #[test]
    fn failures_that_are_a_minute_apart_are_not_counted_together() {
        let mut limiter = Limiter::default();
        for n in 0..10 {
            assert_eq!(limiter.failed(at(n * 60_000)), None);
        }
        assert_eq!(
            limiter.check(at(9 * 60_000)),
            Err(64_000),
            "the back-off ends at 64 s"
        );
    }

    #[test]
    fn success_forgives() {
        let mut limiter = Limiter::default();
        for n in 0..3 {
            limiter.failed(at(n));
        }
        limiter.succeeded();
        assert_eq!((limiter.check(at(3)), limiter.failed(at(3))), (Ok(()), None));
        assert_eq!(limiter.check(at(3)), Err(250));
    }

    proptest! {
        #[test]
        fn whoever_waits_as_told_may_try(gaps in proptest::collection::vec(0u64..100_000, 1..40)) {
            let (mut limiter, mut now) = (Limiter::default(), 0);
            for gap in gaps {
                now += gap;
                match limiter.check(at(now)) {
                    Ok(()) => {
                        let told = limiter.failed(at(now));
                        prop_assert!(told.is_none_or(|ms| (1..=90_000).contains(&ms)));
                    }
                    Err(ms) => {
                        prop_assert!((1..=64_000).contains(&ms));
                        prop_assert_eq!(limiter.check(at(now + ms)), Ok(()));
                        prop_assert!(limiter.check(at(now + ms - 1)).is_err());
                    }
                }
            }
        }
    }
}
