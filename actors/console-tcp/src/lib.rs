#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod auth;
mod config;
mod count;
mod house;
mod lobby;
mod places;
mod port;
mod scribe;
mod session;
mod wire;

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use console::{Door, SelfTest};
use netstack::{LinkDevice, Stack, TcpListener};
use runtime::Context;

use crate::auth::Delay;
use crate::house::House;
use crate::places::Places;
use crate::scribe::Scribe;
use crate::session::Buffers;

pub use crate::config::{Config, ConfigError, Ninep, StartError};
pub use crate::count::COUNTERS;

/// The link that carries Ethernet frames.
pub const NET_LINK: &str = "net";
/// The link to NineDoor.
pub const DOOR_LINK: &str = "console-ninedoor";

/// Puts the console's tasks into the domain: [`Config::tasks`] of them, for the domain's whole life. Everything they
/// need is allocated here.
///
/// # Errors
/// See [`StartError`]. Nothing was spawned then, unless it is [`StartError::Tasks`].
pub fn spawn(ctx: &Context, mut config: Config) -> Result<(), StartError> {
    config.check()?;
    let net = ctx.link(NET_LINK).ok_or(StartError::NoLink(NET_LINK))?;
    let link = ctx.link(DOOR_LINK).ok_or(StartError::NoLink(DOOR_LINK))?;
    config.stack.seed = ctx.random_u64();
    let stack = Stack::new(ctx, LinkDevice::new(net), config.stack.clone())?;
    // Everybody has a place in the lobby, so that nobody stays in the backlog longer than a turn.
    let backlog = u16::try_from(config.unauthenticated).unwrap_or(u16::MAX);
    let listener = TcpListener::bind(&stack, config.port, backlog)?;
    let ninep = match config.ninep {
        Some(ninep) => Some((ninep, port::listener(&stack, &ninep)?)),
        None => None,
    };
    let crowd = config.ninep.as_ref().map(port::crowd).unwrap_or_default();
    let house = Rc::new(House {
        door: Door::new(ctx, link, config.sessions, crowd, config.door_timeout),
        lobby: Places::new(config.unauthenticated),
        seats: Places::new(config.sessions),
        delay: RefCell::new(Delay::default()),
        scribe: Scribe::new(),
        self_test: Cell::new(SelfTest::Never),
        ctx: ctx.clone(),
        stack: stack.clone(),
        config,
    });
    ctx.spawn(async move { stack.run().await })?;
    let of = house.clone();
    ctx.spawn(async move { of.door.run().await })?;
    let of = house.clone();
    ctx.spawn(async move { of.scribe.run(&of.ctx, &of.door).await })?;
    let of = house.clone();
    ctx.spawn(async move { lobby::listen(&of, listener).await })?;
    for place in 0..house.lobby.len() {
        let of = house.clone();
        ctx.spawn(async move { lobby::usher(&of, place).await })?;
    }
    for place in 0..house.seats.len() {
        let (of, buffers) = (house.clone(), Buffers::new());
        ctx.spawn(async move { session::host(&of, place, buffers).await })?;
    }
    match ninep {
        Some((ninep, listener)) => port::spawn(&house, &ninep, listener),
        None => Ok(()),
    }
}
