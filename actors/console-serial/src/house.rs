//! What the root console's tasks share.
//!
//! Answers for holding it, and for what the serial line tells of itself. Never does anything with it.

use core::cell::Cell;
use core::time::Duration;

use console::{Door, SelfTest};
use protocol::line::{Line, NoSpace};
use runtime::Context;

use crate::config::Config;
use crate::session::SESSION_BUFFER_BYTES;

/// The root console.
pub(crate) struct House {
    pub(crate) ctx: Context,
    pub(crate) config: Config,
    pub(crate) door: Door,
    pub(crate) self_test: Cell<SelfTest>,
}

/// What the serial line counts; the discriminant is the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Times that the driver was found, first and again.
    LineOpened = 0,
    /// Bytes that were typed.
    Typed = 1,
    /// Lines that were too long.
    TooLong = 2,
    /// Lines that were no text.
    NoText = 3,
}

/// The names of the domain's counters, by index; those of [`console::Count`] come last.
pub const COUNTERS: [&str; console::COUNTERS] = [
    "line_opened",
    "typed_bytes",
    "too_long",
    "no_text",
    "lost",
    "commands",
    "door_opened",
    "reattached",
];

impl Count {
    /// Adds so many.
    pub(crate) fn add(self, ctx: &Context, count: u64) {
        ctx.counters().add_custom(self as usize, count);
    }
}

impl console::House for House {
    fn ctx(&self) -> &Context {
        &self.ctx
    }

    fn door(&self) -> &Door {
        &self.door
    }

    fn attach_patience(&self) -> Duration {
        self.config.attach_patience
    }

    fn self_test(&self) -> &Cell<SelfTest> {
        &self.self_test
    }

    fn links(&self) -> &'static [&'static str] {
        &[crate::SERIAL_LINK, crate::DOOR_LINK]
    }

    fn capabilities(&self, _: &mut Line<'_>) -> Result<(), NoSpace> {
        Ok(())
    }

    fn memory(&self, line: &mut Line<'_>) -> Result<(), NoSpace> {
        line.field("sessions", "1/1")?;
        line.field("session_buffer_bytes", SESSION_BUFFER_BYTES)
    }

    /// There is no network here; what the line counts is among the domain's counters.
    fn transport(&self, _: usize, _: &mut Line<'_>) -> Result<bool, NoSpace> {
        Ok(false)
    }

    fn counters(&self) -> &'static [&'static str; console::COUNTERS] {
        &COUNTERS
    }
}
