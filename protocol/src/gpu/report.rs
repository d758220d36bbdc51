//! What a GPU worker reports: its lease, and which model its GPU is to run.
//!
//! Answers for reading and writing one record a line of `/worker/<id>/telemetry`. It never stores one.

use core::fmt;

use serde::Deserialize;

use super::{GPU_ID_BYTES, LeaseState, MODEL_ID_BYTES, is_gpu_id, is_model_id};
use crate::json::present;
use crate::line::{Line, NoSpace};

/// Bytes of the longest record.
pub const REPORT_BYTES: usize =
    r#"{"tick":,"ts_ms":,"gpu_id":"","lease":"RELEASED","model_id":"","lora_id":""}"#.len()
        + 2 * 20
        + GPU_ID_BYTES
        + 2 * MODEL_ID_BYTES;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Counts from 1 over the worker's whole life, restarts of its domain included.
    pub tick: u64,
    /// Unix milliseconds.
    pub ts_ms: u64,
    /// The GPU.
    pub gpu_id: &'a str,
    /// How its lease stood.
    pub lease: LeaseState,
    /// The model that was active, if one was.
    pub model_id: Option<&'a str>,
    /// The adapter that the active model's manifest names, if it names one.
    pub lora_id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    tick: u64,
    ts_ms: u64,
    gpu_id: &'a str,
    lease: &'a str,
    #[serde(borrow, default, deserialize_with = "present")]
    model_id: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "present")]
    lora_id: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// Reads one line; a trailing newline is allowed. `None` for what is no such record.
    pub fn parse(line: &'a str) -> Option<Report<'a>> {
        let line = line.trim();
        let (wire, used) = serde_json_core::from_str::<Wire<'a>>(line).ok()?;
        let report = Report {
            tick: wire.tick,
            ts_ms: wire.ts_ms,
            gpu_id: wire.gpu_id,
            lease: LeaseState::from_label(wire.lease)?,
            model_id: wire.model_id,
            lora_id: wire.lora_id,
        };
        (used == line.len() && report.is_sound()).then_some(report)
    }

    /// Writes the line, without a newline, into `out` ([`REPORT_BYTES`] is enough).
    ///
    /// # Errors
    /// If it does not fit, which a record with an id that can be none may not.
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Result<&'o str, NoSpace> {
        let mut line = Line::new(out);
        line.put(format_args!("{self}"))?;
        Ok(line.finish())
    }

    fn is_sound(&self) -> bool {
        is_gpu_id(self.gpu_id)
            && self.model_id.is_none_or(is_model_id)
            && self.lora_id.is_none_or(is_model_id)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"tick":{},"ts_ms":{},"gpu_id":"{}","lease":"{}""#,
            self.tick,
            self.ts_ms,
            self.gpu_id,
            self.lease.label()
        )?;
        if let Some(model) = self.model_id {
            write!(f, r#","model_id":"{model}""#)?;
        }
        if let Some(lora) = self.lora_id {
            write!(f, r#","lora_id":"{lora}""#)?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    const REPORT: Report<'_> = Report {
        tick: 3,
        ts_ms: 1_700_000_000_000,
        gpu_id: "GPU-0",
        lease: LeaseState::Active,
        model_id: Some("vision-lora-edge"),
        lora_id: Some("edge-7"),
    };

    #[test]
    fn the_record_as_documented() {
        let line = r#"{"tick":3,"ts_ms":1700000000000,"gpu_id":"GPU-0","lease":"ACTIVE","model_id":"vision-lora-edge","lora_id":"edge-7"}"#;
        assert_eq!(REPORT.to_string(), line);
        assert_eq!(Report::parse(line), Some(REPORT));
        let bare = Report {
            model_id: None,
            lora_id: None,
            ..REPORT
        };
        let line = r#"{"tick":3,"ts_ms":1700000000000,"gpu_id":"GPU-0","lease":"ACTIVE"}"#;
        assert_eq!(bare.to_string(), line);
        assert_eq!(Report::parse(line), Some(bare));
    }

    #[test]
    fn other_lines_are_no_report() {
        for line in [
            "",
            r#"{"tick":3,"ts_ms":17}"#,
            r#"{"tick":3,"ts_ms":17,"gpu_id":"a/b","lease":"ACTIVE"}"#,
            r#"{"tick":3,"ts_ms":17,"gpu_id":"GPU-0","lease":"HELD"}"#,
            r#"{"tick":3,"ts_ms":17,"gpu_id":"GPU-0","lease":"ACTIVE","model_id":""}"#,
            r#"{"tick":3,"ts_ms":17,"gpu_id":"GPU-0","lease":"ACTIVE"} x"#,
            r#"{"tick":3,"ts_ms":17,"gpu_id":"GPU-0","lease":"ACTIVE","x":1}"#,
        ] {
            assert_eq!(Report::parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_longest_fits() {
        let (gpu, model) = ("g".repeat(GPU_ID_BYTES), "m".repeat(MODEL_ID_BYTES));
        let report = Report {
            tick: u64::MAX,
            ts_ms: u64::MAX,
            gpu_id: &gpu,
            lease: LeaseState::Released,
            model_id: Some(&model),
            lora_id: Some(&model),
        };
        assert_eq!(
            report.render(&mut [0; REPORT_BYTES]).map(str::len),
            Ok(REPORT_BYTES)
        );
        assert_eq!(report.render(&mut [0; REPORT_BYTES - 1]), Err(NoSpace));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            numbers: (u64, u64),
            gpu_id in "[A-Za-z0-9._-]{3,32}",
            model in proptest::option::of("[A-Za-z0-9._-]{3,128}"),
            lora in proptest::option::of("[A-Za-z0-9._-]{3,128}"),
        ) {
            prop_assume!(is_gpu_id(&gpu_id));
            let report = Report {
                tick: numbers.0,
                ts_ms: numbers.1,
                gpu_id: &gpu_id,
                model_id: model.as_deref(),
                lora_id: lora.as_deref(),
                ..REPORT
            };
            let line = report.to_string();
            prop_assert_eq!(Report::parse(&line), Some(report));
        }

        #[test]
        fn garbage_never_panics(line in "[{}\":,a-z0-9 \\\\]{0,120}") {
            let _ = Report::parse(&line);
        }
    }
}
