//! What every console counts beside its refusals.
//!
//! Answers for the meaning of the domain's own counters from the fifth on; the first four are its transport's.
//! Never counts by itself.

use runtime::Context;

/// A console's own counters; the discriminant is the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Sessions that ended without QUIT.
    Lost = 4,
    /// Lines executed or refused after authentication.
    Commands = 5,
    /// Times that NineDoor was found, first and again.
    DoorOpened = 6,
    /// Sessions attached again after NineDoor came back.
    Reattached = 7,
}

/// Counters of a console's domain, its transport's among them.
pub const COUNTERS: usize = 8;

impl Count {
    /// Adds one.
    pub fn add(self, ctx: &Context) {
        ctx.counters().add_custom(self as usize, 1);
    }
}
