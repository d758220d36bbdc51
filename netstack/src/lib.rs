#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(not(feature = "tap"), forbid(unsafe_code))]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "forward", feature = "tap"))]
extern crate std;

mod carried;
mod config;
mod device;
mod driver;
mod engine;
mod error;
mod flows;
#[cfg(feature = "forward")]
pub mod forward;
#[cfg(test)]
mod frames;
mod link;
mod listener;
mod race;
mod segment;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stack;
mod stats;
mod stream;
#[cfg(feature = "tap")]
pub mod tap;

pub use carried::{Carried, REQUESTS, RESET_BYTES, refusal};
pub use config::{FRAME_BYTES, Limits, StackConfig, Timers};
pub use device::{Blocked, FrameDevice, Incarnation};
pub use driver::{Card, PATIENCE, drive};
pub use error::{BindError, ConfigError, ConnectError, TcpError};
pub use link::LinkDevice;
pub use listener::TcpListener;
pub use stack::Stack;
pub use stats::StackStats;
pub use stream::TcpStream;
