#![doc = include_str!("../README.md")]
//!
//! # This crate
//!
//! [`spawn`] puts the door's tasks into a domain. The modules, from bytes to requests: `ring`, `log`, `telemetry` and
//! `record` (what is kept, journal first); `session`, `usage`, `binds`, `policy` and `root` (who may do what);
//! `place`, `attr`, `procfs`, `summary`, `scripts`, `listing`, `snapshot` and `view` (the door's own files); `hall` (all of that as one
//! state, between two awaits); `forward` (the files of others); `shared` and `tree` (what a client is served).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod attach;
mod attr;
mod audit;
mod binds;
mod config;
mod forward;
mod hall;
mod listing;
mod log;
mod place;
mod policy;
mod procfs;
mod record;
mod restarts;
mod ring;
mod root;
mod scripts;
mod session;
mod shared;
mod snapshot;
mod summary;
mod telemetry;
mod tree;
mod usage;
mod view;
mod watch;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use ninep::{Server, ServerConfig};
use runtime::Context;
use runtime::link::Link;

pub use crate::binds::{BIND_PATH_BYTES, MAX_BINDS};
pub use crate::config::{Boot, BootError, Config, Door, Identity, Limits, Mount};
pub use crate::log::MAX_LINE_BYTES;

use crate::forward::Forward;
use crate::hall::{Hall, Moment};
use crate::shared::Shared;
use crate::snapshot::Snapshots;
use crate::tree::Tree;

/// The region of the door's journal. Without it nothing outlives a restart, and `/proc/boot` says so.
pub const JOURNAL_REGION: &str = "journal";

/// Opens the journal, takes all memory, and spawns the door's tasks: one for each door, one for each owner, one that
/// watches the supervisor.
///
/// # Errors
/// What is wrong with the configuration or its domain. Nothing is served then.
pub fn spawn(ctx: &Context, config: Config) -> Result<(), BootError> {
    let now = Moment {
        mono_ms: ctx.now().as_millis(),
        unix_ms: ctx.unix_ms(),
    };
    let forward = Rc::new(Forward::new(ctx, &config)?);
    let snapshots = Rc::new(RefCell::new(Snapshots::new(config.limits.sessions)));
    let doors = config.doors.clone();
    let hall = Hall::new(config, ctx.region(JOURNAL_REGION), now)?;
    let shared = Rc::new(Shared {
        ctx: ctx.clone(),
        hall: RefCell::new(hall),
        snapshots,
        forward: forward.clone(),
        connections: doors.iter().map(|_| RefCell::new(None)).collect::<Vec<_>>(),
        outstanding: Cell::new(0),
    });
    let full = |_| BootError::Tasks;
    for index in 0..forward.owners() {
        ctx.spawn(forward.clone().drive(index)).map_err(full)?;
    }
    for (index, door) in doors.iter().enumerate() {
        let link = ctx
            .link(&door.link)
            .ok_or_else(|| BootError::NoLink(door.link.clone()))?;
        let config = ServerConfig {
            msize: u32::try_from(link.frame_bytes()).unwrap_or(u32::MAX),
            fids: door.fids,
            tags: 2 * door.handlers,
            handlers: door.handlers,
        };
        ctx.spawn(serve(shared.clone(), index, link, config))
            .map_err(full)?;
    }
    if let Some(page) = ctx.supervision() {
        ctx.spawn(watch::restarts(shared, page)).map_err(full)?;
    }
    Ok(())
}

/// Serves one door, connection after connection.
async fn serve(shared: Rc<Shared>, index: usize, link: Link, config: ServerConfig) {
    let door = u8::try_from(index).unwrap_or(u8::MAX);
    let server = Server::new(Tree::new(shared.clone(), door), config);
    loop {
        let connection = link.connect().await;
        if let Some(place) = shared.connections.get(index) {
            *place.borrow_mut() = Some(connection.clone());
        }
        server.serve(&connection).await;
        // A peer that broke the protocol has to begin again; its sessions are lost.
        connection.close();
        shared.sweep();
    }
}
