//! What both sides of the wire agree on: console grammar, tickets, roles, records.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod command;
pub mod control;
pub mod frame;
mod json;
pub mod lifecycle;
pub mod limits;
pub mod line;
pub mod path;
pub mod refusal;
pub mod role;
pub mod ticket;
pub mod worker;
