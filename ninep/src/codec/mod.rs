//! 9P2000.L messages: bytes to values and back, without copies.
//!
//! Answers for every length, count and value in a frame. Parsing never panics,
//! never allocates and never trusts a length field; what it returns borrows from
//! the frame and holds no illegal value. Never waits, never keeps state.
//!
//! A frame is `size[4] type[1] tag[2]` and the fields of the type, little-endian;
//! `[s]` is `len[2]` and that many bytes of UTF-8. Source: diod's `protocol.md`
//! and `include/net/9p/9p.h` of Linux.

mod bytes;
mod names;
mod reply;
mod request;

pub use bytes::{Cursor, Packer};
pub use names::{MAX_WALK_NAMES, Names, NamesError};
pub(crate) use reply::pack_data_header;
pub use reply::{DATA_HEADER_BYTES, Qids, Rmessage, parse_r};
pub use request::{OtherKind, Tmessage, WRITE_HEADER_BYTES, parse_t};

use core::fmt;

use crate::errno::Errno;

/// The protocol version this crate speaks.
pub const VERSION: &str = "9P2000.L";
/// What a server answers to a version it does not speak.
pub const VERSION_UNKNOWN: &str = "unknown";
/// The largest message inside the VM, in bytes; one link frame.
pub const MAX_MSIZE: u32 = 8192;
/// The smallest `msize` a session can work with: every reply but data fits in it.
pub const MIN_MSIZE: u32 = 256;
/// Bytes of `size[4] type[1] tag[2]`.
pub const HEADER_BYTES: usize = 7;
/// What a message that carries data needs besides, in bytes (`P9_IOHDRSZ`). Other
/// servers refuse a read or write of more than `msize` less this.
pub const IO_HEADER_BYTES: u32 = 24;
/// Bytes of the longest `Rlerror`.
pub const ERROR_BYTES: usize = HEADER_BYTES + 4;

/// Message types (`enum p9_msg_t`); a reply's is its request's plus one.
#[allow(missing_docs)] // the names are the protocol's
pub mod kind {
    pub const RLERROR: u8 = 7;
    pub const TSTATFS: u8 = 8;
    pub const TLOPEN: u8 = 12;
    pub const TGETATTR: u8 = 24;
    pub const TREADDIR: u8 = 40;
    pub const TVERSION: u8 = 100;
    pub const TAUTH: u8 = 102;
    pub const TATTACH: u8 = 104;
    pub const TFLUSH: u8 = 108;
    pub const TWALK: u8 = 110;
    pub const TREAD: u8 = 116;
    pub const TWRITE: u8 = 118;
    pub const TCLUNK: u8 = 120;
    pub const TREMOVE: u8 = 122;
}

/// Names a request until its reply; chosen by the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(pub u16);

impl Tag {
    /// The tag of `Tversion`.
    pub const NONE: Tag = Tag(u16::MAX);
}

/// Names a file on a connection; chosen by the client. Never `NOFID`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FidNumber(u32);

impl FidNumber {
    /// `NOFID`, which names no file.
    pub const NOFID: u32 = u32::MAX;

    /// The fid of that number, unless it is `NOFID`.
    pub const fn new(number: u32) -> Option<FidNumber> {
        if number == FidNumber::NOFID {
            None
        } else {
            Some(FidNumber(number))
        }
    }

    /// The number as it goes over the wire.
    pub const fn raw(self) -> u32 {
        self.0
    }
}

/// Why bytes are no message. Who sent them does not speak the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// The frame ends before its fields do.
    Short,
    /// The length field and the frame's length differ.
    Length {
        /// What the length field says.
        field: u32,
        /// Bytes in the frame.
        frame: usize,
    },
    /// Bytes follow the last field.
    Trailing,
    /// A text is not UTF-8.
    Encoding,
    /// A field holds a value that the protocol does not have.
    Value,
    /// A reply has a type that no request of ours gets.
    Kind(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Short => f.write_str("a message ends before its fields do"),
            Malformed::Length { field, frame } => {
                write!(
                    f,
                    "a message's length field says {field}, but the frame has {frame} bytes"
                )
            }
            Malformed::Trailing => f.write_str("a message has bytes after its last field"),
            Malformed::Encoding => f.write_str("a text is not UTF-8"),
            Malformed::Value => f.write_str("a field holds a value that 9P2000.L does not have"),
            Malformed::Kind(kind) => write!(f, "message type {kind} is no reply to a request of ours"),
        }
    }
}

impl core::error::Error for Malformed {}

/// Why a request cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// It is no message: close the connection.
    Malformed(Malformed),
    /// It is a message, with a value that is refused: answer `Rlerror`.
    Refused {
        /// The request's tag.
        tag: Tag,
        /// What to answer.
        errno: Errno,
    },
}

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> DecodeError {
        DecodeError::Malformed(malformed)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed(malformed) => malformed.fmt(f),
            DecodeError::Refused { tag, errno } => write!(f, "request {} is refused: {errno}", tag.0),
        }
    }
}

impl core::error::Error for DecodeError {}

/// A message does not fit into the buffer (or a text into its 16-bit length).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodeError;

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message is longer than the message size of the session")
    }
}

impl core::error::Error for EncodeError {}

#[cfg(test)]
mod tests;
