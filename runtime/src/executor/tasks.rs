//! The tasks of an executor and their wakers.
//!
//! Answers for: room for every task taken when the executor is made; adding and finishing tasks while others run.
//! Never: decides which ready task is next.

use alloc::rc::{Rc, Weak};
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::task::{Context, Poll, Waker};

use super::queue::ReadyQueue;
use super::{Spawn, SpawnError, Task};

pub(super) struct Tasks {
    ready: Arc<ReadyQueue>,
    slots: RefCell<Slots>,
    /// One for each slot, for good: a wake-up for a task that has finished polls nothing, or its successor once.
    wakers: Vec<Waker>,
}

struct Slots {
    /// `None` where there is no task, and while a task is being polled.
    tasks: Vec<Option<Task>>,
    /// Slots without a task.
    spare: Vec<u32>,
}

/// A way to add tasks that does not keep them alive.
pub(super) struct Spawner(Weak<Tasks>);

struct Ready {
    queue: Arc<ReadyQueue>,
    task: u32,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.push(self.task);
    }
}

impl Tasks {
    pub(super) fn new(max: usize) -> Rc<Self> {
        let ready = Arc::new(ReadyQueue::new(max));
        let numbers = 0..u32::try_from(max).unwrap_or(u32::MAX);
        let waker = |task| {
            Waker::from(Arc::new(Ready {
                queue: Arc::clone(&ready),
                task,
            }))
        };
        Rc::new(Self {
            wakers: numbers.clone().map(waker).collect(),
            slots: RefCell::new(Slots {
                tasks: numbers.clone().map(|_| None).collect(),
                spare: numbers.rev().collect(),
            }),
            ready,
        })
    }

    pub(super) fn spawner(self: &Rc<Self>) -> Rc<dyn Spawn> {
        Rc::new(Spawner(Rc::downgrade(self)))
    }

    pub(super) fn ready(&self) -> &ReadyQueue {
        &self.ready
    }

    /// Polls a task, if there is one in that slot; whether there was.
    pub(super) fn poll(&self, index: u32) -> bool {
        // Out of its slot while it is polled, so that it may spawn others.
        let taken = self
            .slots
            .borrow_mut()
            .tasks
            .get_mut(index as usize)
            .and_then(Option::take);
        let (Some(mut task), Some(waker)) = (taken, self.wakers.get(index as usize)) else {
            return false;
        };
        match task.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Pending => {
                if let Some(slot) = self.slots.borrow_mut().tasks.get_mut(index as usize) {
                    *slot = Some(task);
                }
            }
            Poll::Ready(()) => {
                drop(task);
                self.slots.borrow_mut().spare.push(index);
            }
        }
        true
    }
}

impl Spawn for Spawner {
    fn spawn(&self, task: Task) -> Result<(), SpawnError> {
        let tasks = self.0.upgrade().ok_or(SpawnError::Ended)?;
        let mut slots = tasks.slots.borrow_mut();
        let max = slots.tasks.len();
        let index = slots.spare.pop().ok_or(SpawnError::Full { max })?;
        if let Some(slot) = slots.tasks.get_mut(index as usize) {
            *slot = Some(task);
        }
        tasks.ready.push(index);
        Ok(())
    }
}
