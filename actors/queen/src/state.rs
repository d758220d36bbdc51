//! What the queen remembers.
//!
//! Answers for applying a record, whether it is new or replayed, and for a snapshot that replays to the same state.
//!
//! Never decides whether a change is allowed, never touches the journal.

use protocol::lifecycle::State as Lifecycle;

use crate::audit::Audit;
use crate::record::{Budget, Change, Record};
use crate::workers::{Phase, Workers};

/// Bytes of a transition's reason: a command's word or one of the queen's own.
pub(crate) const REASON_BYTES: usize = 32;

/// The node's lifecycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: Lifecycle,
    /// What moved it there; empty before the first transition.
    pub(crate) reason: heapless::String<REASON_BYTES>,
    /// When, Unix milliseconds.
    pub(crate) since_ms: u64,
}

/// Everything that a restart must not forget.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) lifecycle: Standing,
    pub(crate) workers: Workers,
    /// Number of the next worker.
    pub(crate) next: u64,
    /// Budget of workers that state none; `None` until an operator sets one.
    pub(crate) budget: Option<Budget>,
    pub(crate) audit: Audit,
    /// Children the supervisor had given up when last seen, one bit each.
    pub(crate) down: u64,
    /// NineDoor had found its journal corrupt when last asked.
    pub(crate) door_corrupt: bool,
}

/// The record does not fit what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfit;

impl State {
    /// What a fresh hive remembers: nothing. It is booting.
    pub(crate) fn new(max_live: usize, audit_lines: usize) -> State {
        State {
            lifecycle: Standing {
                state: Lifecycle::Booting,
                reason: heapless::String::new(),
                since_ms: 0,
            },
            workers: Workers::new(max_live),
            next: 1,
            budget: None,
            audit: Audit::new(audit_lines),
            down: 0,
            door_corrupt: false,
        }
    }

    /// Makes the change that the record tells of; gives the number of its audit line. If the record does not fit,
    /// nothing has changed.
    pub(crate) fn apply(&mut self, record: &Record<'_>) -> Result<Option<u64>, Misfit> {
        if let Some(change) = &record.change {
            self.change(change)?;
        }
        Ok(record.line.map(|line| self.audit.push(line)))
    }

    /// Whether [`apply`](Self::apply) would succeed.
    pub(crate) fn fits(&self, change: &Change<'_>) -> Result<(), Misfit> {
        let fits = match *change {
            Change::Lifecycle { state, reason, .. } => {
                Lifecycle::from_label(state).is_some() && reason.len() <= REASON_BYTES
            }
            Change::Spawning(spec) => self.workers.spec(spec.number).is_none(),
            Change::Alive { number } => self.workers.phase(number) == Some(Phase::Spawning),
            Change::Gone { number } => self.workers.is_wanted(number),
            Change::Budget(_)
            | Change::Next { .. }
            | Change::Delivered { .. }
            | Change::Down { .. }
            | Change::DoorCorrupt(_) => true,
        };
        if fits { Ok(()) } else { Err(Misfit) }
    }

    fn change(&mut self, change: &Change<'_>) -> Result<(), Misfit> {
        let fits = match *change {
            Change::Lifecycle {
                state,
                reason,
                since_ms,
            } => {
                let state = Lifecycle::from_label(state).ok_or(Misfit)?;
                let reason = heapless::String::try_from(reason).map_err(|_| Misfit)?;
                self.lifecycle = Standing {
                    state,
                    reason,
                    since_ms,
                };
                true
            }
            Change::Spawning(spec) => {
                self.next = self.next.max(spec.number.saturating_add(1));
                self.workers.add(spec)
            }
            Change::Alive { number } => self.workers.set_alive(number),
            Change::Gone { number } => self.workers.set_gone(number),
            Change::Budget(budget) => {
                self.budget = Some(budget);
                true
            }
            Change::Next { number } => {
                self.next = self.next.max(number);
                true
            }
            Change::Delivered { next } => {
                self.audit.set_next(next);
                true
            }
            Change::Down { children } => {
                self.down = children;
                true
            }
            Change::DoorCorrupt(corrupt) => {
                self.door_corrupt = corrupt;
                true
            }
        };
        if fits { Ok(()) } else { Err(Misfit) }
    }

    /// Records that make a new state equal to this one, as far as it outlives a restart.
    pub(crate) fn snapshot<E>(&self, mut put: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut change = |change| {
            put(&Record {
                change: Some(change),
                line: None,
            })
        };
        let Standing {
            state,
            reason,
            since_ms,
        } = &self.lifecycle;
        change(Change::Lifecycle {
            state: state.label(),
            reason,
            since_ms: *since_ms,
        })?;
        change(Change::Next { number: self.next })?;
        change(Change::Down { children: self.down })?;
        change(Change::DoorCorrupt(self.door_corrupt))?;
        if let Some(budget) = self.budget {
            change(Change::Budget(budget))?;
        }
        for worker in self.workers.wanted() {
            change(Change::Spawning(worker.spec))?;
            if worker.phase == Phase::Alive {
                change(Change::Alive {
                    number: worker.spec.number,
                })?;
            }
        }
        change(Change::Delivered {
            next: self.audit.next(),
        })?;
        self.audit.pending().try_for_each(|line| {
            put(&Record {
                change: None,
                line: Some(line),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::record::{GpuId, Grant, Kind, Spec};

    /// What of a state has to survive.
    type Essence = (
        Standing,
        u64,
        Option<Budget>,
        (u64, bool),
        u64,
        Vec<(Spec, Phase)>,
        Vec<String>,
    );

    fn essence(state: &State) -> Essence {
        let workers = state
            .workers
            .wanted()
            .map(|worker| (worker.spec, worker.phase))
            .collect();
        let lines = state.audit.pending().map(|line| line.to_string()).collect();
        (
            state.lifecycle.clone(),
            state.next,
            state.budget,
            (state.down, state.door_corrupt),
            state.audit.next(),
            workers,
            lines,
        )
    }

    fn spec(number: u64) -> Spec {
        Spec {
            number,
            kind: if number.is_multiple_of(2) {
                Kind::Heartbeat { ticks: 3 }
            } else {
                Kind::Gpu(Grant {
                    gpu: GpuId::new("GPU-0").unwrap(),
                    mem_mb: 1024,
                    streams: 1,
                    ttl_s: 60,
                    priority: 2,
                })
            },
            ttl_s: 60,
            ops: number.is_multiple_of(3).then_some(9),
            issued_ms: 1_000 * number,
        }
    }

    fn changes() -> impl Strategy<Value = Change<'static>> {
        prop_oneof![
            (0..6usize).prop_map(|i| Change::Lifecycle {
                state: Lifecycle::ALL[i].label(),
                reason: ["cordon", "boot-complete", ""][i % 3],
                since_ms: i as u64,
            }),
            (1..12u64).prop_map(|number| Change::Spawning(spec(number))),
            (1..12u64).prop_map(|number| Change::Alive { number }),
            (1..12u64).prop_map(|number| Change::Gone { number }),
            (1..9u64).prop_map(|n| Change::Budget(Budget { ttl_s: n, ops: n })),
            (1..99u64).prop_map(|number| Change::Next { number }),
            (0..40u64).prop_map(|next| Change::Delivered { next }),
            any::<u64>().prop_map(|children| Change::Down { children }),
            any::<bool>().prop_map(Change::DoorCorrupt),
        ]
    }

    proptest! {
        #[test]
        fn a_snapshot_replays_to_the_same_state(
            records in prop::collection::vec((prop::option::of(changes()), prop::option::of("[a-z =]{0,30}")), 0..60),
        ) {
            let mut state = State::new(8, 32);
            for (change, line) in &records {
                // A record that does not fit is never written.
                let fits = change.is_none_or(|change| state.fits(&change).is_ok());
                let applied = state.apply(&Record { change: *change, line: line.as_deref() });
                prop_assert_eq!(applied.is_ok(), fits);
            }
            let mut again = State::new(8, 32);
            let mut bytes = [0; 512];
            state.snapshot(|record| -> Result<(), postcard::Error> {
                let encoded = postcard::to_slice(record, &mut bytes)?;
                let decoded: Record<'_> = postcard::from_bytes(encoded)?;
                assert!(again.apply(&decoded).is_ok(), "{decoded:?} does not fit");
                Ok(())
            }).unwrap();
            prop_assert_eq!(essence(&again), essence(&state));
        }
    }

    #[test]
    fn numbers_are_never_given_twice() {
        let mut state = State::new(8, 32);
        let put = |state: &mut State, change| {
            state.apply(&Record {
                change: Some(change),
                line: None,
            })
        };
        put(&mut state, Change::Spawning(spec(1))).unwrap();
        put(&mut state, Change::Gone { number: 1 }).unwrap();
        assert_eq!((state.next, state.workers.live()), (2, 0));
        assert_eq!(put(&mut state, Change::Alive { number: 1 }), Err(Misfit));
        assert_eq!(put(&mut state, Change::Gone { number: 1 }), Err(Misfit));
    }
}
