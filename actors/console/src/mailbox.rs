//! A place for one thing that one task waits for.
//!
//! Answers for waking the task and for a thing never being lost between two waits.
//! Never holds more than one thing: a second one takes the place of the first. Never allocates.

use core::cell::Cell;
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// A mailbox.
pub struct Mailbox<T> {
    item: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub const fn new() -> Mailbox<T> {
        Mailbox {
            item: Cell::new(None),
            waker: Cell::new(None),
        }
    }

    /// Puts a thing in; returns the one that nobody has taken.
    pub fn put(&self, item: T) -> Option<T> {
        let before = self.item.replace(Some(item));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        before
    }

    /// Takes the thing out, once there is one.
    pub async fn take(&self) -> T {
        poll_fn(|cx| match self.item.take() {
            Some(item) => Poll::Ready(item),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// Waits until something is in, and leaves it there.
    pub async fn filled(&self) {
        poll_fn(|cx| {
            if self.is_empty() {
                self.waker.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        let item = self.item.take();
        let empty = item.is_none();
        self.item.set(item);
        empty
    }
}
