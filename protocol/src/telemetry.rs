//! What workers report: one JSON object a line (CONTROL 5).
//!
//! Answers for reading and writing heartbeat records. It never stores them.

use core::fmt;

use serde::Deserialize;

use crate::line::{Line, NoSpace};

/// Bytes of the longest heartbeat record.
pub const HEARTBEAT_BYTES: usize = r#"{"tick":,"ts_ms":}"#.len() + 2 * 20;

/// A heartbeat: `{"tick":42,"ts_ms":123456789}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Counts from 1 over the worker's whole life, restarts of its domain included.
    pub tick: u64,
    /// Unix milliseconds.
    pub ts_ms: u64,
}

impl Heartbeat {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(line: &str) -> Option<Heartbeat> {
        serde_json_core::from_str(line.trim())
            .ok()
            .map(|(record, _)| record)
    }

    /// Writes the line, without a newline, into `out` ([`HEARTBEAT_BYTES`] is enough).
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Result<&'o str, NoSpace> {
        let mut line = Line::new(out);
        line.put(format_args!("{self}"))?;
        Ok(line.finish())
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"{{"tick":{},"ts_ms":{}}}"#, self.tick, self.ts_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_control_5() {
        let record = Heartbeat {
            tick: 42,
            ts_ms: 123_456_789,
        };
        let mut out = [0; HEARTBEAT_BYTES];
        assert_eq!(record.render(&mut out), Ok(r#"{"tick":42,"ts_ms":123456789}"#));
        assert_eq!(
            Heartbeat::parse("{\"ts_ms\":123456789, \"tick\":42}\n"),
            Some(record)
        );
        assert!(
            Heartbeat {
                tick: u64::MAX,
                ts_ms: u64::MAX
            }
            .render(&mut out)
            .is_ok()
        );
        assert_eq!(record.render(&mut out[..8]), Err(NoSpace));
    }

    #[test]
    fn other_lines_are_no_heartbeat() {
        for line in [
            "",
            "tick 1",
            r#"{"tick":1}"#,
            r#"{"tick":1,"ts_ms":2,"x":3}"#,
            r#"{"tick":-1,"ts_ms":2}"#,
        ] {
            assert_eq!(Heartbeat::parse(line), None, "{line}");
        }
    }
}
