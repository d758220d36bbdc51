//! Why a client's request failed, and what a server did wrong.
//!
//! Answers for telling a refusal, a dead connection, a broken peer and a full
//! table from each other. Never holds more than a few words: errors are copied.

use core::fmt;

use crate::codec::{EncodeError, Malformed, NamesError};
use crate::errno::Errno;

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// The connection is over; nothing more will be answered on it.
    Closed,
    /// The server refused the request.
    Remote(Errno),
    /// The server broke the protocol; the connection is closed.
    Protocol(ProtocolError),
    /// All fids are in use, or too many tasks wait already.
    Exhausted,
    /// A path has an illegal name or too many of them; nothing was sent.
    Names(NamesError),
    /// The request does not fit into a message; nothing was sent.
    TooLong,
}

/// What a server did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// It sent what is no reply.
    Malformed(Malformed),
    /// It answered a request that nobody made.
    UnexpectedTag(u16),
    /// It answered with a reply of another request's type.
    UnexpectedKind(u8),
    /// It returned more than was asked for.
    Excess,
    /// It does not speak 9P2000.L, or not with a message size that works.
    Version,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::Malformed(malformed) => malformed.fmt(f),
            ProtocolError::UnexpectedTag(tag) => write!(f, "a reply has tag {tag}, which no request has"),
            ProtocolError::UnexpectedKind(kind) => {
                write!(f, "a reply of type {kind} answers another request")
            }
            ProtocolError::Excess => f.write_str("a reply has more than was asked for"),
            ProtocolError::Version => f.write_str("the server does not speak 9P2000.L with a usable msize"),
        }
    }
}

impl core::error::Error for ProtocolError {}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Closed => f.write_str("the connection is closed; connect again"),
            ClientError::Remote(errno) => errno.fmt(f),
            ClientError::Protocol(error) => error.fmt(f),
            ClientError::Exhausted => f.write_str("all fids or places to wait are in use; release some"),
            ClientError::Names(error) => error.fmt(f),
            ClientError::TooLong => EncodeError.fmt(f),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<NamesError> for ClientError {
    fn from(error: NamesError) -> ClientError {
        ClientError::Names(error)
    }
}

impl From<EncodeError> for ClientError {
    fn from(_: EncodeError) -> ClientError {
        ClientError::TooLong
    }
}
