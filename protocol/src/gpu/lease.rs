//! Lines of `/gpu/<id>/lease`: who has how much of a GPU (WIRE 4.8).
//!
//! Answers for reading and writing them. A file's last line is what is in force. It never grants a lease.

use core::fmt;

use serde::Deserialize;

use super::is_gpu_id;
use crate::json::{plain, present};
use crate::limits::WORKER_ID_BYTES;

const SCHEMA: &str = "gpu-lease/v1";

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease<'a> {
    /// Whether it begins or ends.
    pub state: LeaseState,
    /// The GPU.
    pub gpu_id: &'a str,
    /// The worker that has it.
    pub worker_id: &'a str,
    /// Memory in MiB, above 0.
    pub mem_mb: u32,
    /// Streams, above 0.
    pub streams: u32,
    /// Seconds from its grant, above 0.
    pub ttl_s: u64,
    /// Its priority.
    pub priority: u32,
    /// Why it ended; a word of [`is_name`](super::is_model_id)'s characters.
    pub reason: Option<&'a str>,
}

/// Whether a lease begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// From this line on it is in force.
    Active,
    /// It is over.
    Released,
}

/// Why a line is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseError {
    /// Not the JSON of a `gpu-lease/v1` line.
    Syntax,
    /// A field's value cannot be.
    Value,
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeaseError::Syntax => {
                "not a gpu-lease/v1 line: schema, state, gpu_id, worker_id, mem_mb, streams, ttl_s, priority"
            }
            LeaseError::Value => "a lease needs the state ACTIVE or RELEASED, plain ids, and numbers above 0",
        })
    }
}

impl core::error::Error for LeaseError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    schema: &'a str,
    state: &'a str,
    gpu_id: &'a str,
    worker_id: &'a str,
    mem_mb: u32,
    streams: u32,
    ttl_s: u64,
    priority: u32,
    #[serde(default, deserialize_with = "present")]
    reason: Option<&'a str>,
}

impl LeaseState {
    /// The word after `"state":`.
    pub const fn label(self) -> &'static str {
        match self {
            LeaseState::Active => "ACTIVE",
            LeaseState::Released => "RELEASED",
        }
    }

    /// Reads the word.
    pub fn from_label(label: &str) -> Option<LeaseState> {
        [LeaseState::Active, LeaseState::Released]
            .into_iter()
            .find(|state| state.label() == label)
    }
}

impl<'a> Lease<'a> {
    /// Reads one line; a trailing newline is allowed.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub fn parse(line: &'a str) -> Result<Lease<'a>, LeaseError> {
        let line = line.trim();
        let (wire, used) = serde_json_core::from_str::<Wire<'a>>(line).map_err(|_| LeaseError::Syntax)?;
        if used != line.len() || wire.schema != SCHEMA {
            return Err(LeaseError::Syntax);
        }
        let state = LeaseState::from_label(wire.state).ok_or(LeaseError::Value)?;
        let lease = Lease {
            state,
            gpu_id: wire.gpu_id,
            worker_id: wire.worker_id,
            mem_mb: wire.mem_mb,
            streams: wire.streams,
            ttl_s: wire.ttl_s,
            priority: wire.priority,
            reason: wire.reason,
        };
        if lease.is_sound() {
            Ok(lease)
        } else {
            Err(LeaseError::Value)
        }
    }

    fn is_sound(&self) -> bool {
        let named = is_gpu_id(self.gpu_id)
            && plain(self.worker_id)
            && (1..=WORKER_ID_BYTES).contains(&self.worker_id.len());
        let reason = self
            .reason
            .is_none_or(|reason| super::is_name(reason) && reason.len() <= 32);
        named && reason && self.mem_mb > 0 && self.streams > 0 && self.ttl_s > 0
    }
}

impl fmt::Display for Lease<'_> {
    /// The line, without a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"schema":"{SCHEMA}","state":"{}","gpu_id":"{}","worker_id":"{}","mem_mb":{},"streams":{},"ttl_s":{},"priority":{}"#,
            self.state.label(),
            self.gpu_id,
            self.worker_id,
            self.mem_mb,
            self.streams,
            self.ttl_s,
            self.priority
        )?;
        if let Some(reason) = self.reason {
            write!(f, r#","reason":"{reason}""#)?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"{"schema":"gpu-lease/v1","state":"ACTIVE","gpu_id":"GPU-0","worker_id":"worker-1","mem_mb":1024,"streams":1,"ttl_s":60,"priority":1}"#;

    #[test]
    fn the_line_of_wire_4_8() {
        let lease = Lease {
            state: LeaseState::Active,
            gpu_id: "GPU-0",
            worker_id: "worker-1",
            mem_mb: 1024,
            streams: 1,
            ttl_s: 60,
            priority: 1,
            reason: None,
        };
        assert_eq!(lease.to_string(), LINE);
        assert_eq!(Lease::parse(LINE), Ok(lease));
    }

    #[test]
    fn other_lines_are_no_lease() {
        for (from, to, expected) in [
            ("v1", "v2", LeaseError::Syntax),
            ("ACTIVE", "HELD", LeaseError::Value),
            ("1024", "0", LeaseError::Value),
            ("GPU-0", "bridge", LeaseError::Value),
            ("worker-1", "", LeaseError::Value),
            ("}", ",\"x\":1}", LeaseError::Syntax),
            (",\"ttl_s\":60", "", LeaseError::Syntax),
        ] {
            let bad = LINE.replacen(from, to, 1);
            assert_ne!(bad, LINE);
            assert_eq!(Lease::parse(&bad), Err(expected), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            released in any::<bool>(),
            worker in "worker-[0-9]{1,9}",
            numbers in (1..u32::MAX, 1..u32::MAX, 1..u64::MAX, any::<u32>()),
            reason in proptest::option::of("[a-z-]{1,32}"),
        ) {
            let (mem_mb, streams, ttl_s, priority) = numbers;
            let lease = Lease {
                state: if released { LeaseState::Released } else { LeaseState::Active },
                gpu_id: "GPU-0",
                worker_id: &worker,
                mem_mb,
                streams,
                ttl_s,
                priority,
                reason: reason.as_deref(),
            };
            let line = lease.to_string();
            prop_assert_eq!(Lease::parse(&line), Ok(lease));
        }
    }
}
