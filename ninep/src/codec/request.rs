//! T-messages: what a client asks.
//!
//! Answers for parsing any bytes into a request, a refusal or a malformed frame,
//! and for writing a request. Never decides whether a request may be served.

use super::bytes::{Cursor, Packer};
use super::names::{Names, NamesError};
use super::{DecodeError, EncodeError, FidNumber, Malformed, Tag, kind};
use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::name::{Name, NameError};

/// Bytes of a `Twrite` before its data.
pub const WRITE_HEADER_BYTES: usize = super::HEADER_BYTES + 4 + 8 + 4;

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant)] // a walk's names live on the stack, not in an allocation
#[allow(missing_docs)] // the fields are the protocol's
pub enum Tmessage<'a> {
    /// Negotiates the message size; resets the session.
    Version { msize: u32, version: &'a str },
    /// Makes `fid` the root that `uname` sees. `afid` is `NOFID` or an authentication file.
    Attach {
        fid: FidNumber,
        afid: Option<FidNumber>,
        uname: &'a str,
        aname: &'a str,
        n_uname: u32,
    },
    /// Makes `newfid` the file that `names` lead to from `fid`.
    Walk {
        fid: FidNumber,
        newfid: FidNumber,
        names: Names<'a>,
    },
    /// Opens (`Tlopen`).
    Open { fid: FidNumber, flags: OpenFlags },
    /// Reads up to `count` bytes.
    Read { fid: FidNumber, offset: u64, count: u32 },
    /// Writes.
    Write {
        fid: FidNumber,
        offset: u64,
        data: &'a [u8],
    },
    /// Lists a directory, up to `count` bytes of entries.
    Readdir { fid: FidNumber, offset: u64, count: u32 },
    /// Asks for attributes; `mask` says which.
    Getattr { fid: FidNumber, mask: u64 },
    /// Asks for the file system's numbers.
    Statfs { fid: FidNumber },
    /// Ends a fid.
    Clunk { fid: FidNumber },
    /// Ends a fid, and would remove the file if that were possible.
    Remove { fid: FidNumber },
    /// Gives up a request.
    Flush { old: Tag },
    /// Any other message; its fields are not looked at.
    Other(OtherKind),
}

/// A message type that is none of those with fields in [`Tmessage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OtherKind(u8);

impl OtherKind {
    /// The type, unless [`Tmessage`] knows it.
    pub const fn new(kind: u8) -> Option<OtherKind> {
        match kind {
            kind::TSTATFS
            | kind::TLOPEN
            | kind::TGETATTR
            | kind::TREADDIR
            | kind::TVERSION
            | kind::TATTACH
            | kind::TFLUSH
            | kind::TWALK
            | kind::TREAD
            | kind::TWRITE
            | kind::TCLUNK
            | kind::TREMOVE => None,
            _ => Some(OtherKind(kind)),
        }
    }

    /// The type's number.
    pub const fn raw(self) -> u8 {
        self.0
    }
}

/// Parses a frame that a client sent.
pub fn parse_t(frame: &[u8]) -> Result<(Tag, Tmessage<'_>), DecodeError> {
    let (kind, tag, mut cursor) = Cursor::open(frame)?;
    if let Some(other) = OtherKind::new(kind) {
        return Ok((tag, Tmessage::Other(other)));
    }
    let parsed = fields(kind, &mut cursor)?;
    cursor.end()?; // the shape is judged before the values
    parsed
        .map(|message| (tag, message))
        .map_err(|errno| DecodeError::Refused { tag, errno })
}

/// The outer error is the shape's, the inner one a value's.
fn fields<'a>(kind: u8, cursor: &mut Cursor<'a>) -> Result<Result<Tmessage<'a>, Errno>, Malformed> {
    Ok(match kind {
        kind::TVERSION => {
            let (msize, version) = (cursor.u32()?, cursor.text()?);
            text(version).map(|version| Tmessage::Version { msize, version })
        }
        kind::TATTACH => {
            let (fid, afid) = (cursor.u32()?, cursor.u32()?);
            let (uname, aname, n_uname) = (cursor.text()?, cursor.text()?, cursor.u32()?);
            attach(fid, FidNumber::new(afid), uname, aname, n_uname)
        }
        kind::TWALK => {
            let (number, newfid, count) = (cursor.u32()?, cursor.u32()?, cursor.u16()?);
            let names = names(count, cursor)?;
            walk(number, newfid, names)
        }
        kind::TLOPEN => {
            let (number, flags) = (cursor.u32()?, OpenFlags(cursor.u32()?));
            fid(number).map(|fid| Tmessage::Open { fid, flags })
        }
        kind::TREAD => {
            let (number, offset, count) = (cursor.u32()?, cursor.u64()?, cursor.u32()?);
            fid(number).map(|fid| Tmessage::Read { fid, offset, count })
        }
        kind::TWRITE => {
            let (number, offset, data) = (cursor.u32()?, cursor.u64()?, cursor.data()?);
            fid(number).map(|fid| Tmessage::Write { fid, offset, data })
        }
        kind::TREADDIR => {
            let (number, offset, count) = (cursor.u32()?, cursor.u64()?, cursor.u32()?);
            fid(number).map(|fid| Tmessage::Readdir { fid, offset, count })
        }
        kind::TGETATTR => {
            let (number, mask) = (cursor.u32()?, cursor.u64()?);
            fid(number).map(|fid| Tmessage::Getattr { fid, mask })
        }
        kind::TSTATFS => fid(cursor.u32()?).map(|fid| Tmessage::Statfs { fid }),
        kind::TCLUNK => fid(cursor.u32()?).map(|fid| Tmessage::Clunk { fid }),
        kind::TREMOVE => fid(cursor.u32()?).map(|fid| Tmessage::Remove { fid }),
        kind::TFLUSH => Ok(Tmessage::Flush {
            old: Tag(cursor.u16()?),
        }),
        _ => return Err(Malformed::Kind(kind)), // `OtherKind` took every other type
    })
}

fn fid(number: u32) -> Result<FidNumber, Errno> {
    FidNumber::new(number).ok_or(Errno::EBADF)
}

fn text(bytes: &[u8]) -> Result<&str, Errno> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EILSEQ)?;
    if text.contains('\0') {
        Err(Errno::EINVAL)
    } else {
        Ok(text)
    }
}

fn attach<'a>(
    number: u32,
    afid: Option<FidNumber>,
    uname: &'a [u8],
    aname: &'a [u8],
    n_uname: u32,
) -> Result<Tmessage<'a>, Errno> {
    let (fid, uname, aname) = (fid(number)?, text(uname)?, text(aname)?);
    Ok(Tmessage::Attach {
        fid,
        afid,
        uname,
        aname,
        n_uname,
    })
}

fn walk<'a>(number: u32, newfid: u32, names: Result<Names<'a>, NamesError>) -> Result<Tmessage<'a>, Errno> {
    let (fid, newfid) = (fid(number)?, fid(newfid)?);
    names
        .map(|names| Tmessage::Walk { fid, newfid, names })
        .map_err(NamesError::errno)
}

/// Takes all `count` names from the frame, also after one that is refused.
fn names<'a>(count: u16, cursor: &mut Cursor<'a>) -> Result<Result<Names<'a>, NamesError>, Malformed> {
    let mut names = Ok(Names::default());
    for _ in 0..count {
        let bytes = cursor.text()?;
        names = names.and_then(|mut names: Names<'a>| {
            let name = core::str::from_utf8(bytes).map_err(|_| NameError::Encoding)?;
            names.push(Name::new(name)?)?;
            Ok(names)
        });
    }
    Ok(names)
}

impl Tmessage<'_> {
    /// The message's type.
    pub const fn kind(&self) -> u8 {
        match self {
            Tmessage::Version { .. } => kind::TVERSION,
            Tmessage::Attach { .. } => kind::TATTACH,
            Tmessage::Walk { .. } => kind::TWALK,
            Tmessage::Open { .. } => kind::TLOPEN,
            Tmessage::Read { .. } => kind::TREAD,
            Tmessage::Write { .. } => kind::TWRITE,
            Tmessage::Readdir { .. } => kind::TREADDIR,
            Tmessage::Getattr { .. } => kind::TGETATTR,
            Tmessage::Statfs { .. } => kind::TSTATFS,
            Tmessage::Clunk { .. } => kind::TCLUNK,
            Tmessage::Remove { .. } => kind::TREMOVE,
            Tmessage::Flush { .. } => kind::TFLUSH,
            Tmessage::Other(kind) => kind.raw(),
        }
    }

    /// Writes the frame to the front of `buf`; returns its length.
    ///
    /// [`Tmessage::Other`] is written without fields. Texts with a NUL are
    /// written as they are, and refused by who parses them.
    pub fn emit(&self, tag: Tag, buf: &mut [u8]) -> Result<usize, EncodeError> {
        let mut packer = Packer::frame(buf, self.kind(), tag);
        match *self {
            Tmessage::Version { msize, version } => {
                packer.u32(msize).text(version);
            }
            Tmessage::Attach {
                fid,
                afid,
                uname,
                aname,
                n_uname,
            } => {
                packer.fid(fid).u32(afid.map_or(FidNumber::NOFID, FidNumber::raw));
                packer.text(uname).text(aname).u32(n_uname);
            }
            Tmessage::Walk {
                fid,
                newfid,
                ref names,
            } => {
                packer.fid(fid).fid(newfid).u16(names.len() as u16);
                for name in names.as_slice() {
                    packer.text(name);
                }
            }
            Tmessage::Open { fid, flags } => {
                packer.fid(fid).u32(flags.0);
            }
            Tmessage::Read { fid, offset, count } | Tmessage::Readdir { fid, offset, count } => {
                packer.fid(fid).u64(offset).u32(count);
            }
            Tmessage::Write { fid, offset, data } => {
                packer.fid(fid).u64(offset).data(data);
            }
            Tmessage::Getattr { fid, mask } => {
                packer.fid(fid).u64(mask);
            }
            Tmessage::Statfs { fid } | Tmessage::Clunk { fid } | Tmessage::Remove { fid } => {
                packer.fid(fid);
            }
            Tmessage::Flush { old } => {
                packer.u16(old.0);
            }
            Tmessage::Other(_) => {}
        }
        packer.finish_frame()
    }
}
