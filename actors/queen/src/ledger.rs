//! State and journal together: nothing changes before it is written.
//!
//! Answers for committing a change (journal first, state second), for compaction, and for what a restart finds.
//!
//! Never decides whether a change is allowed, never waits.

use core::fmt;

use protocol::lifecycle::State as Lifecycle;
use protocol::refusal::Refusal;
use runtime::journal::{Journal, JournalError, Recovery, Snapshot, Unreadable};
use runtime::region::Region;

use crate::audit::{LINE_BYTES, Line};
use crate::record::{Change, OWNER, Record};
use crate::state::State;
use crate::workers::Phase;

/// What the queen remembers, and where it is written.
pub(crate) struct Ledger {
    journal: Journal,
    pub(crate) state: State,
}

/// Why a change was not committed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitError {
    /// The change does not fit the state: the worker is not, or no longer, in that phase.
    Misfit,
    /// The journal would not take it.
    Journal(JournalError),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Misfit => f.write_str("the change does not fit what came before it"),
            CommitError::Journal(error) => error.fmt(f),
        }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Refusal {
        match error {
            CommitError::Misfit => Refusal::InvalidPath,
            CommitError::Journal(_) => Refusal::BufferFull,
        }
    }
}

impl Ledger {
    /// Replays the journal in the region. A record that does not fit makes it start empty, as the journal's own
    /// corruption does.
    pub(crate) fn open(region: Region, max_live: usize, audit_lines: usize) -> (Ledger, Recovery) {
        let mut state = State::new(max_live, audit_lines);
        let (journal, recovery) = Journal::open(region, OWNER, |bytes| {
            let record: Record<'_> = postcard::from_bytes(bytes).map_err(|_| Unreadable)?;
            state.apply(&record).map(drop).map_err(|_| Unreadable)
        });
        if recovery.is_corrupt() {
            state = State::new(max_live, audit_lines);
        }
        (Ledger { journal, state }, recovery)
    }

    /// Puts the state in order after a start: what was being made is dropped, a boot is completed, and a journal
    /// that did not verify is told of.
    pub(crate) fn boot(&mut self, recovery: Recovery, unix_ms: u64) -> Result<(), JournalError> {
        let spawning = |ledger: &Ledger| {
            let mut wanted = ledger.state.workers.wanted();
            wanted
                .find(|worker| worker.phase == Phase::Spawning)
                .map(|worker| worker.spec.number)
        };
        while let Some(number) = spawning(self) {
            only_journal(self.commit(Some(Change::Gone { number }), None))?;
        }
        if self.state.lifecycle.state == Lifecycle::Booting {
            only_journal(self.transition(Lifecycle::Online, "boot-complete", unix_ms))?;
        }
        self.found("", recovery, unix_ms)
    }

    /// Says what opening a journal found, and degrades the node, if it did not verify. The queen's other journals than
    /// this one are told apart by ` region=<name>`.
    pub(crate) fn found(
        &mut self,
        which: &str,
        recovery: Recovery,
        unix_ms: u64,
    ) -> Result<(), JournalError> {
        if recovery.is_corrupt() {
            let told = line(format_args!(
                "journal actor=queen{which} outcome={recovery} effect=started-empty"
            ));
            only_journal(self.commit(None, Some(&told)))?;
            only_journal(self.degrade("journal-corrupt", unix_ms))?;
        }
        Ok(())
    }

    /// Writes the change and its audit line, then makes it. Gives the line's number.
    pub(crate) fn commit(
        &mut self,
        change: Option<Change<'_>>,
        line: Option<&str>,
    ) -> Result<Option<u64>, CommitError> {
        if let Some(change) = &change {
            self.state.fits(change).map_err(|_| CommitError::Misfit)?;
        }
        let record = Record { change, line };
        match self.journal.append_value(&record) {
            Err(JournalError::Full) => {
                let state = &self.state;
                let snapshot = |snapshot: &mut Snapshot<'_>| state.snapshot(|record| snapshot.value(record));
                self.journal.compact(snapshot).map_err(CommitError::Journal)?;
                self.journal.append_value(&record).map_err(CommitError::Journal)?;
            }
            appended => appended.map_err(CommitError::Journal)?,
        }
        self.state.apply(&record).map_err(|_| CommitError::Misfit)
    }

    /// Moves an ONLINE node to DEGRADED and says so; in any other state it is for the operator to notice the log.
    pub(crate) fn degrade(&mut self, reason: &str, unix_ms: u64) -> Result<Option<u64>, CommitError> {
        match self.state.lifecycle.state {
            Lifecycle::Online => self.transition(Lifecycle::Degraded, reason, unix_ms),
            _ => Ok(None),
        }
    }

    /// Moves the lifecycle and says so.
    pub(crate) fn transition(
        &mut self,
        new: Lifecycle,
        reason: &str,
        unix_ms: u64,
    ) -> Result<Option<u64>, CommitError> {
        let old = self.state.lifecycle.state;
        let told = line(format_args!(
            "lifecycle transition old={old} new={new} reason={reason}"
        ));
        self.commit(
            Some(Change::Lifecycle {
                state: new.label(),
                reason,
                since_ms: unix_ms,
            }),
            Some(&told),
        )
    }
}

/// A change that fits for certain fails for one reason only.
fn only_journal(committed: Result<Option<u64>, CommitError>) -> Result<(), JournalError> {
    match committed {
        Err(CommitError::Journal(error)) => Err(error),
        Ok(_) | Err(CommitError::Misfit) => Ok(()),
    }
}

/// An audit line. What does not fit is left out at the end; callers whose texts have no bound check it first.
pub(crate) fn line(text: fmt::Arguments<'_>) -> Line {
    struct Cut<'a>(&'a mut Line);
    impl fmt::Write for Cut<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = LINE_BYTES - self.0.len();
            let part = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
            self.0.push_str(part).map_err(|_| fmt::Error)
        }
    }
    let mut line = Line::new();
    // Cut never fails: it leaves out what has no room.
    let _ = fmt::write(&mut Cut(&mut line), text);
    line
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use runtime::region::Crash;

    use super::*;
    use crate::record::{Budget, GpuId, Grant, Kind, Spec};

    const JOURNAL_BYTES: usize = 4096;

    fn open(region: &Region) -> (Ledger, Recovery) {
        Ledger::open(region.clone(), 4, 16)
    }

    fn spec(number: u64) -> Spec {
        Spec {
            number,
            kind: Kind::Heartbeat { ticks: 9 },
            ttl_s: 60,
            ops: Some(99),
            issued_ms: 5,
        }
    }

    fn lease(number: u64) -> Spec {
        Spec {
            kind: Kind::Gpu(Grant {
                gpu: GpuId::new("GPU-0").unwrap(),
                mem_mb: 1024,
                streams: 1,
                ttl_s: 60,
                priority: 0,
            }),
            ops: None,
            ..spec(number)
        }
    }

    type Step = fn(&mut Ledger) -> Result<Option<u64>, CommitError>;

    /// A life, as steps that are each acknowledged when they return.
    const LIFE: &[Step] = &[
        |ledger| {
            ledger
                .boot(Recovery::Fresh, 1)
                .map(|()| None)
                .map_err(CommitError::Journal)
        },
        |ledger| ledger.commit(Some(Change::Spawning(spec(1))), None),
        |ledger| ledger.commit(Some(Change::Alive { number: 1 }), Some("spawned worker-1")),
        |ledger| ledger.commit(Some(Change::Delivered { next: 2 }), None),
        |ledger| ledger.commit(Some(Change::Spawning(spec(2))), None),
        |ledger| ledger.commit(Some(Change::Alive { number: 2 }), Some("spawned worker-2")),
        |ledger| {
            ledger.commit(
                Some(Change::Budget(Budget { ttl_s: 7, ops: 8 })),
                Some("updated default budget"),
            )
        },
        |ledger| ledger.commit(Some(Change::Gone { number: 1 }), Some("killed worker-1")),
        |ledger| ledger.commit(Some(Change::Spawning(lease(3))), None),
        |ledger| {
            ledger.commit(
                Some(Change::Alive { number: 3 }),
                Some("spawned worker-3 gpu=GPU-0"),
            )
        },
        |ledger| ledger.transition(Lifecycle::Draining, "cordon", 77),
        |ledger| ledger.commit(Some(Change::Delivered { next: 4 }), None),
    ];

    type Essence = (Lifecycle, u64, Option<Budget>, Vec<(Spec, Phase)>, Vec<String>);

    fn essence(ledger: &Ledger) -> Essence {
        let state = &ledger.state;
        let workers = state
            .workers
            .wanted()
            .map(|worker| (worker.spec, worker.phase))
            .collect();
        let lines = state.audit.pending().map(|line| line.as_str().into()).collect();
        (state.lifecycle.state, state.next, state.budget, workers, lines)
    }

    #[test]
    fn a_crash_at_any_write_leaves_what_was_acknowledged() {
        let whole = Region::in_memory(JOURNAL_BYTES);
        let (mut ledger, recovery) = open(&whole);
        assert_eq!(recovery, Recovery::Fresh);
        let opened = whole.writes();
        let mut states = Vec::from([essence(&ledger)]);
        for step in LIFE {
            step(&mut ledger).unwrap();
            states.push(essence(&ledger));
        }
        for write in 1..=whole.writes() - opened {
            for prefix in [0, 1, 4, 7] {
                let region = Region::in_memory(JOURNAL_BYTES);
                let (mut ledger, _) = open(&region);
                region.crash_at(write, Crash::TornRefuse { prefix });
                let done = LIFE.iter().take_while(|step| step(&mut ledger).is_ok()).count();
                region.crash_never();
                let (again, recovery) = open(&region);
                assert!(!recovery.is_corrupt());
                let found = essence(&again);
                let possible = states.get(done..=done + 1).unwrap_or(&states[done..]);
                assert!(
                    possible.contains(&found),
                    "write {write}: {found:?} is none of {possible:?}"
                );
            }
        }
    }

    #[test]
    fn a_boot_finishes_what_a_crash_interrupted_and_happens_once() {
        let region = Region::in_memory(JOURNAL_BYTES);
        let (mut ledger, recovery) = open(&region);
        ledger.boot(recovery, 10).unwrap();
        ledger.commit(Some(Change::Spawning(spec(1))), None).unwrap();
        let (mut ledger, recovery) = open(&region);
        ledger.boot(recovery, 20).unwrap();
        let (state, next, _, workers, lines) = essence(&ledger);
        assert_eq!((state, next, workers.len()), (Lifecycle::Online, 2, 0));
        assert_eq!(
            lines,
            ["lifecycle transition old=BOOTING new=ONLINE reason=boot-complete"]
        );
        assert_eq!(ledger.state.lifecycle.since_ms, 10);
    }

    #[test]
    fn a_journal_that_does_not_verify_degrades_the_node() {
        let region = Region::in_memory(JOURNAL_BYTES);
        region.write_at(100, b"garbage").unwrap();
        region.write_at(0, b"garbage").unwrap();
        let (mut ledger, recovery) = open(&region);
        ledger.boot(recovery, 10).unwrap();
        let (state, .., lines) = essence(&ledger);
        assert_eq!(state, Lifecycle::Degraded);
        assert_eq!(
            lines[1],
            "journal actor=queen outcome=corrupt why=header effect=started-empty"
        );
        assert_eq!(
            lines[2],
            "lifecycle transition old=ONLINE new=DEGRADED reason=journal-corrupt"
        );
    }

    #[test]
    fn a_full_journal_is_compacted_on_the_way() {
        let region = Region::in_memory(JOURNAL_BYTES);
        let (mut ledger, recovery) = open(&region);
        ledger.boot(recovery, 1).unwrap();
        for number in 1..500 {
            ledger.commit(Some(Change::Spawning(spec(number))), None).unwrap();
            let told = ledger
                .commit(Some(Change::Alive { number }), Some("spawned"))
                .unwrap()
                .unwrap();
            ledger
                .commit(Some(Change::Gone { number }), Some("killed"))
                .unwrap();
            ledger
                .commit(Some(Change::Delivered { next: told + 2 }), None)
                .unwrap();
        }
        let before = essence(&ledger);
        assert_eq!(before.1, 500);
        assert_eq!(essence(&open(&region).0), before);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let region = Region::in_memory(JOURNAL_BYTES);
        let (mut ledger, _) = open(&region);
        let writes = region.writes();
        assert_eq!(
            ledger.commit(Some(Change::Gone { number: 1 }), Some("killed")),
            Err(CommitError::Misfit)
        );
        assert_eq!(region.writes(), writes);
    }

    #[test]
    fn lines_are_cut_at_their_bound() {
        let long = "x".repeat(300);
        assert_eq!(line(format_args!("{long}{long}")).len(), LINE_BYTES);
    }
}
