#![doc = include_str!("../README.md")]
//!
//! # This crate
//!
//! [`spawn`] puts the domain's tasks into it; what they do is the library `worker`'s. Here is what a heartbeat says.
#![no_std]
#![forbid(unsafe_code)]

use ninep::ClientError;
use protocol::role::Role;
use protocol::telemetry::Heartbeat;
use runtime::Context;
use worker::{Job, Report, Session, Trade};

pub use worker::{ATTACHES, Config, MAX_SLOTS, RETRIES, StartError, TICKS};

/// The link on which the domain's workers are NineDoor's clients.
pub const DOOR_LINK: &str = "worker-heart-ninedoor";
/// The link on which the queen is the domain's client.
pub const QUEEN_LINK: &str = "queen-worker-heart";

/// Spawns the domain's tasks: one a slot, the connection to NineDoor, the server for the queen.
///
/// # Errors
/// See [`StartError`].
pub fn spawn(ctx: &Context, config: Config) -> Result<(), StartError> {
    worker::spawn(ctx, config, Heart)
}

/// A worker that says that it is there.
struct Heart;

impl Trade for Heart {
    const ROLE: Role = Role::WorkerHeartbeat;
    const DOOR_LINK: &str = DOOR_LINK;
    const QUEEN_LINK: &str = QUEEN_LINK;
    const FIDS: usize = 0;

    fn takes(&self, job: &Job) -> bool {
        job.gpu_id.is_none()
    }

    fn tick_of(record: &str) -> Option<Heartbeat> {
        Heartbeat::parse(record)
    }

    async fn report(
        &self,
        _session: &Session<'_>,
        tick: Heartbeat,
        out: &mut [u8],
    ) -> Result<Report, ClientError> {
        let record = tick.render(out).map_err(|_| ClientError::TooLong)?;
        Ok(Report::Record(record.len()))
    }
}
