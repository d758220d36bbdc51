//! Tells waiting tasks that something they look at has changed.
//!
//! Answers for never missing a change: a task looks first, then leaves its waker, and looks again after each ring.
//!
//! Never says what has changed, never allocates.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;

use embassy_sync::waitqueue::MultiWakerRegistration;

/// Tasks that may wait at once without waking each other needlessly: one a slot, and the server's handlers.
const WAITERS: usize = 80;

/// A bell that any task of the domain can ring and wait for.
pub(crate) struct Bell {
    waiting: RefCell<MultiWakerRegistration<WAITERS>>,
}

impl Bell {
    /// A bell nobody waits for.
    pub(crate) fn new() -> Bell {
        Bell {
            waiting: RefCell::new(MultiWakerRegistration::new()),
        }
    }

    /// Wakes everybody who waits.
    pub(crate) fn ring(&self) {
        self.waiting.borrow_mut().wake();
    }

    /// Looks now and after every ring, until there is something.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        poll_fn(|cx| match look() {
            Some(found) => Poll::Ready(found),
            None => {
                self.waiting.borrow_mut().register(cx.waker());
                Poll::Pending
            }
        })
        .await
    }
}
