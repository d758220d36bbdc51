#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod play;
mod script;

pub use play::{Config, Listener, PlayError, play};
pub use script::{Script, ScriptError, Step};
