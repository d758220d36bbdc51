#![doc = include_str!("../README.md")]
//!
//! # This crate
//!
//! [`spawn`] puts the tasks into a domain. The modules: `pulse` (when a worker ticks and ends), `slots` (which worker
//! runs where), `worker` (a worker's life), `tree` (the queen's side), `door` (the connection to NineDoor).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod door;
mod host;
mod pulse;
mod slots;
mod tree;
mod worker;

use alloc::rc::Rc;
use core::fmt;
use core::time::Duration;

use ninep::{Server, ServerConfig};
use runtime::Context;
use runtime::executor::SpawnError;
use runtime::link::Link;

use crate::host::Host;
use crate::tree::Tree;

/// The link on which the domain's workers are NineDoor's clients.
pub const DOOR_LINK: &str = "worker-heart-ninedoor";
/// The link on which the queen is the domain's client.
pub const QUEEN_LINK: &str = "queen-worker-heart";

/// Slots a domain can have: what the list of running workers has room for.
pub const MAX_SLOTS: usize = 64;

/// Index of the domain's own counter of ticks written.
pub const TICKS: usize = 0;
/// Index of the domain's own counter of sessions that workers began at NineDoor.
pub const ATTACHES: usize = 1;
/// Index of the domain's own counter of sessions that broke or were refused, and that were tried again.
pub const RETRIES: usize = 2;

/// The worker domain's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Workers at once, 1..=[`MAX_SLOTS`]; the manifest's `limits.workers`.
    pub slots: usize,
    /// How long a start waits for NineDoor, and a stop for the worker to let go. Shorter than the time that the queen
    /// gives an operation, so that she hears why it failed.
    pub start_timeout: Duration,
    /// First pause before a session that broke or was refused is tried again; each further pause is twice as long.
    pub retry_pause: Duration,
    /// The longest such pause.
    pub longest_retry_pause: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            slots: 8,
            start_timeout: Duration::from_millis(700),
            retry_pause: Duration::from_millis(20),
            longest_retry_pause: Duration::from_secs(1),
        }
    }
}

/// Why the domain did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The configuration asks for no slot, or for more than [`MAX_SLOTS`].
    Slots(usize),
    /// The domain has no room for a task for each slot and two more.
    Tasks(SpawnError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Slots(slots) => write!(
                f,
                "a worker domain of {slots} slots; 1 to {MAX_SLOTS} are possible"
            ),
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

/// Spawns the domain's tasks: one a slot, the connection to NineDoor, the server for the queen. Links that the
/// topology does not have are done without.
///
/// # Errors
/// See [`StartError`].
pub fn spawn(ctx: &Context, config: Config) -> Result<(), StartError> {
    if !(1..=MAX_SLOTS).contains(&config.slots) {
        return Err(StartError::Slots(config.slots));
    }
    let slots = config.slots;
    let host = Rc::new(Host::new(ctx.clone(), config));
    for slot in 0..slots {
        ctx.spawn(worker::slot(host.clone(), slot))?;
    }
    if let Some(link) = ctx.link(DOOR_LINK) {
        ctx.spawn(door::run(host.clone(), link))?;
    }
    if let Some(link) = ctx.link(QUEEN_LINK) {
        ctx.spawn(serve(host, link))?;
    }
    Ok(())
}

async fn serve(host: Rc<Host>, link: Link) {
    let config = ServerConfig {
        msize: link.frame_bytes() as u32,
        fids: 16,
        tags: 16,
        handlers: 8,
    };
    let server = Server::new(Tree::new(host), config);
    loop {
        let connection = link.connect().await;
        server.serve(&connection).await;
        // A client that broke the protocol has to begin again.
        ninep::Transport::close(&connection);
    }
}
