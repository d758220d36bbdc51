//! Where everything is in the region `telemetry`.
//!
//! Answers for the limits that the manifest states, for the offsets that follow from them, and for a region being taken
//! only for what was laid out with the same limits. Never reads or writes what is laid out.
//!
//! ```text
//! title    magic 8 | version u32 | seven limits u32 | crc32 u32
//! cells    a twin for each device, each model's gate, each job
//! segments for each device, for each of its slots: entries, then the records' bytes
//! exports  for each job: telemetry.cbor, base_model.ref, policy.toml
//! ```

use runtime::region::{Region, RegionError};

use super::segment::ENTRY_BYTES;
use super::twin::TWIN_BYTES;

/// Bytes of `telemetry.cbor`. The public client reads it as `b64:` lines and refuses more than 131072 bytes of them: 510
/// lines of 189 bytes.
pub(crate) const TELEMETRY_CBOR_BYTES: usize = 510 * 189;
/// Bytes of `base_model.ref` (WIRE 6.2).
pub(crate) const BASE_MODEL_BYTES: usize = 1024;
/// Bytes of `policy.toml` (WIRE 6.2).
pub(crate) const POLICY_BYTES: usize = 8192;

/// Segments of one device at most: its cell names them all.
pub(crate) const MAX_SEGMENTS: usize = 8;

const MAGIC: [u8; 8] = *b"ingest\0\x01";
const TITLE_BYTES: usize = 64;
const EXPORT_BYTES: usize = (TELEMETRY_CBOR_BYTES + BASE_MODEL_BYTES + POLICY_BYTES).next_multiple_of(8);

/// How much telemetry is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestLimits {
    /// Devices; they are never forgotten.
    pub devices: usize,
    /// Segments of one device, 2 to 8; the oldest goes when there is one more.
    pub segments: usize,
    /// Bytes of one segment, newlines included.
    pub segment_bytes: usize,
    /// Records of one segment.
    pub segment_records: usize,
    /// Bytes of one device; old segments go when there are more.
    pub device_bytes: usize,
    /// References of one segment.
    pub reference_entries: usize,
    /// Bytes of the references themselves in one segment.
    pub reference_manifest_bytes: usize,
    /// Bytes that the references of one segment stand for.
    pub reference_bytes: u64,
    /// Models that have a gate; samples of further ones are stored and do not count.
    pub models: usize,
    /// Jobs that are kept; the oldest goes when there is one more.
    pub jobs: usize,
}

impl Default for IngestLimits {
    fn default() -> IngestLimits {
        IngestLimits {
            devices: 32,
            segments: 4,
            segment_bytes: 32_768,
            segment_records: 1024,
            device_bytes: 131_072,
            reference_entries: 1024,
            reference_manifest_bytes: 32_768,
            reference_bytes: 1 << 30,
            models: 16,
            jobs: 8,
        }
    }
}

impl IngestLimits {
    /// Bytes that the region `telemetry` has to have.
    pub fn region_bytes(&self) -> usize {
        self.export(self.job_slots())
    }

    /// Places for jobs: one more than are kept, in which the next is built.
    pub(super) fn job_slots(&self) -> usize {
        self.jobs + 1
    }

    pub(super) fn device(&self, device: usize) -> usize {
        TITLE_BYTES + device * TWIN_BYTES
    }

    pub(super) fn gate(&self, model: usize) -> usize {
        self.device(self.devices) + model * TWIN_BYTES
    }

    pub(super) fn job(&self, slot: usize) -> usize {
        self.gate(self.models) + slot * TWIN_BYTES
    }

    /// Where the entries of a segment are; its records' bytes follow them.
    pub(super) fn segment(&self, device: usize, slot: usize) -> usize {
        let segment = self.entries_bytes() + self.segment_bytes.next_multiple_of(8);
        self.job(self.job_slots()) + (device * self.segments + slot) * segment
    }

    /// One entry for each record, and the end.
    pub(super) fn entries_bytes(&self) -> usize {
        (self.segment_records + 1) * ENTRY_BYTES
    }

    /// Where the files of a job are.
    pub(super) fn export(&self, slot: usize) -> usize {
        self.segment(self.devices, 0) + slot * EXPORT_BYTES
    }

    fn title(&self) -> [u8; TITLE_BYTES] {
        let mut title = [0; TITLE_BYTES];
        let limits = [
            self.devices,
            self.segments,
            self.segment_bytes,
            self.segment_records,
            self.models,
            self.jobs,
            TELEMETRY_CBOR_BYTES,
        ];
        let words = limits.map(|limit| (limit as u32).to_le_bytes());
        let fields = MAGIC.iter().chain(words.iter().flatten());
        for (to, from) in title.iter_mut().zip(fields) {
            *to = *from;
        }
        let crc = crc32fast::hash(&title).to_le_bytes();
        if let Some(last) = title.last_chunk_mut() {
            *last = crc;
        }
        title
    }
}

/// What a region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// Nothing yet: zeros, or a title that was being written.
    Fresh,
    /// What was laid out with these limits.
    Known,
    /// Something else.
    Strange,
}

/// What the region holds.
pub(super) fn contents(region: &Region, limits: &IngestLimits) -> Contents {
    let mut found = [0; TITLE_BYTES];
    if region.read_at(0, &mut found).is_err() {
        return Contents::Strange;
    }
    let expected = limits.title();
    let written = found
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    if found == expected {
        Contents::Known
    } else if found.get(..written) == expected.get(..written) {
        Contents::Fresh
    } else {
        Contents::Strange
    }
}

/// Writes the title, last of all when a region is laid out.
pub(super) fn entitle(region: &Region, limits: &IngestLimits) -> Result<(), RegionError> {
    region.write_at(0, &limits.title())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps_and_everything_fits() {
        let limits = IngestLimits::default();
        let ends = [
            limits.device(0),
            limits.gate(0),
            limits.job(0),
            limits.segment(0, 0),
            limits.segment(0, 1),
            limits.segment(1, 0),
            limits.export(0),
            limits.export(1),
            limits.region_bytes(),
        ];
        assert!(
            ends.is_sorted() && ends.iter().all(|end| end % 8 == 0),
            "{ends:?}"
        );
        assert_eq!(limits.segment(1, 0), limits.segment(0, limits.segments));
        assert!(
            TELEMETRY_CBOR_BYTES.div_ceil(189) * 257 <= 131_072,
            "what the public client reads"
        );
    }

    #[test]
    fn a_region_of_other_limits_is_strange() {
        let limits = IngestLimits::default();
        let region = Region::in_memory(limits.region_bytes());
        assert_eq!(contents(&region, &limits), Contents::Fresh);
        entitle(&region, &limits).unwrap();
        assert_eq!(contents(&region, &limits), Contents::Known);
        assert_eq!(
            contents(&region, &IngestLimits { jobs: 7, ..limits }),
            Contents::Strange
        );
        let torn = Region::in_memory(64);
        torn.write_at(0, limits.title().get(..20).unwrap()).unwrap();
        assert_eq!(contents(&torn, &limits), Contents::Fresh);
    }
}
