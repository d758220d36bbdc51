//! Lines that this program appends to `/gpu/<id>/status`.
//!
//! Answers for their form, and for reading from the file what was reported before, which is where this program keeps
//! it. Other lines there (breadcrumbs of jobs, other hosts' lines) are somebody else's and mean nothing here.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::gpu::LeaseState;
use serde::{Deserialize, Serialize};

use crate::source::Sample;

const SCHEMA: &str = "gpu-status/v1";

/// A line. Fields that an event has not are left out.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    schema: &'a str,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    util_pct: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_used_mb: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_total_mb: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_c: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    power_w: Option<u32>,
    ts_ms: u64,
}

impl Line<'_> {
    fn render(self) -> String {
        let line = Line {
            schema: SCHEMA,
            ts_ms: now_ms(),
            ..self
        };
        // Names and numbers only: there is nothing in it that JSON could not say.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// A worker's lease has begun or ended.
pub(crate) fn lease(worker_id: &str, state: LeaseState) -> String {
    let line = Line {
        event: "LEASE",
        state: Some(state.label()),
        worker_id: Some(worker_id),
        ..Line::default()
    };
    line.render()
}

/// How the command for a model that became active has ended.
pub(crate) fn activation(model_id: &str, seq: u64, state: &str, exit_code: Option<i32>) -> String {
    let state = state.to_ascii_uppercase();
    let line = Line {
        event: "ACTIVATE",
        state: Some(&state),
        model_id: Some(model_id),
        seq: Some(seq),
        exit_code,
        ..Line::default()
    };
    line.render()
}

/// How busy the GPU is.
pub(crate) fn sample(sample: &Sample) -> String {
    let line = Line {
        event: "SAMPLE",
        util_pct: Some(sample.util_pct),
        mem_used_mb: Some(sample.mem_used_mb),
        mem_total_mb: Some(sample.mem_total_mb),
        temp_c: sample.temp_c,
        power_w: sample.power_w,
        ..Line::default()
    };
    line.render()
}

/// What the lines of a status file say was reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// The last state of each worker's lease.
    pub(crate) leases: BTreeMap<String, LeaseState>,
    /// The last activation.
    pub(crate) activation: Option<u64>,
}

impl Reported {
    pub(crate) fn of(lines: &[String]) -> Reported {
        #[derive(Deserialize)]
        struct Read {
            schema: String,
            event: String,
            state: Option<String>,
            worker_id: Option<String>,
            seq: Option<u64>,
        }
        let mut reported = Reported::default();
        for line in lines {
            let Ok(read) = serde_json::from_str::<Read>(line) else {
                continue;
            };
            if read.schema != SCHEMA {
                continue;
            }
            match (read.event.as_str(), read.worker_id) {
                ("LEASE", Some(worker)) => {
                    let states = [LeaseState::Active, LeaseState::Released];
                    let label = read.state.unwrap_or_default();
                    if let Some(state) = states.into_iter().find(|state| state.label() == label) {
                        reported.leases.insert(worker, state);
                    }
                }
                ("ACTIVATE", _) => reported.activation = read.seq,
                _ => {}
            }
        }
        reported
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    // A clock before 1970 is not set; nothing here depends on it.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use protocol::gpu::is_json_line;

    use super::*;

    #[test]
    fn lines_are_read_back_among_others() {
        let busy = Sample {
            util_pct: 97,
            mem_used_mb: 1000,
            mem_total_mb: 24_564,
            temp_c: Some(71),
            power_w: None,
        };
        let lines = [
            lease("worker-1", LeaseState::Active),
            r#"{"schema":"gpu-breadcrumb/v1","event":"START","command":"x","status":"RUNNING"}"#.to_owned(),
            "no json".to_owned(),
            lease("worker-2", LeaseState::Active),
            activation("m", 3, "ok", Some(0)),
            lease("worker-1", LeaseState::Released),
            sample(&busy),
        ];
        let reported = Reported::of(&lines);
        assert_eq!(reported.activation, Some(3));
        assert_eq!(reported.leases.get("worker-1"), Some(&LeaseState::Released));
        assert_eq!(reported.leases.get("worker-2"), Some(&LeaseState::Active));
        let sample = lines.last().unwrap();
        for part in [
            r#""schema":"gpu-status/v1","event":"SAMPLE""#,
            r#""util_pct":97"#,
            r#""temp_c":71"#,
            r#""ts_ms":"#,
        ] {
            assert!(sample.contains(part), "{sample}");
        }
        assert!(!sample.contains("power_w") && is_json_line(sample), "{sample}");
        assert!(
            lines[4].contains(r#""state":"OK","model_id":"m","seq":3,"exit_code":0"#),
            "{}",
            lines[4]
        );
    }
}
