//! Directory entries, as `Rreaddir` packs them: `qid[13] offset[8] type[1] name[s]`.
//!
//! Answers for packing whole entries into a bounded reply, and for unpacking
//! what a server sent. Never cuts an entry.

use crate::codec::{Cursor, Malformed, Packer};
use crate::name::Name;
use crate::qid::Qid;

/// Bytes of an entry besides its name.
const ENTRY_BYTES: usize = Qid::BYTES + 8 + 1 + 2;

/// Packs directory entries into a reply.
#[derive(Debug)]
pub struct DirWriter<'a> {
    buf: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> DirWriter<'a> {
    /// An empty listing over `buf`, whose length is the bound.
    pub fn new(buf: &'a mut [u8]) -> DirWriter<'a> {
        DirWriter {
            buf,
            len: 0,
            full: false,
        }
    }

    /// Appends an entry; `false` if it does not fit, and from then on for every entry.
    ///
    /// `next` is the offset at which the listing goes on after this entry; never 0.
    pub fn push(&mut self, qid: Qid, next: u64, name: Name<'_>) -> bool {
        if self.full || self.room() < ENTRY_BYTES + name.as_str().len() {
            self.full = true;
            return false;
        }
        let Some(rest) = self.buf.get_mut(self.len..) else {
            return false;
        };
        let mut packer = Packer::new(rest);
        packer
            .qid(qid)
            .u64(next)
            .u8(qid.kind.dirent_type())
            .text(name.as_str());
        match packer.finish() {
            Ok(bytes) => self.len += bytes,
            Err(_) => self.full = true,
        }
        !self.full
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether an entry did not fit.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Bytes left, entry headers included.
    pub fn room(&self) -> usize {
        self.buf.len().saturating_sub(self.len)
    }
}

/// One entry of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// The file's identity.
    pub qid: Qid,
    /// Where the listing goes on after this entry.
    pub next: u64,
    /// Linux `d_type`: 4 directory, 8 file.
    pub kind: u8,
    /// Its name.
    pub name: Name<'a>,
}

/// Checked, packed entries of an `Rreaddir`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntries<'a> {
    bytes: &'a [u8],
}

impl<'a> DirEntries<'a> {
    /// The entries in `bytes`, if they are whole and their names are legal.
    /// `.` and `..`, which other servers list, are legal here and skipped by [`DirEntries::iter`].
    pub fn new(bytes: &'a [u8]) -> Result<DirEntries<'a>, Malformed> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            next_entry(&mut cursor)?;
        }
        Ok(DirEntries { bytes })
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = DirEntry<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        core::iter::from_fn(move || {
            while !cursor.is_empty() {
                match next_entry(&mut cursor) {
                    Ok(None) => {}
                    Ok(entry) => return entry,
                    Err(_) => return None, // checked by `new`
                }
            }
            None
        })
    }

    /// The entries as they are packed.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

fn next_entry<'a>(cursor: &mut Cursor<'a>) -> Result<Option<DirEntry<'a>>, Malformed> {
    let (qid, next, kind, name) = (cursor.qid()?, cursor.u64()?, cursor.u8()?, cursor.text()?);
    let name = core::str::from_utf8(name).map_err(|_| Malformed::Encoding)?;
    if name == "." || name == ".." {
        return Ok(None);
    }
    let name = Name::new(name).map_err(|_| Malformed::Value)?;
    Ok(Some(DirEntry {
        qid,
        next,
        kind,
        name,
    }))
}
