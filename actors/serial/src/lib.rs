#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod drive;
mod screen;

pub use crate::drive::{Logs, Uart, drive};
