//! What can go wrong in a session.
//!
//! Answers for telling apart what an operator does about it: fix the call, fix the credentials, look at the network,
//! look at the hive, or accept a refusal. Never wraps an error in a text that hides its kind.

use core::fmt;
use std::io;
use std::time::Duration;

use protocol::control::ControlError;
use protocol::role::Role;

use crate::exchange::ProtocolError;
use crate::reply::Refusal;
use crate::request::RequestError;

/// Why a session or a command failed.
#[derive(Debug)]
pub enum Error {
    /// The command cannot be sent as it is. Nothing was sent.
    Request(RequestError),
    /// The request to the queen cannot be written. Nothing was sent.
    Control(ControlError),
    /// The auth token is one that everybody knows, and the hive is not on this machine. Nothing was sent.
    PlaceholderToken {
        /// The host that was meant.
        host: String,
    },
    /// The ticket cannot work, which was found out before anything was sent.
    Ticket(TicketError),
    /// No TCP connection to the hive could be made.
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the system said to the last try.
        why: io::Error,
        /// Tries made.
        tries: u32,
    },
    /// The hive does not accept the auth token. Never tried again.
    AuthRejected {
        /// The hive's words, empty if it had none.
        detail: String,
    },
    /// The hive does not accept the role or the ticket.
    AttachRefused(Refusal),
    /// The connection was lost again and again.
    Lost {
        /// What was going on.
        during: Stage,
        /// Tries made.
        tries: u32,
    },
    /// The connection was lost after a command was sent and before its answer, and the session may not send it twice.
    Interrupted {
        /// The command's verb.
        verb: String,
    },
    /// The hive did not answer in time. The connection was closed; the next command makes a new one.
    TimedOut {
        /// What was going on.
        during: Stage,
        /// How long was waited.
        after: Duration,
    },
    /// What the hive sent is not the console's protocol. The connection was closed.
    Protocol(ProtocolError),
    /// The hive refused the command.
    Refused(Refusal),
    /// The session was ended by `quit`.
    Ended,
}

/// What has to change for the same to succeed. Tools make exit statuses of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The call: it cannot be sent as it is.
    Call,
    /// The token, the ticket or the role.
    Credentials,
    /// The network, or what is at its other end.
    Connection,
    /// What the hive allows.
    Hive,
}

impl Error {
    /// What has to change.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Request(_) | Self::Control(_) => Remedy::Call,
            Self::PlaceholderToken { .. }
            | Self::Ticket(_)
            | Self::AuthRejected { .. }
            | Self::AttachRefused(_) => Remedy::Credentials,
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Interrupted { .. }
            | Self::TimedOut { .. }
            | Self::Protocol(_)
            | Self::Ended => Remedy::Connection,
            Self::Refused(_) => Remedy::Hive,
        }
    }
}

/// A point in the life of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Making the TCP connection.
    Connect,
    /// Waiting for `OK AUTH`.
    Auth,
    /// Waiting for `OK ATTACH`.
    Attach,
    /// Waiting for the answer to the command with this verb.
    Command(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connecting"),
            Self::Auth => f.write_str("AUTH"),
            Self::Attach => f.write_str("ATTACH"),
            Self::Command(verb) => f.write_str(verb),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(why) => write!(f, "{why}"),
            Self::Control(why) => write!(f, "{why}"),
            Self::PlaceholderToken { host } => {
                write!(
                    f,
                    "the auth token is a well-known placeholder, which is not sent to {host}; give a real one"
                )
            }
            Self::Ticket(why) => write!(f, "{why}"),
            Self::Unreachable { address, why, tries } => {
                write!(
                    f,
                    "no connection to {address} after {tries} tries: {why}; is a hive running there?"
                )
            }
            Self::AuthRejected { detail } => {
                f.write_str("authentication rejected")?;
                if !detail.is_empty() {
                    write!(f, " ({detail})")?;
                }
                f.write_str("; give the auth token of this hive")
            }
            Self::AttachRefused(refusal) => write!(f, "attach refused: {refusal}"),
            Self::Lost {
                during: Stage::Auth,
                tries,
            } => write!(
                f,
                "the hive closed the connection during AUTH, {tries} times; the token may be wrong, or it is busy"
            ),
            Self::Lost { during, tries } => write!(f, "connection lost during {during}, {tries} times"),
            Self::Interrupted { verb } => write!(
                f,
                "connection lost before {verb} was answered; it may or may not have taken effect, look before sending it again"
            ),
            Self::TimedOut { during, after } => write!(f, "no answer within {after:?} during {during}"),
            Self::Protocol(why) => write!(f, "the peer is no console of a hive: {why}"),
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::Ended => f.write_str("the session has ended; connect again"),
        }
    }
}

impl std::error::Error for Error {}

impl From<RequestError> for Error {
    fn from(why: RequestError) -> Self {
        Self::Request(why)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Why a ticket cannot work for the session it was given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketError {
    /// A worker needs a ticket.
    Missing {
        /// The role asked for.
        role: Role,
    },
    /// It is no ticket.
    Unreadable(protocol::ticket::TicketError),
    /// It is a ticket for another role.
    OtherRole {
        /// The role asked for.
        asked: Role,
        /// The ticket's role.
        ticket: Role,
    },
    /// A worker's ticket without a subject.
    NoSubject {
        /// The role asked for.
        role: Role,
    },
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { role } => write!(f, "role {role} needs a ticket; give --ticket or mint one"),
            Self::Unreadable(why) => write!(f, "{why}; a ticket is cohesix-ticket-<hex>.<hex>"),
            Self::OtherRole { asked, ticket } => {
                write!(
                    f,
                    "the ticket is for role {ticket}, not {asked}; attach as {ticket} or use another ticket"
                )
            }
            Self::NoSubject { role } => {
                write!(
                    f,
                    "the ticket for role {role} names no subject; mint it with one (a worker id or a scope)"
                )
            }
        }
    }
}

impl std::error::Error for TicketError {}
