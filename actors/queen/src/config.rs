//! What the manifest tells the queen.
//!
//! Answers for the bounds and times of this actor and for why their defaults are what they are.
//! Never read from anywhere: the host fills it in.

use core::time::Duration;

use protocol::ticket::Key;

use crate::audit::LINE_BYTES;
use crate::gpu::GpuConfig;
use crate::ingest::IngestConfig;

/// The queen's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Live workers at once; one more is refused as `buffer-full`. The manifest's `limits.workers`.
    pub max_live_workers: usize,
    /// Time between two ticks of a worker. The manifest's `workers.tick_ms`; at least 1 ms.
    pub tick: Duration,
    /// Seconds a heartbeat worker lives if neither its request nor a default budget says so. `workers.default_ttl_s`.
    pub default_ttl_s: u64,
    /// Operations a worker may make, likewise. `workers.default_ops`.
    pub default_ops: u64,
    /// Seals the tickets of heartbeat workers: the secret of the role `worker-heartbeat`.
    pub heartbeat_key: Key,
    /// Seals the tickets of GPU workers: the secret of the role `worker-gpu`.
    pub gpu_key: Key,
    /// How long a spawn waits for NineDoor and the worker domain, and a kill for them to let go. With the audit's
    /// time it stays below 2 s, the time after which the public Python client gives up.
    pub operation_timeout: Duration,
    /// How long an answer waits for its audit line to be in `/log/queen.log`. A line that takes longer is delivered
    /// later; it is in the journal.
    pub audit_timeout: Duration,
    /// Audit lines that may wait while NineDoor is away; operations are refused as `busy` when they run out.
    pub audit_lines: usize,
    /// GPUs and who publishes them.
    pub gpu: GpuConfig,
    /// Telemetry of devices, and when it is enough for a job.
    pub ingest: IngestConfig,
    /// Pause before a peer that refused or broke off is tried again.
    pub retry_pause: Duration,
}

impl Config {
    /// The values of the default manifest, with these keys.
    pub fn new(heartbeat_key: Key, gpu_key: Key) -> Config {
        Config {
            max_live_workers: 8,
            tick: Duration::from_secs(1),
            default_ttl_s: 300,
            default_ops: 10_000,
            heartbeat_key,
            gpu_key,
            operation_timeout: Duration::from_millis(1000),
            audit_timeout: Duration::from_millis(250),
            audit_lines: 64,
            gpu: GpuConfig::default(),
            ingest: IngestConfig::default(),
            retry_pause: Duration::from_millis(100),
        }
    }

    /// Bytes of the region `journal` that always suffice: two halves, each with room for everything the queen may
    /// have to remember and for a while of changes between two compactions.
    pub fn journal_bytes(&self) -> usize {
        let lines = self.audit_lines.max(16) * (LINE_BYTES + 24);
        let workers = 2 * self.max_live_workers * 128;
        2 * (512 + lines + workers + 4096)
    }
}
