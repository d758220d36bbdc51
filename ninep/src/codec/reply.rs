//! R-messages: what a server answers.
//!
//! Answers for parsing any bytes into a reply or a malformed frame, and for
//! writing a reply. Never matches replies with requests: that is the client's.

use super::bytes::{Cursor, Packer};
use super::names::MAX_WALK_NAMES;
use super::{EncodeError, HEADER_BYTES, Malformed, Tag, kind};
use crate::attr::{Attr, Statfs};
use crate::dir::DirEntries;
use crate::errno::Errno;
use crate::qid::Qid;

/// Bytes of an `Rread` or `Rreaddir` before its data.
pub const DATA_HEADER_BYTES: usize = HEADER_BYTES + 4;

/// A reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant)] // a walk's qids live on the stack, not in an allocation
#[allow(missing_docs)] // the fields are the protocol's
pub enum Rmessage<'a> {
    /// The request failed (`Rlerror`).
    Error(Errno),
    Version {
        msize: u32,
        version: &'a str,
    },
    Attach {
        qid: Qid,
    },
    Walk {
        qids: Qids,
    },
    /// `iounit` 0 leaves it to the message size.
    Open {
        qid: Qid,
        iounit: u32,
    },
    Read {
        data: &'a [u8],
    },
    Write {
        count: u32,
    },
    Readdir {
        entries: DirEntries<'a>,
    },
    Getattr(Attr),
    Statfs(Statfs),
    Clunk,
    Remove,
    Flush,
}

/// The qids of an `Rwalk`: at most [`MAX_WALK_NAMES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Qids {
    qids: [Qid; MAX_WALK_NAMES],
    len: usize,
}

impl Qids {
    /// The qids, unless they are too many.
    pub fn new(qids: &[Qid]) -> Option<Qids> {
        let mut checked = Qids {
            len: qids.len(),
            ..Qids::default()
        };
        checked.qids.get_mut(..qids.len())?.copy_from_slice(qids);
        Some(checked)
    }

    /// The qids in the order of the names.
    pub fn as_slice(&self) -> &[Qid] {
        self.qids.get(..self.len).unwrap_or(&[])
    }
}

/// Parses a frame that a server sent.
pub fn parse_r(frame: &[u8]) -> Result<(Tag, Rmessage<'_>), Malformed> {
    let (kind, tag, mut cursor) = Cursor::open(frame)?;
    let message = fields(kind, &mut cursor)?;
    cursor.end()?;
    Ok((tag, message))
}

fn fields<'a>(kind: u8, cursor: &mut Cursor<'a>) -> Result<Rmessage<'a>, Malformed> {
    const R: u8 = 1; // a reply's type is its request's plus one
    Ok(match kind.wrapping_sub(R) {
        _ if kind == kind::RLERROR => match cursor.u32()? {
            0 => return Err(Malformed::Value),
            number => Rmessage::Error(Errno::from_raw(number)),
        },
        kind::TVERSION => {
            let (msize, version) = (cursor.u32()?, cursor.text()?);
            let version = core::str::from_utf8(version).map_err(|_| Malformed::Encoding)?;
            Rmessage::Version { msize, version }
        }
        kind::TATTACH => Rmessage::Attach { qid: cursor.qid()? },
        kind::TWALK => Rmessage::Walk { qids: qids(cursor)? },
        kind::TLOPEN => Rmessage::Open {
            qid: cursor.qid()?,
            iounit: cursor.u32()?,
        },
        kind::TREAD => Rmessage::Read { data: cursor.data()? },
        kind::TWRITE => Rmessage::Write { count: cursor.u32()? },
        kind::TREADDIR => Rmessage::Readdir {
            entries: DirEntries::new(cursor.data()?)?,
        },
        kind::TGETATTR => Rmessage::Getattr(attr(cursor)?),
        kind::TSTATFS => Rmessage::Statfs(statfs(cursor)?),
        kind::TCLUNK => Rmessage::Clunk,
        kind::TREMOVE => Rmessage::Remove,
        kind::TFLUSH => Rmessage::Flush,
        _ => return Err(Malformed::Kind(kind)),
    })
}

fn qids(cursor: &mut Cursor<'_>) -> Result<Qids, Malformed> {
    let len = usize::from(cursor.u16()?);
    let mut qids = Qids {
        len,
        ..Qids::default()
    };
    for place in qids.qids.get_mut(..len).ok_or(Malformed::Value)? {
        *place = cursor.qid()?;
    }
    Ok(qids)
}

fn attr(cursor: &mut Cursor<'_>) -> Result<Attr, Malformed> {
    Ok(Attr {
        valid: cursor.u64()?,
        qid: cursor.qid()?,
        mode: cursor.u32()?,
        uid: cursor.u32()?,
        gid: cursor.u32()?,
        nlink: cursor.u64()?,
        rdev: cursor.u64()?,
        size: cursor.u64()?,
        blksize: cursor.u64()?,
        blocks: cursor.u64()?,
        atime: cursor.time()?,
        mtime: cursor.time()?,
        ctime: cursor.time()?,
        btime: cursor.time()?,
        generation: cursor.u64()?,
        data_version: cursor.u64()?,
    })
}

fn statfs(cursor: &mut Cursor<'_>) -> Result<Statfs, Malformed> {
    Ok(Statfs {
        kind: cursor.u32()?,
        bsize: cursor.u32()?,
        blocks: cursor.u64()?,
        bfree: cursor.u64()?,
        bavail: cursor.u64()?,
        files: cursor.u64()?,
        ffree: cursor.u64()?,
        fsid: cursor.u64()?,
        namelen: cursor.u32()?,
    })
}

impl Rmessage<'_> {
    /// The message's type.
    pub const fn kind(&self) -> u8 {
        match self {
            Rmessage::Error(_) => kind::RLERROR,
            Rmessage::Version { .. } => kind::TVERSION + 1,
            Rmessage::Attach { .. } => kind::TATTACH + 1,
            Rmessage::Walk { .. } => kind::TWALK + 1,
            Rmessage::Open { .. } => kind::TLOPEN + 1,
            Rmessage::Read { .. } => kind::TREAD + 1,
            Rmessage::Write { .. } => kind::TWRITE + 1,
            Rmessage::Readdir { .. } => kind::TREADDIR + 1,
            Rmessage::Getattr(_) => kind::TGETATTR + 1,
            Rmessage::Statfs(_) => kind::TSTATFS + 1,
            Rmessage::Clunk => kind::TCLUNK + 1,
            Rmessage::Remove => kind::TREMOVE + 1,
            Rmessage::Flush => kind::TFLUSH + 1,
        }
    }

    /// Writes the frame to the front of `buf`; returns its length.
    pub fn emit(&self, tag: Tag, buf: &mut [u8]) -> Result<usize, EncodeError> {
        let mut packer = Packer::frame(buf, self.kind(), tag);
        match *self {
            Rmessage::Error(errno) => {
                packer.u32(errno.raw());
            }
            Rmessage::Version { msize, version } => {
                packer.u32(msize).text(version);
            }
            Rmessage::Attach { qid } => {
                packer.qid(qid);
            }
            Rmessage::Walk { ref qids } => {
                packer.u16(qids.len as u16);
                for qid in qids.as_slice() {
                    packer.qid(*qid);
                }
            }
            Rmessage::Open { qid, iounit } => {
                packer.qid(qid).u32(iounit);
            }
            Rmessage::Read { data } => {
                packer.data(data);
            }
            Rmessage::Write { count } => {
                packer.u32(count);
            }
            Rmessage::Readdir { entries } => {
                packer.data(entries.as_bytes());
            }
            Rmessage::Getattr(ref attr) => emit_attr(&mut packer, attr),
            Rmessage::Statfs(ref statfs) => emit_statfs(&mut packer, statfs),
            Rmessage::Clunk | Rmessage::Remove | Rmessage::Flush => {}
        }
        packer.finish_frame()
    }
}

fn emit_attr(packer: &mut Packer<'_>, attr: &Attr) {
    packer
        .u64(attr.valid)
        .qid(attr.qid)
        .u32(attr.mode)
        .u32(attr.uid)
        .u32(attr.gid);
    packer
        .u64(attr.nlink)
        .u64(attr.rdev)
        .u64(attr.size)
        .u64(attr.blksize)
        .u64(attr.blocks);
    packer
        .time(attr.atime)
        .time(attr.mtime)
        .time(attr.ctime)
        .time(attr.btime);
    packer.u64(attr.generation).u64(attr.data_version);
}

fn emit_statfs(packer: &mut Packer<'_>, statfs: &Statfs) {
    packer
        .u32(statfs.kind)
        .u32(statfs.bsize)
        .u64(statfs.blocks)
        .u64(statfs.bfree)
        .u64(statfs.bavail);
    packer
        .u64(statfs.files)
        .u64(statfs.ffree)
        .u64(statfs.fsid)
        .u32(statfs.namelen);
}

/// Completes an `Rread` or `Rreaddir` whose `count` bytes of data lie behind the
/// header already; returns the frame's length.
pub(crate) fn pack_data_header(
    kind: u8,
    tag: Tag,
    count: usize,
    buf: &mut [u8],
) -> Result<usize, EncodeError> {
    let frame = buf
        .get_mut(..DATA_HEADER_BYTES.saturating_add(count))
        .ok_or(EncodeError)?;
    let size = u32::try_from(frame.len()).map_err(|_| EncodeError)?;
    let mut packer = Packer::new(frame);
    packer
        .u32(size)
        .u8(kind)
        .u16(tag.0)
        .u32(size - DATA_HEADER_BYTES as u32);
    packer.finish()?;
    Ok(frame.len())
}
