//! What the commands do, one file for each kind.
//!
//! Answers for the mapping of commands to console lines (WIRE 1.12, 1.13). Never keeps a session.

pub(crate) mod control;
pub(crate) mod diag;
pub(crate) mod files;
pub(crate) mod pool;
pub(crate) mod selftest;
pub(crate) mod telemetry;
