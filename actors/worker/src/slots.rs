//! Which worker runs in which slot of a domain.
//!
//! Answers for starting and stopping being idempotent, for a worker's end being told once and its slot being free
//! afterwards.
//!
//! Never runs a worker, never waits.

use alloc::vec::Vec;

use protocol::gpu::GPU_ID_BYTES;
use protocol::limits::{TICKET_BYTES, WORKER_ID_BYTES};
use protocol::refusal::Refusal;
use protocol::worker::{EndReason, Start};

use crate::pulse::Limits;

/// A worker's id.
pub type WorkerId = heapless::String<WORKER_ID_BYTES>;

/// What a slot needs to run a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The worker.
    pub id: WorkerId,
    /// What it attaches with.
    pub ticket: heapless::String<TICKET_BYTES>,
    /// What it may use up.
    pub limits: Limits,
    /// The GPU it has a lease of, if any.
    pub gpu_id: Option<heapless::String<GPU_ID_BYTES>>,
}

impl Job {
    /// The job of a request; `None` if one of its texts is too long for anything of its kind.
    pub(crate) fn of(start: &Start<'_>) -> Option<Job> {
        let gpu_id = start.gpu_id.map(TryInto::try_into).transpose();
        Some(Job {
            id: start.id.try_into().ok()?,
            ticket: start.ticket.try_into().ok()?,
            limits: Limits {
                ticks: start.ticks,
                ops: start.ops,
                period: core::time::Duration::from_millis(start.period_ms.into()),
                expires_unix_ms: start.expires_unix_ms,
            },
            gpu_id: gpu_id.ok()?,
        })
    }
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is not attached at NineDoor yet.
    Starting,
    /// It is, or was and will be again.
    Attached,
    /// It is to end without a word.
    Stopping,
    /// It ended by itself, and nobody has been told.
    Ended(EndReason),
}

#[derive(Clone, Debug)]
struct Tenant {
    job: Job,
    stage: Stage,
    /// The slot's task has taken the job.
    taken: bool,
}

/// The slots of a domain.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    slots: Vec<Option<Tenant>>,
}

impl Slots {
    /// So many free slots.
    pub(crate) fn new(count: usize) -> Slots {
        Slots {
            slots: (0..count).map(|_| None).collect(),
        }
    }

    /// Gives the worker a slot. One that has a slot already keeps it and goes on.
    pub(crate) fn start(&mut self, job: Job) -> Result<(), Refusal> {
        match self.stage(&job.id) {
            Some(Stage::Stopping) => return Err(Refusal::Busy),
            Some(Stage::Starting | Stage::Attached | Stage::Ended(_)) => return Ok(()),
            None => {}
        }
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.is_none())
            .ok_or(Refusal::BufferFull)?;
        *slot = Some(Tenant {
            job,
            stage: Stage::Starting,
            taken: false,
        });
        Ok(())
    }

    /// Asks the worker to end without a word.
    pub(crate) fn stop(&mut self, id: &str) {
        for slot in &mut self.slots {
            match slot {
                Some(tenant) if tenant.job.id == id => {
                    // No task runs what has ended or was never begun.
                    if tenant.taken {
                        tenant.stage = Stage::Stopping;
                    } else {
                        *slot = None;
                    }
                }
                _ => {}
            }
        }
    }

    /// How far the worker has come; `None` if it has no slot.
    pub(crate) fn stage(&self, id: &str) -> Option<Stage> {
        self.tenants()
            .find(|tenant| tenant.job.id == id)
            .map(|tenant| tenant.stage)
    }

    /// The job for the task of that slot, once.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Job> {
        let tenant = self.slots.get_mut(slot)?.as_mut()?;
        if tenant.taken || tenant.stage != Stage::Starting {
            return None;
        }
        tenant.taken = true;
        Some(tenant.job.clone())
    }

    /// The slot's worker is attached.
    pub(crate) fn attached(&mut self, slot: usize) {
        if let Some(Some(tenant)) = self.slots.get_mut(slot)
            && tenant.stage == Stage::Starting
        {
            tenant.stage = Stage::Attached;
        }
    }

    /// Whether the slot's worker is asked to end.
    pub(crate) fn is_stopping(&self, slot: usize) -> bool {
        matches!(
            self.slots.get(slot),
            Some(Some(Tenant {
                stage: Stage::Stopping,
                ..
            }))
        )
    }

    /// The slot's task has let go of its worker, which ended by itself for that reason, or was stopped.
    pub(crate) fn finished(&mut self, slot: usize, reason: Option<EndReason>) {
        let Some(place) = self.slots.get_mut(slot) else {
            return;
        };
        match (place.as_mut(), reason) {
            (Some(tenant), Some(reason)) if tenant.stage != Stage::Stopping => {
                tenant.stage = Stage::Ended(reason);
                tenant.taken = false;
            }
            _ => *place = None,
        }
    }

    /// A worker that ended by itself and that nobody was told of; now somebody is.
    pub(crate) fn event(&mut self) -> Option<(WorkerId, EndReason)> {
        let ended = |slot: &&mut Option<Tenant>| {
            matches!(
                slot,
                Some(Tenant {
                    stage: Stage::Ended(_),
                    ..
                })
            )
        };
        let tenant = self.slots.iter_mut().find(ended)?.take()?;
        match tenant.stage {
            Stage::Ended(reason) => Some((tenant.job.id, reason)),
            _ => None,
        }
    }

    /// The workers that have a slot and have not ended.
    pub(crate) fn running(&self) -> impl Iterator<Item = &str> {
        let running = |tenant: &&Tenant| matches!(tenant.stage, Stage::Starting | Stage::Attached);
        self.tenants()
            .filter(running)
            .map(|tenant| tenant.job.id.as_str())
    }

    fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.slots.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn job(id: &str) -> Job {
        let start = Start {
            id,
            ticket: "t",
            ticks: Some(1),
            ops: None,
            period_ms: 10,
            expires_unix_ms: None,
            gpu_id: None,
        };
        Job::of(&start).unwrap()
    }

    #[test]
    fn starting_and_stopping_are_idempotent() {
        let mut slots = Slots::new(2);
        for _ in 0..2 {
            assert_eq!(slots.start(job("worker-1")), Ok(()));
        }
        assert_eq!(slots.running().collect::<Vec<_>>(), ["worker-1"]);
        assert_eq!(slots.take(0).unwrap().id, "worker-1");
        assert_eq!(slots.take(0), None, "a job is taken once");
        slots.attached(0);
        assert_eq!(slots.stage("worker-1"), Some(Stage::Attached));
        for _ in 0..2 {
            slots.stop("worker-1");
        }
        assert!(slots.is_stopping(0));
        assert_eq!(
            slots.start(job("worker-1")),
            Err(Refusal::Busy),
            "its task has not let go yet"
        );
        slots.finished(0, None);
        slots.stop("worker-1");
        assert_eq!(
            (slots.stage("worker-1"), slots.start(job("worker-1"))),
            (None, Ok(()))
        );
    }

    #[test]
    fn a_stop_before_the_task_begins_frees_the_slot() {
        let mut slots = Slots::new(1);
        slots.start(job("worker-1")).unwrap();
        slots.stop("worker-1");
        assert_eq!((slots.take(0), slots.stage("worker-1")), (None, None));
    }

    #[test]
    fn slots_have_a_bound() {
        let mut slots = Slots::new(2);
        assert_eq!(
            ["a", "b", "c"].map(|id| slots.start(job(id))),
            [Ok(()), Ok(()), Err(Refusal::BufferFull)]
        );
        slots.take(0);
        slots.finished(0, Some(EndReason::Ticks));
        assert_eq!(
            slots.start(job("c")),
            Err(Refusal::BufferFull),
            "nobody was told of its end"
        );
        assert_eq!(slots.event().unwrap().0, "a");
        assert_eq!(slots.start(job("c")), Ok(()));
    }

    #[test]
    fn an_end_is_told_once() {
        let mut slots = Slots::new(1);
        slots.start(job("worker-1")).unwrap();
        slots.take(0);
        slots.finished(0, Some(EndReason::Ops));
        assert_eq!(
            slots.start(job("worker-1")),
            Ok(()),
            "it has run; its end is about to be told"
        );
        assert_eq!(slots.take(0), None);
        let (id, reason) = slots.event().unwrap();
        assert_eq!(
            (id.as_str(), reason, slots.event()),
            ("worker-1", EndReason::Ops, None)
        );
    }

    #[test]
    fn the_end_of_a_stopped_worker_is_not_told() {
        let mut slots = Slots::new(1);
        slots.start(job("worker-1")).unwrap();
        slots.take(0);
        slots.stop("worker-1");
        slots.finished(0, Some(EndReason::Ticks));
        assert_eq!((slots.event(), slots.stage("worker-1")), (None, None));
        slots.start(job("worker-2")).unwrap();
        slots.take(0);
        slots.finished(0, Some(EndReason::Ticks));
        slots.stop("worker-2");
        assert_eq!(slots.event(), None);
    }
}
