//! Jobs: what a gate that opened has left for a trainer.
//!
//! Answers for a job's files being written before the job exists, for never changing afterwards, and for the bound on
//! how many there are. Never decides that a job is due.

use core::fmt::Write as _;

use alloc::vec::Vec;

use protocol::refusal::Refusal;
use runtime::region::Region;
use serde::{Deserialize, Serialize};

use super::gates::Count;
use super::layout::{BASE_MODEL_BYTES, IngestLimits, POLICY_BYTES, TELEMETRY_CBOR_BYTES};
use super::twin::{Twin, VALUE_BYTES};

/// Bytes of a model's id that a job's repeats: with its directory a console's path holds no more.
const MODEL_BYTES: usize = 40;

/// A job's id: `lora-<model>-<number>`. What a path may not hold is a `-`.
pub(crate) type JobId = heapless::String<{ MODEL_BYTES + 16 }>;

/// A file of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobFile {
    /// The records, in CBOR.
    Telemetry,
    /// The model that the adapter goes on top of.
    BaseModel,
    /// The gate's numbers.
    Policy,
}

/// What is known of a job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Counted from 1 over all models.
    pub(super) number: u32,
    /// Place of its gate.
    pub(super) model: u8,
    /// Bytes of its files, in the order of [`JobFile`].
    pub(super) bytes: [u32; 3],
    /// What it has used of its gate's window.
    pub(super) used: Count,
    /// The last record of its window.
    pub(super) to: u64,
    /// Records in its telemetry.
    pub(super) records: u32,
    /// The log tells of it.
    pub(super) told: bool,
}

/// A job that is there.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) facts: Facts,
}

struct Slot {
    twin: Twin,
    job: Option<Job>,
}

/// All jobs.
pub(super) struct Jobs {
    region: Region,
    limits: IngestLimits,
    slots: Vec<Slot>,
}

impl JobFile {
    /// Every file, in the order of their names.
    pub(crate) const ALL: [JobFile; 3] = [JobFile::BaseModel, JobFile::Policy, JobFile::Telemetry];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            JobFile::Telemetry => "telemetry.cbor",
            JobFile::BaseModel => "base_model.ref",
            JobFile::Policy => "policy.toml",
        }
    }

    /// Where it begins in its slot.
    pub(super) fn offset(self) -> usize {
        match self {
            JobFile::Telemetry => 0,
            JobFile::BaseModel => TELEMETRY_CBOR_BYTES,
            JobFile::Policy => TELEMETRY_CBOR_BYTES + BASE_MODEL_BYTES,
        }
    }

    /// The most bytes that it has.
    pub(super) fn capacity(self) -> usize {
        match self {
            JobFile::Telemetry => TELEMETRY_CBOR_BYTES,
            JobFile::BaseModel => BASE_MODEL_BYTES,
            JobFile::Policy => POLICY_BYTES,
        }
    }
}

/// The id of a model's job.
pub(super) fn id_of(model: &str, number: u32) -> JobId {
    let mut id = JobId::new();
    // A u32 has ten digits: it fits.
    let _ = id.push_str("lora-");
    for c in model.chars().take(MODEL_BYTES) {
        let plain = c.is_ascii_alphanumeric() || "._-".contains(c);
        let _ = id.push(if plain { c } else { '-' });
    }
    let _ = write!(id, "-{number}");
    id
}

impl Jobs {
    /// Finds the jobs in the region; all memory is taken here. `model` names the model of a gate's place.
    pub(super) fn recover<'g>(
        region: Region,
        limits: IngestLimits,
        model: impl Fn(u8) -> Option<&'g str>,
        mut seq: impl FnMut(u64),
    ) -> Jobs {
        let mut buf = [0; VALUE_BYTES];
        let slots = (0..limits.job_slots()).map(|slot| {
            let (twin, value) = Twin::load(&region, limits.job(slot), &mut buf);
            let facts = value.and_then(|value| postcard::from_bytes::<Option<Facts>>(value).ok().flatten());
            let job = facts.and_then(|facts| {
                seq(facts.to);
                let id = id_of(model(facts.model)?, facts.number);
                Some(Job { id, facts })
            });
            Slot { twin, job }
        });
        let slots = slots.collect();
        Jobs {
            region,
            limits,
            slots,
        }
    }

    /// All jobs, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Job> {
        self.slots.iter().filter_map(|slot| slot.job.as_ref())
    }

    /// The job of that number.
    pub(super) fn get(&self, number: u32) -> Option<&Job> {
        self.all().find(|job| job.facts.number == number)
    }

    /// The job of that id.
    pub(super) fn find(&self, id: &str) -> Option<&Job> {
        self.all().find(|job| job.id == id)
    }

    /// The first job whose id is after this one, in the order of ids.
    pub(super) fn next(&self, after: &str) -> Option<&Job> {
        self.all()
            .filter(|job| job.id.as_str() > after)
            .min_by_key(|job| job.id.as_str())
    }

    /// The next job's number and the slot in which its files may be written.
    pub(super) fn vacancy(&self) -> Option<(u32, usize)> {
        let number = self.all().map(|job| job.facts.number).max().unwrap_or(0) + 1;
        let slot = self.slots.iter().position(|slot| slot.job.is_none())?;
        Some((number, slot))
    }

    /// The job whose files are in the slot exists from now on.
    pub(super) fn open(&mut self, slot: usize, model: &str, facts: Facts) -> Result<(), Refusal> {
        let id = id_of(model, facts.number);
        self.store(slot, Some(Job { id, facts }))
    }

    /// The log tells of the job.
    pub(super) fn set_told(&mut self, number: u32) -> Result<(), Refusal> {
        let Some((slot, mut job)) = self.slot(number) else {
            return Ok(());
        };
        job.facts.told = true;
        self.store(slot, Some(job))
    }

    /// The oldest job, if there are more than are kept.
    pub(super) fn surplus(&self) -> Option<&Job> {
        let oldest = self.all().min_by_key(|job| job.facts.number);
        oldest.filter(|_| self.all().count() > self.limits.jobs)
    }

    /// The job is no more.
    pub(super) fn close(&mut self, number: u32) -> Result<(), Refusal> {
        match self.slot(number) {
            Some((slot, _)) => self.store(slot, None),
            None => Ok(()),
        }
    }

    /// Copies what a job's file says from `offset` on.
    pub(super) fn read(
        &self,
        number: u32,
        file: JobFile,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Refusal> {
        let (slot, job) = self.slot(number).ok_or(Refusal::InvalidPath)?;
        let len = job.bytes(file).min(file.capacity());
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(len);
        let count = buf.len().min(len - from);
        let at = self.limits.export(slot) + file.offset() + from;
        let into = buf.get_mut(..count).unwrap_or_default();
        // Exports lie inside of their region.
        self.region.read_at(at, into).map_err(|_| Refusal::InvalidPath)?;
        Ok(count)
    }

    fn slot(&self, number: u32) -> Option<(usize, Job)> {
        let mut slots = self.slots.iter().enumerate();
        slots.find_map(|(slot, place)| {
            let job = place.job.as_ref().filter(|job| job.facts.number == number)?;
            Some((slot, job.clone()))
        })
    }

    fn store(&mut self, slot: usize, job: Option<Job>) -> Result<(), Refusal> {
        let place = self.slots.get_mut(slot).ok_or(Refusal::BufferFull)?;
        let mut buf = [0; VALUE_BYTES];
        let facts = job.as_ref().map(|job| job.facts);
        let value = postcard::to_slice(&facts, &mut buf).map_err(|_| Refusal::BufferFull)?;
        place
            .twin
            .store(&self.region, value)
            .map_err(|_| Refusal::BufferFull)?;
        place.job = job;
        Ok(())
    }
}

impl Job {
    /// Bytes of one of its files.
    pub(super) fn bytes(&self, file: JobFile) -> usize {
        let [telemetry, base, policy] = self.facts.bytes;
        match file {
            JobFile::Telemetry => telemetry as usize,
            JobFile::BaseModel => base as usize,
            JobFile::Policy => policy as usize,
        }
    }
}
