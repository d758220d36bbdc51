//! Simulator.
use alloc::string::String;
use core::time::Duration;

use crate::counters::CountersView;
use crate::region::Region;
use crate::supervision::SupervisionView;
use crate::time::Instant;
use crate::topology::Topology;

/// What a simulation does beside running the topology.
#[derive(Clone, Debug, Default)]
pub struct SimConfig {
    /// The seed that decides everything.
    pub seed: u64,
    /// Chance, in a million, that a turn of some domain panics.
    pub panics_per_million_turns: u32,
    /// Wall clock at time zero, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Keep the trace as text.
    pub keep_trace: bool,
    /// Preserved memory of an earlier simulation: what a killed hive finds when it starts again.
    pub regions: Regions,
}

/// Preserved memory by domain and name.
#[derive(Clone, Debug, Default)]
pub struct Regions {}

/// How a run ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition holds.
    Reached,
    /// The time is up.
    TimeUp,
    /// Nothing will ever happen again: no signal, no ready task, no timer.
    Quiescent,
}

/// A simulated host.
pub struct Sim {}

impl Sim {
    /// Boots the topology's domains at time zero.
    ///
    /// # Panics
    /// If the topology is not sound.
    pub fn new(_topology: Topology, _config: SimConfig) -> Self {
        unimplemented!()
    }
    /// Virtual time.
    pub fn now(&self) -> Instant {
        unimplemented!()
    }
    /// One event: false if quiescent.
    pub fn step(&mut self) -> bool {
        unimplemented!()
    }
    /// Runs for a stretch of virtual time.
    pub fn run_for(&mut self, _time: Duration) -> Outcome {
        unimplemented!()
    }
    /// Runs until `condition` holds, for at most `limit` of virtual time.
    pub fn run_until(&mut self, _condition: impl FnMut() -> bool, _limit: Duration) -> Outcome {
        unimplemented!()
    }
    /// Makes `domain` panic at its `after_polls`-th poll from now.
    pub fn inject_panic(&mut self, _domain: &str, _after_polls: u64) -> bool {
        unimplemented!()
    }
    /// A region, for crash plans and inspection.
    pub fn region(&self, _domain: &str, _name: &str) -> Option<Region> {
        unimplemented!()
    }
    /// All preserved memory, as it is now (shared, not copied).
    pub fn regions(&self) -> Regions {
        unimplemented!()
    }
    /// A domain's counters.
    pub fn counters_of(&self, _domain: &str) -> Option<CountersView> {
        unimplemented!()
    }
    /// The status page.
    pub fn supervision(&self) -> SupervisionView {
        unimplemented!()
    }
    /// A hash over everything that happened.
    pub fn trace_hash(&self) -> u64 {
        unimplemented!()
    }
    /// What happened, if it was kept.
    pub fn trace(&self) -> &[String] {
        unimplemented!()
    }
}
