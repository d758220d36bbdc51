//! Async client library for the TCP console of a hive.
//!
//! Answers for the way from a host tool to a hive and back: framing, authentication, attaching, one answer to each
//! command, reconnecting, and where the credentials are found. It is for hosts (tokio); nothing of it runs in a domain.
//!
//! Never decides what a session may do, and never hides that a command was refused, interrupted or sent twice.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod binary;
mod driver;
mod error;
pub mod exchange;
pub mod exit;
mod flags;
mod link;
mod options;
mod reply;
mod request;
mod session;
pub mod state;
mod target;
pub mod telemetry;

pub use error::{Error, Remedy, Stage, TicketError};
pub use exit::Exit;
pub use flags::{Flags, FlagsError};
pub use options::{Options, Resend};
pub use reply::{Ack, Refusal, Reply};
pub use request::{Request, RequestError, Shape};
pub use session::{QUEEN_CTL, QUEEN_LOG, Session, connect, content};
pub use target::Target;
