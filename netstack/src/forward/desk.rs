//! Where accepted connections meet the tasks that carry them.
//!
//! Answers for: a client being accepted only when a task is there for it, and entering the guest only when few others
//! are about to.
//! Never: queues more than one client of each listener; the others wait in the kernel, in their order.

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
    /// Clients that may be on their way into the guest besides those that are.
    handshakes: Cell<u16>,
    /// Listeners that wait for either.
    queue: RefCell<Vec<Waker>>,
}

#[derive(Default)]
struct Seat {
    visitor: Cell<Option<Visitor>>,
    waker: Cell<Option<Waker>>,
}

impl Desk {
    pub(super) fn new(places: u16, handshakes: u16) -> Self {
        let seats: Vec<Seat> = (0..places).map(|_| Seat::default()).collect();
        Self {
            free: RefCell::new(Vec::with_capacity(seats.len())),
            seats,
            handshakes: Cell::new(handshakes),
            queue: RefCell::default(),
        }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.seats.len()).map(Place)
    }

    /// Waits for a task that has nothing to do; it is the caller's to give work to.
    pub(super) async fn free_place(&self) -> Place {
        self.wait_for(|| self.free.borrow_mut().pop()).await
    }

    /// Waits until one more visitor may be on its way into the guest: the caller's.
    pub(super) async fn may_enter(&self) {
        let take = || self.handshakes.get().checked_sub(1);
        let left = self.wait_for(take).await;
        self.handshakes.set(left);
    }

    async fn wait_for<T>(&self, take: impl Fn() -> Option<T>) -> T {
        poll_fn(|cx| match take() {
            Some(taken) => Poll::Ready(taken),
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

    /// A visitor is in the guest, or was turned away there.
    pub(super) fn arrived(&self) {
        self.handshakes.set(self.handshakes.get() + 1);
        self.wake_listeners();
    }

    fn wake_listeners(&self) {
        self.queue.borrow_mut().drain(..).for_each(Waker::wake);
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
        self.wake_listeners();
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
