//! A simulated network between two stacks.
//!
//! Answers for: a client's stack that reaches the guest through bad weather ([`Network`]), and the weather
//! itself ([`Path`], [`Weather`]).
//! Never: asks the operating system for anything: time is the domain's, chance is the domain's seed.

mod network;
mod path;

pub use network::{Network, NetworkDevice, client_stack};
pub use path::{Path, PathCounts, Weather};
