//! What the manifest tells the queen of GPUs.
//!
//! Answers for the bounds of what hosts may publish, and for why they are what they are.
//! Never read from anywhere: the host fills it in.

use core::time::Duration;

/// GPUs at once: what the largest machines have, twice.
pub(crate) const MAX_GPUS: usize = 16;
/// Models at once.
pub(crate) const MAX_MODELS: usize = 64;

/// Configuration of `/gpu`.
#[derive(Clone, Debug)]
pub struct GpuConfig {
    /// Streams of a GPU whose `info` states no `max_streams`. The manifest's `gpu.streams`; at least 1.
    pub streams: u32,
    /// How long a publisher may send nothing before another may take its turn. `gpu.bridge_timeout_ms`.
    pub bridge_timeout: Duration,
    /// Whether two mock GPUs are there from the first boot until a host publishes: the profile `dev`.
    pub seeded: bool,
}

impl Default for GpuConfig {
    fn default() -> GpuConfig {
        GpuConfig {
            streams: 16,
            bridge_timeout: Duration::from_secs(10),
            seeded: false,
        }
    }
}
