#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod editor;
mod house;
mod session;
mod terminal;

use alloc::rc::Rc;
use core::cell::Cell;

use console::{Crowd, Door, SelfTest};
use runtime::Context;

use crate::house::House;
use crate::session::Buffers;

pub use crate::config::{Config, StartError};
pub use crate::house::COUNTERS;

/// The link to the driver of the serial line.
pub const SERIAL_LINK: &str = protocol::serial::LINK;
/// The link to NineDoor.
pub const DOOR_LINK: &str = "console-serial-ninedoor";
/// Tasks that [`spawn`] adds to the domain.
pub const TASKS: usize = 2;

/// Puts the console's tasks into the domain: [`TASKS`] of them, for the domain's whole life. Everything they need is
/// allocated here.
///
/// # Errors
/// See [`StartError`].
pub fn spawn(ctx: &Context, config: Config) -> Result<(), StartError> {
    config.check()?;
    let line = ctx.link(SERIAL_LINK).ok_or(StartError::NoLink(SERIAL_LINK))?;
    let link = ctx.link(DOOR_LINK).ok_or(StartError::NoLink(DOOR_LINK))?;
    let house = Rc::new(House {
        door: Door::new(ctx, link, 1, Crowd::default(), config.door_timeout),
        self_test: Cell::new(SelfTest::Never),
        ctx: ctx.clone(),
        config,
    });
    let of = house.clone();
    ctx.spawn(async move { of.door.run().await })?;
    let buffers = Buffers::new();
    ctx.spawn(async move { session::host(&house, line, buffers).await })?;
    Ok(())
}
