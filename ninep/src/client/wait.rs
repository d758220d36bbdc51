//! A bounded first-come-first-served queue of tasks that wait for their turn.
//!
//! Answers for the order and the bound. Never owns what is waited for: who is
//! first looks for itself, takes or leaves, and the next is told.

use alloc::collections::VecDeque;
use core::task::{Context, Waker};

/// A task's place in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket(u64);

impl Ticket {
    /// Not in the queue.
    pub(super) const NONE: Ticket = Ticket(0);
}

pub(super) struct WaitQueue {
    waiting: VecDeque<(Ticket, Waker)>,
    capacity: usize,
    last: u64,
}

impl WaitQueue {
    pub(super) fn new(capacity: usize) -> WaitQueue {
        WaitQueue {
            waiting: VecDeque::with_capacity(capacity),
            capacity,
            last: 0,
        }
    }

    /// Whether it is this task's turn to look.
    pub(super) fn is_first(&self, ticket: Ticket) -> bool {
        self.waiting.front().is_none_or(|(first, _)| *first == ticket)
    }

    /// Puts a task into the queue, or keeps it there with a fresh waker; `false` if there is no room.
    pub(super) fn wait(&mut self, ticket: &mut Ticket, cx: &Context<'_>) -> bool {
        if let Some((_, waker)) = self.waiting.iter_mut().find(|(other, _)| other == ticket) {
            waker.clone_from(cx.waker());
            return true;
        }
        if self.waiting.len() >= self.capacity {
            return false;
        }
        self.last += 1;
        *ticket = Ticket(self.last);
        self.waiting.push_back((*ticket, cx.waker().clone()));
        true
    }

    /// Takes a task out of the queue and tells the one that is first then.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if ticket != Ticket::NONE {
            self.waiting.retain(|(other, _)| *other != ticket);
            self.wake_first();
        }
    }

    /// Tells the first task to look.
    pub(super) fn wake_first(&self) {
        if let Some((_, waker)) = self.waiting.front() {
            waker.wake_by_ref();
        }
    }

    /// Tells all tasks to look.
    pub(super) fn wake_all(&self) {
        self.waiting.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served_and_bounded() {
        let cx = Context::from_waker(Waker::noop());
        let mut queue = WaitQueue::new(2);
        assert!(
            queue.is_first(Ticket::NONE),
            "an empty queue lets a newcomer pass"
        );
        let (mut a, mut b, mut c) = (Ticket::NONE, Ticket::NONE, Ticket::NONE);
        assert!(queue.wait(&mut a, &cx) && queue.wait(&mut b, &cx));
        assert!(queue.wait(&mut a, &cx), "waiting again keeps the place");
        assert!(!queue.wait(&mut c, &cx));
        assert!(queue.is_first(a) && !queue.is_first(b) && !queue.is_first(c));
        queue.leave(a);
        assert!(queue.is_first(b));
        assert!(queue.wait(&mut c, &cx));
        queue.leave(b);
        assert!(queue.is_first(c));
    }
}
