//! What the manifest tells of telemetry: `[telemetry]`, `[gates]` and `[[gate]]`.
//!
//! Answers for the region being large enough for the limits. Never read from anywhere: the host fills it in.

use alloc::vec::Vec;

use super::gates::{GateRule, ModelId};
use super::layout::IngestLimits;

/// How much telemetry is kept, and when it is enough for a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngestConfig {
    /// How much is kept.
    pub limits: IngestLimits,
    /// The gate of every model that has none of its own.
    pub gate: GateRule,
    /// Gates of models by their ids, at most 128 bytes each.
    pub gates: Vec<(ModelId, GateRule)>,
}
