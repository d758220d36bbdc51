//! What is kept of telemetry, in one region: devices, gates, jobs.
//!
//! Answers for a record being in the region and counted before its write is answered, for the order of all records, and
//! for a restart finding what was acknowledged. Never waits, never says who may do what.

use alloc::boxed::Box;
use alloc::vec::Vec;

use protocol::ingest::{Carried, SegmentId};
use protocol::refusal::Refusal;
use runtime::journal::{Corruption, Recovery};
use runtime::region::{Region, RegionError};

use super::base::BASE_BYTES;
use super::devices::{DeviceId, Devices, Evicted};
use super::export::{Export, Scratch};
use super::gates::{GateRule, Gates, ModelId};
use super::jobs::{Job, Jobs};
use super::layout::{Contents, IngestLimits, contents, entitle};
use super::segment::{Batch, NO_MODEL};

/// Zeros with which a region is wiped, a piece at a time.
const ZEROS: [u8; 512] = [0; 512];

/// All of it.
pub(super) struct Store {
    pub(super) devices: Devices,
    pub(super) gates: Gates,
    pub(super) jobs: Jobs,
    export: Export,
    /// Whether the export is under way.
    exporting: bool,
    /// Number of the last record.
    seq: u64,
    scratch: Scratch,
    /// Which gate counts each record of the write at hand.
    models: Vec<u8>,
}

impl Store {
    /// Lays out a region that is fresh or strange, and finds what is in one that is known. All memory is taken here.
    pub(super) fn open(
        region: Region,
        limits: IngestLimits,
        default: GateRule,
        rules: Vec<(ModelId, GateRule)>,
    ) -> Result<(Store, Recovery), RegionError> {
        let found = match contents(&region, &limits) {
            Contents::Known => Recovery::Clean,
            Contents::Fresh => Recovery::Fresh,
            Contents::Strange => {
                wipe(&region, &limits)?;
                Recovery::Corrupt(Corruption::Header)
            }
        };
        if found != Recovery::Clean {
            entitle(&region, &limits)?;
        }
        let (mut records, mut epochs, mut windows, mut jobs_seq) = (0, 0, 0, 0);
        let mut scratch = Scratch::new();
        let devices = Devices::recover(
            region.clone(),
            limits,
            &mut scratch.line,
            |entry| records = entry.seq.max(records),
            |epoch| epochs = epoch.max(epochs),
        );
        let gates = Gates::recover(region.clone(), limits, default, rules, |seq| {
            windows = seq.max(windows)
        });
        let model = |place: u8| gates.get(place).map(|gate| gate.model.as_str());
        let jobs = Jobs::recover(region.clone(), limits, model, |seq| jobs_seq = seq.max(jobs_seq));
        let mut store = Store {
            devices,
            gates,
            jobs,
            export: Export::new(region, limits),
            exporting: false,
            seq: records.max(epochs).max(windows).max(jobs_seq),
            scratch,
            models: Vec::with_capacity(limits.segment_records),
        };
        // What a crash left is taken up at once; if the region refuses, the next failure brings it up again.
        let _ = store.settle();
        Ok((store, found))
    }

    /// Begins a device's next segment.
    pub(super) fn begin_segment(
        &mut self,
        name: &str,
        evicted: impl FnMut(Evicted),
    ) -> Result<(DeviceId, SegmentId), Refusal> {
        let begun = self.devices.begin(name, self.seq + 1, evicted)?;
        self.seq += 1;
        Ok(begun)
    }

    /// Adds the records in `data` to a segment.
    pub(super) fn write(
        &mut self,
        device: DeviceId,
        segment: SegmentId,
        data: &[u8],
        evicted: impl FnMut(Evicted),
    ) -> Result<(), Refusal> {
        let batch = Batch::of(data)?;
        self.devices.admit(device, segment, batch)?;
        let written = self.classify(batch).and_then(|()| {
            self.devices
                .append(device, segment, batch, self.seq + 1, &self.models, evicted)
        });
        if let Err(refusal) = written {
            self.gates.forget();
            return Err(refusal);
        }
        self.seq += self.models.len() as u64;
        self.gates.keep()
    }

    /// Finds out which gate counts each record.
    fn classify(&mut self, batch: Batch<'_>) -> Result<(), Refusal> {
        self.models.clear();
        for line in batch.lines() {
            let sample = Carried::of(line, &mut self.scratch.carried).and_then(Carried::sample);
            let place = match sample {
                Some(sample) => self.gates.count(&sample)?,
                None => None,
            };
            // A write has no more records than a segment may have.
            self.models.push(place.unwrap_or(NO_MODEL));
        }
        Ok(())
    }

    /// Whether the files of a job are due.
    pub(super) fn is_due(&self) -> bool {
        self.exporting || self.gates.met().is_some()
    }

    /// Does the next piece of what is due: files of a job whose gate is met. `base` names a model's base.
    pub(super) fn export(
        &mut self,
        base: impl FnOnce(&str, &mut Base),
        unix_ms: u64,
    ) -> Result<Piece, Refusal> {
        if !self.exporting {
            return Ok(if self.begin_export() {
                Piece::Done
            } else {
                Piece::Nothing
            });
        }
        let (place, used, to) = self.export.uses();
        let Some(gate) = self.gates.get(place) else {
            self.exporting = false;
            return Ok(Piece::Nothing);
        };
        if !self.export.step(gate, &self.devices, &mut self.scratch)? {
            return Ok(Piece::Done);
        }
        let mut of = Base::new();
        base(&gate.model, &mut of);
        let of = if of.is_empty() {
            gate.model.as_str()
        } else {
            of.as_str()
        };
        let facts = self.export.finish(gate, of, unix_ms)?;
        if let Some(facts) = facts {
            self.jobs.open(self.export.slot(), &gate.model, facts)?;
        }
        self.exporting = false;
        self.gates.consume(place, used, to)?;
        Ok(if facts.is_some() {
            Piece::Done
        } else {
            Piece::Empty(place)
        })
    }

    /// Takes up what a crash, or a write that failed, has left: a device with too many bytes, a job whose gate does not
    /// know of it yet.
    pub(super) fn settle(&mut self) -> Result<(), Refusal> {
        self.exporting = false;
        self.devices.settle()?;
        let mut after = 0;
        // In the order in which they were opened.
        while let Some(facts) = {
            let later = self.jobs.all().filter(|job| job.facts.number > after);
            later.map(|job| job.facts).min_by_key(|facts| facts.number)
        } {
            self.gates.consume(facts.model, facts.used, facts.to)?;
            after = facts.number;
        }
        Ok(())
    }

    /// A job that the log does not tell of yet.
    pub(super) fn untold(&self) -> Option<&Job> {
        let untold = self.jobs.all().filter(|job| !job.facts.told);
        untold.min_by_key(|job| job.facts.number)
    }

    fn begin_export(&mut self) -> bool {
        let Some((place, (number, slot))) = self.gates.met().zip(self.jobs.vacancy()) else {
            return false;
        };
        if let Some(gate) = self.gates.get(place) {
            self.export
                .begin(place, gate, self.seq, number, slot, &self.devices);
            self.exporting = true;
        }
        self.exporting
    }
}

/// What came of doing a piece of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// There is nothing to do.
    Nothing,
    /// There may be more to do at once.
    Done,
    /// The gate in that place was met, but none of its records is kept any more: no job came of it.
    Empty(u8),
}

/// A model's base, as its manifest names it.
pub(super) type Base = heapless::String<BASE_BYTES>;

fn wipe(region: &Region, limits: &IngestLimits) -> Result<(), RegionError> {
    let cells: Box<[usize]> = (limits.device(0)..limits.segment(0, 0))
        .step_by(ZEROS.len())
        .collect();
    for at in cells {
        let len = ZEROS.len().min(limits.segment(0, 0) - at);
        region.write_at(at, ZEROS.get(..len).unwrap_or_default())?;
    }
    Devices::wipe(region, limits)
}

#[cfg(test)]
mod tests;
