//! The host's clocks.
//!
//! Answers for: a monotonic time that begins at the start, and how the wall clock stands to it.
//! Never: a system call; both clocks are read through the vDSO.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::Instant;

#[derive(Copy, Clone)]
pub(super) struct Clock {
    epoch: std::time::Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// Microseconds from the Unix epoch to this clock's, by today's wall clock.
    pub(super) fn unix_us_at_epoch(&self) -> u64 {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_us = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        unix_us.saturating_sub(self.now().as_micros())
    }
}
