//! Coming in: what an attach must bring, and what it gets.
//!
//! Answers for the rules of WIRE 1.4 and 2.6: identity and role by link, ticket seal, subject, expiry, the
//! manifest's limits on claims.
//!
//! Never asks the lifecycle's owner (its caller does, for workers from outside), never throttles: the console does.

use core::fmt;

use protocol::refusal::Refusal;
use protocol::role::Role;
use protocol::ticket::{SealedTicket, TicketError};

use crate::audit::{Fail, Shown};
use crate::hall::{Hall, Moment};
use crate::session::{Lease, Session, Who};
use crate::usage::{Denial, Usage};

/// Bytes of a refused `uname` that the log shows.
const ROLE_BYTES: usize = 32;

/// An attach that was refused, and what the log has to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoEntry {
    pub(crate) fail: Fail,
    /// What was wrong with the ticket.
    ticket: Option<TicketError>,
    /// Whether it was a queen's.
    pub(crate) queen: bool,
}

impl NoEntry {
    /// A refusal that has nothing to do with a ticket.
    pub(crate) fn because(refusal: Refusal, queen: bool) -> Self {
        Self {
            fail: refusal.into(),
            ticket: None,
            queen,
        }
    }
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(detail) = self.fail.refusal().and_then(Refusal::detail) {
            write!(f, " detail={detail}")?;
        }
        if let Some(error) = self.ticket {
            write!(f, " error={error}")?;
        }
        Ok(())
    }
}

impl Hall {
    /// Judges who comes in by a door, and makes the session that would begin.
    pub(crate) fn judge(&self, door: u8, uname: &str, aname: &str, now: Moment) -> Result<Session, NoEntry> {
        let no = |refusal| NoEntry::because(refusal, false);
        let config = self
            .config
            .doors
            .get(usize::from(door))
            .ok_or(no(Refusal::Denied))?;
        if let Some(index) = config
            .identities
            .iter()
            .position(|identity| identity.uname == uname)
        {
            let who = Who::Actor(u8::try_from(index).map_err(|_| no(Refusal::Denied))?);
            return Ok(Session::new(door, who, None, Usage::untracked(), now.unix_ms));
        }
        let role = Role::from_label(uname).ok_or(no(Refusal::InvalidRole))?;
        let queen = role == Role::Queen;
        let no = |refusal| NoEntry::because(refusal, queen);
        if !config.roles.contains(&role) {
            return Err(no(Refusal::Denied));
        }
        if aname.is_empty() {
            if !(queen && config.open_queen) {
                return Err(no(Refusal::TicketRejected));
            }
            return Ok(Session::new(
                door,
                Who::Role(role),
                None,
                Usage::untracked(),
                now.unix_ms,
            ));
        }
        let bad = |error: TicketError| NoEntry {
            fail: if error.is_about_claims() {
                Refusal::UndecodableClaims
            } else {
                Refusal::TicketRejected
            }
            .into(),
            ticket: Some(error),
            queen,
        };
        let key = self.config.key(role).ok_or(no(Refusal::TicketRejected))?;
        let ticket = SealedTicket::parse(aname).map_err(bad)?;
        let claims = ticket.open(key).map_err(bad)?;
        if claims.role != role || (role.is_worker() && claims.subject.is_none_or(str::is_empty)) {
            return Err(no(Refusal::TicketRejected));
        }
        if claims.expired(now.unix_ms) {
            let (issued_at_ms, ttl_s) = (claims.issued_at_ms, claims.ttl_s.unwrap_or(0));
            let denial = Denial::Expired {
                issued_at_ms,
                ttl_s,
                now_ms: now.unix_ms,
            };
            return Err(NoEntry {
                fail: denial.into(),
                ticket: None,
                queen,
            });
        }
        let limits = &self.config.ticket_limits;
        if !claims.within(limits) {
            return Err(no(Refusal::InvalidClaims));
        }
        let usage = Usage::of(&claims, config.outside.then_some(limits));
        drop(claims);
        Ok(Session::new(
            door,
            Who::Role(role),
            Some(ticket),
            usage,
            now.unix_ms,
        ))
    }

    /// Lets a session begin.
    pub(crate) fn begin(&mut self, session: Session, now: Moment) -> Result<Lease, NoEntry> {
        let outside = self.is_outside(&session);
        let queen = session.is(Role::Queen);
        let reserve = if outside {
            self.config.reserved_sessions()
        } else {
            0
        };
        let lease = self.sessions.open(session, reserve);
        let lease = lease.map_err(|_| NoEntry::because(Refusal::TooManySessions, queen))?;
        if outside && queen {
            self.root.attached(now.unix_ms);
        }
        Ok(lease)
    }

    /// Puts a refused attach into the log, and a denied queen into `/proc/root`.
    pub(crate) fn turned_away(&mut self, door: u8, uname: &str, no: NoEntry, now: Moment) {
        let outside = self
            .config
            .doors
            .get(usize::from(door))
            .is_some_and(|door| door.outside);
        let denied = no.fail.refusal() != Some(Refusal::TooManySessions);
        if no.queen && outside && denied {
            self.queen_denied();
        }
        let role = Shown(
            uname
                .get(..uname.floor_char_boundary(ROLE_BYTES))
                .unwrap_or_default(),
        );
        match (no.fail, no.ticket) {
            // WIRE 2.7 has forms of its own for these.
            (Fail::Ticket(denial), _) => {
                let reason = denial.reason();
                self.tell_attach(
                    door,
                    format_args!("ui-ticket outcome=deny reason={reason} role={role}{denial}"),
                    now,
                );
            }
            (Fail::Refused(Refusal::InvalidClaims), _) => {
                let line = "ui-ticket outcome=deny reason=invalid-claims";
                self.tell_attach(
                    door,
                    format_args!("{line} role={role} detail=claims exceed the manifest"),
                    now,
                );
            }
            (Fail::Refused(Refusal::UndecodableClaims), Some(error)) => {
                let line = "ui-ticket outcome=deny reason=invalid-claims";
                self.tell_attach(door, format_args!("{line} role={role} detail={error}"), now);
            }
            (fail, _) => {
                let reason = fail
                    .refusal()
                    .map_or("policy", |refusal| refusal.reason().label());
                self.tell_attach(
                    door,
                    format_args!("attach outcome=deny reason={reason} role={role}{no}"),
                    now,
                );
            }
        }
    }
}
