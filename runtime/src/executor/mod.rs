//! What polls a domain's tasks.
//!
//! Answers for: a trait small enough for any single-threaded executor, two implementations, and nothing else.
//! Never: sleeps or watches a clock. An executor runs what is ready and comes back; the host decides about the rest.
//!
//! On seL4, `sel4-async-single-threaded-executor`'s `LocalPool` plugs in: its `LocalSpawner` takes a [`Task`] as a
//! `LocalFutureObj`, and `run_all_until_stalled` is [`Executor::run`] with a budget that is never spent.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;

mod fifo;
mod queue;
#[cfg(feature = "sim")]
mod seeded;
mod tasks;

pub use fifo::FifoExecutor;
#[cfg(feature = "sim")]
pub use seeded::SeededExecutor;

/// A task of a domain.
pub type Task = Pin<Box<dyn Future<Output = ()> + 'static>>;

/// What a run of an executor came to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every task waits for something.
    Stalled,
    /// The budget is spent and tasks are still ready.
    Budget,
}

/// Why a task was not taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// As many tasks as the domain may have are alive.
    Full {
        /// The domain's limit.
        max: usize,
    },
    /// The executor is gone, and the domain with it.
    Ended,
}

/// Takes tasks for an executor.
pub trait Spawn {
    /// Adds a task, ready to be polled.
    ///
    /// # Errors
    /// See [`SpawnError`].
    fn spawn(&self, task: Task) -> Result<(), SpawnError>;
}

/// Polls the tasks of one domain.
pub trait Executor {
    /// A handle through which tasks are added, also from within tasks. It must not keep the tasks alive.
    fn spawner(&self) -> Rc<dyn Spawn>;

    /// Polls ready tasks until none is ready, or until `budget` polls were made if the executor counts them.
    fn run(&mut self, budget: u32) -> Progress;
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { max } => write!(
                f,
                "the domain already has its {max} tasks: raise the limit in its topology"
            ),
            Self::Ended => f.write_str("the domain has ended: spawn while it lives"),
        }
    }
}

impl core::error::Error for SpawnError {}
