//! What both sides of the wire agree on: console grammar, tickets, roles, records.
//!
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod ack;
pub mod b64;
pub mod chunk;
pub mod command;
pub mod control;
pub mod frame;
pub mod gpu;
pub mod hex;
pub mod ingest;
mod json;
pub mod lifecycle;
pub mod limits;
pub mod line;
pub mod path;
pub mod refusal;
pub mod role;
pub mod secret;
pub mod serial;
pub mod shard;
pub mod summary;
pub mod telemetry;
pub mod ticket;
pub mod worker;
