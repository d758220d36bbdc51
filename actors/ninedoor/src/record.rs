//! What the door keeps in its journal, and how it gets it back.
//!
//! Answers for the records' form, for writing each before it is acknowledged, for compaction when the journal is
//! full, and for the replay at boot.
//!
//! Never decides what is acknowledged, never keeps sessions: those end with their links.

use protocol::refusal::Refusal;
use runtime::journal::{Journal, JournalError, MAX_RECORD_BYTES, Owner, Recovery, Snapshot, Unreadable};
use runtime::region::Region;
use serde::{Deserialize, Serialize};

use crate::config::Limits;
use crate::log::{Log, MAX_LINE_BYTES};
use crate::restarts::Seen;
use crate::telemetry::{Workers, Writer};

/// Whose journal it is; raise the number when [`Record`] changes incompatibly.
const OWNER: Owner = Owner::new("ninedoor", 1);
/// Bytes of a ring that go into one record of a snapshot.
const PIECE_BYTES: usize = 4096;
/// What a record needs besides its text or bytes, generously: tag, time, id, lengths, the journal's own header.
const RECORD_OVERHEAD: usize = 80;

/// One record.
#[derive(Serialize, Deserialize)]
pub(crate) enum Record<'a> {
    /// One or more lines of the log.
    Log {
        /// Unix milliseconds.
        at_ms: u64,
        /// The lines, joined by newlines, without the last one.
        text: &'a str,
    },
    /// A worker exists.
    Created {
        /// Unix milliseconds.
        at_ms: u64,
        /// The worker.
        id: &'a str,
        /// Where its ring begins; not 0 in a snapshot.
        base: u64,
    },
    /// Bytes were appended to a worker's ring.
    Wrote {
        /// Unix milliseconds.
        at_ms: u64,
        /// The worker.
        id: &'a str,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A worker is gone.
    Ended {
        /// Unix milliseconds.
        at_ms: u64,
        /// The worker.
        id: &'a str,
    },
    /// A new boot of the hive: restarts are counted from 0 again.
    Booted {
        /// A hash of the boot's identity.
        boot: u64,
    },
    /// So many restarts of a domain are in the log.
    Restarted {
        /// Its place on the supervisor's page.
        child: u8,
        /// How many.
        restarts: u64,
    },
}

/// What is kept: everything the records speak of.
pub(crate) struct Kept<'a> {
    pub(crate) log: &'a mut Log,
    pub(crate) workers: &'a mut Workers,
    pub(crate) seen: &'a mut Seen,
}

/// The journal, or nothing where the host gives no memory that survives.
pub(crate) struct Store {
    journal: Option<Journal>,
    scratch: heapless::Vec<u8, MAX_LINE_BYTES>,
}

/// Bytes that a region must have for these tables.
pub(crate) fn region_bytes(limits: &Limits) -> usize {
    let log = limits.log_bytes + limits.log_lines * RECORD_OVERHEAD;
    let pieces = limits.ring_bytes / PIECE_BYTES + 3;
    let rings = limits.workers * (limits.ring_bytes + pieces * RECORD_OVERHEAD);
    let restarts = (Seen::CHILDREN + 1) * RECORD_OVERHEAD;
    // A snapshot of everything, room for what comes next, and the same again for the other half.
    2 * (log + rings + restarts + 2 * MAX_RECORD_BYTES)
}

impl Store {
    /// Opens the journal and replays it.
    pub(crate) fn open(region: Option<Region>, kept: &mut Kept<'_>) -> (Self, Option<Recovery>) {
        let mut store = Self {
            journal: None,
            scratch: heapless::Vec::new(),
        };
        // The whole scratch is written before it is read.
        let _ = store.scratch.resize_default(MAX_LINE_BYTES);
        let Some(region) = region else {
            return (store, None);
        };
        let (journal, recovery) = Journal::open(region, OWNER, |record| apply(record, kept));
        if recovery.is_corrupt() {
            kept.log.clear();
            kept.workers.clear();
            *kept.seen = Seen::default();
        }
        store.journal = Some(journal);
        (store, Some(recovery))
    }

    /// Puts a record into the journal, making room by a snapshot of `kept` if there is none.
    pub(crate) fn keep(&mut self, record: &Record<'_>, kept: &Kept<'_>) -> Result<(), Refusal> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let mut result = journal.append_value(record);
        if result == Err(JournalError::Full) {
            let scratch = &mut self.scratch;
            result = journal.compact(|snapshot| write_snapshot(snapshot, kept, scratch));
            result = result.and_then(|()| journal.append_value(record));
        }
        result.map_err(|error| match error {
            JournalError::TooLong { .. } => Refusal::TooLong,
            JournalError::Full | JournalError::Encode => Refusal::BufferFull,
            JournalError::Region(_) => Refusal::Busy,
        })
    }
}

fn apply(record: &[u8], kept: &mut Kept<'_>) -> Result<(), Unreadable> {
    match postcard::from_bytes(record).map_err(|_| Unreadable)? {
        Record::Log { at_ms, text } => kept.log.append(text, at_ms),
        Record::Created { at_ms, id, base } => {
            let new = kept.workers.create(id, at_ms).map_err(|_| Unreadable)?;
            if new {
                kept.workers.restart_ring(id, base);
            }
        }
        Record::Wrote { at_ms, id, bytes } => {
            let worker = kept.workers.find(id).ok_or(Unreadable)?;
            kept.workers
                .append(worker, bytes, Writer::Worker, at_ms)
                .map_err(|_| Unreadable)?;
        }
        Record::Ended { at_ms, id } => {
            kept.workers.end(id, at_ms);
        }
        Record::Booted { boot } => kept.seen.boot(boot),
        Record::Restarted { child, restarts } => kept.seen.set(usize::from(child), restarts),
    }
    Ok(())
}

fn write_snapshot(
    snapshot: &mut Snapshot<'_>,
    kept: &Kept<'_>,
    scratch: &mut [u8],
) -> Result<(), JournalError> {
    let at_ms = kept.log.changed_ms();
    kept.log
        .each_line(scratch, |text| snapshot.value(&Record::Log { at_ms, text }))?;
    kept.workers.each(|id, ring, at_ms| {
        snapshot.value(&Record::Created {
            at_ms,
            id,
            base: ring.base(),
        })?;
        let mut at = ring.base();
        while let Some(bytes) = ring.piece(at, at + PIECE_BYTES as u64) {
            snapshot.value(&Record::Wrote { at_ms, id, bytes })?;
            at += bytes.len() as u64;
        }
        Ok(())
    })?;
    snapshot.value(&Record::Booted {
        boot: kept.seen.boot_hash(),
    })?;
    kept.seen
        .each(|child, restarts| snapshot.value(&Record::Restarted { child, restarts }))
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    /// Log, workers, restarts.
    type Content = (String, Vec<(String, u64, Vec<u8>)>, Vec<(u8, u64)>);

    struct State {
        log: Log,
        workers: Workers,
        seen: Seen,
        limits: Limits,
    }

    impl State {
        fn new() -> Self {
            let limits = Limits {
                log_lines: 8,
                log_bytes: 16_384,
                ring_bytes: 256,
                workers: 2,
                ..Limits::default()
            };
            Self {
                log: Log::new(limits.log_lines, limits.log_bytes),
                workers: Workers::new(limits.workers, limits.ring_bytes),
                seen: Seen::default(),
                limits,
            }
        }

        fn kept(&mut self) -> Kept<'_> {
            Kept {
                log: &mut self.log,
                workers: &mut self.workers,
                seen: &mut self.seen,
            }
        }

        /// Journals, then applies, as the door does.
        fn put(&mut self, store: &mut Store, record: Record<'_>) {
            store.keep(&record, &self.kept()).unwrap();
            let mut buf = [0; MAX_RECORD_BYTES];
            apply(postcard::to_slice(&record, &mut buf).unwrap(), &mut self.kept()).unwrap();
        }

        fn content(&self) -> Content {
            let (from, to) = self.log.span();
            let mut log = std::vec![0; (to - from) as usize];
            self.log.read(from, to, &mut log).unwrap();
            let mut workers = Vec::new();
            let _ = self.workers.each(|id, ring, _| {
                let mut bytes = std::vec![0; (ring.end() - ring.base()) as usize];
                ring.read(ring.base(), ring.end(), &mut bytes).unwrap();
                workers.push((String::from(id), ring.base(), bytes));
                Ok::<_, ()>(())
            });
            workers.sort();
            let mut seen = Vec::new();
            let _ = self.seen.each(|child, restarts| {
                seen.push((child, restarts));
                Ok::<_, ()>(())
            });
            (String::from_utf8(log).unwrap(), workers, seen)
        }
    }

    #[test]
    fn what_was_kept_comes_back_however_often_the_journal_was_compacted() {
        let region = Region::in_memory(region_bytes(&State::new().limits));
        let mut state = State::new();
        let (mut store, recovery) = Store::open(Some(region.clone()), &mut state.kept());
        assert_eq!(recovery, Some(Recovery::Fresh));
        state.put(&mut store, Record::Booted { boot: 9 });
        state.put(
            &mut store,
            Record::Created {
                at_ms: 1,
                id: "worker-1",
                base: 0,
            },
        );
        state.put(
            &mut store,
            Record::Created {
                at_ms: 1,
                id: "worker-2",
                base: 0,
            },
        );
        state.put(
            &mut store,
            Record::Restarted {
                child: 3,
                restarts: 2,
            },
        );
        for i in 0..400_u64 {
            let text = std::format!("line {i} {}", "x".repeat((i as usize * 37) % 900));
            state.put(
                &mut store,
                Record::Log {
                    at_ms: i,
                    text: &text,
                },
            );
            let bytes = std::vec![i as u8; (i as usize * 13) % 100];
            state.put(
                &mut store,
                Record::Wrote {
                    at_ms: i,
                    id: "worker-2",
                    bytes: &bytes,
                },
            );
            if i == 200 {
                state.put(
                    &mut store,
                    Record::Ended {
                        at_ms: i,
                        id: "worker-1",
                    },
                );
            }
            if i % 50 == 0 {
                let mut again = State::new();
                let (_, recovery) =
                    Store::open(Some(Region::from_bytes(&region.to_vec())), &mut again.kept());
                assert_eq!(recovery, Some(Recovery::Clean));
                assert_eq!(again.content(), state.content(), "after {i}");
            }
        }
        assert!(
            store.journal.as_ref().unwrap().generation() > 2,
            "the journal was never compacted"
        );
        let mut again = State::new();
        Store::open(Some(region), &mut again.kept());
        assert_eq!(again.content(), state.content());
        assert_eq!(again.log.changed_ms(), 399);
    }

    #[test]
    fn the_largest_state_fits_a_region_of_the_stated_size() {
        let mut state = State::new();
        let region = Region::in_memory(region_bytes(&state.limits));
        let (mut store, _) = Store::open(Some(region), &mut state.kept());
        for id in ["a", "b"] {
            state.put(
                &mut store,
                Record::Created {
                    at_ms: u64::MAX,
                    id: &id.repeat(32),
                    base: 0,
                },
            );
        }
        let line = "y".repeat(MAX_LINE_BYTES);
        for i in 0..100 {
            state.put(
                &mut store,
                Record::Log {
                    at_ms: u64::MAX,
                    text: if i % 3 == 0 { &line } else { "" },
                },
            );
            for id in ["a", "b"] {
                state.put(
                    &mut store,
                    Record::Wrote {
                        at_ms: u64::MAX,
                        id: &id.repeat(32),
                        bytes: &[7; 255],
                    },
                );
            }
        }
    }

    #[test]
    fn a_region_of_something_else_starts_empty_and_says_so() {
        let mut state = State::new();
        let region = Region::in_memory(region_bytes(&state.limits));
        region.write_at(0, &[0x5a; 4096]).unwrap();
        let (_, recovery) = Store::open(Some(region), &mut state.kept());
        assert!(recovery.unwrap().is_corrupt());
        assert_eq!(state.content(), State::new().content());
    }
}
