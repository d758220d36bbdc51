//! One half of a journal's region: the bytes of its header and records.
//!
//! Answers for the layout and for the order of writes that makes a torn write harmless. Every access to the region
//! that the journal makes is in this file.
//!
//! Never decides which half is in force, never keeps state of its own.

use super::{JournalError, MAX_RECORD_BYTES, MIN_REGION_BYTES, Owner};
use crate::region::Region;

/// Marks a half that is in force. The first byte is neither zero nor [`WRECK`]'s.
const MAGIC: [u8; 8] = *b"COHJRNL\x01";
/// Written over a magic before a region that does not verify is wiped, so that a crash in between is not forgotten.
const WRECK: [u8; 8] = *b"!WRECKED";
/// Version of this layout.
const VERSION: u32 = 1;
/// Bytes of a half's header.
const HEADER_BYTES: usize = 40;
/// What the header's checksum covers: everything between the magic and the checksum.
const BODY_BYTES: usize = HEADER_BYTES - MAGIC.len();

/// Where the first record of a half begins.
pub(super) const FIRST_RECORD: usize = HEADER_BYTES;
/// Bytes of a record's `len` and `crc32`; the end mark is as long.
pub(super) const RECORD_HEADER_BYTES: usize = 8;
/// Header flag: the region did not verify when this half was made, and the half has been empty since.
pub(super) const BORN_CORRUPT: u32 = 1;

/// Bytes that a record of that length takes in a half.
pub(super) fn record_span(len: usize) -> usize {
    RECORD_HEADER_BYTES + len.next_multiple_of(8)
}

/// What a half's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// It never got its magic, or part of it: nothing here was ever in force. `new` if it may be an untouched or
    /// half-made header of a first boot.
    Idle { new: bool },
    /// Another owner, format or size of region wrote it.
    Foreign,
    /// It has the magic, but the rest does not verify.
    Broken,
    /// It is, or was, in force.
    Sound { generation: u64, flags: u32 },
}

/// What stands where a record may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The end mark.
    End,
    /// A record of that many bytes that verifies.
    Record { len: usize },
    /// Neither.
    Bad,
}

/// One of the two halves: where it begins and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half {
    index: usize,
    bytes: usize,
}

impl Half {
    /// The first or the second half of a region.
    pub(super) fn of(region: &Region, index: usize) -> Half {
        // Positions are stored as u32; more than 4 GiB of journal is not used.
        let bytes = (region.len() / 2).min(u32::MAX as usize) & !7;
        Half {
            index: index & 1,
            bytes,
        }
    }

    pub(super) fn other(self) -> Half {
        Half {
            index: 1 - self.index,
            bytes: self.bytes,
        }
    }

    pub(super) fn bytes(self) -> usize {
        self.bytes
    }

    /// Whether the region is large enough to be a journal.
    pub(super) fn usable(self) -> bool {
        2 * self.bytes >= MIN_REGION_BYTES
    }

    // Reading.

    pub(super) fn header(self, region: &Region, owner: Owner) -> Header {
        let mut raw = [0; HEADER_BYTES];
        self.read(region, 0, &mut raw);
        let (magic, body) = raw.split_at(MAGIC.len());
        if magic != MAGIC {
            let same = magic.iter().zip(MAGIC).take_while(|(a, b)| **a == *b).count();
            return Header::Idle {
                new: magic[same..].iter().all(|b| *b == 0),
            };
        }
        let word = |at: usize| u32::from_le_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
        if word(BODY_BYTES - 4) != crc32fast::hash(&body[..BODY_BYTES - 4]) {
            return Header::Broken;
        }
        let theirs = Owner {
            name: word(4),
            schema: word(8),
        };
        if word(0) != VERSION || theirs != owner || word(12) as usize != self.bytes {
            return Header::Foreign;
        }
        let generation = u64::from(word(16)) | u64::from(word(20)) << 32;
        Header::Sound {
            generation,
            flags: word(24),
        }
    }

    /// What stands at a position.
    pub(super) fn slot(self, region: &Region, generation: u64, at: usize) -> Slot {
        let mut raw = [0; RECORD_HEADER_BYTES];
        if at + RECORD_HEADER_BYTES > self.bytes {
            return Slot::Bad;
        }
        self.read(region, at, &mut raw);
        let [l0, l1, l2, l3, c0, c1, c2, c3] = raw;
        let (len, crc) = (
            u32::from_le_bytes([l0, l1, l2, l3]),
            u32::from_le_bytes([c0, c1, c2, c3]),
        );
        if (len, crc) == (0, 0) {
            return Slot::End;
        }
        // Behind a record there is always room for the end.
        let len = len as usize;
        if len > MAX_RECORD_BYTES || at + record_span(len) + RECORD_HEADER_BYTES > self.bytes {
            return Slot::Bad;
        }
        let mut sum = Checksum::new(generation, at, len);
        let mut chunk = [0; 256];
        let mut done = 0;
        while done < len {
            let take = chunk.len().min(len - done);
            self.read(region, at + RECORD_HEADER_BYTES + done, &mut chunk[..take]);
            sum.update(&chunk[..take]);
            done += take;
        }
        if sum.finish() == crc {
            Slot::Record { len }
        } else {
            Slot::Bad
        }
    }

    /// Copies the bytes of the record at a position that [`slot`](Self::slot) has verified.
    pub(super) fn record<'b>(self, region: &Region, at: usize, len: usize, buffer: &'b mut [u8]) -> &'b [u8] {
        let len = len.min(buffer.len());
        let bytes = &mut buffer[..len];
        self.read(region, at + RECORD_HEADER_BYTES, bytes);
        bytes
    }

    // Writing.

    /// Writes a record at the tail; the eight bytes that make it count are written last.
    pub(super) fn append(
        self,
        region: &Region,
        generation: u64,
        tail: usize,
        record: &[u8],
    ) -> Result<(), JournalError> {
        if record.len() > MAX_RECORD_BYTES {
            return Err(JournalError::TooLong { len: record.len() });
        }
        let next = tail + record_span(record.len());
        self.write_end(region, next)?;
        let mut sum = Checksum::new(generation, tail, record.len());
        sum.update(record);
        self.write(region, tail + RECORD_HEADER_BYTES, record)?;
        let len = (record.len() as u32).to_le_bytes();
        let crc = sum.finish().to_le_bytes();
        let raw = [len[0], len[1], len[2], len[3], crc[0], crc[1], crc[2], crc[3]];
        self.write(region, tail, &raw)
    }

    /// Writes the end mark, or says that there is no room for it.
    pub(super) fn write_end(self, region: &Region, at: usize) -> Result<(), JournalError> {
        if at + RECORD_HEADER_BYTES > self.bytes || !self.usable() {
            return Err(JournalError::Full);
        }
        self.write(region, at, &[0; RECORD_HEADER_BYTES])
    }

    /// Puts the half in force: the header's body, then its magic.
    pub(super) fn enforce(
        self,
        region: &Region,
        owner: Owner,
        generation: u64,
        flags: u32,
    ) -> Result<(), JournalError> {
        if !self.usable() {
            return Err(JournalError::Full);
        }
        let mut body = [0; BODY_BYTES];
        body[0..4].copy_from_slice(&VERSION.to_le_bytes());
        body[4..8].copy_from_slice(&owner.name.to_le_bytes());
        body[8..12].copy_from_slice(&owner.schema.to_le_bytes());
        body[12..16].copy_from_slice(&(self.bytes as u32).to_le_bytes());
        body[16..24].copy_from_slice(&generation.to_le_bytes());
        body[24..28].copy_from_slice(&flags.to_le_bytes());
        let crc = crc32fast::hash(&body[..BODY_BYTES - 4]);
        body[BODY_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        self.write(region, MAGIC.len(), &body)?;
        self.write(region, 0, &MAGIC)
    }

    /// Takes the half out of force.
    pub(super) fn revoke(self, region: &Region) -> Result<(), JournalError> {
        if !self.usable() {
            return Err(JournalError::Full);
        }
        self.write(region, 0, &[0; MAGIC.len()])
    }

    /// Marks the half as part of a region that did not verify.
    pub(super) fn mark_wreck(self, region: &Region) -> Result<(), JournalError> {
        self.write(region, 0, &WRECK)
    }

    /// Writes zeros from a position to the end of the half.
    pub(super) fn wipe(self, region: &Region, from: usize) -> Result<(), JournalError> {
        let zeros = [0; 1024];
        let mut at = from;
        while at < self.bytes {
            let take = zeros.len().min(self.bytes - at);
            self.write(region, at, &zeros[..take])?;
            at += take;
        }
        Ok(())
    }

    /// Bytes of a half's magic: what a wipe leaves standing of a wreck.
    pub(super) const MAGIC_BYTES: usize = MAGIC.len();

    // The only two accesses. Callers keep `at + len` within the half, and the half is within the region.

    fn read(self, region: &Region, at: usize, buffer: &mut [u8]) {
        if region.read_at(self.index * self.bytes + at, buffer).is_err() {
            buffer.fill(0);
        }
    }

    fn write(self, region: &Region, at: usize, bytes: &[u8]) -> Result<(), JournalError> {
        region
            .write_at(self.index * self.bytes + at, bytes)
            .map_err(JournalError::Region)?;
        region.flush();
        Ok(())
    }
}

/// The checksum of a record: over its generation, position, length and bytes. Never zero, so that no record of no
/// bytes looks like an end mark.
struct Checksum(crc32fast::Hasher);

impl Checksum {
    fn new(generation: u64, at: usize, len: usize) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&generation.to_le_bytes());
        hasher.update(&(at as u32).to_le_bytes());
        hasher.update(&(len as u32).to_le_bytes());
        Checksum(hasher)
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> u32 {
        self.0.finalize().max(1)
    }
}
