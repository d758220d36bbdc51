//! Publishing a snapshot: lines of `/gpu/bridge/ctl`, and the line of `/gpu/bridge/status` (WIRE 5.1, 5.3).
//!
//! Answers for reading and writing them. The digits of `b64:` lines are put together before they are decoded, so that
//! a publisher may cut them anywhere; it never looks into them, nor knows which line comes next.

use core::fmt;

use super::SNAPSHOT_BYTES;
use crate::b64;
use crate::hex::Hex;

/// A line of `/gpu/bridge/ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeRequest<'a> {
    /// `begin bytes=<n> sha256=<64 hex>`: a snapshot of this length follows; one under way is dropped.
    Begin {
        /// Bytes of the snapshot, 1 to [`SNAPSHOT_BYTES`].
        bytes: usize,
        /// The SHA-256 of the snapshot.
        sha256: Digest,
    },
    /// `b64:<digits>`: the next digits, at least one.
    Data {
        /// The digits.
        digits: &'a str,
    },
    /// `end`: it is whole; install it.
    End,
}

/// A SHA-256; 64 lower-case hex digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

/// What `/gpu/bridge/status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeStatus<'a> {
    /// Nobody has published anything.
    Idle,
    /// A snapshot of so many bytes is under way.
    Receiving {
        /// Bytes announced.
        bytes: usize,
    },
    /// The last snapshot was installed.
    Ok {
        /// Its bytes.
        bytes: usize,
        /// Its SHA-256.
        sha256: Digest,
    },
    /// The last snapshot was refused; the one before is in force.
    Err {
        /// Why, in a word or a few; empty if the hive does not say.
        reason: &'a str,
    },
}

/// Why a line is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeError {
    /// Of no known form.
    Syntax,
    /// A snapshot of no bytes, or of more than [`SNAPSHOT_BYTES`].
    Length,
    /// Not 64 lower-case hex digits.
    Digest,
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BridgeError::Syntax => "write `begin bytes=<n> sha256=<64 hex>`, `b64:<digits>`, `end`",
            BridgeError::Length => "a snapshot has 1 to 131072 bytes",
            BridgeError::Digest => "a sha256 is 64 lower-case hex digits",
        })
    }
}

impl core::error::Error for BridgeError {}

impl<'a> BridgeRequest<'a> {
    /// Reads one line; a trailing newline is allowed.
    ///
    /// # Errors
    /// See [`BridgeError`].
    pub fn parse(line: &'a str) -> Result<BridgeRequest<'a>, BridgeError> {
        let line = one_line(line)?;
        if line == "end" {
            return Ok(BridgeRequest::End);
        }
        if let Some(digits) = line.strip_prefix(b64::PREFIX).filter(|digits| !digits.is_empty()) {
            return Ok(BridgeRequest::Data { digits });
        }
        let rest = line.strip_prefix("begin bytes=").ok_or(BridgeError::Syntax)?;
        let (bytes, sha256) = bytes_and_digest(rest)?;
        if !(1..=SNAPSHOT_BYTES).contains(&bytes) {
            return Err(BridgeError::Length);
        }
        Ok(BridgeRequest::Begin { bytes, sha256 })
    }
}

impl fmt::Display for BridgeRequest<'_> {
    /// The line, without a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BridgeRequest::Begin { bytes, sha256 } => write!(f, "begin bytes={bytes} sha256={sha256}"),
            BridgeRequest::Data { digits } => write!(f, "{}{digits}", b64::PREFIX),
            BridgeRequest::End => f.write_str("end"),
        }
    }
}

impl Digest {
    /// Reads 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Digest> {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl<'a> BridgeStatus<'a> {
    /// Reads the file's line; a trailing newline is allowed.
    ///
    /// # Errors
    /// [`BridgeError::Syntax`] or [`BridgeError::Digest`].
    pub fn parse(line: &'a str) -> Result<BridgeStatus<'a>, BridgeError> {
        let line = one_line(line)?;
        let (state, rest) = line.split_once(' ').unwrap_or((line, ""));
        let bytes = rest.strip_prefix("bytes=");
        match (state, bytes) {
            ("state=idle", _) if rest.is_empty() => Ok(BridgeStatus::Idle),
            ("state=receiving", Some(bytes)) => Ok(BridgeStatus::Receiving {
                bytes: number(bytes)?,
            }),
            ("state=ok", Some(rest)) => {
                let (bytes, sha256) = bytes_and_digest(rest)?;
                Ok(BridgeStatus::Ok { bytes, sha256 })
            }
            ("state=err", _) => {
                let reason = rest.strip_prefix("reason=");
                match reason.or(rest.is_empty().then_some("")) {
                    Some(reason) => Ok(BridgeStatus::Err { reason }),
                    None => Err(BridgeError::Syntax),
                }
            }
            _ => Err(BridgeError::Syntax),
        }
    }
}

impl fmt::Display for BridgeStatus<'_> {
    /// The line, without a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BridgeStatus::Idle => f.write_str("state=idle"),
            BridgeStatus::Receiving { bytes } => write!(f, "state=receiving bytes={bytes}"),
            BridgeStatus::Ok { bytes, sha256 } => write!(f, "state=ok bytes={bytes} sha256={sha256}"),
            BridgeStatus::Err { reason: "" } => f.write_str("state=err"),
            BridgeStatus::Err { reason } => write!(f, "state=err reason={reason}"),
        }
    }
}

/// The line without the newline that may end it.
fn one_line(line: &str) -> Result<&str, BridgeError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    if line.contains('\n') {
        return Err(BridgeError::Syntax);
    }
    Ok(line)
}

/// `<n> sha256=<64 hex>`
fn bytes_and_digest(text: &str) -> Result<(usize, Digest), BridgeError> {
    let (bytes, digest) = text.split_once(" sha256=").ok_or(BridgeError::Syntax)?;
    let digest = Digest::parse(digest).ok_or(BridgeError::Digest)?;
    Ok((number(bytes)?, digest))
}

/// Digits and nothing else, not even a sign.
fn number(text: &str) -> Result<usize, BridgeError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or(BridgeError::Syntax)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    const SHA256: &str = "7048c7b3ba2b9ee2f8fa60d1b0c4b5a7c7c8d9e0f1a2b3c4d5e6f708192a3b4c";

    #[test]
    fn the_session_of_wire_5_1() {
        let sha256 = Digest::parse(SHA256).unwrap();
        for (line, request) in [
            (
                format!("begin bytes=1477 sha256={SHA256}"),
                BridgeRequest::Begin { bytes: 1477, sha256 },
            ),
            (
                "b64:c2NoZW1h".to_string(),
                BridgeRequest::Data { digits: "c2NoZW1h" },
            ),
            ("end".to_string(), BridgeRequest::End),
        ] {
            assert_eq!(BridgeRequest::parse(&line), Ok(request));
            assert_eq!(BridgeRequest::parse(&format!("{line}\n")), Ok(request));
            assert_eq!(request.to_string(), line);
        }
    }

    #[test]
    fn other_lines_are_no_request() {
        let begin = |bytes: &str| format!("begin bytes={bytes} sha256={SHA256}");
        for (line, expected) in [
            (String::new(), BridgeError::Syntax),
            ("b64:".into(), BridgeError::Syntax),
            ("b64:YWJj\n\n".into(), BridgeError::Syntax),
            ("b64:YWJj\nend".into(), BridgeError::Syntax),
            ("End".into(), BridgeError::Syntax),
            ("end ".into(), BridgeError::Syntax),
            ("begin".into(), BridgeError::Syntax),
            ("begin bytes=1".into(), BridgeError::Syntax),
            (begin(""), BridgeError::Syntax),
            (begin("+1"), BridgeError::Syntax),
            (begin("99999999999999999999"), BridgeError::Syntax),
            (begin("0"), BridgeError::Length),
            (begin("131073"), BridgeError::Length),
            (begin("1").replace('c', "C"), BridgeError::Digest),
            (begin("1").replace("b4c", "b4"), BridgeError::Digest),
            (begin("1") + " ", BridgeError::Digest),
            (begin("1").replace("7048", "+048"), BridgeError::Digest),
        ] {
            assert_eq!(BridgeRequest::parse(&line), Err(expected), "{line}");
        }
        assert!(BridgeRequest::parse(&begin("131072")).is_ok());
    }

    #[test]
    fn what_the_status_says() {
        let sha256 = Digest::parse(SHA256).unwrap();
        for (line, status) in [
            ("state=idle".to_string(), BridgeStatus::Idle),
            (
                "state=receiving bytes=9".to_string(),
                BridgeStatus::Receiving { bytes: 9 },
            ),
            (
                format!("state=ok bytes=9 sha256={SHA256}"),
                BridgeStatus::Ok { bytes: 9, sha256 },
            ),
            ("state=err".to_string(), BridgeStatus::Err { reason: "" }),
            (
                "state=err reason=sha256 mismatch".to_string(),
                BridgeStatus::Err {
                    reason: "sha256 mismatch",
                },
            ),
        ] {
            assert_eq!(BridgeStatus::parse(&line), Ok(status));
            assert_eq!(status.to_string(), line);
        }
        for line in [
            "",
            "state=idle x",
            "state=ok",
            "state=ok bytes=9",
            "state=receiving",
            "state=err why",
        ] {
            assert!(BridgeStatus::parse(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in 1..=SNAPSHOT_BYTES, digest: [u8; 32], digits in "[A-Za-z0-9+/=]{1,124}") {
            let begin = BridgeRequest::Begin { bytes, sha256: Digest(digest) }.to_string();
            prop_assert_eq!(
                BridgeRequest::parse(&begin),
                Ok(BridgeRequest::Begin { bytes, sha256: Digest(digest) })
            );
            let data = BridgeRequest::Data { digits: &digits }.to_string();
            prop_assert_eq!(BridgeRequest::parse(&data), Ok(BridgeRequest::Data { digits: &digits }));
        }

        #[test]
        fn any_line_is_one_or_not(line in "(begin |bytes=|sha256=|b64:|end|state=|ok|err|\\PC){0,12}") {
            let _ = BridgeRequest::parse(&line);
            let _ = BridgeStatus::parse(&line);
        }
    }
}
