//! Tells waiting tasks that something they look at has changed.
//!
//! Answers for never missing a change: a task looks first, then leaves its waker, and looks again after each ring.
//!
//! Never says what has changed, never allocates. The waker of a task that is gone stays until the next ring, and with it
//! whatever the waker keeps.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;

use embassy_sync::waitqueue::MultiWakerRegistration;

/// A bell that any task of a domain can ring and wait for. Up to `WAITERS` tasks wait at once; of more, some are woken
/// needlessly and look again.
pub struct Bell<const WAITERS: usize> {
    waiting: RefCell<MultiWakerRegistration<WAITERS>>,
}

impl<const WAITERS: usize> Default for Bell<WAITERS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WAITERS: usize> Bell<WAITERS> {
    /// A bell nobody waits for.
    pub fn new() -> Self {
        Self {
            waiting: RefCell::new(MultiWakerRegistration::new()),
        }
    }

    /// Wakes everybody who waits.
    pub fn ring(&self) {
        self.waiting.borrow_mut().wake();
    }

    /// Looks now and after every ring, until there is something.
    pub async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        poll_fn(|cx| match look() {
            Some(found) => Poll::Ready(found),
            None => {
                self.waiting.borrow_mut().register(cx.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Waits for the next ring.
    pub async fn next(&self) {
        let mut waited = false;
        self.until(|| core::mem::replace(&mut waited, true).then_some(()))
            .await;
    }
}
