//! The executor: `LocalPool` of `sel4-async-single-threaded-executor` under the runtime's trait.
//!
//! Answers for: a bound on a turn. The pool runs until nothing is ready, in rounds; between two rounds it asks a future
//! of ours, which ends the run when there were enough.
//! Never: allocates after the last spawn.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use futures::task::{LocalFutureObj, LocalSpawn};
use runtime::executor::{Executor, Progress, Spawn, SpawnError, Task};
use sel4_async_single_threaded_executor::{LocalPool, LocalSpawner};

/// A domain's tasks.
pub struct PoolExecutor {
    pool: LocalPool,
    /// Polls of one round, at most.
    tasks: u32,
}

struct PoolSpawner(LocalSpawner);

impl PoolExecutor {
    /// An executor for about so many tasks.
    pub fn new(tasks: u32) -> Self {
        Self {
            pool: LocalPool::new(),
            tasks: tasks.max(1),
        }
    }
}

impl Executor for PoolExecutor {
    fn spawner(&self) -> Rc<dyn Spawn> {
        Rc::new(PoolSpawner(self.pool.spawner()))
    }

    fn run(&mut self, budget: u32) -> Progress {
        let rounds = budget.div_ceil(self.tasks);
        let mut begun = 0;
        let enough = poll_fn(|_| {
            begun += 1;
            if begun > rounds {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        match self.pool.run_until_stalled(pin!(enough)) {
            Poll::Ready(()) => Progress::Budget,
            Poll::Pending => Progress::Stalled,
        }
    }
}

impl Spawn for PoolSpawner {
    fn spawn(&self, task: Task) -> Result<(), SpawnError> {
        self.0
            .spawn_local_obj(LocalFutureObj::from(task))
            .map_err(|_| SpawnError::Ended)
    }
}
