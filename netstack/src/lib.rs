//! smoltcp for actors: TCP sockets that await.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod device;
mod engine;
mod error;
mod listener;
mod segment;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stack;
mod stats;
mod stream;

pub use config::{FRAME_BYTES, Limits, StackConfig, Timers};
pub use device::{Blocked, FrameDevice, Incarnation};
pub use error::{BindError, ConfigError, ConnectError, TcpError};
pub use listener::TcpListener;
pub use stack::Stack;
pub use stats::StackStats;
pub use stream::TcpStream;
