//! A TAP device of the Linux kernel, carried into the guest.
//!
//! Answers for: the domain `net` when the guest is to be a host of its own on a network of this machine: each
//! frame of the TAP device becomes a frame of the link, and the other way round.
//! Never: looks into a frame. Addresses, routes and filters of the device are the operator's.

mod device;

use std::fmt;
use std::io::{self, Read, Write};
use std::prelude::rust_2024::*;
use std::rc::Rc;
use std::vec;

use runtime::Context;
use runtime::executor::SpawnError;
use runtime::hosted::{Io, IoSource};
use runtime::link::Link;

use crate::config::FRAME_BYTES;
use crate::race::{Either, race};

pub use device::{Tap, TapError};

/// Starts carrying frames between `tap` and the link of that name: spawns two tasks.
pub fn spawn(context: &Context, io: &Io, tap: Tap, link: &str) -> Result<(), TapSpawnError> {
    let link = context
        .link(link)
        .ok_or_else(|| TapSpawnError::NoLink(link.to_owned()))?;
    let tap = Rc::new(io.register(tap).map_err(TapSpawnError::Io)?);
    context
        .spawn(to_guest(tap.clone(), link.clone()))
        .map_err(TapSpawnError::Spawn)?;
    context.spawn(to_host(tap, link)).map_err(TapSpawnError::Spawn)
}

/// Like a network card, it loses a frame that the guest has no room for.
async fn to_guest(tap: Rc<IoSource<Tap>>, link: Link) {
    let mut frame = [0; FRAME_BYTES];
    loop {
        let connection = link.connect().await;
        while !connection.is_closed() {
            let read = tap.read_with(|mut tap| tap.read(&mut frame));
            // A frame that arrives while the guest is down is old when the guest is back.
            if let Either::Left(Ok(len)) = race(read, connection.closed()).await {
                let _ = connection.try_send(&frame[..len]);
            }
        }
    }
}

async fn to_host(tap: Rc<IoSource<Tap>>, link: Link) {
    let mut frame = vec![0; link.frame_bytes()];
    loop {
        let connection = link.connect().await;
        while let Ok(len) = connection.recv(&mut frame).await {
            // The kernel refuses what is no frame, and everything while the device is down: lost, as on a wire.
            let _ = tap.write_with(|mut tap| tap.write(&frame[..len])).await;
        }
    }
}

/// Why carrying did not start.
#[derive(Debug)]
pub enum TapSpawnError {
    /// The domain has no link of that name.
    NoLink(String),
    /// The domain has too few tasks.
    Spawn(SpawnError),
    /// The device could not be watched.
    Io(io::Error),
}

impl fmt::Display for TapSpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLink(name) => write!(f, "the domain has no link `{name}`; add it to the topology"),
            Self::Spawn(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the TAP device cannot be watched: {error}"),
        }
    }
}

impl std::error::Error for TapSpawnError {}
