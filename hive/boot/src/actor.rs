//! What each actor is told: the manifest's values and the secrets, as plain data.
//!
//! Answers for: everything that `hive.toml` says about an actor reaching its domain.
//! Never: depends on an actor (a domain crate turns this into its actor's own configuration), and never shows what may
//! hold a secret: those types have no `Debug`.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// What the domain's actor is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The network driver.
    Net(Net),
    /// The console.
    ConsoleTcp(ConsoleTcp),
    /// The door.
    NineDoor(NineDoor),
    /// The queen.
    Queen(Queen),
    /// The heartbeat workers.
    WorkerHeart(Workers),
    /// The GPU workers.
    WorkerGpu(Workers),
    /// A client in the place of the network driver.
    Probe(Probe),
    /// The driver of the serial line.
    Serial(Serial),
    /// The root console, which is told nothing.
    ConsoleSerial,
    /// A domain of a benchmark, which knows what to do.
    Bench,
}

/// The network driver's part. It knows its device from the symbols that Microkit fills in.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// TCP connections of the stack that it carries frames for.
    pub connections: u16,
}

/// The part of the serial line's driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serial {
    /// Address of the PL011's registers.
    pub uart: u64,
    /// Name and address of each log ring, its own among them; the index counts from channel
    /// [`LOG_SOURCES`](crate::channel::LOG_SOURCES).
    pub logs: Vec<(String, u64)>,
}

/// The console's part.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleTcp {
    /// Expected after `AUTH `.
    pub token: String,
    /// TCP port.
    pub port: u16,
    /// The listener for 9P clients: its TCP port, and connections with an attach at once.
    pub ninep: Option<(u16, u16)>,
    /// Hardware address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub ip: [u8; 4],
    /// Bits of the network's prefix.
    pub prefix: u8,
    /// Connections of the stack.
    pub connections: u16,
    /// How long connections outlive a restart of the driver, in milliseconds.
    pub link_grace_ms: u64,
    /// Authenticated sessions at once.
    pub sessions: u16,
    /// Connections that have not authenticated.
    pub unauthenticated: u16,
    /// Milliseconds from connect to a right AUTH.
    pub auth_timeout_ms: u64,
    /// Seconds without traffic after which a session is closed.
    pub idle_timeout_s: u64,
}

/// NineDoor's part. The boot id is made at boot.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NineDoor {
    /// Version of the manifest's format.
    pub schema: String,
    /// The manifest's profile.
    pub profile: String,
    /// SHA-256 of the manifest, lower-case hex.
    pub sha256: String,
    /// What `/proc/boot` says of kernel, image and domains, a line each.
    pub host: Vec<String>,
    /// Prefix and link of each forwarded subtree.
    pub mounts: Vec<(String, String)>,
    /// Role label and ticket secret.
    pub keys: Vec<(String, String)>,
    /// Upper bounds of what a ticket may claim.
    pub ticket_limits: TicketLimits,
    /// Sizes of the tables.
    pub limits: DoorLimits,
    /// Fids that the console may need at once.
    pub console_fids: u32,
}

/// Upper bounds of a ticket's claims; 0 means no limit.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketLimits {
    /// Scopes in one ticket.
    pub scopes: u8,
    /// Bytes of one scope's path.
    pub scope_path_bytes: u16,
    /// Requests per second of one scope.
    pub scope_rate_per_s: u32,
    /// Bytes over a session's life.
    pub bandwidth_bytes: u64,
    /// Telemetry reads that go back.
    pub cursor_resumes: u32,
    /// Telemetry reads.
    pub cursor_advances: u32,
}

/// Sizes of NineDoor's tables.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorLimits {
    /// Sessions of every kind.
    pub sessions: u32,
    /// Retained lines of the log.
    pub log_lines: u32,
    /// Retained bytes of the log.
    pub log_bytes: u32,
    /// Bytes of a worker's telemetry ring.
    pub ring_bytes: u32,
    /// Live workers.
    pub workers: u32,
    /// Binds and mounts of a session.
    pub binds: u32,
}

/// The queen's part.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queen {
    /// Ticket secret of heartbeat workers.
    pub heartbeat_secret: String,
    /// Ticket secret of GPU workers.
    pub gpu_secret: String,
    /// Live workers at once.
    pub workers: u32,
    /// Milliseconds between two ticks.
    pub tick_ms: u64,
    /// Seconds that a worker lives by default.
    pub default_ttl_s: u64,
    /// Operations of a worker by default.
    pub default_ops: u64,
    /// Streams of a GPU whose info states none.
    pub gpu_streams: u32,
    /// Milliseconds after which a silent publisher loses its turn.
    pub bridge_timeout_ms: u64,
    /// Whether mock GPUs are there from the first boot on.
    pub mocks: bool,
    /// Telemetry of devices.
    pub ingest: Ingest,
}

/// How much telemetry is kept, and when it is enough for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingest {
    /// Devices.
    pub devices: u32,
    /// Segments of a device.
    pub segments: u32,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Records of a segment.
    pub segment_records: u32,
    /// Bytes of a device.
    pub device_bytes: u32,
    /// References of a segment.
    pub reference_entries: u32,
    /// Bytes of a segment's references themselves.
    pub reference_manifest_bytes: u32,
    /// Bytes that a segment's references stand for.
    pub reference_bytes: u64,
    /// Models that have a gate.
    pub models: u32,
    /// Jobs that are kept.
    pub jobs: u32,
    /// The gate of models without one of their own.
    pub gate: GateRule,
    /// Gates of models.
    pub gates: Vec<(String, GateRule)>,
}

/// When a gate opens.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRule {
    /// Samples that a window needs.
    pub min_samples: u64,
    /// Mean drift that they need: the bits of an `f64`.
    pub drift_threshold_bits: u64,
}

/// The probe's part.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What it authenticates with.
    pub token: String,
    /// The console's port.
    pub port: u16,
    /// The console's IPv4 address.
    pub server: [u8; 4],
    /// Its own hardware address.
    pub mac: [u8; 6],
    /// Its own IPv4 address.
    pub ip: [u8; 4],
    /// Bits of the network's prefix.
    pub prefix: u8,
    /// What it plays.
    pub script: String,
}

/// A worker domain's part.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workers {
    /// Workers at once.
    pub slots: u32,
}
