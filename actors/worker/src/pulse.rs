//! When a worker ticks, and when it is done.
//!
//! Answers for one worker's count and cadence: one tick at the end of each period; after a restart it goes on with the
//! number and in the rhythm that its own telemetry shows. A tick counts once it is known to be written, and
//! until then it is the next one, however often it is tried: none is lost, none is doubled.
//!
//! Never writes a tick, never waits.

use core::time::Duration;

use protocol::telemetry::Heartbeat;
use protocol::worker::EndReason;
use runtime::time::Instant;

use crate::RECORD_BYTES;

/// What a worker may use up. A limit that is `None` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ticks it may make in all.
    pub ticks: Option<u64>,
    /// Operations it may make in all; a tick is one.
    pub ops: Option<u64>,
    /// Time between two ticks.
    pub period: Duration,
    /// When its time is over, Unix milliseconds.
    pub expires_unix_ms: Option<u64>,
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It waits until then.
    Wait(Instant),
    /// It reports this tick.
    Tick(Heartbeat),
    /// It ends.
    End(EndReason),
}

/// One worker's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    limits: Limits,
    /// Ticks known to be written.
    made: u64,
    /// When the next is due, or, after the last, when its period is over.
    due: Instant,
}

impl Pulse {
    /// A worker that has not ticked, as far as is known; its first period begins now. Clients that spawn a worker and
    /// write to its telemetry file at once (WIRE 4.7) find it empty.
    pub(crate) fn new(limits: Limits, now: Instant) -> Pulse {
        Pulse {
            limits,
            made: 0,
            due: now + limits.period,
        }
    }

    /// Goes on after the last record of the worker's telemetry.
    pub(crate) fn resume(&mut self, last: Option<Heartbeat>, now: Instant, unix_ms: u64) {
        let Some(last) = last.filter(|last| last.tick > self.made) else {
            return;
        };
        self.made = last.tick;
        // Wall time may have been set back since: never wait longer than a period.
        let passed = Duration::from_millis(unix_ms.saturating_sub(last.ts_ms));
        self.due = now + self.limits.period.saturating_sub(passed);
    }

    /// What to do now.
    pub(crate) fn next(&self, now: Instant, unix_ms: u64) -> Next {
        if self
            .limits
            .expires_unix_ms
            .is_some_and(|expires| expires <= unix_ms)
        {
            Next::End(EndReason::Expired)
        } else if now < self.due {
            Next::Wait(self.due)
        } else if self.limits.ticks.is_some_and(|ticks| ticks <= self.made) {
            Next::End(EndReason::Ticks)
        } else if self.limits.ops.is_some_and(|ops| ops <= self.made) {
            Next::End(EndReason::Ops)
        } else {
            Next::Tick(Heartbeat {
                tick: self.made.saturating_add(1),
                ts_ms: unix_ms,
            })
        }
    }

    /// The record is in the telemetry file. A worker that is late does not hurry: the next tick is due at once, the
    /// one after it a period later.
    pub(crate) fn written(&mut self, record: Heartbeat, now: Instant) {
        self.made = record.tick;
        let on_time = self.due + self.limits.period;
        self.due = if on_time < now {
            now + self.limits.period
        } else {
            on_time
        };
    }

    /// There was nothing to report: the tick is due again a period later.
    pub(crate) fn passed(&mut self, now: Instant) {
        self.due = now + self.limits.period;
    }
}

/// Finds the tick of the last record in a telemetry file that is read in pieces. Whatever else is in the file is passed
/// over: operators may write there as well, and the oldest record may have lost its beginning.
#[derive(Debug)]
pub(crate) struct Scan {
    record: heapless::Vec<u8, RECORD_BYTES>,
    /// Reads a record.
    tick_of: fn(&str) -> Option<Heartbeat>,
    last: Option<Heartbeat>,
}

impl Scan {
    /// Looks for records that can be read so.
    pub(crate) fn new(tick_of: fn(&str) -> Option<Heartbeat>) -> Scan {
        Scan {
            record: heapless::Vec::new(),
            tick_of,
            last: None,
        }
    }

    /// Takes the next piece.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // A record is flat: a brace that opens begins one.
            if *byte == b'{' {
                self.record.clear();
            } else if self.record.is_empty() {
                continue;
            }
            if self.record.push(*byte).is_err() {
                self.record.clear();
            }
            if *byte == b'}' {
                let text = core::str::from_utf8(&self.record).unwrap_or_default();
                self.last = (self.tick_of)(text).or(self.last);
                self.record.clear();
            }
        }
    }

    /// The tick of the last record so far.
    pub(crate) fn last(&self) -> Option<Heartbeat> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        ticks: Some(3),
        ops: None,
        period: Duration::from_millis(100),
        expires_unix_ms: Some(10_000),
    };

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn tick(tick: u64, ts_ms: u64) -> Heartbeat {
        Heartbeat { tick, ts_ms }
    }

    #[test]
    fn a_life_from_the_first_tick_to_the_last() {
        let mut pulse = Pulse::new(LIMITS, at(5));
        assert_eq!(pulse.next(at(104), 1104), Next::Wait(at(105)));
        for (number, ms) in [(1, 105), (2, 205), (3, 305)] {
            let record = tick(number, 1000 + ms);
            assert_eq!(pulse.next(at(ms), 1000 + ms), Next::Tick(record));
            // Tried again, it is the same tick.
            assert_eq!(
                pulse.next(at(ms + 1), 1001 + ms),
                Next::Tick(tick(number, 1001 + ms))
            );
            pulse.written(record, at(ms));
            assert_eq!(pulse.next(at(ms + 1), 1001 + ms), Next::Wait(at(ms + 100)));
        }
        assert_eq!(pulse.next(at(405), 1405), Next::End(EndReason::Ticks));
    }

    #[test]
    fn the_smaller_limit_ends_it() {
        let limits = |ticks, ops| Limits { ticks, ops, ..LIMITS };
        for (limits, expected) in [
            (limits(Some(0), Some(9)), Next::End(EndReason::Ticks)),
            (limits(Some(9), Some(0)), Next::End(EndReason::Ops)),
            (limits(None, None), Next::Tick(tick(1, 0))),
            (
                Limits {
                    expires_unix_ms: Some(0),
                    ..limits(None, None)
                },
                Next::End(EndReason::Expired),
            ),
        ] {
            let pulse = Pulse::new(limits, at(0));
            assert_eq!(pulse.next(at(100), 0), expected, "{limits:?}");
        }
    }

    #[test]
    fn time_that_is_over_ends_a_worker_that_waits() {
        let mut pulse = Pulse::new(LIMITS, at(0));
        pulse.written(tick(1, 9_950), at(100));
        assert_eq!(pulse.next(at(110), 9_960), Next::Wait(at(200)));
        assert_eq!(pulse.next(at(150), 10_000), Next::End(EndReason::Expired));
    }

    #[test]
    fn a_restart_goes_on_in_the_old_rhythm() {
        let mut pulse = Pulse::new(LIMITS, at(0));
        pulse.resume(Some(tick(1, 5_000)), at(20), 5_030);
        assert_eq!(pulse.next(at(20), 5_030), Next::Wait(at(90)));
        assert_eq!(pulse.next(at(90), 5_100), Next::Tick(tick(2, 5_100)));
        // Long ago, or in the future: neither hurries nor stalls it.
        for (ts_ms, due) in [(1, 0), (9_999, 100)] {
            let mut pulse = Pulse::new(LIMITS, at(0));
            pulse.resume(Some(tick(1, ts_ms)), at(0), 5_000);
            assert_eq!(pulse.due, at(due));
        }
    }

    #[test]
    fn what_the_file_shows_never_takes_a_count_back() {
        let mut pulse = Pulse::new(LIMITS, at(0));
        pulse.written(tick(2, 0), at(0));
        pulse.resume(None, at(10), 10);
        pulse.resume(Some(tick(1, 0)), at(10), 10);
        assert_eq!(pulse.made, 2);
        // The answer to tick 3 was lost, but the tick was not.
        pulse.resume(Some(tick(3, 100)), at(200), 200);
        assert_eq!(pulse.next(at(200), 200), Next::End(EndReason::Ticks));
    }

    #[test]
    fn a_tick_without_a_report_is_still_to_come() {
        let mut pulse = Pulse::new(LIMITS, at(0));
        pulse.passed(at(50));
        assert_eq!(pulse.next(at(60), 0), Next::Wait(at(150)));
        assert_eq!(pulse.next(at(150), 7), Next::Tick(tick(1, 7)));
    }

    #[test]
    fn a_late_worker_does_not_hurry() {
        let limits = Limits {
            ticks: None,
            ..LIMITS
        };
        let mut pulse = Pulse::new(limits, at(0));
        pulse.written(tick(1, 0), at(100));
        pulse.written(tick(2, 0), at(999));
        assert_eq!(pulse.next(at(999), 999), Next::Wait(at(1099)));
        // A little late is made up for.
        pulse.written(tick(3, 0), at(1120));
        assert_eq!(pulse.next(at(1120), 1120), Next::Wait(at(1199)));
    }

    #[test]
    fn the_last_record_is_found_among_other_things() {
        for (text, expected) in [
            ("", None),
            ("{\"tick\":1,\"ts_ms\":5}\n", Some(tick(1, 5))),
            (
                "\"ts_ms\":5}\n{\"tick\":2,\"ts_ms\":6}\n{\"tick\":3,\"ts_ms\":7}\n",
                Some(tick(3, 7)),
            ),
            (
                "{\"tick\":2,\"ts_ms\":6}\ntele-1{\"tick\":3,\"ts_ms\":7}\n{{}}{",
                Some(tick(3, 7)),
            ),
            (
                "{\"tick\":2,\"ts_ms\":6}\n{\"tick\":3,\"ts_ms\"",
                Some(tick(2, 6)),
            ),
            (
                "{\"tick\":2,\"ts_ms\":6}{\"tick\":18446744073709551616,\"ts_ms\":1}",
                Some(tick(2, 6)),
            ),
        ] {
            let mut scan = Scan::new(Heartbeat::parse);
            scan.feed(text.as_bytes());
            assert_eq!(scan.last(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(junk in prop::collection::vec("[ -~]{0,90}", 1..8), piece in 1usize..40) {
            let mut text = String::new();
            for (number, junk) in (1..).zip(&junk) {
                text += &format!("{}\n{junk}\n", tick(number, 7));
            }
            let (mut whole, mut pieces) = (Scan::new(Heartbeat::parse), Scan::new(Heartbeat::parse));
            whole.feed(text.as_bytes());
            text.as_bytes().chunks(piece).for_each(|piece| pieces.feed(piece));
            prop_assert_eq!(whole.last(), pieces.last());
            prop_assert_eq!(whole.last(), Some(tick(junk.len() as u64, 7)));
        }

        #[test]
        fn ticks_are_numbered_without_a_gap_whatever_happens(
            steps in prop::collection::vec((0u64..300, any::<bool>(), any::<bool>()), 0..60),
        ) {
            let limits = Limits { ticks: None, expires_unix_ms: None, ..LIMITS };
            let (mut pulse, mut file, mut ms) = (Pulse::new(limits, at(0)), std::vec::Vec::new(), 0);
            for (pause, reaches, restarts) in steps {
                ms += pause;
                if restarts {
                    pulse = Pulse::new(limits, at(ms));
                }
                pulse.resume(file.last().copied(), at(ms), ms);
                if let Next::Tick(record) = pulse.next(at(ms), ms) {
                    // The write may reach the file although its answer does not come back.
                    if reaches || pause % 2 == 0 {
                        file.push(record);
                    }
                    if reaches {
                        pulse.written(record, at(ms));
                    }
                }
            }
            prop_assert!((1..).zip(&file).all(|(number, record)| record.tick == number), "{:?}", file);
            prop_assert!(file.windows(2).all(|pair| pair[1].ts_ms >= pair[0].ts_ms));
        }
    }
}
