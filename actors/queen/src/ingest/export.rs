//! A job's files, made of the records that its gate counted.
//!
//! Answers for finding those that are still kept, for the newest of them when not all fit, in the order they came, and
//! for doing a bounded piece of it at a time: records come and go meanwhile. Never opens the job: nobody sees the files
//! before they are whole.

use alloc::boxed::Box;

use minicbor::Encoder;
use protocol::hex::Hex;
use protocol::ingest::{Carried, RECORD_BYTES};
use protocol::line::Line;
use protocol::refusal::Refusal;
use runtime::region::{Region, RegionError};
use sha2::{Digest, Sha256};

use super::devices::Devices;
use super::gates::{Count, Gate};
use super::jobs::{Facts, JobFile, JobId, id_of};
use super::layout::{IngestLimits, TELEMETRY_CBOR_BYTES};
use super::segment::{SCRATCH_BYTES, Segment};

/// The schema of `telemetry.cbor`.
const TELEMETRY_SCHEMA: &str = "lora-telemetry/v1";
/// Bytes of `telemetry.cbor` around its records: four names, the schema and two ids.
const FRAME_BYTES: usize = 320;
/// Entries that one step looks at.
const ENTRIES_PER_STEP: usize = 64;
/// Bytes of the text of `policy.toml`: twenty short lines and a model's id.
const POLICY_TEXT_BYTES: usize = 1536;

/// Buffers for one record at a time.
pub(super) struct Scratch {
    pub(super) line: Box<[u8]>,
    pub(super) carried: Box<[u8]>,
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch {
            line: alloc::vec![0; RECORD_BYTES + 1].into(),
            carried: alloc::vec![0; SCRATCH_BYTES].into(),
        }
    }
}

/// How far the looking through one segment has come.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    epoch: u64,
    /// The entry to look at next.
    index: usize,
    /// Where its record begins.
    start: usize,
    /// The record that is next to be used: its number, begin and end.
    next: Option<(u64, usize, usize)>,
    done: bool,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// How much there is.
    Measure,
    /// The records are being written.
    Write,
    /// `telemetry.cbor` is whole.
    Whole,
}

/// A job's files in the making.
pub(super) struct Export {
    region: Region,
    limits: IngestLimits,
    place: u8,
    number: u32,
    slot: usize,
    id: JobId,
    used: Count,
    /// The window: records after the first and up to the second.
    window: (u64, u64),
    cursors: Box<[Cursor]>,
    phase: Phase,
    /// Bytes of the records that are still to be written or left out.
    left: usize,
    records: u32,
    omitted: u32,
    len: usize,
    hash: Sha256,
}

impl Export {
    /// Memory for one export at a time.
    pub(super) fn new(region: Region, limits: IngestLimits) -> Export {
        Export {
            region,
            limits,
            place: 0,
            number: 0,
            slot: 0,
            id: JobId::new(),
            used: Count::default(),
            window: (0, 0),
            cursors: alloc::vec![Cursor::default(); limits.devices * limits.segments].into(),
            phase: Phase::Whole,
            left: 0,
            records: 0,
            omitted: 0,
            len: 0,
            hash: Sha256::new(),
        }
    }

    /// Begins with the window of that gate, up to record `to`, as the job of that number in that slot.
    pub(super) fn begin(
        &mut self,
        place: u8,
        gate: &Gate,
        to: u64,
        number: u32,
        slot: usize,
        devices: &Devices,
    ) {
        (self.place, self.number, self.slot) = (place, number, slot);
        self.id = id_of(&gate.model, number);
        self.used = gate.count;
        self.window = (gate.from, to);
        self.phase = Phase::Measure;
        (self.left, self.records, self.omitted, self.len) = (0, 0, 0, 0);
        self.hash = Sha256::new();
        self.rewind(devices);
    }

    /// Does the next piece. True once there is nothing left to do.
    pub(super) fn step(
        &mut self,
        gate: &Gate,
        devices: &Devices,
        scratch: &mut Scratch,
    ) -> Result<bool, Refusal> {
        for _ in 0..ENTRIES_PER_STEP {
            if self.phase == Phase::Whole {
                return Ok(true);
            }
            if self.look(devices.all()) {
                continue;
            }
            match self.take(devices.all()) {
                Some((segment, start, end)) => self.record(&segment, start, end, scratch)?,
                None if self.phase == Phase::Measure => {
                    self.phase = Phase::Write;
                    self.rewind(devices);
                    self.put(|cbor| {
                        cbor.map(4)?.str("schema")?.str(TELEMETRY_SCHEMA)?;
                        Ok(())
                    })?;
                    let id = self.id.clone();
                    self.put(|cbor| {
                        cbor.str("job_id")?.str(&id)?.str("model_id")?.str(&gate.model)?;
                        cbor.str("records")?.begin_array()?;
                        Ok(())
                    })?;
                }
                None => {
                    self.put(|cbor| cbor.end().map(drop))?;
                    self.phase = Phase::Whole;
                }
            }
        }
        Ok(false)
    }

    /// Writes the two other files. Gives what the job is; `None` if none of its records is kept any more.
    pub(super) fn finish(&mut self, gate: &Gate, base: &str, unix_ms: u64) -> Result<Option<Facts>, Refusal> {
        if self.records == 0 {
            return Ok(None);
        }
        let at = self.limits.export(self.slot);
        let base_at = at + JobFile::BaseModel.offset();
        let fits = base.len() < JobFile::BaseModel.capacity();
        let base = if fits { base } else { gate.model.as_str() };
        self.region.write_at(base_at, base.as_bytes()).map_err(full)?;
        self.region.write_at(base_at + base.len(), b"\n").map_err(full)?;
        let mut buf = [0; POLICY_TEXT_BYTES];
        let policy = self.policy(gate, unix_ms, &mut buf).ok_or(Refusal::BufferFull)?;
        let policy_at = at + JobFile::Policy.offset();
        self.region.write_at(policy_at, policy.as_bytes()).map_err(full)?;
        self.region.flush();
        Ok(Some(Facts {
            number: self.number,
            model: self.place,
            bytes: [self.len, base.len() + 1, policy.len()].map(|len| len as u32),
            used: self.used,
            to: self.window.1,
            records: self.records,
            told: false,
        }))
    }

    /// The gate whose window it uses, what of it, and up to which record.
    pub(super) fn uses(&self) -> (u8, Count, u64) {
        (self.place, self.used, self.window.1)
    }

    /// The job's slot.
    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    fn policy<'b>(&self, gate: &Gate, unix_ms: u64, buf: &'b mut [u8]) -> Option<&'b str> {
        let mut text = Line::new(buf);
        let rule = gate.rule;
        let mean = self.used.mean().unwrap_or(0.0);
        text.put(format_args!(
            "[policy]\nname = \"lora-gate\"\nschema = \"lora-policy/v1\"\njob_id = \"{}\"\nmodel_id = \"{}\"\n\
             opened_unix_ms = {unix_ms}\n\n",
            self.id, gate.model
        ))
        .ok()?;
        text.put(format_args!(
            "[gate]\nmin_samples = {}\ndrift_threshold = {:?}\n\n",
            rule.min_samples, rule.drift_threshold
        ))
        .ok()?;
        text.put(format_args!(
            "[window]\nsamples = {}\ndrift_samples = {}\ndrift_mean = {mean:?}\nfirst_seq = {}\nlast_seq = {}\n\n",
            self.used.samples,
            self.used.drifted,
            self.window.0 + 1,
            self.window.1
        ))
        .ok()?;
        text.put(format_args!(
            "[telemetry]\nschema = \"{TELEMETRY_SCHEMA}\"\nrecords = {}\nomitted = {}\nbytes = {}\nsha256 = \"{}\"\n",
            self.records,
            self.omitted,
            self.len,
            Hex(&self.hash.clone().finalize())
        ))
        .ok()?;
        Some(text.finish())
    }

    fn rewind(&mut self, devices: &Devices) {
        for (cursor, segment) in self.cursors.iter_mut().zip(devices.all()) {
            *cursor = Cursor {
                epoch: segment.epoch,
                done: segment.number == 0,
                ..Cursor::default()
            };
        }
    }

    /// Looks at one entry of a segment whose next record is not known. False if all are known.
    fn look(&mut self, segments: &[Segment]) -> bool {
        let unknown = |(cursor, _): &(&mut Cursor, &Segment)| !cursor.done && cursor.next.is_none();
        let Some((cursor, segment)) = self.cursors.iter_mut().zip(segments).find(unknown) else {
            return false;
        };
        let entry = segment.entry(&self.region, cursor.index);
        let Some(entry) = entry.filter(|_| segment.epoch == cursor.epoch) else {
            cursor.done = true;
            return true;
        };
        let (from, to) = self.window;
        if entry.model == self.place && entry.seq > from && entry.seq <= to {
            cursor.next = Some((entry.seq, cursor.start, entry.end));
        }
        cursor.index += 1;
        cursor.start = entry.end;
        true
    }

    /// The oldest of the next records.
    fn take(&mut self, segments: &[Segment]) -> Option<(Segment, usize, usize)> {
        let known = self.cursors.iter_mut().zip(segments);
        let known = known.filter_map(|(cursor, segment)| Some((cursor.next?.0, cursor, segment)));
        let (_, cursor, segment) = known.min_by_key(|(seq, ..)| *seq)?;
        let (_, start, end) = cursor.next.take()?;
        Some((*segment, start, end))
    }

    fn record(
        &mut self,
        segment: &Segment,
        start: usize,
        end: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let len = end.saturating_sub(start);
        let line = scratch.line.get_mut(..len).ok_or(Refusal::BufferFull)?;
        if segment.read(&self.region, &self.limits, start as u64, line) < len {
            // It went meanwhile.
            return Ok(());
        }
        let carried = core::str::from_utf8(line)
            .ok()
            .and_then(|line| Carried::of(line, &mut scratch.carried));
        // A record with a model is a sample.
        let Some(carried) = carried else { return Ok(()) };
        let bytes = match carried {
            Carried::Json(text) => encoded_bytes(text.len()),
            Carried::Cbor(item) => encoded_bytes(item.len()),
        };
        if self.phase == Phase::Measure {
            self.left += bytes;
            return Ok(());
        }
        // The oldest are left out until the rest fits; never more than there is room for, whatever came and went.
        let room = TELEMETRY_CBOR_BYTES - FRAME_BYTES;
        let omit = self.left > room || self.len + bytes > TELEMETRY_CBOR_BYTES - 1;
        self.left = self.left.saturating_sub(bytes);
        if omit {
            self.omitted += 1;
            return Ok(());
        }
        self.records += 1;
        self.put(|cbor| {
            match carried {
                Carried::Json(text) => cbor.str(text)?,
                Carried::Cbor(item) => cbor.bytes(item)?,
            };
            Ok(())
        })
    }

    /// Appends to `telemetry.cbor`.
    fn put(
        &mut self,
        write: impl FnOnce(&mut Encoder<File<'_>>) -> Result<(), minicbor::encode::Error<RegionError>>,
    ) -> Result<(), Refusal> {
        let mut cbor = Encoder::new(File {
            region: &self.region,
            at: self.limits.export(self.slot) + JobFile::Telemetry.offset(),
            len: self.len,
            hash: &mut self.hash,
        });
        write(&mut cbor).map_err(|_| Refusal::BufferFull)?;
        self.len = cbor.writer().len;
        Ok(())
    }
}

fn full(_: RegionError) -> Refusal {
    Refusal::BufferFull
}

/// Bytes of a text or byte string of that length.
fn encoded_bytes(len: usize) -> usize {
    len + match len {
        0..24 => 1,
        24..256 => 2,
        256..65_536 => 3,
        _ => 5,
    }
}

/// The end of `telemetry.cbor`.
struct File<'a> {
    region: &'a Region,
    at: usize,
    len: usize,
    hash: &'a mut Sha256,
}

impl minicbor::encode::Write for File<'_> {
    type Error = RegionError;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), RegionError> {
        if self.len + bytes.len() > TELEMETRY_CBOR_BYTES {
            return Err(RegionError::OutOfBounds {
                offset: self.len,
                len: bytes.len(),
                size: TELEMETRY_CBOR_BYTES,
            });
        }
        self.region.write_at(self.at + self.len, bytes)?;
        self.hash.update(bytes);
        self.len += bytes.len();
        Ok(())
    }
}
