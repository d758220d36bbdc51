//! How ingest is doing: `/proc/ingest/*` (WIRE 4.2).
//!
//! Answers for numbers that are counted where they happen, since this life of the domain began, and for the ring of
//! watch lines. Never slows a write down.

use core::fmt::Write as _;
use core::time::Duration;

use heapless::{HistoryBuf, String};
use runtime::time::Instant;

/// Writes whose time is remembered.
const WRITES: usize = 128;
/// Lines of the watch ring.
const WATCH_LINES: usize = 16;
/// Bytes of a watch line.
const WATCH_BYTES: usize = 192;
/// The least time between two watch lines.
const WATCH_PAUSE: Duration = Duration::from_millis(50);

/// A file under `/proc/ingest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gauge {
    /// Writes refused for a quota or a closed gate.
    Backpressure,
    /// Records that went for want of room.
    Dropped,
    /// Milliseconds from a write's arrival until it is kept: half of the last writes took less.
    P50,
    /// Nineteen of twenty took less.
    P95,
    /// Writes that have arrived and are not kept yet.
    Queued,
    /// Lines that tell of all of them.
    Watch,
}

/// The counters.
#[derive(Default)]
pub(super) struct Pace {
    took_ms: HistoryBuf<u32, WRITES>,
    queued: u32,
    backpressure: u32,
    dropped: u32,
    reads: u32,
    denies: u32,
    watch: HistoryBuf<String<WATCH_BYTES>, WATCH_LINES>,
    watched: Option<Instant>,
}

impl Gauge {
    /// Every file, in the order of their names.
    pub(crate) const ALL: [Gauge; 6] = [
        Gauge::Backpressure,
        Gauge::Dropped,
        Gauge::P50,
        Gauge::P95,
        Gauge::Queued,
        Gauge::Watch,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Gauge::Backpressure => "backpressure",
            Gauge::Dropped => "dropped",
            Gauge::P50 => "p50_ms",
            Gauge::P95 => "p95_ms",
            Gauge::Queued => "queued",
            Gauge::Watch => "watch",
        }
    }
}

impl Pace {
    /// A write has arrived.
    pub(super) fn arrived(&mut self) {
        self.queued = self.queued.saturating_add(1);
    }

    /// A write is kept, refused or given up.
    pub(super) fn left(&mut self) {
        self.queued = self.queued.saturating_sub(1);
    }

    /// A write took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.took_ms
            .write(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    }

    /// A write was refused for a quota or a closed gate.
    pub(super) fn refused(&mut self) {
        self.backpressure = self.backpressure.saturating_add(1);
    }

    /// Records went for want of room.
    pub(super) fn dropped(&mut self, records: usize) {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.dropped = self.dropped.saturating_add(records);
    }

    /// A file was opened to be looked at, or somebody who may not tried to.
    pub(super) fn looked(&mut self, allowed: bool) {
        let count = if allowed {
            &mut self.reads
        } else {
            &mut self.denies
        };
        *count = count.saturating_add(1);
    }

    /// Adds a watch line, unless the last one is younger than [`WATCH_PAUSE`].
    pub(super) fn watch(&mut self, now: Instant, unix_ms: u64) {
        if self.watched.is_some_and(|last| now < last + WATCH_PAUSE) {
            return;
        }
        self.watched = Some(now);
        let mut line = String::new();
        // With ten digits for each counter and twenty for the time it is 186 bytes.
        let _ = write!(
            line,
            "watch ts_ms={unix_ms} p50_ms={} p95_ms={} queued={} backpressure={} dropped={} ui_reads={} ui_denies={}",
            self.percentile(50),
            self.percentile(95),
            self.queued,
            self.backpressure,
            self.dropped,
            self.reads,
            self.denies
        );
        self.watch.write(line);
    }

    /// The watch lines, oldest first.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.watch.oldest_ordered().map(String::as_str)
    }

    /// What a file's number is; 0 for the lines.
    pub(super) fn number(&self, gauge: Gauge) -> u32 {
        match gauge {
            Gauge::Backpressure => self.backpressure,
            Gauge::Dropped => self.dropped,
            Gauge::P50 => self.percentile(50),
            Gauge::P95 => self.percentile(95),
            Gauge::Queued => self.queued,
            Gauge::Watch => 0,
        }
    }

    /// The nearest rank.
    fn percentile(&self, percent: usize) -> u32 {
        let mut sorted: heapless::Vec<u32, WRITES> = self.took_ms.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        rank.checked_sub(1)
            .and_then(|rank| sorted.get(rank))
            .copied()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn percentiles_are_of_the_last_writes() {
        let mut pace = Pace::default();
        assert_eq!((pace.number(Gauge::P50), pace.number(Gauge::P95)), (0, 0));
        (1..=1000).for_each(|_| pace.took(Duration::from_secs(9)));
        (1..=128u64)
            .rev()
            .for_each(|ms| pace.took(Duration::from_millis(ms)));
        assert_eq!((pace.number(Gauge::P50), pace.number(Gauge::P95)), (64, 122));
    }

    #[test]
    fn a_watch_line_is_at_most_every_50_ms_and_16_are_kept() {
        let mut pace = Pace {
            backpressure: u32::MAX,
            dropped: u32::MAX,
            reads: u32::MAX,
            denies: u32::MAX,
            queued: u32::MAX,
            ..Pace::default()
        };
        pace.took(Duration::MAX);
        for step in 0..100u64 {
            pace.watch(Instant::from_micros(step * 10_000), u64::MAX - step);
        }
        let lines: Vec<&str> = pace.lines().collect();
        assert_eq!(lines.len(), 16);
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("watch ts_ms=") && line.ends_with("ui_denies=4294967295"))
        );
        let newest = std::format!("watch ts_ms={} ", u64::MAX - 95);
        assert!(lines.last().unwrap().starts_with(&newest), "{lines:?}");
    }
}
