//! What the TCP console counts beside what every console does.
//!
//! Answers for the meaning of the domain's own counters (`/proc/actors/console-tcp/counters`).
//! Never counts by itself.

use runtime::Context;

/// The transport's own counters; the discriminant is the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Clients that authenticated.
    Authenticated = 0,
    /// Wrong AUTH lines and frames.
    AuthFailed = 1,
    /// Connections closed because they did not authenticate in time.
    AuthTimedOut = 2,
    /// Connections that made room for newer ones before they had authenticated.
    Evicted = 3,
}

/// The names of the domain's counters, by index; those of [`console::Count`] come last.
pub const COUNTERS: [&str; console::COUNTERS] = [
    "authenticated",
    "auth_failed",
    "auth_timed_out",
    "evicted",
    "lost",
    "commands",
    "door_opened",
    "reattached",
];

impl Count {
    /// Adds one.
    pub(crate) fn add(self, ctx: &Context) {
        ctx.counters().add_custom(self as usize, 1);
    }
}
