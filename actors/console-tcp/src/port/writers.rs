//! Who writes to a connection: one at a time, each a whole frame.
//!
//! Answers for waking those who wait. Never holds more wakers than a connection has tasks; never allocates.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use heapless::Vec;

use super::HANDLERS;

/// The turn to write.
pub(super) struct Writers {
    taken: Cell<bool>,
    /// Handlers and receiver of the connection's server.
    waiting: RefCell<Vec<Waker, { HANDLERS + 1 }>>,
}

/// The right to write, until it is dropped.
pub(super) struct Turn<'w>(&'w Writers);

impl Writers {
    /// Nobody writes.
    pub(super) fn new() -> Writers {
        Writers {
            taken: Cell::new(false),
            waiting: RefCell::new(Vec::new()),
        }
    }

    /// Waits for the turn.
    pub(super) async fn turn(&self) -> Turn<'_> {
        poll_fn(|cx| {
            if self.taken.replace(true) {
                self.wait(cx);
                return Poll::Pending;
            }
            Poll::Ready(Turn(self))
        })
        .await
    }

    /// Has the task woken by [`Writers::wake`].
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker()))
            && let Err(waker) = waiting.push(cx.waker().clone())
        {
            // More tasks than there are: they look again instead.
            waker.wake();
        }
    }

    /// Wakes everybody who waits.
    pub(super) fn wake(&self) {
        while let Some(waker) = { self.waiting.borrow_mut().pop() } {
            waker.wake();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        self.0.wake();
    }
}
