#![doc = include_str!("../README.md")]
//!
//! # This crate
//!
//! [`spawn`] puts the tasks of a domain into it. The modules: `pulse` (when a worker ticks and ends), `slots` (which
//! worker runs where), `life` (a worker's life), `tree` (the queen's side), `door` (the connection to NineDoor).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod door;
mod host;
mod life;
mod pulse;
mod slots;
mod tree;

use alloc::rc::Rc;
use core::fmt;
use core::time::Duration;

use ninep::{Client, ClientError, Fid, Server, ServerConfig};
use protocol::role::Role;
use protocol::telemetry::Heartbeat;
use protocol::worker::EndReason;
use runtime::Context;
use runtime::executor::SpawnError;
use runtime::link::{Connection, Link};

pub use pulse::Limits;
pub use slots::{Job, WorkerId};

use crate::host::Host;
use crate::tree::Tree;

/// Slots a domain can have: what the list of running workers has room for.
pub const MAX_SLOTS: usize = 64;
/// Bytes of the longest record that a worker may report, its newline included.
pub const RECORD_BYTES: usize = 512;

/// Index of the domain's own counter of records written.
pub const TICKS: usize = 0;
/// Index of the domain's own counter of sessions that workers began at NineDoor.
pub const ATTACHES: usize = 1;
/// Index of the domain's own counter of sessions that broke or were refused, and that were tried again.
pub const RETRIES: usize = 2;

/// What the workers of one domain do at each tick.
#[allow(async_fn_in_trait)] // static dispatch, one thread
pub trait Trade: 'static {
    /// The role of their tickets.
    const ROLE: Role;
    /// The link on which they are NineDoor's clients.
    const DOOR_LINK: &str;
    /// The link on which the queen is their domain's client.
    const QUEEN_LINK: &str;
    /// Files that a worker has open at once besides its root and its telemetry.
    const FIDS: usize;

    /// Whether a worker can be started so: whether the request has what this trade needs.
    fn takes(&self, job: &Job) -> bool;

    /// The tick that a record of theirs tells of; `None` for what is no record of theirs. A record is one JSON object
    /// in which no other is nested.
    fn tick_of(record: &str) -> Option<Heartbeat>;

    /// What there is to report at a tick, written into `out` without a newline.
    ///
    /// # Errors
    /// The session breaks; it begins anew and the tick is tried again.
    async fn report(
        &self,
        session: &Session<'_>,
        tick: Heartbeat,
        out: &mut [u8],
    ) -> Result<Report, ClientError>;
}

/// A worker's session at NineDoor.
pub struct Session<'a> {
    /// The domain.
    pub ctx: &'a Context,
    /// The client that all workers of the domain share.
    pub client: &'a Client<Connection>,
    /// What this worker is attached as.
    pub root: &'a Fid,
    /// The worker.
    pub job: &'a Job,
}

/// What a worker has to say at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A record of so many bytes.
    Record(usize),
    /// Nothing: it looks again a period later, and the tick is still to come.
    Nothing,
    /// It ends.
    End(EndReason),
}

/// A worker domain's configuration.
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

/// Why a domain did not start.
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

/// Spawns a domain's tasks: one a slot, the connection to NineDoor, the server for the queen. Links that the
/// topology does not have are done without.
///
/// # Errors
/// See [`StartError`].
pub fn spawn<T: Trade>(ctx: &Context, config: Config, trade: T) -> Result<(), StartError> {
    if !(1..=MAX_SLOTS).contains(&config.slots) {
        return Err(StartError::Slots(config.slots));
    }
    let slots = config.slots;
    let host = Rc::new(Host::new(ctx.clone(), config, trade));
    for slot in 0..slots {
        ctx.spawn(life::slot(host.clone(), slot))?;
    }
    if let Some(link) = ctx.link(T::DOOR_LINK) {
        ctx.spawn(door::run(host.clone(), link))?;
    }
    if let Some(link) = ctx.link(T::QUEEN_LINK) {
        ctx.spawn(serve(host, link))?;
    }
    Ok(())
}

async fn serve<T: Trade>(host: Rc<Host<T>>, link: Link) {
    let config = ServerConfig {
        msize: link.frame_bytes() as u32,
        fids: 16,
        tags: 16,
        handlers: 8,
    };
    let server = Server::new(Tree::new(host.clone()), config);
    loop {
        let connection = link.connect().await;
        server.serve(&connection).await;
        // A client that broke the protocol has to begin again.
        ninep::Transport::close(&connection);
        host.forget_waiters();
    }
}
