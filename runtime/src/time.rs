//! Points in a host's monotonic time.
//!
//! Answers for: one representation of "when" that every host can produce and every actor can compare.
//! Never: reads a clock. Time enters a domain as the argument of its turn and in no other way.

use core::fmt;
use core::ops::Add;
pub use core::time::Duration;

/// A point in time, in microseconds since the host's own epoch (its start, as a rule).
///
/// Two instants compare only if the same host made them. Arithmetic saturates: a deadline too far away
/// to be represented is simply never reached.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The host's epoch.
    pub const ZERO: Self = Self(0);
    /// A point that no host reaches.
    pub const FAR: Self = Self(u64::MAX);

    /// The instant `micros` microseconds after the host's epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after the host's epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the host's epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the host's epoch.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Rounds the duration up to a microsecond, so that a timer never fires early.
    fn add(self, later: Duration) -> Self {
        let micros = later.as_nanos().div_ceil(1_000);
        Self(self.0.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addition_rounds_up_and_saturates() {
        assert_eq!(
            Instant::from_micros(5) + Duration::from_nanos(1),
            Instant::from_micros(6)
        );
        assert_eq!(Instant::from_micros(5) + Duration::MAX, Instant::FAR);
        assert_eq!(
            Instant::from_millis(2) + Duration::from_millis(3),
            Instant::from_micros(5_000)
        );
    }

    #[test]
    fn since_saturates() {
        let (early, late) = (Instant::from_micros(10), Instant::from_micros(25));
        assert_eq!(late.since(early), Duration::from_micros(15));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
