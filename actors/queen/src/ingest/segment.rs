//! One segment: records in the order they came, as the file shows them, and an entry for each.
//!
//! Answers for a write being kept whole or not at all, for what a restart finds, and for a segment being inline or of
//! references. Never evicts, never says who may write.
//!
//! ```text
//! entry    end u24 | model u8 | seq u64 | crc32 u32       where the record ends in the bytes, and what counts it
//! ```
//!
//! # Why a crash between any two writes is harmless
//!
//! An append writes the bytes, then the entries but the first, then sixteen zeros behind them, and the first entry last.
//! Until that one is whole, entries end where they did. A checksum also covers the segment's epoch, the entry's place and
//! the record's bytes, so that nothing an older segment left behind is taken for a record.

use protocol::ingest::{RECORD_BYTES, Reference};
use protocol::refusal::Refusal;
use runtime::region::{Region, RegionError};

use super::layout::IngestLimits;

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 16;
/// The model of a record that no gate counts.
pub(super) const NO_MODEL: u8 = u8::MAX;
/// Bytes of a scratch buffer: what a record carries, unescaped and decoded.
pub(super) const SCRATCH_BYTES: usize = 2 * RECORD_BYTES + 8;

/// What a client wrote: one or more records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    text: &'a str,
}

/// What a segment's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// There are none yet.
    Empty,
    /// The records themselves.
    Inline,
    /// Pieces of something kept elsewhere; the next one begins there.
    Reference { next_seq: u64, next_off: u64 },
}

/// A segment; number 0 is a slot without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where the entries are in the region.
    at: usize,
    pub(super) number: u32,
    /// Tells it from every other segment of the region; records that came later have a higher number.
    pub(super) epoch: u64,
    /// Bytes of all records.
    pub(super) len: usize,
    pub(super) records: usize,
    kind: Kind,
}

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it ends in the segment's bytes.
    pub(super) end: usize,
    /// The gate that counts it, or [`NO_MODEL`].
    pub(super) model: u8,
    /// Its place in the order of all records.
    pub(super) seq: u64,
}

impl<'a> Batch<'a> {
    /// The records in the bytes of one write: lines of text, the last with or without its newline.
    pub(super) fn of(data: &'a [u8]) -> Result<Batch<'a>, Refusal> {
        let text = core::str::from_utf8(data).map_err(|_| Refusal::InvalidPayload)?;
        if text.is_empty() {
            return Err(Refusal::InvalidPayload);
        }
        let batch = Batch { text };
        if batch.lines().any(|line| line.len() > RECORD_BYTES) {
            return Err(Refusal::TooLong);
        }
        Ok(batch)
    }

    /// The records, without their newlines.
    pub(super) fn lines(self) -> impl Iterator<Item = &'a str> {
        self.text.strip_suffix('\n').unwrap_or(self.text).split('\n')
    }

    /// Bytes that they take with their newlines.
    pub(super) fn bytes(self) -> usize {
        self.text.len() + usize::from(!self.text.ends_with('\n'))
    }
}

impl Segment {
    /// An empty one at that offset; with number 0 a free slot.
    pub(super) fn new(at: usize, number: u32, epoch: u64) -> Segment {
        Segment {
            at,
            number,
            epoch,
            len: 0,
            records: 0,
            kind: Kind::Empty,
        }
    }

    /// Finds the records that are there, and shows each.
    pub(super) fn recover(
        &mut self,
        region: &Region,
        limits: &IngestLimits,
        scratch: &mut [u8],
        mut found: impl FnMut(Entry),
    ) {
        while self.records < limits.segment_records {
            let (entry, crc) = self.read_entry(region, self.records);
            let Some(len) = entry.end.checked_sub(self.len) else {
                break;
            };
            let fits = entry.end <= limits.segment_bytes && len > 0 && len <= RECORD_BYTES + 1;
            let Some(line) = scratch.get_mut(..len).filter(|_| fits) else {
                break;
            };
            let at = self.bytes_at(limits) + self.len;
            if region.read_at(at, line).is_err() || crc != self.checksum(self.records, entry, line) {
                break;
            }
            let line = core::str::from_utf8(line).ok();
            let Some(kind) = line.and_then(|line| self.kind.after(line, limits).ok()) else {
                break;
            };
            found(entry);
            self.kind = kind;
            self.records += 1;
            self.len = entry.end;
        }
    }

    /// Whether the records may be added.
    pub(super) fn admit(&self, limits: &IngestLimits, batch: Batch<'_>) -> Result<(), Refusal> {
        let kind = batch
            .lines()
            .try_fold(self.kind, |kind, line| kind.after(line, limits))?;
        let records = self.records + batch.lines().count();
        let len = self.len + batch.bytes();
        let full = match kind {
            Kind::Reference { .. } => {
                records > limits.reference_entries || len > limits.reference_manifest_bytes
            }
            Kind::Inline | Kind::Empty => false,
        };
        if full || records > limits.segment_records || len > limits.segment_bytes {
            return Err(Refusal::BufferFull);
        }
        Ok(())
    }

    /// Adds records that were admitted. They are numbered from `seq` on; `models` says which gate counts each.
    pub(super) fn append(
        &mut self,
        region: &Region,
        limits: &IngestLimits,
        batch: Batch<'_>,
        seq: u64,
        models: &[u8],
    ) -> Result<(), RegionError> {
        let at = self.bytes_at(limits) + self.len;
        region.write_at(at, batch.text.as_bytes())?;
        if !batch.text.ends_with('\n') {
            region.write_at(at + batch.text.len(), b"\n")?;
        }
        let mut first = [0; ENTRY_BYTES];
        let (mut end, mut index, mut kind) = (self.len, self.records, self.kind);
        for ((line, model), seq) in batch.lines().zip(models).zip(seq..) {
            end += line.len() + 1;
            let entry = Entry {
                end,
                model: *model,
                seq,
            };
            let crc = self.checksum_of(index, entry, line);
            if index == self.records {
                first = entry.encode(crc);
            } else {
                region.write_at(self.entry_at(index), &entry.encode(crc))?;
            }
            index += 1;
            kind = kind.after(line, limits).unwrap_or(kind);
        }
        region.write_at(self.entry_at(index), &[0; ENTRY_BYTES])?;
        region.write_at(self.entry_at(self.records), &first)?;
        region.flush();
        (self.len, self.records, self.kind) = (end, index, kind);
        Ok(())
    }

    /// Copies what the file says from `offset` on; gives how many bytes.
    pub(super) fn read(&self, region: &Region, limits: &IngestLimits, offset: u64, buf: &mut [u8]) -> usize {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len);
        let count = buf.len().min(self.len - from);
        let into = buf.get_mut(..count).unwrap_or_default();
        match region.read_at(self.bytes_at(limits) + from, into) {
            Ok(()) => count,
            // Segments lie inside of their region.
            Err(_) => 0,
        }
    }

    /// What is known of a record; `None` if there is none of that number.
    pub(super) fn entry(&self, region: &Region, index: usize) -> Option<Entry> {
        (index < self.records).then(|| self.read_entry(region, index).0)
    }

    /// Makes the slot's old entries none, before the slot is used in a life that knows nothing of them.
    pub(super) fn wipe(&self, region: &Region) -> Result<(), RegionError> {
        region.write_at(self.entry_at(0), &[0; ENTRY_BYTES])
    }

    fn read_entry(&self, region: &Region, index: usize) -> (Entry, u32) {
        let mut bytes = [0; ENTRY_BYTES];
        // Outside of the region there would be zeros, which are no entry.
        let _ = region.read_at(self.entry_at(index), &mut bytes);
        Entry::decode(bytes)
    }

    fn entry_at(&self, index: usize) -> usize {
        self.at + index * ENTRY_BYTES
    }

    fn bytes_at(&self, limits: &IngestLimits) -> usize {
        self.at + limits.entries_bytes()
    }

    fn checksum_of(&self, index: usize, entry: Entry, line: &str) -> u32 {
        let mut crc = self.begin_checksum(index, entry);
        crc.update(line.as_bytes());
        crc.update(b"\n");
        crc.finalize()
    }

    fn checksum(&self, index: usize, entry: Entry, bytes: &[u8]) -> u32 {
        let mut crc = self.begin_checksum(index, entry);
        crc.update(bytes);
        crc.finalize()
    }

    fn begin_checksum(&self, index: usize, entry: Entry) -> crc32fast::Hasher {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.epoch.to_le_bytes());
        crc.update(&(index as u32).to_le_bytes());
        crc.update(&entry.encode(0));
        crc
    }
}

impl Kind {
    /// What the segment is once it has that record as well.
    fn after(self, line: &str, limits: &IngestLimits) -> Result<Kind, Refusal> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        if !Reference::is_claimed(line) {
            return match self {
                Kind::Empty | Kind::Inline => Ok(Kind::Inline),
                Kind::Reference { .. } => Err(Refusal::InvalidPayload),
            };
        }
        let (next_seq, next_off) = match self {
            Kind::Empty => (1, 0),
            Kind::Reference { next_seq, next_off } => (next_seq, next_off),
            Kind::Inline => return Err(Refusal::InvalidPayload),
        };
        let piece = Reference::parse(line).ok_or(Refusal::InvalidPayload)?;
        if (piece.seq, piece.off) != (next_seq, next_off) {
            return Err(Refusal::InvalidPayload);
        }
        let next_off = next_off.saturating_add(piece.len);
        if next_off > limits.reference_bytes {
            return Err(Refusal::BufferFull);
        }
        Ok(Kind::Reference {
            next_seq: next_seq + 1,
            next_off,
        })
    }
}

impl Entry {
    fn encode(self, crc: u32) -> [u8; ENTRY_BYTES] {
        let [e0, e1, e2, ..] = (self.end as u32).to_le_bytes();
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.seq.to_le_bytes();
        let [c0, c1, c2, c3] = crc.to_le_bytes();
        [
            e0, e1, e2, self.model, s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3,
        ]
    }

    fn decode(bytes: [u8; ENTRY_BYTES]) -> (Entry, u32) {
        let [e0, e1, e2, model, s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3] = bytes;
        let entry = Entry {
            end: u32::from_le_bytes([e0, e1, e2, 0]) as usize,
            model,
            seq: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        };
        (entry, u32::from_le_bytes([c0, c1, c2, c3]))
    }
}
