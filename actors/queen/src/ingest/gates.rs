//! Gates: how much of each model's telemetry has come, and whether it is enough for a job.
//!
//! Answers for counting a sample once, after it is kept, and for a window that a job has used up not counting again.
//! Never opens a job.
//!
//! A gate is met when the samples of its window are at least the minimum, at least one of them carries `drift`, and the
//! mean over those that do is at least the threshold. Drifts count in millionths, up to a thousand million either way, so
//! that sums are exact: a window of drifts that are each the threshold meets it.

use core::fmt;

use alloc::vec::Vec;

use protocol::ingest::{ID_BYTES, Sample};
use protocol::refusal::Refusal;
use runtime::region::Region;
use serde::{Deserialize, Serialize};

use super::layout::IngestLimits;
use super::twin::{Twin, VALUE_BYTES};

/// A model's id.
pub(crate) type ModelId = heapless::String<ID_BYTES>;

/// When a gate opens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateRule {
    /// Samples that a window needs; at least 1.
    pub min_samples: u64,
    /// Mean drift that they need.
    pub drift_threshold: f64,
}

impl Default for GateRule {
    fn default() -> GateRule {
        GateRule {
            min_samples: 500,
            drift_threshold: 0.25,
        }
    }
}

const MILLION: f64 = 1e6;
/// The largest drift that counts as what it is.
const MAX_DRIFT: f64 = 1e9;

/// A drift in millionths, the nearest.
fn millionths(drift: f64) -> i128 {
    let scaled = drift.clamp(-MAX_DRIFT, MAX_DRIFT) * MILLION;
    // The cast cuts off the rest.
    (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i128
}

/// What has come of a model's samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    /// Samples.
    pub(super) samples: u64,
    /// Those of them that carry a drift.
    pub(super) drifted: u64,
    /// The sum of their drifts, in millionths.
    sum: i128,
}

/// A gate's cell.
#[derive(Serialize, Deserialize)]
struct Cell<'a> {
    model: &'a str,
    count: Count,
    from: u64,
}

/// A model's gate.
pub(super) struct Gate {
    pub(super) model: ModelId,
    pub(super) rule: GateRule,
    /// The window so far.
    pub(super) count: Count,
    /// The window has the records after this one.
    pub(super) from: u64,
    /// Counted, once what is being written is kept.
    pending: Count,
    twin: Twin,
}

/// All gates; a model keeps its place.
pub(super) struct Gates {
    region: Region,
    limits: IngestLimits,
    all: Vec<Gate>,
    default: GateRule,
    rules: Vec<(ModelId, GateRule)>,
}

impl Count {
    /// The mean drift; `None` if no sample carries one.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.drifted > 0).then(|| self.sum as f64 / (self.drifted as f64 * MILLION))
    }

    /// Whether at least one sample carries a drift, and the mean is at least that.
    fn has_drifted(&self, threshold: f64) -> bool {
        self.drifted > 0 && self.sum >= millionths(threshold) * i128::from(self.drifted)
    }

    fn add(&mut self, other: Count) {
        self.samples += other.samples;
        self.drifted += other.drifted;
        self.sum += other.sum;
    }

    /// What is left without the others.
    fn without(&self, others: Count) -> Count {
        Count {
            samples: self.samples.saturating_sub(others.samples),
            drifted: self.drifted.saturating_sub(others.drifted),
            sum: self.sum - others.sum,
        }
    }
}

impl Gate {
    /// Whether a job is due.
    pub(super) fn is_met(&self) -> bool {
        self.count.samples >= self.rule.min_samples && self.count.has_drifted(self.rule.drift_threshold)
    }

    fn store(&mut self, region: &Region, count: Count, from: u64) -> Result<(), Refusal> {
        let cell = Cell {
            model: &self.model,
            count,
            from,
        };
        let mut buf = [0; VALUE_BYTES];
        let value = postcard::to_slice(&cell, &mut buf).map_err(|_| Refusal::BufferFull)?;
        self.twin.store(region, value).map_err(|_| Refusal::BufferFull)?;
        (self.count, self.from) = (count, from);
        Ok(())
    }
}

/// A line of `/queen/export/gates`, without its newline.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gate {
            model, rule, count, ..
        } = self;
        let GateRule {
            min_samples,
            drift_threshold,
        } = rule;
        write!(f, "model={model} samples={}/{min_samples} drift=", count.samples)?;
        match count.mean() {
            Some(mean) => write!(f, "{mean:.4}")?,
            None => f.write_str("none")?,
        }
        let state = if self.is_met() { "open" } else { "collecting" };
        write!(f, "/{drift_threshold} state={state} missing=")?;
        let samples = min_samples.saturating_sub(count.samples);
        let drift = drift_threshold - count.mean().unwrap_or(0.0);
        match (samples > 0, !count.has_drifted(*drift_threshold)) {
            (true, true) => write!(f, "samples:{samples},drift:{drift:.4}"),
            (true, false) => write!(f, "samples:{samples}"),
            (false, true) => write!(f, "drift:{drift:.4}"),
            (false, false) => f.write_str("none"),
        }
    }
}

impl Gates {
    /// Finds the gates in the region; all memory is taken here.
    pub(super) fn recover(
        region: Region,
        limits: IngestLimits,
        default: GateRule,
        rules: Vec<(ModelId, GateRule)>,
        mut seq: impl FnMut(u64),
    ) -> Gates {
        let mut gates = Gates {
            all: Vec::with_capacity(limits.models),
            region,
            limits,
            default,
            rules,
        };
        let mut buf = [0; VALUE_BYTES];
        for place in 0..limits.models {
            let (twin, value) = Twin::load(&gates.region, limits.gate(place), &mut buf);
            let cell = value.and_then(|value| postcard::from_bytes::<Cell<'_>>(value).ok());
            let Some((model, cell)) = cell.and_then(|cell| Some((ModelId::try_from(cell.model).ok()?, cell)))
            else {
                // Models take places in their order.
                break;
            };
            seq(cell.from);
            gates.all.push(Gate {
                rule: gates.rule(&model),
                model,
                count: cell.count,
                from: cell.from,
                pending: Count::default(),
                twin,
            });
        }
        gates
    }

    /// All gates, by place.
    pub(super) fn all(&self) -> &[Gate] {
        &self.all
    }

    /// The gate at that place.
    pub(super) fn get(&self, place: u8) -> Option<&Gate> {
        self.all.get(usize::from(place))
    }

    /// A gate that a job is due for.
    pub(super) fn met(&self) -> Option<u8> {
        self.all.iter().position(Gate::is_met).map(|place| place as u8)
    }

    /// The gate that counts a sample; a model that comes for the first time gets one. `None`: there is no place.
    /// The sample counts once it is [kept](Self::keep).
    pub(super) fn count(&mut self, sample: &Sample<'_>) -> Result<Option<u8>, Refusal> {
        let known = self.all.iter().position(|gate| gate.model == sample.model_id);
        let place = match known {
            Some(place) => place,
            None if self.all.len() >= self.limits.models => return Ok(None),
            None => self.begin(sample.model_id)?,
        };
        if let Some(gate) = self.all.get_mut(place) {
            gate.pending.add(Count {
                samples: 1,
                drifted: u64::from(sample.drift.is_some()),
                sum: sample.drift.map_or(0, millionths),
            });
        }
        Ok(Some(place as u8))
    }

    /// What was counted is kept.
    pub(super) fn keep(&mut self) -> Result<(), Refusal> {
        for gate in &mut self.all {
            let pending = core::mem::take(&mut gate.pending);
            if pending.samples > 0 {
                let mut count = gate.count;
                count.add(pending);
                gate.store(&self.region, count, gate.from)?;
            }
        }
        Ok(())
    }

    /// What was counted will not be kept.
    pub(super) fn forget(&mut self) {
        for gate in &mut self.all {
            gate.pending = Count::default();
        }
    }

    /// A job has used up these samples; the window begins after record `to`. Done again it does nothing.
    pub(super) fn consume(&mut self, place: u8, used: Count, to: u64) -> Result<(), Refusal> {
        match self.all.get_mut(usize::from(place)) {
            Some(gate) if gate.from < to => gate.store(&self.region, gate.count.without(used), to),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, model: &str) -> Result<usize, Refusal> {
        let place = self.all.len();
        let model = ModelId::try_from(model).map_err(|_| Refusal::InvalidPayload)?;
        let mut gate = Gate {
            rule: self.rule(&model),
            model,
            count: Count::default(),
            from: 0,
            pending: Count::default(),
            twin: Twin::load(&self.region, self.limits.gate(place), &mut [0; VALUE_BYTES]).0,
        };
        gate.store(&self.region, Count::default(), 0)?;
        self.all.push(gate);
        Ok(place)
    }

    fn rule(&self, model: &str) -> GateRule {
        let own = self.rules.iter().find(|(named, _)| named == model);
        own.map_or(self.default, |(_, rule)| *rule)
    }
}
