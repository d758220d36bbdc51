#![doc = include_str!("../README.md")]
//!
//! # This crate
//!
//! [`spawn`] puts the domain's tasks into it; a worker's life is the library `worker`'s. Here is what a GPU worker reads
//! and says: `files` (its lease, the active model), `manifest` (the model's adapter), `lines` (text in pieces).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod files;
mod lines;
mod manifest;

use ninep::ClientError;
use protocol::gpu::{self, LeaseState, is_gpu_id};
use protocol::role::Role;
use protocol::telemetry::Heartbeat;
use protocol::worker::EndReason;
use runtime::Context;
use worker::{Job, Report, Session, Trade};

pub use worker::{ATTACHES, Config, MAX_SLOTS, RETRIES, StartError, TICKS};

use crate::files::Standing;

/// The link on which the domain's workers are NineDoor's clients.
pub const DOOR_LINK: &str = "worker-gpu-ninedoor";
/// The link on which the queen is the domain's client.
pub const QUEEN_LINK: &str = "queen-worker-gpu";

/// Spawns the domain's tasks: one a slot, the connection to NineDoor, the server for the queen.
///
/// # Errors
/// See [`StartError`].
pub fn spawn(ctx: &Context, config: Config) -> Result<(), StartError> {
    worker::spawn(ctx, config, Gpu)
}

/// A worker that has a part of a GPU.
struct Gpu;

impl Trade for Gpu {
    const ROLE: Role = Role::WorkerGpu;
    const DOOR_LINK: &str = DOOR_LINK;
    const QUEEN_LINK: &str = QUEEN_LINK;
    /// Its lease, the active model and the model's manifest are read one after the other.
    const FIDS: usize = 2;

    fn takes(&self, job: &Job) -> bool {
        job.gpu_id.as_deref().is_some_and(is_gpu_id)
    }

    fn tick_of(record: &str) -> Option<Heartbeat> {
        let report = gpu::Report::parse(record)?;
        Some(Heartbeat {
            tick: report.tick,
            ts_ms: report.ts_ms,
        })
    }

    async fn report(
        &self,
        session: &Session<'_>,
        tick: Heartbeat,
        out: &mut [u8],
    ) -> Result<Report, ClientError> {
        let gpu_id = session.job.gpu_id.as_deref().unwrap_or_default();
        match files::lease(session, gpu_id).await? {
            Standing::NoGpu => return Ok(Report::Nothing),
            Standing::Released => return Ok(Report::End(EndReason::Released)),
            Standing::InForce => {}
        }
        let model_id = files::active_model(session).await?;
        let lora_id = match &model_id {
            Some(model_id) => files::adapter(session, model_id).await?,
            None => None,
        };
        let report = gpu::Report {
            tick: tick.tick,
            ts_ms: tick.ts_ms,
            gpu_id,
            lease: LeaseState::Active,
            model_id: model_id.as_deref(),
            lora_id: lora_id.as_deref(),
        };
        let record = report.render(out).map_err(|_| ClientError::TooLong)?;
        Ok(Report::Record(record.len()))
    }
}
