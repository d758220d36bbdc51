//! Lines on the queen's private links: to worker domains, from them, and to NineDoor.
//!
//! Answers for three little languages of one JSON object a line: the `ctl` file of a worker domain,
//! its `events` file, and NineDoor's `/worker/ctl`. Every request is idempotent: the queen repeats
//! them after a restart. It never starts or ends a worker.

use core::fmt;

/// A line appended to a worker domain's `ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerRequest<'a> {
    /// `{"start":{"id":..,"ticket":..,"ticks":..,"ops":..,"period_ms":..,"expires_unix_ms":..}}`;
    /// answered once the worker is attached. Starting a running worker again is fine.
    Start(Start<'a>),
    /// `{"stop":{"id":..}}`; answered once it is gone. Stopping an unknown worker is fine.
    Stop {
        /// The worker.
        id: &'a str,
    },
}

/// How a worker is to run. A limit that is `None` is left out of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The worker.
    pub id: &'a str,
    /// Its ticket, with `id` as subject.
    pub ticket: &'a str,
    /// Ticks it may make in all, counted from its first ever.
    pub ticks: Option<u64>,
    /// Operations it may make in all.
    pub ops: Option<u64>,
    /// Milliseconds between ticks; > 0.
    pub period_ms: u32,
    /// When its time is over, Unix milliseconds; the queen enforces it.
    pub expires_unix_ms: Option<u64>,
}

/// A line appended to NineDoor's `/worker/ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorRequest<'a> {
    /// `{"create":{"id":..}}`: make its telemetry ring. Creating an existing worker is fine.
    Create {
        /// The worker.
        id: &'a str,
    },
    /// `{"end":{"id":..}}`: remove its files and sessions. Ending an unknown worker is fine.
    End {
        /// The worker.
        id: &'a str,
    },
}

/// A line read from a worker domain's `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerEvent<'a> {
    /// `{"ended":{"id":..,"reason":..}}`: a worker ended by itself.
    Ended {
        /// The worker.
        id: &'a str,
        /// Why.
        reason: EndReason,
    },
}

/// Why a worker ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its ticks are used up.
    Ticks,
    /// Its operations are used up.
    Ops,
    /// Its ticket or its time ran out.
    Expired,
    /// NineDoor refused it for good.
    Refused,
}

/// Why a line could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Not the JSON of any form here.
    Syntax,
    /// An id that is no worker id, or a period of 0.
    Value,
    /// The rendered line does not fit.
    NoSpace,
}

impl<'a> WorkerRequest<'a> {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(_line: &'a str) -> Result<Self, RecordError> {
        unimplemented!()
    }

    /// Writes the line, without a newline, into `out` (`limits::WORKER_RECORD_BYTES` is enough).
    pub fn render<'o>(&self, _out: &'o mut [u8]) -> Result<&'o str, RecordError> {
        unimplemented!()
    }
}

impl<'a> DoorRequest<'a> {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(_line: &'a str) -> Result<Self, RecordError> {
        unimplemented!()
    }

    /// Writes the line, without a newline, into `out` (`limits::WORKER_RECORD_BYTES` is enough).
    pub fn render<'o>(&self, _out: &'o mut [u8]) -> Result<&'o str, RecordError> {
        unimplemented!()
    }
}

impl<'a> WorkerEvent<'a> {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(_line: &'a str) -> Result<Self, RecordError> {
        unimplemented!()
    }

    /// Writes the line, without a newline, into `out` (`limits::WORKER_RECORD_BYTES` is enough).
    pub fn render<'o>(&self, _out: &'o mut [u8]) -> Result<&'o str, RecordError> {
        unimplemented!()
    }
}

/// Whether `id` may name a worker: 1 to 32 of `[A-Za-z0-9._-]`, not `.` or `..`.
pub fn valid_id(id: &str) -> bool {
    (1..=crate::limits::WORKER_ID_BYTES).contains(&id.len())
        && id != "."
        && id != ".."
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl EndReason {
    /// Every reason.
    pub const ALL: [EndReason; 4] = [
        EndReason::Ticks,
        EndReason::Ops,
        EndReason::Expired,
        EndReason::Refused,
    ];

    /// The word in the line and in the log.
    pub const fn label(self) -> &'static str {
        match self {
            EndReason::Ticks => "ticks",
            EndReason::Ops => "ops",
            EndReason::Expired => "expired",
            EndReason::Refused => "refused",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordError::Syntax => "not a worker record; write one JSON object with the fields of its form",
            RecordError::Value => "worker id or period is out of range; ids are 1 to 32 of [A-Za-z0-9._-]",
            RecordError::NoSpace => "the record does not fit its buffer; shorten it",
        })
    }
}
