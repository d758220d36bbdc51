//! The queue of ready tasks.
//!
//! Answers for: each ready task being in it once, in the order in which they became ready, from any thread and without
//! locks.
//! Never: fills up. A task is queued at most once, and there is room for each.

use alloc::boxed::Box;

use crate::sync::{AtomicU32, Ordering};

/// A queue for tasks `0..capacity`; many may push, one pops.
pub(super) struct ReadyQueue {
    /// Task number + 1, or 0 where nothing is stored (yet).
    places: Box<[AtomicU32]>,
    /// 1 while the task is queued.
    queued: Box<[AtomicU32]>,
    head: AtomicU32,
    tail: AtomicU32,
}

impl ReadyQueue {
    pub(super) fn new(capacity: usize) -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU32::new(0)).collect();
        Self {
            // A power of two, so that free-running positions wrap without a jump.
            places: zeros(capacity.max(1).next_power_of_two()),
            queued: zeros(capacity),
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
        }
    }

    /// Queues `task`, unless it is queued already.
    pub(super) fn push(&self, task: u32) {
        let Some(queued) = self.queued.get(task as usize) else {
            return;
        };
        // AcqRel also when it was queued: its next poll then sees what this waker's owner did before.
        if queued.swap(1, Ordering::AcqRel) == 1 {
            return;
        }
        // AcqRel: whoever claims this place next time round also sees that it was emptied in between.
        let position = self.tail.fetch_add(1, Ordering::AcqRel);
        if let Some(place) = self.place(position) {
            place.store(task + 1, Ordering::Release);
        }
    }

    /// The task that was queued first. Only the executor's own thread calls this.
    pub(super) fn pop(&self) -> Option<u32> {
        let position = self.head.load(Ordering::Relaxed);
        let place = self.place(position)?;
        // A place that is claimed but not stored yet reads as empty: that waker has not returned, and its thread
        // signals the domain after it has.
        let task = place.load(Ordering::Acquire).checked_sub(1)?;
        place.store(0, Ordering::Relaxed);
        self.head.store(position.wrapping_add(1), Ordering::Relaxed);
        if let Some(queued) = self.queued.get(task as usize) {
            queued.swap(0, Ordering::AcqRel);
        }
        Some(task)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.place(self.head.load(Ordering::Relaxed))
            .is_none_or(|place| place.load(Ordering::Acquire) == 0)
    }

    fn place(&self, position: u32) -> Option<&AtomicU32> {
        self.places.get(position as usize % self.places.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn behaves_as_a_queue_of_distinct_tasks(ops in prop::collection::vec(prop::option::of(0_u32..5), 1..200)) {
            let queue = ReadyQueue::new(5);
            let mut model = VecDeque::new();
            for op in ops {
                match op {
                    Some(task) => {
                        queue.push(task);
                        if !model.contains(&task) {
                            model.push_back(task);
                        }
                    }
                    None => prop_assert_eq!(queue.pop(), model.pop_front()),
                }
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }
}

#[cfg(loom)]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Two wakers and the executor: what a waker announced before it returned is polled afterwards.
    #[test]
    fn no_wake_is_lost() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let queue = Arc::new(ReadyQueue::new(2));
            let news = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
            let wakers = [0_u32, 1].map(|task| {
                let (queue, news) = (Arc::clone(&queue), Arc::clone(&news));
                thread::spawn(move || {
                    for round in 1..=2 {
                        news[task as usize].store(round, Ordering::Relaxed);
                        queue.push(task);
                    }
                })
            });
            let mut seen = [0; 2];
            let mut poll = || {
                while let Some(task) = queue.pop() {
                    seen[task as usize] = news[task as usize].load(Ordering::Relaxed);
                }
            };
            poll();
            wakers.map(|waker| waker.join().expect("no panic"));
            poll();
            assert_eq!(seen, [2, 2]);
        });
    }
}
