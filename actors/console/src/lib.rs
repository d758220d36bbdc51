#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod count;
mod door;
mod facts;
mod fault;
mod house;
mod limiter;
mod listing;
mod mailbox;
mod reader;
mod render;
mod session;
#[cfg(test)]
mod testing;
mod verbs;

pub use crate::count::{COUNTERS, Count};
pub use crate::door::{Crowd, Door, FIDS_PER_SESSION, File, OWN_FIDS, Pass, SESSION_CTL};
pub use crate::facts::SelfTest;
pub use crate::fault::{Fault, Gone, Stop, class};
pub use crate::house::House;
pub use crate::limiter::Limiter;
pub use crate::mailbox::Mailbox;
pub use crate::render::Sink;
pub use crate::session::{Next, Page, Session};
pub use crate::verbs::QUEEN_LOG;
