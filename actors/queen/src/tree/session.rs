//! Who asks: NineDoor's sessions, as the queen's files see them.
//!
//! Answers for one entry per attach, which is one session at the door, and for noticing its end: every file that a fid
//! names holds the session, and the last one to go ends it.
//!
//! Never verifies anybody: NineDoor did, and it alone is on the link.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use ninep::Errno;
use protocol::limits::WORKER_ID_BYTES;
use protocol::role::Role;

/// A session's number: from 1 in the order of attaching, never given twice in one life of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// The ticket's subject of a worker's session: its worker's id.
pub(crate) type Subject = heapless::String<WORKER_ID_BYTES>;

struct Slot {
    /// Files that hold the session; 0: the slot is free.
    files: Cell<u32>,
    id: Cell<SessionId>,
    role: Cell<Option<Role>>,
    subject: RefCell<Subject>,
    door: Cell<u32>,
}

/// The table of sessions.
pub(crate) struct Sessions {
    slots: Rc<[Slot]>,
    next: Cell<u64>,
}

/// A session, held. Clones hold the same one.
pub(crate) struct Session {
    slots: Rc<[Slot]>,
    at: usize,
}

impl Sessions {
    /// An empty table; all memory is taken here.
    pub(crate) fn new(max: usize) -> Sessions {
        let empty = |_| Slot {
            files: Cell::new(0),
            id: Cell::new(SessionId(0)),
            role: Cell::new(None),
            subject: RefCell::new(Subject::new()),
            door: Cell::new(0),
        };
        Sessions {
            slots: (0..max).map(empty).collect::<Box<[_]>>().into(),
            next: Cell::new(1),
        }
    }

    /// Begins a session as NineDoor describes it: `uname` is its role, `aname` says `session=<id> ticket=<subject>`.
    pub(crate) fn begin(&self, uname: &str, aname: &str) -> Result<Session, Errno> {
        let free = |(_, slot): &(usize, &Slot)| slot.files.get() == 0;
        let (at, slot) = self.slots.iter().enumerate().find(free).ok_or(Errno::EMFILE)?;
        let id = self.next.get();
        self.next.set(id + 1);
        slot.id.set(SessionId(id));
        slot.role.set(Role::from_label(uname));
        slot.files.set(1);
        *slot.subject.borrow_mut() = subject(aname);
        slot.door.set(number(aname));
        Ok(Session {
            slots: self.slots.clone(),
            at,
        })
    }

    /// Whether a session is still there.
    pub(crate) fn is_live(&self, id: SessionId) -> bool {
        let mut live = self.slots.iter().filter(|slot| slot.files.get() > 0);
        live.any(|slot| slot.id.get() == id)
    }
}

impl Session {
    /// Its number.
    pub(crate) fn id(&self) -> SessionId {
        self.slot().map_or(SessionId(0), |slot| slot.id.get())
    }

    /// The role it speaks for; none if it is an actor's own.
    pub(crate) fn role(&self) -> Option<Role> {
        self.slot()?.role.get()
    }

    /// Whether it speaks for an operator.
    pub(crate) fn is_operator(&self) -> bool {
        self.role() == Some(Role::Queen)
    }

    /// Its ticket's subject: a worker's id; empty without one, or if it is longer than an id can be.
    pub(crate) fn subject(&self) -> Subject {
        self.slot()
            .map(|slot| slot.subject.borrow().clone())
            .unwrap_or_default()
    }

    /// Its number at NineDoor, by which the log calls it; 0 if it was not told.
    pub(crate) fn door_number(&self) -> u32 {
        self.slot().map_or(0, |slot| slot.door.get())
    }

    fn slot(&self) -> Option<&Slot> {
        self.slots.get(self.at)
    }

    fn count(&self, change: impl Fn(u32) -> u32) {
        if let Some(slot) = self.slot() {
            slot.files.set(change(slot.files.get()));
        }
    }
}

impl Clone for Session {
    fn clone(&self) -> Session {
        self.count(|files| files.saturating_add(1));
        Session {
            slots: self.slots.clone(),
            at: self.at,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.count(|files| files.saturating_sub(1));
    }
}

/// The number in `session=<id> ticket=`.
fn number(aname: &str) -> u32 {
    let number = aname
        .strip_prefix("session=")
        .and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The subject in `session=<id> ticket=<subject> link=<name>`. A subject may hold anything, so it ends at the last
/// ` link=`.
fn subject(aname: &str) -> Subject {
    let described = aname
        .split_once(" ticket=")
        .and_then(|(_, rest)| rest.rsplit_once(" link="));
    described
        .and_then(|(subject, _)| Subject::try_from(subject).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_the_last_file_that_holds_it() {
        let sessions = Sessions::new(1);
        let first = sessions
            .begin("queen", "session=4 ticket=none link=console-ninedoor")
            .unwrap();
        assert!(first.is_operator() && first.door_number() == 4);
        let id = first.id();
        let copy = first.clone();
        drop(first);
        assert!(sessions.is_live(id));
        assert_eq!(sessions.begin("queen", "").err(), Some(Errno::EMFILE));
        drop(copy);
        assert!(!sessions.is_live(id));
        let next = sessions
            .begin("worker-gpu", "session=5 ticket=worker-1 link=x")
            .unwrap();
        assert!(!next.is_operator() && next.id() > id);
        assert_eq!(next.subject(), "worker-1");
    }

    #[test]
    fn a_subject_cannot_pretend_to_be_another() {
        for (aname, expected) in [
            ("session=5 ticket=worker-1 link=a", "worker-1"),
            ("session=5 ticket=x ticket=worker-1 link=a", "x ticket=worker-1"),
            ("session=5 ticket=worker-1 link=b link=a", "worker-1 link=b"),
            ("session=5 ticket=worker-1", ""),
            ("", ""),
            ("session=5 ticket=a-subject-that-is-longer-than-any-id link=a", ""),
        ] {
            assert_eq!(subject(aname), expected, "{aname}");
        }
    }
}
