//! The executor for real hosts: ready tasks in the order in which they became ready.
//!
//! Answers for: every ready task being polled before any is polled twice; no allocation after the last spawn.
//! Never: polls a task that nobody woke.

use alloc::rc::Rc;

use super::tasks::Tasks;
use super::{Executor, Progress, Spawn};

/// First ready, first polled.
pub struct FifoExecutor {
    tasks: Rc<Tasks>,
}

impl FifoExecutor {
    /// An executor with room for `max` tasks at a time.
    pub fn new(max: usize) -> Self {
        Self {
            tasks: Tasks::new(max),
        }
    }
}

impl Executor for FifoExecutor {
    fn spawner(&self) -> Rc<dyn Spawn> {
        self.tasks.spawner()
    }

    fn run(&mut self, budget: u32) -> Progress {
        let mut left = budget;
        while left > 0 {
            let Some(task) = self.tasks.ready().pop() else {
                return Progress::Stalled;
            };
            left -= u32::from(self.tasks.poll(task));
        }
        if self.tasks.ready().is_empty() {
            Progress::Stalled
        } else {
            Progress::Budget
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::executor::SpawnError;
    use alloc::boxed::Box;
    use core::cell::{Cell, RefCell};
    use core::future::poll_fn;
    use core::task::Poll;
    use std::vec::Vec;

    fn yield_now() -> impl Future<Output = ()> {
        let mut yielded = false;
        poll_fn(move |cx| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[test]
    fn ready_tasks_take_turns_within_the_budget() {
        let mut executor = FifoExecutor::new(3);
        let log = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b", "c"] {
            let log = Rc::clone(&log);
            let task = Box::pin(async move {
                loop {
                    log.borrow_mut().push(name);
                    yield_now().await;
                }
            });
            executor.spawner().spawn(task).expect("there is room");
        }
        assert_eq!(executor.run(4), Progress::Budget);
        assert_eq!(executor.run(3), Progress::Budget);
        assert_eq!(*log.borrow(), ["a", "b", "c", "a", "b", "c", "a"]);
    }

    #[test]
    fn a_finished_task_makes_room_and_a_full_house_says_so() {
        let mut executor = FifoExecutor::new(1);
        let spawner = executor.spawner();
        let ran = Rc::new(Cell::new(0));
        for round in 1..=3 {
            let ran = Rc::clone(&ran);
            spawner
                .spawn(Box::pin(async move { ran.set(round) }))
                .expect("there is room");
            assert_eq!(
                spawner.spawn(Box::pin(async {})),
                Err(SpawnError::Full { max: 1 })
            );
            assert_eq!(executor.run(10), Progress::Stalled);
        }
        assert_eq!(ran.get(), 3);
        drop(executor);
        assert_eq!(spawner.spawn(Box::pin(async {})), Err(SpawnError::Ended));
    }

    #[test]
    fn tasks_spawn_tasks_and_are_dropped_with_the_executor() {
        let mut executor = FifoExecutor::new(2);
        let spawner = executor.spawner();
        let held = Rc::new(());
        let inner = Rc::clone(&held);
        let again = Rc::clone(&spawner);
        spawner
            .spawn(Box::pin(async move {
                let child = Box::pin(async move {
                    let _held = inner;
                    core::future::pending::<()>().await;
                });
                again.spawn(child).expect("there is room");
            }))
            .expect("there is room");
        assert_eq!(executor.run(10), Progress::Stalled);
        assert_eq!(Rc::strong_count(&held), 2);
        drop(executor);
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
