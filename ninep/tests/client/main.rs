//! Client and server together: concurrency, cancellation, death, and servers that lie.

#[path = "../common/mod.rs"]
mod common;
mod dropped;
mod ended;
mod impatience;
mod liars;
mod requests;
mod rig;
mod sharing;
