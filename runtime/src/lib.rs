#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(test, loom, feature = "hosted", feature = "sim"))]
extern crate std;

pub mod badge;
pub mod bell;
pub mod context;
pub mod counters;
pub mod deadline;
pub mod domain;
pub mod executor;
pub mod fault;
#[cfg(feature = "hosted")]
pub mod hosted;
pub mod journal;
pub mod link;
pub mod page;
pub mod random;
pub mod region;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sleep_flag;
pub mod supervision;
pub mod sync;
pub mod time;
mod timers;
pub mod topology;
mod wakers;
#[cfg(any(feature = "hosted", feature = "sim"))]
mod wiring;
pub mod words;

pub use context::Context;
