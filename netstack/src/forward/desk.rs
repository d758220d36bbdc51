//! Where accepted connections meet the tasks that carry them.
//!
//! Answers for: a client being accepted only when a task is there for it.
//! Never: queues a client; whoever has no place waits in the kernel.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddrV4;
use std::prelude::rust_2024::*;
use std::task::{Poll, Waker};

use mio::net::TcpStream;
use runtime::hosted::IoSource;

/// A client and where in the guest it wants to go.
pub(super) struct Visitor {
    pub(super) host: IoSource<TcpStream>,
    pub(super) guest: SocketAddrV4,
}

/// Number of a carrying task.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

pub(super) struct Desk {
    seats: Vec<Seat>,
    /// Places whose task waits, the one that waited least last: its memory is the warmest.
    free: RefCell<Vec<Place>>,
    /// Listeners that wait for a place.
    queue: RefCell<Vec<Waker>>,
}

#[derive(Default)]
struct Seat {
    visitor: Cell<Option<Visitor>>,
    waker: Cell<Option<Waker>>,
}

impl Desk {
    pub(super) fn new(places: u16) -> Self {
        let seats: Vec<Seat> = (0..places).map(|_| Seat::default()).collect();
        Self {
            free: RefCell::new(Vec::with_capacity(seats.len())),
            seats,
            queue: RefCell::default(),
        }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.seats.len()).map(Place)
    }

    /// Waits for a task that has nothing to do; it is the caller's to give work to.
    pub(super) async fn free_place(&self) -> Place {
        poll_fn(|cx| match self.free.borrow_mut().pop() {
            Some(place) => Poll::Ready(place),
            None => {
                let mut queue = self.queue.borrow_mut();
                if !queue.iter().any(|waker| waker.will_wake(cx.waker())) {
                    queue.push(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }

    /// Gives a task its visitor.
    pub(super) fn seat(&self, place: Place, visitor: Visitor) {
        let seat = &self.seats[place.0];
        seat.visitor.set(Some(visitor));
        if let Some(waker) = seat.waker.take() {
            waker.wake();
        }
    }

    /// Waits for the visitor of the task at `place`, which has nothing to do until then.
    pub(super) async fn next_visitor(&self, place: Place) -> Visitor {
        self.free.borrow_mut().push(place);
        self.queue.borrow_mut().drain(..).for_each(Waker::wake);
        let seat = &self.seats[place.0];
        poll_fn(|cx| match seat.visitor.take() {
            Some(visitor) => Poll::Ready(visitor),
            None => {
                seat.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}
