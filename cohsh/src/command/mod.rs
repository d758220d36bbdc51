//! Commands: one line of text becomes one value, or an error that says what was expected.
//!
//! Answers for the shell's own grammar (WIRE 1.12): verbs, options, quotes, and the path checks that are made before
//! anything is sent. Never talks to a hive.

mod echo;
mod error;
mod options;
mod parse;

use std::path::PathBuf;
use std::time::Duration;

use protocol::control::{Budget, GpuLease, QueenRequest};
use protocol::lifecycle;
use protocol::role::Role;

pub use error::CommandError;
pub use parse::parse;
pub(crate) use parse::usage;

/// One command of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `help`
    Help,
    /// `quit` (or `exit`)
    Quit,
    /// `attach ROLE [TICKET]` (or `login`)
    Attach {
        /// The role.
        role: Role,
        /// The ticket.
        ticket: Option<String>,
    },
    /// `detach`
    Detach,
    /// `ls PATH`
    Ls {
        /// The directory.
        path: String,
    },
    /// `cat PATH [--out FILE]`
    Cat {
        /// The file.
        path: String,
        /// A file on this machine to write the content to; binary content is decoded.
        out: Option<PathBuf>,
    },
    /// `tail PATH [LINES]`
    Tail {
        /// The file.
        path: String,
        /// How many lines are shown at most.
        lines: Option<usize>,
    },
    /// `log`
    Log,
    /// `echo TEXT > PATH`
    Echo {
        /// The text, without its quotes.
        text: String,
        /// The file.
        path: String,
    },
    /// `spawn heartbeat|gpu KEY=VALUE..`
    Spawn(Spawn),
    /// `kill ID`
    Kill {
        /// The worker.
        id: String,
    },
    /// `bind FROM TO`
    Bind {
        /// What is shown.
        from: String,
        /// Where it is shown.
        to: String,
    },
    /// `mount SERVICE PATH`
    Mount {
        /// The service's name.
        service: String,
        /// Where it is shown.
        at: String,
    },
    /// `lifecycle cordon|drain|resume|quiesce|reset`
    Lifecycle(lifecycle::Command),
    /// `ping`
    Ping,
    /// `test [--mode quick|full] [--json] [--timeout S]`
    Test {
        /// Which script is run behind the negative one.
        mode: Mode,
        /// Report as one line of JSON.
        json: bool,
        /// For the whole test.
        timeout: Duration,
    },
    /// `tcp-diag [PORT]`
    TcpDiag {
        /// Another port than the shell's.
        port: Option<u16>,
    },
    /// `telemetry push FILE --device ID`
    TelemetryPush {
        /// A file on this machine.
        file: PathBuf,
        /// The device.
        device: String,
    },
    /// `pool bench KEY=VALUE..`
    PoolBench(PoolBench),
    /// `raw LINE`: a console line as it is
    Raw {
        /// The line.
        line: String,
    },
}

/// What to spawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spawn {
    /// A heartbeat worker.
    Heartbeat {
        /// Ticks it may make.
        ticks: u64,
        /// Further limits.
        budget: Budget,
    },
    /// A GPU worker.
    Gpu {
        /// The GPU, as `/gpu` lists it.
        gpu_id: String,
        /// Memory in MiB.
        mem_mb: u32,
        /// Streams.
        streams: u32,
        /// Seconds.
        ttl_s: u64,
        /// 0 unless stated.
        priority: u32,
        /// Further limits.
        budget: Budget,
    },
}

impl Spawn {
    /// The request to the queen.
    pub fn request(&self) -> QueenRequest<'_> {
        match self {
            Spawn::Heartbeat { ticks, budget } => QueenRequest::SpawnHeartbeat {
                ticks: *ticks,
                budget: *budget,
            },
            Spawn::Gpu {
                gpu_id,
                mem_mb,
                streams,
                ttl_s,
                priority,
                budget,
            } => QueenRequest::SpawnGpu {
                lease: GpuLease {
                    gpu_id,
                    mem_mb: *mem_mb,
                    streams: *streams,
                    ttl_s: *ttl_s,
                    priority: *priority,
                },
                budget: *budget,
            },
        }
    }
}

/// Which script `test` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reads only.
    Quick,
    /// Writes to the log, and makes and ends a worker.
    Full,
}

impl Mode {
    /// The word.
    pub const fn label(self) -> &'static str {
        match self {
            Mode::Quick => "quick",
            Mode::Full => "full",
        }
    }
}

/// What `pool bench` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolBench {
    /// The file to append to.
    pub path: String,
    /// Lines to append.
    pub ops: usize,
    /// Lines sent before an answer is awaited.
    pub batch: usize,
    /// What each line begins with.
    pub payload: String,
    /// Bytes that each line is padded to.
    pub payload_bytes: Option<usize>,
    /// Which class of the pool's sessions.
    pub kind: PoolKind,
    /// Pause between batches.
    pub delay: Duration,
    /// Connections to cut in the middle of a frame.
    pub inject_failures: usize,
    /// Bytes of that frame that are sent.
    pub inject_bytes: usize,
    /// Checkouts to try while none is left.
    pub exhaust: usize,
}

/// A class of pooled sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// Two sessions, for control writes.
    Control,
    /// Four sessions, for telemetry.
    Telemetry,
}

impl PoolKind {
    /// The word.
    pub const fn label(self) -> &'static str {
        match self {
            PoolKind::Control => "control",
            PoolKind::Telemetry => "telemetry",
        }
    }

    /// Sessions of this class.
    pub const fn sessions(self) -> usize {
        match self {
            PoolKind::Control => 2,
            PoolKind::Telemetry => 4,
        }
    }
}

impl Command {
    /// Whether it needs an attached session.
    pub fn needs_session(&self) -> bool {
        !matches!(
            self,
            Command::Help
                | Command::Quit
                | Command::Attach { .. }
                | Command::Detach
                | Command::TcpDiag { .. }
        )
    }
}
