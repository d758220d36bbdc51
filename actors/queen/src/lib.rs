#![doc = include_str!("../README.md")]
//!
//! # This crate
//!
//! [`spawn`] puts the queen's tasks into a domain. The modules, from what is remembered to who is told: `record` and
//! `state` (what), `ledger` (journal first), `workers`, `leases` and `audit` (what the peers and the lease files still have to hear), `control`
//! (what operators ask), `tree` (the files, with `gpu` as a part of its own), `door` and `host` (the peers), `watch`
//! (time and supervision).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod audit;
mod config;
mod control;
mod door;
mod gpu;
mod host;
mod ingest;
mod leases;
mod ledger;
mod peer;
mod queen;
mod record;
mod state;
mod tree;
mod watch;
mod workers;

use alloc::rc::Rc;
use core::fmt;

use ninep::{Server, ServerConfig};
use runtime::Context;
use runtime::executor::SpawnError;
use runtime::journal::{JournalError, Recovery};
use runtime::link::Link;
use runtime::region::{Region, RegionError};

pub use config::Config;
pub use gpu::GpuConfig;
pub use ingest::{GateRule, IngestConfig, IngestLimits};

use crate::gpu::Gpus;
use crate::ingest::Ingest;
use crate::ledger::Ledger;
use crate::queen::Queen;
use crate::tree::Tree;
use crate::workers::Peer;

/// The link on which NineDoor forwards requests; the queen is its server.
pub const DOOR_SERVER_LINK: &str = "ninedoor-queen";
/// The link on which the queen is NineDoor's client.
pub const DOOR_CLIENT_LINK: &str = "queen-ninedoor";
/// The link on which the queen is the client of the domain of heartbeat workers.
pub const HEART_LINK: &str = "queen-worker-heart";
/// The link on which the queen is the client of the domain of GPU workers.
pub const GPU_LINK: &str = "queen-worker-gpu";
/// The region of the queen's journal.
pub const JOURNAL_REGION: &str = "journal";
/// The region of what hosts publish of GPUs, and of their lines.
pub const GPU_REGION: &str = "gpu";
/// The region of devices' telemetry and of the jobs made of it.
pub const TELEMETRY_REGION: &str = "telemetry";

/// Why the queen did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The region cannot hold all that the configuration lets her remember.
    Region {
        /// Its name.
        region: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// [`Config::journal_bytes`], [`GpuConfig::region_bytes`] or [`IngestLimits::region_bytes`].
        needed: usize,
    },
    /// A journal would not take the boot.
    Journal(JournalError),
    /// The region of telemetry would not be written.
    Telemetry(RegionError),
    /// The domain has no room for her eight tasks.
    Tasks(SpawnError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Region {
                region,
                bytes,
                needed,
            } => {
                write!(
                    f,
                    "the queen's region {region} has {bytes} bytes; her limits need {needed}"
                )
            }
            StartError::Journal(error) => error.fmt(f),
            StartError::Telemetry(error) => error.fmt(f),
            StartError::Tasks(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> StartError {
        StartError::Tasks(error)
    }
}

/// Opens the journals, completes the boot, and spawns the queen's tasks. Links that the topology does not have are
/// done without; without the regions nothing outlives a restart.
///
/// # Errors
/// See [`StartError`].
pub fn spawn(ctx: &Context, config: Config) -> Result<Recovery, StartError> {
    let journal = region(ctx, JOURNAL_REGION, config.journal_bytes())?;
    let (mut ledger, recovery) = Ledger::open(journal, config.max_live_workers, config.audit_lines);
    ledger
        .boot(recovery, ctx.unix_ms())
        .map_err(StartError::Journal)?;
    let published = region(ctx, GPU_REGION, GpuConfig::region_bytes())?;
    let (gpus, found) = Gpus::open(published, &config.gpu).map_err(StartError::Journal)?;
    ledger
        .found(" region=gpu", found, ctx.unix_ms())
        .map_err(StartError::Journal)?;
    let kept = region(ctx, TELEMETRY_REGION, config.ingest.limits.region_bytes())?;
    let (ingest, found) = Ingest::open(kept, &config.ingest).map_err(StartError::Telemetry)?;
    ledger
        .found(" region=telemetry", found, ctx.unix_ms())
        .map_err(StartError::Journal)?;
    let queen = Rc::new(Queen::new(ctx.clone(), config, ledger, gpus, ingest));
    queen.settle_leases();
    if let Some(link) = ctx.link(DOOR_SERVER_LINK) {
        ctx.spawn(serve(queen.clone(), link))?;
    }
    if let Some(link) = ctx.link(DOOR_CLIENT_LINK) {
        ctx.spawn(door::run(queen.clone(), link))?;
    }
    for (name, host) in [(HEART_LINK, Peer::Heart), (GPU_LINK, Peer::Gpu)] {
        if let Some(link) = ctx.link(name) {
            ctx.spawn(host::run(queen.clone(), link, host))?;
        }
    }
    if let Some(page) = ctx.supervision() {
        ctx.spawn(watch::escalations(queen.clone(), page))?;
    }
    ctx.spawn(ingest::export(queen.clone()))?;
    ctx.spawn(watch::leases(queen.clone()))?;
    ctx.spawn(watch::expiries(queen))?;
    Ok(recovery)
}

/// Preserved memory of at least that size.
fn region(ctx: &Context, region: &'static str, needed: usize) -> Result<Region, StartError> {
    let found = ctx.region(region).unwrap_or_else(|| Region::in_memory(needed));
    if found.len() < needed {
        return Err(StartError::Region {
            region,
            bytes: found.len(),
            needed,
        });
    }
    Ok(found)
}

async fn serve(queen: Rc<Queen>, link: Link) {
    let config = ServerConfig {
        msize: link.frame_bytes() as u32,
        ..ServerConfig::default()
    };
    let server = Server::new(Tree::new(queen, config.fids), config);
    loop {
        let connection = link.connect().await;
        server.serve(&connection).await;
        // A client that broke the protocol has to begin again.
        ninep::Transport::close(&connection);
    }
}
