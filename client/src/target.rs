//! Where to connect to, and as whom.
//!
//! Answers for everything that AUTH and ATTACH need, and for finding out before anything is sent that a ticket cannot
//! work. Never verifies a ticket: only the hive has the keys.

use std::net::IpAddr;

use protocol::role::Role;
use protocol::ticket::SealedTicket;

use crate::error::{Error, TicketError};
use crate::request::{Request, RequestError};
use crate::state::Secret;

/// A console and the credentials for it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// TCP port; consoles listen on 31337 unless told otherwise.
    pub port: u16,
    /// The hive's auth token.
    pub auth_token: Secret,
    /// The role to attach as.
    pub role: Role,
    /// The ticket to attach with. A queen may do without.
    pub ticket: Option<String>,
}

impl Target {
    /// A queen without a ticket.
    pub fn queen(host: impl Into<String>, port: u16, auth_token: Secret) -> Self {
        Self {
            host: host.into(),
            port,
            auth_token,
            role: Role::Queen,
            ticket: None,
        }
    }

    /// Whether connecting can work at all. A token that everybody knows is not sent over a network.
    pub fn check(&self) -> Result<(), Error> {
        if self.auth_token.is_placeholder() && !is_loopback(&self.host) {
            return Err(Error::PlaceholderToken {
                host: self.host.clone(),
            });
        }
        self.check_ticket().map_err(Error::Ticket)
    }

    /// Whether the ticket can work: workers need one, it must be for the role, and a worker's must name a subject.
    pub fn check_ticket(&self) -> Result<(), TicketError> {
        let role = self.role;
        let Some(text) = &self.ticket else {
            return if role.is_worker() {
                Err(TicketError::Missing { role })
            } else {
                Ok(())
            };
        };
        let sealed = SealedTicket::parse(text).map_err(TicketError::Unreadable)?;
        let claims = sealed.peek().map_err(TicketError::Unreadable)?;
        if claims.role != role {
            return Err(TicketError::OtherRole {
                asked: role,
                ticket: claims.role,
            });
        }
        if role.is_worker() && claims.subject.is_none_or(str::is_empty) {
            return Err(TicketError::NoSubject { role });
        }
        Ok(())
    }

    /// The ATTACH command. With no ticket the line ends in a space, as public clients send it.
    pub(crate) fn attach_request(&self) -> Result<Request, RequestError> {
        Request::new(format!(
            "ATTACH {} {}",
            self.role,
            self.ticket.as_deref().unwrap_or("")
        ))
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
