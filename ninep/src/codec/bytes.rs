//! Little-endian fields: taken from the front of a slice, or appended to one.
//!
//! Answers for never reading or writing past the end. Never interprets a value.

use super::{EncodeError, FidNumber, HEADER_BYTES, Malformed, Tag};
use crate::attr::Time;
use crate::qid::{Qid, QidKind};

/// Takes fields from the front of a frame.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// All of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    /// Checks the length field of a frame; returns its type, its tag and the rest.
    pub fn open(frame: &'a [u8]) -> Result<(u8, Tag, Cursor<'a>), Malformed> {
        let mut cursor = Cursor::new(frame);
        let field = cursor.u32()?;
        if usize::try_from(field) != Ok(frame.len()) {
            return Err(Malformed::Length {
                field,
                frame: frame.len(),
            });
        }
        Ok((cursor.u8()?, Tag(cursor.u16()?), cursor))
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing)
        }
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// `field[1]`.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `field[2]`.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// `field[4]`.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// `field[8]`.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// `field[s]`, unchecked: `len[2]` and that many bytes.
    pub fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// `count[4] data[count]`.
    pub fn data(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.bytes(usize::try_from(len).map_err(|_| Malformed::Short)?)
    }

    /// `qid[13]`.
    pub fn qid(&mut self) -> Result<Qid, Malformed> {
        Ok(Qid {
            kind: QidKind(self.u8()?),
            version: self.u32()?,
            path: self.u64()?,
        })
    }

    /// `sec[8] nsec[8]`.
    pub fn time(&mut self) -> Result<Time, Malformed> {
        Ok(Time {
            sec: self.u64()?,
            nsec: self.u64()?,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Appends fields to a buffer; says at the end whether they fitted.
#[derive(Debug)]
pub struct Packer<'a> {
    buf: &'a mut [u8],
    len: usize,
    fits: bool,
}

impl<'a> Packer<'a> {
    /// From the front of `buf`.
    pub const fn new(buf: &'a mut [u8]) -> Packer<'a> {
        Packer {
            buf,
            len: 0,
            fits: true,
        }
    }

    /// Begins a frame; [`Packer::finish_frame`] fills in its length.
    pub fn frame(buf: &'a mut [u8], kind: u8, tag: Tag) -> Packer<'a> {
        let mut packer = Packer::new(buf);
        packer.u32(0).u8(kind).u16(tag.0);
        packer
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.len.saturating_add(bytes.len());
        match self.buf.get_mut(self.len..end) {
            Some(place) if self.fits => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.fits = false,
        }
        self
    }

    /// `field[1]`.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// `field[2]`.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// `field[4]`.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// `field[8]`.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// `fid[4]`.
    pub fn fid(&mut self, fid: FidNumber) -> &mut Self {
        self.u32(fid.raw())
    }

    /// `field[s]`.
    pub fn text(&mut self, text: &str) -> &mut Self {
        match u16::try_from(text.len()) {
            Ok(len) => self.u16(len).bytes(text.as_bytes()),
            Err(_) => self.too_long(),
        }
    }

    /// `count[4] data[count]`.
    pub fn data(&mut self, data: &[u8]) -> &mut Self {
        match u32::try_from(data.len()) {
            Ok(len) => self.u32(len).bytes(data),
            Err(_) => self.too_long(),
        }
    }

    /// `qid[13]`.
    pub fn qid(&mut self, qid: Qid) -> &mut Self {
        self.u8(qid.kind.0).u32(qid.version).u64(qid.path)
    }

    /// `sec[8] nsec[8]`.
    pub fn time(&mut self, time: Time) -> &mut Self {
        self.u64(time.sec).u64(time.nsec)
    }

    /// Bytes appended, if all of them fitted.
    pub fn finish(self) -> Result<usize, EncodeError> {
        if self.fits { Ok(self.len) } else { Err(EncodeError) }
    }

    /// The same for a frame, whose length field is filled in.
    pub fn finish_frame(self) -> Result<usize, EncodeError> {
        let len = u32::try_from(self.len).map_err(|_| EncodeError)?;
        match self.buf.first_chunk_mut::<4>() {
            Some(field) if self.fits && self.len >= HEADER_BYTES => *field = len.to_le_bytes(),
            _ => return Err(EncodeError),
        }
        Ok(self.len)
    }

    fn too_long(&mut self) -> &mut Self {
        self.fits = false;
        self
    }
}
