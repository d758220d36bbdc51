//! The journal: what an actor has acknowledged outlives its domain.
//!
//! Answers for a bounded log of checksummed records in a [`Region`] that a restart does not clear: append, replay,
//! compaction. [`Journal::append`] returns once the record is in the region; whatever was appended before a crash
//! is replayed after it, and a record that was being written at the crash is replayed whole or not at all.
//!
//! # Layout
//!
//! The region is two halves of equal size. One is in force and takes records; compaction writes a snapshot of the
//! owner's state into the other and puts that one in force. A half is
//!
//! ```text
//! header   magic 8 | version u32 | owner u32 | schema u32 | half bytes u32 | generation u64 | flags u32 | crc32 u32
//! record   len u32 | crc32 u32 | bytes | zeros to a multiple of 8                              (repeated)
//! end      eight zero bytes where the next record's len and crc32 will be
//! ```
//!
//! All integers are little-endian. A record's checksum also covers the half's generation and the record's position,
//! so that nothing an older generation left behind is ever taken for a record.
//!
//! # Why a crash between any two writes is harmless
//!
//! An append writes the new end, then the bytes, and the eight bytes `len, crc32` last: until those are whole, the
//! old end stands or the checksum fails. Compaction writes the idle half's magic last: until it is whole, the half
//! in force stays in force; after it, the higher generation wins and the other half's magic is cleared. Writes are
//! taken to reach the region in the order they were made and possibly in part, as they do when a process or a domain
//! dies; memory that a failing machine leaves in another order is caught by the checksums, as [`Recovery::Corrupt`].
//!
//! Never interprets a record, never decides when to compact, never allocates after [`Journal::open`].

mod half;
mod recover;
#[cfg(all(test, not(loom)))]
mod tests;

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

use serde::Serialize;

use self::half::{Half, RECORD_HEADER_BYTES, record_span};
use crate::region::{Region, RegionError};

/// Longest record, in bytes: one line of 8188 bytes (the longest a console client can read) and room for what its
/// owner writes around it. It bounds the buffer that a journal holds and the work of verifying one record.
pub const MAX_RECORD_BYTES: usize = 9216;

/// Smallest region that can hold a record at all, in bytes. In a smaller one every append is [`JournalError::Full`].
pub const MIN_REGION_BYTES: usize = 256;

/// Whose records these are, and in which format: a region is only ever replayed into the owner that wrote it.
///
/// Raise `schema` when the records' format changes incompatibly; an older journal then reads as
/// [`Recovery::Corrupt`] instead of being misunderstood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    name: u32,
    schema: u32,
}

impl Owner {
    /// The owner of that name (a domain's name, usually) with that version of its record format.
    pub const fn new(name: &str, schema: u32) -> Self {
        // FNV-1a: names are told apart, not authenticated.
        let bytes = name.as_bytes();
        let mut hash = 0x811c_9dc5_u32;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
            i += 1;
        }
        Self { name: hash, schema }
    }
}

/// What [`Journal::open`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The region had never been written: a first boot.
    Fresh,
    /// Every record was replayed.
    Clean,
    /// The record being written at a crash was dropped; it had not been acknowledged. All others were replayed.
    TornTail {
        /// Where in its half the dropped record began, in bytes.
        at: usize,
    },
    /// The region does not verify. The journal starts empty; whatever the replay was shown must be forgotten.
    Corrupt(Corruption),
}

impl Recovery {
    /// Whether acknowledged state may have been lost, so that the node has to say so.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Recovery::Corrupt(_))
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recovery::Fresh => f.write_str("fresh"),
            Recovery::Clean => f.write_str("clean"),
            Recovery::TornTail { at } => write!(f, "torn-tail at={at}"),
            Recovery::Corrupt(why) => write!(f, "corrupt why={why}"),
        }
    }
}

/// Why a region does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// No half has a header that verifies, and the region is not a new one.
    Header,
    /// The headers are sound, but another owner, version, schema or size of region wrote them.
    Foreign,
    /// A record does not verify although records after it do.
    Record {
        /// Where in its half the record begins, in bytes.
        at: usize,
    },
    /// The owner could not read a record that verifies.
    Unreadable {
        /// Where in its half the record begins, in bytes.
        at: usize,
    },
    /// An earlier open found the region corrupt, and nothing has been written since.
    Earlier,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corruption::Header => f.write_str("header"),
            Corruption::Foreign => f.write_str("foreign"),
            Corruption::Record { at } => write!(f, "record at={at}"),
            Corruption::Unreadable { at } => write!(f, "unreadable at={at}"),
            Corruption::Earlier => f.write_str("earlier"),
        }
    }
}

/// The owner could not read a record during the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Why an append or a compaction did not happen. Unless it is the region itself, the journal is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// No room: compact, then try again. From [`Journal::compact`]: the snapshot itself does not fit.
    Full,
    /// The record is longer than [`MAX_RECORD_BYTES`].
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The value could not be encoded.
    Encode,
    /// The region refused a write; only a test's crash plan does that.
    Region(RegionError),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Full => f.write_str("the journal is full; compact it"),
            JournalError::TooLong { len } => {
                write!(
                    f,
                    "a record of {len} bytes; at most {MAX_RECORD_BYTES} are allowed"
                )
            }
            JournalError::Encode => f.write_str("the value has no postcard encoding of bounded length"),
            JournalError::Region(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for JournalError {}

/// The log of one owner over one region.
pub struct Journal {
    region: Region,
    owner: Owner,
    /// The half in force.
    half: Half,
    generation: u64,
    /// Where in the half the next record goes.
    tail: usize,
    records: usize,
    /// Encodes values; one allocation for the journal's life.
    scratch: Box<[u8]>,
}

impl Journal {
    /// Verifies the region and replays its records, oldest first, into `visit`.
    ///
    /// `visit` says [`Unreadable`] of a record that it cannot decode; then, as with every other
    /// [`Recovery::Corrupt`], the journal starts empty and the owner must start from nothing as well.
    pub fn open(
        region: Region,
        owner: Owner,
        visit: impl FnMut(&[u8]) -> Result<(), Unreadable>,
    ) -> (Journal, Recovery) {
        let mut scratch = vec![0; MAX_RECORD_BYTES.min(region.len())].into_boxed_slice();
        let found = recover::recover(&region, owner, &mut scratch, visit);
        let journal = Journal {
            region,
            owner,
            half: found.half,
            generation: found.generation,
            tail: found.tail,
            records: found.records,
            scratch,
        };
        (journal, found.recovery)
    }

    /// Adds a record. It is in the region when this returns.
    pub fn append(&mut self, record: &[u8]) -> Result<(), JournalError> {
        self.half
            .append(&self.region, self.generation, self.tail, record)?;
        self.tail += record_span(record.len());
        self.records += 1;
        Ok(())
    }

    /// Adds the `postcard` encoding of a value as a record.
    pub fn append_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JournalError> {
        let len = encode(value, &mut self.scratch)?;
        self.half
            .append(&self.region, self.generation, self.tail, &self.scratch[..len])?;
        self.tail += record_span(len);
        self.records += 1;
        Ok(())
    }

    /// Replaces all records by those that `write` puts into the snapshot.
    ///
    /// A crash at any point leaves either the old records or the snapshot, whole. If `write` or the snapshot fails,
    /// the old records stay in force.
    pub fn compact(
        &mut self,
        write: impl FnOnce(&mut Snapshot<'_>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let half = self.half.other();
        let generation = self.generation.wrapping_add(1);
        half.revoke(&self.region)?;
        let mut snapshot = Snapshot {
            region: &self.region,
            half,
            generation,
            tail: half::FIRST_RECORD,
            records: 0,
            scratch: &mut self.scratch,
        };
        write(&mut snapshot)?;
        let (tail, records) = (snapshot.tail, snapshot.records);
        if records == 0 {
            half.write_end(&self.region, tail)?;
        }
        half.enforce(&self.region, self.owner, generation, 0)?;
        // From here on the snapshot is what counts, even if the old half's magic stays behind.
        let old = core::mem::replace(&mut self.half, half);
        self.generation = generation;
        self.tail = tail;
        self.records = records;
        old.revoke(&self.region)
    }

    /// Bytes that a record may still have to fit without compaction.
    pub fn free_bytes(&self) -> usize {
        // The record's own header, and the end behind it.
        self.half
            .bytes()
            .saturating_sub(self.tail + 2 * RECORD_HEADER_BYTES)
            .min(MAX_RECORD_BYTES)
    }

    /// Bytes of the half in force that are taken.
    pub fn used_bytes(&self) -> usize {
        self.tail
    }

    /// Bytes of one half: what a snapshot and the records after it must fit into.
    pub fn half_bytes(&self) -> usize {
        self.half.bytes()
    }

    /// Records in force.
    pub fn records(&self) -> usize {
        self.records
    }

    /// How many times the journal has been put in force: 1 when new, one more with each compaction.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("half_bytes", &self.half.bytes())
            .field("generation", &self.generation)
            .field("used_bytes", &self.tail)
            .field("records", &self.records)
            .finish()
    }
}

/// The records that a compaction keeps.
pub struct Snapshot<'a> {
    region: &'a Region,
    half: Half,
    generation: u64,
    tail: usize,
    records: usize,
    scratch: &'a mut [u8],
}

impl Snapshot<'_> {
    /// Adds a record.
    pub fn record(&mut self, record: &[u8]) -> Result<(), JournalError> {
        self.half
            .append(self.region, self.generation, self.tail, record)?;
        self.tail += record_span(record.len());
        self.records += 1;
        Ok(())
    }

    /// Adds the `postcard` encoding of a value as a record.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JournalError> {
        let len = encode(value, self.scratch)?;
        self.half
            .append(self.region, self.generation, self.tail, &self.scratch[..len])?;
        self.tail += record_span(len);
        self.records += 1;
        Ok(())
    }
}

/// Encodes into the buffer; gives the length.
fn encode<T: Serialize + ?Sized>(value: &T, buffer: &mut [u8]) -> Result<usize, JournalError> {
    let bytes = buffer.len();
    match postcard::to_slice(value, buffer) {
        Ok(encoded) => Ok(encoded.len()),
        Err(postcard::Error::SerializeBufferFull) if bytes >= MAX_RECORD_BYTES => {
            Err(JournalError::TooLong {
                len: MAX_RECORD_BYTES + 1,
            })
        }
        Err(postcard::Error::SerializeBufferFull) => Err(JournalError::Full),
        Err(_) => Err(JournalError::Encode),
    }
}
