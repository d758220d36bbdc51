//! Tasks that wait for one event.
//!
//! Answers for: every waiting task being woken, once, in the order they came.
//! Never: allocates once as many tasks wait as the domain has: a task is kept once, however often it asks.

use alloc::collections::VecDeque;
use core::cell::RefCell;
use core::task::Waker;

/// Room made at boot. More waiters than this make the queue grow, up to the number of tasks.
const EXPECTED_WAITERS: usize = 32;

/// The tasks that wait for an event, oldest first.
pub(crate) struct Wakers {
    queue: RefCell<VecDeque<Waker>>,
}

impl Wakers {
    pub(crate) fn new() -> Self {
        Self {
            queue: RefCell::new(VecDeque::with_capacity(EXPECTED_WAITERS)),
        }
    }

    /// Wakes this task at the next event.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut queue = self.queue.borrow_mut();
        if !queue.iter().any(|known| known.will_wake(waker)) {
            queue.push_back(waker.clone());
        }
    }

    /// Wakes all that wait now; how many. No borrow is held while they are woken, so a waker may do what it likes.
    pub(crate) fn wake_all(&self) -> u64 {
        let waiting = self.queue.borrow().len();
        for _ in 0..waiting {
            let Some(waker) = self.queue.borrow_mut().pop_front() else {
                break;
            };
            waker.wake();
        }
        waiting as u64
    }
}
