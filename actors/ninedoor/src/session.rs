//! Who is at the door: the table of sessions.
//!
//! Answers for what a session is (an identity, what its ticket has left, its binds) and for when it ends: with the
//! last handle to it. A handle is held by every fid of the session, and fids are cloned and dropped outside this
//! crate, so the handles count themselves.
//!
//! Never verifies a ticket, never decides what a session may do, never keeps a ticket's MAC secret or its token text.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use protocol::role::Role;
use protocol::ticket::{Claims, SealedTicket};

use crate::binds::Binds;
use crate::usage::Usage;

/// Bytes of a ticket's subject: what fits a token.
const SUBJECT_BYTES: usize = protocol::ticket::PAYLOAD_BYTES;
/// Lines that one session's refusals may put into the log in a second; what is above is counted.
const REFUSAL_LINES: u32 = 8;
const REFUSAL_WINDOW_MS: u64 = 1000;

/// Whom a session speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A client, with or without a ticket.
    Role(Role),
    /// An actor, by its place among its door's identities.
    Actor(u8),
}

/// A session's number, from 1 in the order of attaching; never given twice in one life of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u32);

/// What `/proc/9p/session/<id>/state` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Served.
    Active,
    /// Refused from now on; ends with its last fid.
    Draining,
}

impl State {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
        }
    }
}

/// How many refusals a session, or a door, has put into the log lately.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throttle {
    began_ms: u64,
    lines: u32,
    suppressed: u32,
}

impl Throttle {
    /// Whether one more line may go into the log; and how many were left out before it, to be told first.
    pub(crate) fn admit(&mut self, now_ms: u64) -> (bool, u32) {
        let mut before = 0;
        if self.lines == 0 || now_ms.saturating_sub(self.began_ms) >= REFUSAL_WINDOW_MS {
            before = core::mem::take(&mut self.suppressed);
            *self = Self {
                began_ms: now_ms,
                lines: 0,
                suppressed: 0,
            };
        }
        if self.lines < REFUSAL_LINES {
            self.lines += 1;
            (true, before)
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
            (false, before)
        }
    }

    /// How many were left out and never told.
    pub(crate) fn untold(&self) -> u32 {
        self.suppressed
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) door: u8,
    pub(crate) who: Who,
    /// The ticket it came with. Its seal was checked at attach; it is kept for its claims.
    ticket: Option<SealedTicket>,
    subject: heapless::String<SUBJECT_BYTES>,
    /// When its ticket was issued (Unix milliseconds) and for how many seconds.
    pub(crate) term: Option<(u64, u64)>,
    pub(crate) usage: Usage,
    pub(crate) binds: Binds,
    pub(crate) since_ms: u64,
    /// Its connection was lost.
    pub(crate) lost: bool,
    /// Its ticket expired while it lived, and the log knows.
    pub(crate) expired: bool,
    /// Its worker was ended.
    pub(crate) revoked: bool,
    pub(crate) throttle: Throttle,
}

impl Session {
    /// A session that begins now.
    pub(crate) fn new(door: u8, who: Who, ticket: Option<SealedTicket>, usage: Usage, unix_ms: u64) -> Self {
        let mut session = Self {
            id: SessionId(0),
            door,
            who,
            ticket: None,
            subject: heapless::String::new(),
            term: None,
            usage,
            binds: Binds::default(),
            since_ms: unix_ms,
            lost: false,
            expired: false,
            revoked: false,
            throttle: Throttle::default(),
        };
        if let Some(Ok(claims)) = ticket.as_ref().map(SealedTicket::peek) {
            // A subject that came out of a token fits what a token can hold.
            session.subject = claims
                .subject
                .and_then(|subject| subject.try_into().ok())
                .unwrap_or_default();
            session.term = claims.ttl_s.map(|ttl_s| (claims.issued_at_ms, ttl_s));
        }
        session.ticket = ticket;
        session
    }

    /// The role it speaks for, unless it is an actor's own.
    pub(crate) fn role(&self) -> Option<Role> {
        match self.who {
            Who::Role(role) => Some(role),
            Who::Actor(_) => None,
        }
    }

    /// Whether it is a client's with that role.
    pub(crate) fn is(&self, role: Role) -> bool {
        self.role() == Some(role)
    }

    /// Whether it is a worker's, of whatever kind.
    pub(crate) fn is_worker(&self) -> bool {
        self.role().is_some_and(Role::is_worker)
    }

    /// Its ticket's subject; empty without one.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// Its ticket's claims.
    pub(crate) fn claims(&self) -> Option<Claims<'_>> {
        // What could be opened at attach can be read again.
        self.ticket.as_ref()?.peek().ok()
    }

    /// What the log writes after `ticket=`: the subject, or whether there is a ticket at all.
    pub(crate) fn ticket_label(&self) -> &str {
        match (&self.ticket, self.subject()) {
            (None, _) => "none",
            (Some(_), "") => "unnamed",
            (Some(_), subject) => subject,
        }
    }

    /// What its `state` file says.
    pub(crate) fn state(&self) -> State {
        if self.lost || self.expired || self.revoked {
            State::Draining
        } else {
            State::Active
        }
    }
}

/// Counts the handles of each slot.
#[derive(Debug)]
struct Counts(Box<[Cell<u32>]>);

/// A handle that keeps a session alive.
#[derive(Debug)]
pub(crate) struct Lease {
    counts: Rc<Counts>,
    slot: u16,
}

impl Lease {
    /// The session's place in the table.
    pub(crate) fn slot(&self) -> usize {
        usize::from(self.slot)
    }

    fn add(&self, change: impl Fn(u32) -> u32) {
        if let Some(count) = self.counts.0.get(self.slot()) {
            count.set(change(count.get()));
        }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.add(|count| count.saturating_add(1));
        Self {
            counts: self.counts.clone(),
            slot: self.slot,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.add(|count| count.saturating_sub(1));
    }
}

/// The table of sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: Vec<Option<Session>>,
    counts: Rc<Counts>,
    next: u32,
}

/// No place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

impl Sessions {
    /// An empty table; all memory is taken here.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(usize::from(u16::MAX));
        Self {
            slots: (0..max).map(|_| None).collect(),
            counts: Rc::new(Counts((0..max).map(|_| Cell::new(0)).collect())),
            next: 1,
        }
    }

    /// Puts a session into the table, if more than `reserve` places are free.
    pub(crate) fn open(&mut self, mut session: Session, reserve: usize) -> Result<Lease, TableFull> {
        let free = self.slots.iter().filter(|slot| slot.is_none()).count();
        if free <= reserve {
            return Err(TableFull);
        }
        let slot = self.slots.iter().position(Option::is_none).ok_or(TableFull)?;
        session.id = SessionId(self.next);
        self.next = self.next.checked_add(1).unwrap_or(1);
        let lease = Lease {
            counts: self.counts.clone(),
            slot: slot as u16,
        };
        lease.add(|_| 1);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(session);
        }
        Ok(lease)
    }

    /// The session of a slot.
    pub(crate) fn get(&self, slot: usize) -> Option<&Session> {
        self.slots.get(slot)?.as_ref()
    }

    /// The session of a slot, to change it.
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Session> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The session of that number.
    pub(crate) fn by_id(&self, id: SessionId) -> Option<&Session> {
        self.iter().find(|session| session.id == id)
    }

    /// All sessions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }

    /// All sessions, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().flatten()
    }

    /// Takes out one session that nobody has a handle to any more, with its slot.
    pub(crate) fn take_ended(&mut self) -> Option<(usize, Session)> {
        let ended = |(slot, session): (usize, &Option<Session>)| {
            session.is_some() && self.counts.0.get(slot).is_some_and(|count| count.get() == 0)
        };
        let slot = self.slots.iter().enumerate().position(ended)?;
        let session = self.slots.get_mut(slot)?.take()?;
        Some((slot, session))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queen() -> Session {
        Session::new(0, Who::Role(Role::Queen), None, Usage::untracked(), 5)
    }

    #[test]
    fn a_session_ends_with_its_last_handle() {
        let mut sessions = Sessions::new(2);
        let lease = sessions.open(queen(), 0).unwrap();
        let copy = lease.clone();
        drop(lease);
        assert!(sessions.take_ended().is_none());
        let slot = copy.slot();
        drop(copy);
        let (ended, session) = sessions.take_ended().unwrap();
        assert_eq!((ended, session.id), (slot, SessionId(1)));
        assert!(sessions.get(slot).is_none() && sessions.take_ended().is_none());
    }

    #[test]
    fn a_full_table_says_so_and_keeps_its_reserve() {
        let mut sessions = Sessions::new(3);
        let first = sessions.open(queen(), 2).unwrap();
        assert_eq!(sessions.open(queen(), 2).unwrap_err(), TableFull);
        let second = sessions.open(queen(), 0).unwrap();
        let third = sessions.open(queen(), 0).unwrap();
        assert_eq!(sessions.open(queen(), 0).unwrap_err(), TableFull);
        drop((first, third));
        while sessions.take_ended().is_some() {}
        assert_eq!(
            sessions
                .iter()
                .map(|session| session.id.0)
                .collect::<std::vec::Vec<_>>(),
            [2]
        );
        assert_eq!(sessions.open(queen(), 0).map(|lease| lease.slot()), Ok(0));
        drop(second);
    }

    #[test]
    fn refusals_are_told_eight_a_second_and_the_rest_are_counted() {
        let mut throttle = Throttle::default();
        let told = (0..20).filter(|_| throttle.admit(100).0).count();
        assert_eq!((told, throttle.untold()), (8, 12));
        assert_eq!(throttle.admit(1100), (true, 12));
        assert_eq!(throttle.untold(), 0);
    }

    #[test]
    fn a_lost_or_expired_session_drains() {
        let mut session = queen();
        assert_eq!(session.state(), State::Active);
        session.lost = true;
        assert_eq!(session.state(), State::Draining);
        assert_eq!(session.ticket_label(), "none");
    }
}
