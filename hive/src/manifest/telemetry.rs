//! `[telemetry]`, `[gates]` and `[[gate]]`: how much of devices' telemetry is kept, and when it is enough for a job.
//!
//! Answers for bounds that the queen can be built with, and for her region being large enough for them.
//! Never counts a sample.

use serde::Deserialize;

use super::{Domain, within};

/// Bytes of the longest model id (WIRE 5.3).
const MODEL_BYTES: usize = protocol::ingest::ID_BYTES;
/// The queen's region for it.
const REGION: &str = queen::TELEMETRY_REGION;

/// How much telemetry is kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Devices, 1..=32: public clients pull no more.
    pub devices: usize,
    /// Segments of one device, 2..=8.
    pub segments: usize,
    /// Bytes of one segment; at least one record's.
    pub segment_bytes: usize,
    /// Records of one segment.
    pub segment_records: usize,
    /// Bytes of one device; at least two segments'.
    pub device_bytes: usize,
    /// References of one segment.
    pub reference_entries: usize,
    /// Bytes of one segment's references themselves.
    pub reference_manifest_bytes: usize,
    /// Bytes that one segment's references stand for.
    pub reference_bytes: u64,
}

impl Default for Telemetry {
    fn default() -> Self {
        let limits = queen::IngestLimits::default();
        Self {
            devices: limits.devices,
            segments: limits.segments,
            segment_bytes: limits.segment_bytes,
            segment_records: limits.segment_records,
            device_bytes: limits.device_bytes,
            reference_entries: limits.reference_entries,
            reference_manifest_bytes: limits.reference_manifest_bytes,
            reference_bytes: limits.reference_bytes,
        }
    }
}

/// The gate of every model that has none of its own, and bounds of all.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Samples that a window needs; at least 1.
    pub min_samples: u64,
    /// Mean drift that they need; 0 or more.
    pub drift_threshold: f64,
    /// Models that have a gate, 1..=64.
    pub models: usize,
    /// Jobs that are kept, 1..=32.
    pub jobs: usize,
}

impl Default for Gates {
    fn default() -> Self {
        let rule = queen::GateRule::default();
        let limits = queen::IngestLimits::default();
        Self {
            min_samples: rule.min_samples,
            drift_threshold: rule.drift_threshold,
            models: limits.models,
            jobs: limits.jobs,
        }
    }
}

/// The gate of one model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The model's id.
    pub model: String,
    /// As in [`Gates`].
    pub min_samples: u64,
    /// As in [`Gates`].
    pub drift_threshold: f64,
}

/// What the queen is told of all three. Call it on a checked manifest.
pub(crate) fn ingest(telemetry: &Telemetry, gates: &Gates, own: &[Gate]) -> queen::IngestConfig {
    let rule = |min_samples, drift_threshold| queen::GateRule {
        min_samples,
        drift_threshold,
    };
    let own = own.iter().filter_map(|gate| {
        let model = gate.model.as_str().try_into().ok()?;
        Some((model, rule(gate.min_samples, gate.drift_threshold)))
    });
    queen::IngestConfig {
        limits: limits(telemetry, gates),
        gate: rule(gates.min_samples, gates.drift_threshold),
        gates: own.collect(),
    }
}

fn limits(telemetry: &Telemetry, gates: &Gates) -> queen::IngestLimits {
    queen::IngestLimits {
        devices: telemetry.devices,
        segments: telemetry.segments,
        segment_bytes: telemetry.segment_bytes,
        segment_records: telemetry.segment_records,
        device_bytes: telemetry.device_bytes,
        reference_entries: telemetry.reference_entries,
        reference_manifest_bytes: telemetry.reference_manifest_bytes,
        reference_bytes: telemetry.reference_bytes,
        models: gates.models,
        jobs: gates.jobs,
    }
}

pub(super) fn check(
    telemetry: &Telemetry,
    gates: &Gates,
    own: &[Gate],
    domains: &[Domain],
) -> Result<(), String> {
    within("telemetry.devices", telemetry.devices, 1..=32)?;
    within("telemetry.segments", telemetry.segments, 2..=8)?;
    let record = protocol::ingest::RECORD_BYTES + 1;
    within(
        "telemetry.segment_bytes",
        telemetry.segment_bytes,
        record..=131_072,
    )?;
    within("telemetry.segment_records", telemetry.segment_records, 16..=4096)?;
    within(
        "telemetry.device_bytes",
        telemetry.device_bytes,
        2 * telemetry.segment_bytes..=telemetry.segments * telemetry.segment_bytes,
    )?;
    within(
        "telemetry.reference_entries",
        telemetry.reference_entries,
        1..=telemetry.segment_records,
    )?;
    within(
        "telemetry.reference_manifest_bytes",
        telemetry.reference_manifest_bytes,
        256..=telemetry.segment_bytes,
    )?;
    within(
        "telemetry.reference_bytes",
        telemetry.reference_bytes,
        1..=1 << 40,
    )?;
    within("gates.models", gates.models, 1..=64)?;
    within("gates.jobs", gates.jobs, 1..=32)?;
    check_rule("gates", gates.min_samples, gates.drift_threshold)?;
    for (index, gate) in own.iter().enumerate() {
        let what = format!("[[gate]] {:?}", gate.model);
        if gate.model.is_empty() || gate.model.len() > MODEL_BYTES {
            return Err(format!("{what}: a model's id has 1 to {MODEL_BYTES} bytes"));
        }
        if own.iter().take(index).any(|other| other.model == gate.model) {
            return Err(format!("{what} is named twice"));
        }
        check_rule(&what, gate.min_samples, gate.drift_threshold)?;
    }
    within("[[gate]]", own.len(), 0..=gates.models)?;
    let kept = domains.iter().find(|domain| domain.name == "queen");
    let needed = limits(telemetry, gates).region_bytes().next_multiple_of(4096);
    match kept.and_then(|queen| queen.regions.get(REGION)) {
        Some(bytes) if *bytes < needed => Err(format!(
            "[[domain]] \"queen\" regions.{REGION} = {bytes} is too small; [telemetry] and [gates] need {needed}"
        )),
        _ => Ok(()),
    }
}

fn check_rule(what: &str, min_samples: u64, drift_threshold: f64) -> Result<(), String> {
    within(&format!("{what} min_samples"), min_samples, 1..=1_000_000)?;
    within(&format!("{what} drift_threshold"), drift_threshold, 0.0..=1e9)
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT, Manifest};

    #[test]
    fn the_queen_is_told_what_the_manifest_says() {
        let text =
            format!("{DEFAULT}\n[[gate]]\nmodel = \"vision\"\nmin_samples = 7\ndrift_threshold = 0.5\n")
                .replacen("devices = 32", "devices = 31", 1);
        let config = Manifest::parse(&text).unwrap().ingest();
        assert_eq!(
            (config.limits.devices, config.gate),
            (31, queen::GateRule::default())
        );
        let (model, rule) = &config.gates[0];
        assert_eq!(
            (model.as_str(), rule.min_samples, rule.drift_threshold),
            ("vision", 7, 0.5)
        );
        let limits = Manifest::parse(DEFAULT).unwrap().ingest().limits;
        assert_eq!(
            limits,
            queen::IngestLimits::default(),
            "hive.toml shows the defaults"
        );
    }

    #[test]
    fn each_impossible_limit_says_what_would_be_right() {
        for (from, to, expected) in [
            ("devices = 32", "devices = 33", "1 to 32"),
            ("segments = 4", "segments = 1", "2 to 8"),
            (
                "device_bytes = 131072",
                "device_bytes = 131073",
                "65536 to 131072",
            ),
            ("segment_bytes = 32768", "segment_bytes = 4096", "4097 to"),
            ("jobs = 8", "jobs = 32", "is too small"),
            ("min_samples = 500", "min_samples = 0", "1 to"),
            ("drift_threshold = 0.25", "drift_threshold = nan", "0 to"),
            ("drift_threshold = 0.25", "drift_threshold = -0.1", "0 to"),
        ] {
            assert!(DEFAULT.contains(from), "{from:?} is gone from hive.toml");
            let error = Manifest::parse(&DEFAULT.replacen(from, to, 1))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        let gate =
            |model: &str| format!("[[gate]]\nmodel = {model:?}\nmin_samples = 1\ndrift_threshold = 0\n");
        for (gates, expected) in [
            (gate(""), "1 to 128"),
            (gate(&"m".repeat(129)), "1 to 128"),
            (gate("m") + &gate("m"), "twice"),
            (gate("m").replace("= 1", "= 0"), "1 to"),
        ] {
            let error = Manifest::parse(&format!("{DEFAULT}\n{gates}"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{gates}: {error}");
        }
    }
}
