//! Actor runtime: executor, badges, rings, links, timers, supervision, journal.
#![no_std]

extern crate alloc;
#[cfg(any(test, loom, feature = "hosted", feature = "sim"))]
extern crate std;

pub mod badge;
pub mod context;
pub mod counters;
pub mod domain;
pub mod executor;
#[cfg(feature = "hosted")]
pub mod hosted;
pub mod journal;
pub mod link;
pub mod memory;
pub mod region;
#[cfg(feature = "sim")]
pub mod sim;
pub mod supervision;
pub mod sync;
pub mod time;
pub mod topology;
pub mod words;

pub use context::Context;
