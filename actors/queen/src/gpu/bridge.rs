//! A host's way in: a snapshot, cut into lines, from one session at a time (WIRE 5).
//!
//! Answers for whose turn it is and for when it ends; for size, digits and SHA-256 being right before anybody looks at
//! what they carry; and for what `/gpu/bridge/status` says. Each line is decoded and hashed as it comes.
//!
//! Never changes what is published: what is whole is handed on.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use core::time::Duration;

use protocol::b64::{self, B64Error};
use protocol::gpu::{BridgeError, BridgeRequest, Digest, SNAPSHOT_BYTES, SnapshotError};
use protocol::refusal::Refusal;
use runtime::time::Instant;
use sha2::{Digest as _, Sha256};

use crate::tree::SessionId;

/// Why a snapshot, or a line of one, was refused. What was published before stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another session has its turn.
    Busy,
    /// A line of no known form.
    Line,
    /// `begin` announces 0 bytes, or more than a snapshot may have.
    Length,
    /// The SHA-256 in `begin` is none.
    Sha256,
    /// Digits or an `end` without a `begin`.
    NoBegin,
    /// The digits are no base64.
    Base64,
    /// More bytes than were announced.
    Long,
    /// Fewer bytes than were announced.
    Short,
    /// The bytes are others than were announced.
    Mismatch,
    /// The bytes are no snapshot.
    Snapshot(SnapshotError),
    /// Two GPUs or two models have one id.
    Duplicate,
    /// More GPUs or models than a hive keeps.
    TooMany,
    /// A GPU's `info` is none, or of another GPU.
    Info,
    /// A GPU's `ctl` or `status` is not made of lines that the file takes.
    Lines,
    /// The telemetry schema is no JSON object.
    Schema,
    /// The publisher sent nothing for too long.
    TimedOut,
    /// The publisher's session ended.
    Gone,
    /// The journal would not take it.
    Journal,
}

impl Fault {
    /// The word after `reason=`.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Fault::Busy => "busy",
            Fault::Line => "unknown-line",
            Fault::Length => "invalid-length",
            Fault::Sha256 => "invalid-sha256",
            Fault::NoBegin => "no-begin",
            Fault::Base64 => "invalid-base64",
            Fault::Long => "too-long",
            Fault::Short => "too-short",
            Fault::Mismatch => "sha256-mismatch",
            Fault::Snapshot(error) => error.label(),
            Fault::Duplicate => "duplicate-id",
            Fault::TooMany => "too-many",
            Fault::Info => "invalid-info",
            Fault::Lines => "invalid-lines",
            Fault::Schema => "invalid-schema",
            Fault::TimedOut => "timed-out",
            Fault::Gone => "publisher-gone",
            Fault::Journal => "journal-full",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        match fault {
            Fault::Busy => Refusal::Busy,
            Fault::Journal => Refusal::BufferFull,
            _ => Refusal::InvalidPayload,
        }
    }
}

impl From<BridgeError> for Fault {
    fn from(error: BridgeError) -> Fault {
        match error {
            BridgeError::Syntax => Fault::Line,
            BridgeError::Length => Fault::Length,
            BridgeError::Digest => Fault::Sha256,
        }
    }
}

/// What a line did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A transfer began.
    Begun {
        /// Bytes announced.
        bytes: usize,
        /// SHA-256 announced.
        sha256: Digest,
    },
    /// It goes on.
    More,
    /// It is whole: the bytes are those that were announced. The turn is over.
    Whole {
        /// Their number.
        bytes: usize,
        /// Their SHA-256.
        sha256: Digest,
    },
}

/// What became of the last transfer, if it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// None failed since the last install.
    Settled,
    /// So many bytes are announced.
    Receiving(usize),
    /// The last one was refused.
    Failed(Fault),
}

/// One session's turn.
struct Transfer {
    session: SessionId,
    bytes: usize,
    sha256: Digest,
    received: usize,
    /// Digits that make no group of four yet.
    rest: heapless::String<4>,
    /// Nothing may follow a group with padding.
    padded: bool,
    hash: Sha256,
    /// When its last line came.
    heard: Instant,
}

/// The bridge.
pub(super) struct Bridge {
    timeout: Duration,
    transfer: Option<Transfer>,
    failed: Option<Fault>,
    buffer: Box<[u8]>,
}

impl Bridge {
    /// Nobody's turn; all memory is taken here.
    pub(super) fn new(timeout: Duration) -> Bridge {
        Bridge {
            timeout,
            transfer: None,
            failed: None,
            buffer: vec![0; SNAPSHOT_BYTES].into(),
        }
    }

    /// Takes a line of a session, after [`expire`](Self::expire). A fault other than [`Fault::Busy`] ends its turn.
    pub(super) fn accept(&mut self, session: SessionId, now: Instant, line: &str) -> Result<Step, Fault> {
        if self
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.session != session)
        {
            return Err(Fault::Busy);
        }
        let step = self.step(session, now, line);
        if let Err(fault) = step {
            self.fail(fault);
        }
        step
    }

    /// The bytes of the transfer that was whole last, until the next line.
    pub(super) fn bytes(&self, count: usize) -> &[u8] {
        self.buffer.get(..count).unwrap_or_default()
    }

    /// What was whole is not what may be published.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.transfer = None;
        self.failed = Some(fault);
    }

    /// A publisher who is silent for too long loses its turn. Whether that happened now.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let silent = |transfer: &Transfer| now.since(transfer.heard) >= self.timeout;
        let expired = self.transfer.as_ref().is_some_and(silent);
        if expired {
            self.fail(Fault::TimedOut);
        }
        expired
    }

    /// A session has ended. Whether it had its turn.
    pub(super) fn ended(&mut self, session: SessionId) -> bool {
        let had = self
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.session == session);
        if had {
            self.fail(Fault::Gone);
        }
        had
    }

    /// What the status file has to say.
    pub(super) fn standing(&self) -> Standing {
        match (&self.transfer, self.failed) {
            (Some(transfer), _) => Standing::Receiving(transfer.bytes),
            (None, Some(fault)) => Standing::Failed(fault),
            (None, None) => Standing::Settled,
        }
    }

    fn step(&mut self, session: SessionId, now: Instant, line: &str) -> Result<Step, Fault> {
        match BridgeRequest::parse(line)? {
            BridgeRequest::Begin { bytes, sha256 } => {
                self.failed = None;
                self.transfer = Some(Transfer {
                    session,
                    bytes,
                    sha256,
                    received: 0,
                    rest: heapless::String::new(),
                    padded: false,
                    hash: Sha256::new(),
                    heard: now,
                });
                Ok(Step::Begun { bytes, sha256 })
            }
            BridgeRequest::Data { digits } => {
                let transfer = self.transfer.as_mut().ok_or(Fault::NoBegin)?;
                transfer.heard = now;
                transfer.feed(&mut self.buffer, digits)?;
                Ok(Step::More)
            }
            BridgeRequest::End => {
                let transfer = self.transfer.take().ok_or(Fault::NoBegin)?;
                if !transfer.rest.is_empty() {
                    return Err(Fault::Base64);
                }
                if transfer.received < transfer.bytes {
                    return Err(Fault::Short);
                }
                let Transfer {
                    bytes, sha256, hash, ..
                } = transfer;
                if <[u8; 32]>::from(hash.finalize()) != sha256.0 {
                    return Err(Fault::Mismatch);
                }
                Ok(Step::Whole { bytes, sha256 })
            }
        }
    }
}

impl Transfer {
    /// Decodes and hashes digits, which may be cut anywhere.
    fn feed(&mut self, buffer: &mut [u8], digits: &str) -> Result<(), Fault> {
        let missing = match self.rest.len() {
            0 => 0,
            some => digits.len().min(4 - some),
        };
        let (first, digits) = digits.split_at_checked(missing).ok_or(Fault::Base64)?;
        self.rest.push_str(first).map_err(|_| Fault::Base64)?;
        if self.rest.len() == 4 {
            let group = core::mem::take(&mut self.rest);
            self.decode(buffer, &group)?;
        }
        let whole = digits.len() - digits.len() % 4;
        let (groups, rest) = digits.split_at_checked(whole).ok_or(Fault::Base64)?;
        self.decode(buffer, groups)?;
        self.rest.push_str(rest).map_err(|_| Fault::Base64)
    }

    fn decode(&mut self, buffer: &mut [u8], groups: &str) -> Result<(), Fault> {
        if groups.is_empty() {
            return Ok(());
        }
        if core::mem::replace(&mut self.padded, groups.ends_with('=')) {
            return Err(Fault::Base64);
        }
        let room = buffer.get_mut(self.received..self.bytes).unwrap_or_default();
        let bytes = b64::decode(groups, room).map_err(|error| match error {
            B64Error::Malformed => Fault::Base64,
            B64Error::NoSpace => Fault::Long,
        })?;
        self.hash.update(bytes);
        self.received += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    fn begin(bytes: &[u8]) -> String {
        BridgeRequest::Begin {
            bytes: bytes.len(),
            sha256: digest(bytes),
        }
        .to_string()
    }

    fn bridge() -> Bridge {
        Bridge::new(Duration::from_millis(100))
    }

    /// Sends all lines; gives the last answer.
    fn send(bridge: &mut Bridge, lines: &[&str]) -> Result<Step, Fault> {
        let mut last = Err(Fault::NoBegin);
        for line in lines {
            last = bridge.accept(A, at(0), line);
        }
        last
    }

    #[test]
    fn what_is_wrong_is_said_and_ends_the_turn() {
        let good = begin(b"hello");
        let other = begin(b"hellO");
        let longer = begin(b"hello!");
        let shorter = begin(b"hell");
        let huge = good.replace("bytes=5", "bytes=131073");
        let upper = good.replace("sha256=2", "sha256=X");
        for (lines, fault) in [
            (&["end"][..], Fault::NoBegin),
            (&["b64:aGVsbG8="], Fault::NoBegin),
            (&["begin"], Fault::Line),
            (&[&good, "hello"], Fault::Line),
            (&[&huge], Fault::Length),
            (&[&upper], Fault::Sha256),
            (&[&good, "b64:aGVsbG8", "end"], Fault::Base64),
            (&[&good, "b64:aGVs", "b64:bG8", "end"], Fault::Base64),
            (&[&good, "b64:aGV\u{e9}"], Fault::Base64),
            (&[&good, "b64:a=Vs"], Fault::Base64),
            (&[&longer, "b64:aGVsbG8=", "b64:IQ=="], Fault::Base64),
            (&[&longer, "b64:aGVsbG8=", "end"], Fault::Short),
            (&[&shorter, "b64:aGVsbG8="], Fault::Long),
            (&[&other, "b64:aGVsbG8=", "end"], Fault::Mismatch),
        ] {
            let mut bridge = bridge();
            assert_eq!(send(&mut bridge, lines), Err(fault), "{lines:?}");
            assert_eq!(bridge.standing(), Standing::Failed(fault), "{lines:?}");
            assert_eq!(bridge.accept(A, at(0), "end"), Err(Fault::NoBegin), "{lines:?}");
            let whole = send(&mut bridge, &[&good, "b64:aGVsbG8=", "end"]);
            assert_eq!(
                whole,
                Ok(Step::Whole {
                    bytes: 5,
                    sha256: digest(b"hello")
                })
            );
            assert_eq!(bridge.bytes(5), b"hello");
        }
    }

    #[test]
    fn one_session_at_a_time_until_it_is_silent_or_gone() {
        let mut bridge = bridge();
        let line = begin(b"hello");
        assert!(bridge.accept(A, at(0), &line).is_ok());
        for other in [&line, "b64:aGVsbG8=", "end", "nonsense"] {
            assert_eq!(bridge.accept(B, at(50), other), Err(Fault::Busy));
        }
        assert_eq!(bridge.standing(), Standing::Receiving(5));
        assert_eq!(bridge.accept(A, at(90), "b64:aGVs"), Ok(Step::More));
        assert_eq!(bridge.accept(B, at(189), &line), Err(Fault::Busy));
        assert!(!bridge.expire(at(189)) && bridge.expire(at(190)) && !bridge.expire(at(191)));
        assert_eq!(bridge.standing(), Standing::Failed(Fault::TimedOut));
        assert!(bridge.accept(B, at(191), &line).is_ok());
        assert_eq!(bridge.accept(A, at(191), "b64:bG8="), Err(Fault::Busy));
        assert!(!bridge.ended(A) && bridge.ended(B));
        assert_eq!(bridge.standing(), Standing::Failed(Fault::Gone));
        assert!(bridge.accept(A, at(192), &line).is_ok());
    }

    #[test]
    fn begin_drops_what_the_same_session_had_begun() {
        let mut bridge = bridge();
        let answer = send(
            &mut bridge,
            &[
                &begin(b"other"),
                "b64:b3Ro",
                &begin(b"hello"),
                "b64:aGVsbG8=",
                "end",
            ],
        );
        assert!(matches!(answer, Ok(Step::Whole { bytes: 5, .. })));
        assert_eq!(bridge.standing(), Standing::Settled);
    }

    proptest! {
        #[test]
        fn digits_may_be_cut_anywhere(
            bytes in proptest::collection::vec(any::<u8>(), 1..400),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let digits = b64::Digits(&bytes).to_string();
            let mut at_digits: Vec<usize> = cuts.iter().map(|cut| cut.index(digits.len())).collect();
            at_digits.extend([0, digits.len()]);
            at_digits.sort_unstable();
            at_digits.dedup();
            let mut bridge = bridge();
            bridge.accept(A, at(0), &begin(&bytes)).unwrap();
            for part in at_digits.windows(2) {
                let line = format!("b64:{}", &digits[part[0]..part[1]]);
                prop_assert_eq!(bridge.accept(A, at(0), &line), Ok(Step::More));
            }
            let whole = Step::Whole { bytes: bytes.len(), sha256: digest(&bytes) };
            prop_assert_eq!(bridge.accept(A, at(0), "end"), Ok(whole));
            prop_assert_eq!(bridge.bytes(bytes.len()), &bytes[..]);
        }

        #[test]
        fn no_line_panics(lines in proptest::collection::vec("(begin bytes=[0-9]{1,3} sha256=[0-9a-f]{64}|b64:[A-Za-z=]{0,9}|end|\\PC{0,20})", 0..12)) {
            let mut bridge = bridge();
            for line in &lines {
                let _ = bridge.accept(A, at(0), line);
            }
        }
    }
}
