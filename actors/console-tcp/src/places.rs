//! A fixed number of places, each with a task that serves whom it is given.
//!
//! Answers for who sits where, and for who has to give way when all places are taken: of those who are only waiting to
//! leave the one that has been there longest, and if there are none, of all. Never serves anybody; never gives one
//! place to two.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell};

use console::Mailbox;

/// Places for things of type `T`, mostly connections.
pub(crate) struct Places<T> {
    /// Who sits in each place; `None` if it is free.
    taken: RefCell<Box<[Option<Stay>]>>,
    turn: Cell<u64>,
    doors: Box<[Mailbox<T>]>,
}

/// What decides who gives way: the least does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stay {
    /// Whether there is anything left to find out about the guest.
    matters: bool,
    /// Since when it has been there, in turns.
    since: u64,
}

impl<T> Places<T> {
    /// So many places, all free.
    pub(crate) fn new(count: usize) -> Places<T> {
        Places {
            taken: RefCell::new((0..count).map(|_| None).collect()),
            turn: Cell::new(0),
            doors: (0..count).map(|_| Mailbox::new()).collect(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.doors.len()
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.borrow().iter().flatten().count()
    }

    /// Gives `guest` a free place, or back.
    pub(crate) fn seat(&self, guest: T) -> Result<(), T> {
        let free = self.taken.borrow().iter().position(Option::is_none);
        match free {
            Some(place) => {
                // A free place has nobody in its mailbox.
                self.sit(place, guest);
                Ok(())
            }
            None => Err(guest),
        }
    }

    /// Gives `guest` a free place, or that of the one who has to give way. Tells whether somebody has to go.
    pub(crate) fn seat_for_sure(&self, guest: T) -> bool {
        let Err(guest) = self.seat(guest) else {
            return false;
        };
        let least = {
            let taken = self.taken.borrow();
            let stays = taken.iter().enumerate();
            stays.min_by_key(|(_, stay)| **stay).map(|(place, _)| place)
        };
        if let Some(place) = least {
            // Whoever waited in the mailbox goes with it.
            drop(self.sit(place, guest));
        }
        true
    }

    fn sit(&self, place: usize, guest: T) -> Option<T> {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        if let Some(stay) = self.taken.borrow_mut().get_mut(place) {
            *stay = Some(Stay {
                matters: true,
                since: turn,
            });
        }
        self.doors.get(place).and_then(|door| door.put(guest))
    }

    /// For the task of `place`: waits for the next guest. One that comes while another is served takes its place.
    pub(crate) async fn next(&self, place: usize) -> T {
        match self.doors.get(place) {
            Some(door) => door.take().await,
            None => core::future::pending().await,
        }
    }

    /// For the task of `place`: whom it serves is only waiting to leave, and gives way before all who are not.
    pub(crate) fn dismiss(&self, place: usize) {
        self.change(place, |stay| {
            if let Some(stay) = stay {
                stay.matters = false;
            }
        });
    }

    /// For the task of `place`: whom it served is gone. The place is free, unless the next guest waits already.
    pub(crate) fn leave(&self, place: usize) {
        self.change(place, |stay| *stay = None);
    }

    /// Changes the stay of whom the task of `place` serves, unless the place is the next guest's already.
    fn change(&self, place: usize, change: impl FnOnce(&mut Option<Stay>)) {
        if self.doors.get(place).is_some_and(Mailbox::is_empty)
            && let Some(stay) = self.taken.borrow_mut().get_mut(place)
        {
            change(stay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::vec::Vec;

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        future.now_or_never()
    }

    #[test]
    fn guests_sit_until_all_places_are_taken() {
        let places = Places::new(2);
        assert_eq!(
            (places.seat('a'), places.seat('b'), places.seat('c')),
            (Ok(()), Ok(()), Err('c'))
        );
        assert_eq!((now(places.next(0)), now(places.next(1))), (Some('a'), Some('b')));
        places.leave(1);
        assert_eq!((places.taken(), places.seat('c')), (1, Ok(())));
        assert_eq!(now(places.next(1)), Some('c'));
    }

    #[test]
    fn the_longest_there_gives_way() {
        let places = Places::new(3);
        let sent_away: Vec<bool> = ('a'..='d').map(|guest| places.seat_for_sure(guest)).collect();
        assert_eq!(sent_away, [false, false, false, true]);
        assert_eq!(now(places.next(0)), Some('d'), "a was never served");
        assert_eq!(now(places.next(1)), Some('b'));
        places.leave(2);
        assert_eq!(places.taken(), 3, "c still waits to be served");
        assert!(places.seat_for_sure('e'));
        assert_eq!(now(places.next(1)), Some('e'), "b had been there longest");
        assert!(places.seat_for_sure('f'));
        assert_eq!(now(places.next(2)), Some('f'), "c was never served");
    }

    #[test]
    fn whoever_waits_to_leave_gives_way_first() {
        let places = Places::new(3);
        for (place, guest) in ['a', 'b', 'c'].into_iter().enumerate() {
            assert!(!places.seat_for_sure(guest));
            assert_eq!(now(places.next(place)), Some(guest));
        }
        places.dismiss(2);
        places.dismiss(1);
        assert!(places.seat_for_sure('d'));
        places.dismiss(1);
        assert_eq!(now(places.next(1)), Some('d'), "b has been there longer than c");
        assert!(places.seat_for_sure('e'));
        assert_eq!(now(places.next(2)), Some('e'), "d was not dismissed, b was");
        assert!(places.seat_for_sure('f'));
        assert_eq!(now(places.next(0)), Some('f'), "nobody waits to leave any more");
    }

    #[test]
    fn a_place_is_not_free_while_the_next_guest_waits() {
        let places = Places::new(1);
        assert!(!places.seat_for_sure('a'));
        assert_eq!(now(places.next(0)), Some('a'));
        assert!(places.seat_for_sure('b'));
        places.leave(0);
        assert_eq!((places.taken(), places.seat('c')), (1, Err('c')));
        assert_eq!(now(places.next(0)), Some('b'));
        places.leave(0);
        assert_eq!((places.taken(), now(places.next(0))), (0, None));
    }
}
