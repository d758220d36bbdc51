//! Lines on the queen's private links: to worker domains, from them, and to NineDoor.
//!
//! Answers for three little languages of one JSON object a line: the `ctl` file of a worker domain,
//! its `events` file, and NineDoor's `/worker/ctl`. Every request is idempotent: the queen repeats
//! them after a restart. It never starts or ends a worker.

use core::fmt;

use serde::Deserialize;

use crate::json::{plain, present};
use crate::limits::WORKER_ID_BYTES;
use crate::line::{Line, NoSpace};

/// A line appended to a worker domain's `ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerRequest<'a> {
    /// `{"start":{"id":..,"ticket":..,"ticks":..,"ops":..,"period_ms":..,"expires_unix_ms":..,"gpu_id":..}}`;
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
    /// The GPU it has a lease of, if it is a GPU worker.
    pub gpu_id: Option<&'a str>,
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
    /// Its lease is not in force any more.
    Released,
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
    pub fn parse(line: &'a str) -> Result<Self, RecordError> {
        let request = match read(line)? {
            WorkerRequestWire {
                start: Some(start),
                stop: None,
            } => WorkerRequest::Start(Start {
                id: start.id,
                ticket: start.ticket,
                ticks: start.ticks,
                ops: start.ops,
                period_ms: start.period_ms,
                expires_unix_ms: start.expires_unix_ms,
                gpu_id: start.gpu_id,
            }),
            WorkerRequestWire {
                start: None,
                stop: Some(stop),
            } => WorkerRequest::Stop { id: stop.id },
            _ => return Err(RecordError::Syntax),
        };
        request.check()
    }

    /// Writes the line, without a newline, into `out` (`limits::WORKER_RECORD_BYTES` is enough).
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Result<&'o str, RecordError> {
        let mut line = Line::new(out);
        match self.check()? {
            WorkerRequest::Start(start) => {
                let Start {
                    id,
                    ticket,
                    period_ms,
                    ..
                } = start;
                line.put(format_args!(r#"{{"start":{{"id":"{id}","ticket":"{ticket}""#))?;
                if let Some(ticks) = start.ticks {
                    line.put(format_args!(r#","ticks":{ticks}"#))?;
                }
                if let Some(ops) = start.ops {
                    line.put(format_args!(r#","ops":{ops}"#))?;
                }
                line.put(format_args!(r#","period_ms":{period_ms}"#))?;
                if let Some(expires) = start.expires_unix_ms {
                    line.put(format_args!(r#","expires_unix_ms":{expires}"#))?;
                }
                if let Some(gpu_id) = start.gpu_id {
                    line.put(format_args!(r#","gpu_id":"{gpu_id}""#))?;
                }
                line.push("}}")?;
            }
            WorkerRequest::Stop { id } => line.put(format_args!(r#"{{"stop":{{"id":"{id}"}}}}"#))?,
        }
        Ok(line.finish())
    }

    fn check(self) -> Result<Self, RecordError> {
        let good = match &self {
            WorkerRequest::Start(start) => {
                let gpu = start.gpu_id.is_none_or(|id| !id.is_empty() && plain(id));
                valid_id(start.id) && plain(start.ticket) && start.period_ms > 0 && gpu
            }
            WorkerRequest::Stop { id } => valid_id(id),
        };
        if good { Ok(self) } else { Err(RecordError::Value) }
    }
}

impl<'a> DoorRequest<'a> {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(line: &'a str) -> Result<Self, RecordError> {
        match read(line)? {
            DoorRequestWire {
                create: Some(IdWire { id }),
                end: None,
            } if valid_id(id) => Ok(DoorRequest::Create { id }),
            DoorRequestWire {
                create: None,
                end: Some(IdWire { id }),
            } if valid_id(id) => Ok(DoorRequest::End { id }),
            DoorRequestWire {
                create: Some(_),
                end: None,
            }
            | DoorRequestWire {
                create: None,
                end: Some(_),
            } => Err(RecordError::Value),
            _ => Err(RecordError::Syntax),
        }
    }

    /// Writes the line, without a newline, into `out` (`limits::WORKER_RECORD_BYTES` is enough).
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Result<&'o str, RecordError> {
        let (word, id) = match self {
            DoorRequest::Create { id } => ("create", id),
            DoorRequest::End { id } => ("end", id),
        };
        if !valid_id(id) {
            return Err(RecordError::Value);
        }
        let mut line = Line::new(out);
        line.put(format_args!(r#"{{"{word}":{{"id":"{id}"}}}}"#))?;
        Ok(line.finish())
    }
}

impl<'a> WorkerEvent<'a> {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(line: &'a str) -> Result<Self, RecordError> {
        let EventWire {
            ended: EndedWire { id, reason },
        } = read(line)?;
        let reason = EndReason::from_label(reason).ok_or(RecordError::Syntax)?;
        if valid_id(id) {
            Ok(WorkerEvent::Ended { id, reason })
        } else {
            Err(RecordError::Value)
        }
    }

    /// Writes the line, without a newline, into `out` (`limits::WORKER_RECORD_BYTES` is enough).
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Result<&'o str, RecordError> {
        let WorkerEvent::Ended { id, reason } = self;
        if !valid_id(id) {
            return Err(RecordError::Value);
        }
        let mut line = Line::new(out);
        line.put(format_args!(r#"{{"ended":{{"id":"{id}","reason":"{reason}"}}}}"#))?;
        Ok(line.finish())
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, RecordError> {
    serde_json_core::from_str(line.trim())
        .map(|(record, _)| record)
        .map_err(|_| RecordError::Syntax)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerRequestWire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    start: Option<StartWire<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    stop: Option<IdWire<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartWire<'a> {
    id: &'a str,
    ticket: &'a str,
    #[serde(default, deserialize_with = "present")]
    ticks: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    ops: Option<u64>,
    period_ms: u32,
    #[serde(default, deserialize_with = "present")]
    expires_unix_ms: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    gpu_id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdWire<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DoorRequestWire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    create: Option<IdWire<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    end: Option<IdWire<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventWire<'a> {
    #[serde(borrow)]
    ended: EndedWire<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndedWire<'a> {
    id: &'a str,
    reason: &'a str,
}

/// Whether `id` may name a worker: 1 to 32 of `[A-Za-z0-9._-]`, not `.` or `..`.
pub fn valid_id(id: &str) -> bool {
    (1..=WORKER_ID_BYTES).contains(&id.len())
        && id != "."
        && id != ".."
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl EndReason {
    /// Every reason.
    pub const ALL: [EndReason; 5] = [
        EndReason::Ticks,
        EndReason::Ops,
        EndReason::Expired,
        EndReason::Refused,
        EndReason::Released,
    ];

    /// The word in the line and in the log.
    pub const fn label(self) -> &'static str {
        match self {
            EndReason::Ticks => "ticks",
            EndReason::Ops => "ops",
            EndReason::Expired => "expired",
            EndReason::Refused => "refused",
            EndReason::Released => "released",
        }
    }

    /// Reads the word.
    pub fn from_label(label: &str) -> Option<EndReason> {
        EndReason::ALL.into_iter().find(|reason| reason.label() == label)
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

impl From<NoSpace> for RecordError {
    fn from(_: NoSpace) -> RecordError {
        RecordError::NoSpace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{TICKET_BYTES, WORKER_RECORD_BYTES};
    use proptest::prelude::*;
    use std::string::String;

    #[test]
    fn the_lines_as_documented() {
        let mut out = [0; WORKER_RECORD_BYTES];
        let start = Start {
            id: "worker-1",
            ticket: "cohesix-ticket-00.11",
            ticks: Some(10),
            ops: None,
            period_ms: 1000,
            expires_unix_ms: Some(17),
            gpu_id: None,
        };
        let line = r#"{"start":{"id":"worker-1","ticket":"cohesix-ticket-00.11","ticks":10,"period_ms":1000,"expires_unix_ms":17}}"#;
        assert_eq!(WorkerRequest::Start(start).render(&mut out), Ok(line));
        assert_eq!(WorkerRequest::parse(line), Ok(WorkerRequest::Start(start)));
        let gpu = Start {
            ticks: None,
            gpu_id: Some("GPU-0"),
            ..start
        };
        let line = r#"{"start":{"id":"worker-1","ticket":"cohesix-ticket-00.11","period_ms":1000,"expires_unix_ms":17,"gpu_id":"GPU-0"}}"#;
        assert_eq!(WorkerRequest::Start(gpu).render(&mut out), Ok(line));
        assert_eq!(WorkerRequest::parse(line), Ok(WorkerRequest::Start(gpu)));
        let line = r#"{"stop":{"id":"worker-1"}}"#;
        assert_eq!(WorkerRequest::Stop { id: "worker-1" }.render(&mut out), Ok(line));
        let line = r#"{"create":{"id":"worker-1"}}"#;
        assert_eq!(DoorRequest::Create { id: "worker-1" }.render(&mut out), Ok(line));
        let line = r#"{"end":{"id":"worker-1"}}"#;
        assert_eq!(DoorRequest::End { id: "worker-1" }.render(&mut out), Ok(line));
        let line = r#"{"ended":{"id":"worker-1","reason":"ticks"}}"#;
        let ended = WorkerEvent::Ended {
            id: "worker-1",
            reason: EndReason::Ticks,
        };
        assert_eq!(ended.render(&mut out), Ok(line));
        assert_eq!(
            WorkerEvent::parse("{\"ended\": {\"reason\":\"ticks\", \"id\":\"worker-1\"} }\n"),
            Ok(ended)
        );
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        for line in [
            "",
            "{}",
            "null",
            r#"{"stop":null}"#,
            r#"{"stop":{}}"#,
            r#"{"stop":{"id":null}}"#,
            r#"{"stop":{"id":"a","id":"b"}}"#,
            r#"{"stop":{"id":"a"},"stop":{"id":"a"}}"#,
            r#"{"stop":{"id":"a","why":"x"}}"#,
            r#"{"stop":{"id":"a"}} {"stop":{"id":"b"}}"#,
            r#"{"stop":{"id":"a"},"start":{"id":"a","ticket":"t","period_ms":1}}"#,
            r#"{"start":{"id":"a","ticket":"t"}}"#,
            r#"{"start":{"id":"a","ticket":"t","period_ms":-1}}"#,
            r#"{"start":{"id":"a","ticket":"t","period_ms":4294967296}}"#,
            r#"{"start":{"id":"a","ticket":"t","period_ms":1.5}}"#,
            r#"{"start":{"id":"a","ticket":"t","period_ms":1,"ticks":null}}"#,
            r#"{"start":{"id":"a","ticket":"t","period_ms":1}"#,
        ] {
            assert_eq!(WorkerRequest::parse(line), Err(RecordError::Syntax), "{line}");
        }
        for line in [
            r#"{"stop":{"id":""}}"#,
            r#"{"stop":{"id":"a/b"}}"#,
            r#"{"stop":{"id":".."}}"#,
            r#"{"stop":{"id":"a\u0062"}}"#,
            r#"{"stop":{"id":"abcdefghijklmnopqrstuvwxyz-0123456"}}"#,
            r#"{"start":{"id":"a","ticket":"t","period_ms":0}}"#,
            r#"{"start":{"id":"a","ticket":"\"t","period_ms":1}}"#,
        ] {
            assert_eq!(WorkerRequest::parse(line), Err(RecordError::Value), "{line}");
        }
        assert_eq!(
            DoorRequest::parse(r#"{"create":{"id":"a b"}}"#),
            Err(RecordError::Value)
        );
        assert_eq!(
            DoorRequest::parse(r#"{"stop":{"id":"a"}}"#),
            Err(RecordError::Syntax)
        );
        assert_eq!(
            WorkerEvent::parse(r#"{"ended":{"id":"a","reason":"?"}}"#),
            Err(RecordError::Syntax)
        );
        assert_eq!(
            WorkerRequest::Stop { id: "a b" }.render(&mut [0; 64]),
            Err(RecordError::Value)
        );
        assert_eq!(
            WorkerRequest::Stop { id: "a" }.render(&mut [0; 8]),
            Err(RecordError::NoSpace)
        );
    }

    #[test]
    fn the_longest_start_fits() {
        let (id, ticket) = ("i".repeat(WORKER_ID_BYTES), "t".repeat(TICKET_BYTES));
        let max = Some(u64::MAX);
        let start = Start {
            id: &id,
            ticket: &ticket,
            ticks: max,
            ops: max,
            period_ms: u32::MAX,
            expires_unix_ms: max,
            gpu_id: Some(&id),
        };
        assert!(
            WorkerRequest::Start(start)
                .render(&mut [0; WORKER_RECORD_BYTES])
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn rendered_starts_are_read_back(
            id in "[A-Za-z0-9_-]{1,32}", ticket in "[ -~&&[^\"\\\\]]{0,224}", period_ms in 1u32..,
            limits in any::<[Option<u64>; 3]>(), gpu in proptest::option::of("[A-Za-z0-9._-]{1,32}"),
        ) {
            let [ticks, ops, expires_unix_ms] = limits;
            let gpu_id = gpu.as_deref();
            let start = Start { id: &id, ticket: &ticket, ticks, ops, period_ms, expires_unix_ms, gpu_id };
            let mut out = [0; WORKER_RECORD_BYTES];
            let line = WorkerRequest::Start(start).render(&mut out).map(String::from).unwrap();
            prop_assert_eq!(WorkerRequest::parse(&line), Ok(WorkerRequest::Start(start)));
        }

        #[test]
        fn arbitrary_lines_never_panic(line in "\\PC{0,80}", json in "[{}\\[\\]\":,a-e0-9\\\\ ]{0,60}") {
            for line in [&line, &json] {
                let _ = (WorkerRequest::parse(line), DoorRequest::parse(line), WorkerEvent::parse(line));
            }
        }
    }
}
