//! The executor for the simulator: ready tasks in an order that a seed decides.
//!
//! Answers for: every order of ready tasks being possible, and the same order for the same seed.
//! Never: fair by design; chance alone keeps a ready task from waiting for ever.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::tasks::Tasks;
use super::{Executor, Progress, Spawn};
use crate::random::Random;

/// Any ready task may be next.
pub struct SeededExecutor {
    tasks: Rc<Tasks>,
    ready: Vec<u32>,
    random: Random,
}

impl SeededExecutor {
    /// An executor with room for `max` tasks at a time.
    pub fn new(max: usize, seed: u64) -> Self {
        Self {
            tasks: Tasks::new(max),
            ready: Vec::with_capacity(max),
            random: Random::new(seed),
        }
    }

    fn gather(&mut self) {
        while let Some(task) = self.tasks.ready().pop() {
            if !self.ready.contains(&task) {
                self.ready.push(task);
            }
        }
    }
}

impl Executor for SeededExecutor {
    fn spawner(&self) -> Rc<dyn Spawn> {
        self.tasks.spawner()
    }

    fn run(&mut self, budget: u32) -> Progress {
        let mut left = budget;
        self.gather();
        while left > 0 && !self.ready.is_empty() {
            let chosen = self.random.below(self.ready.len());
            let task = self.ready.swap_remove(chosen);
            left -= u32::from(self.tasks.poll(task));
            self.gather();
        }
        if self.ready.is_empty() {
            Progress::Stalled
        } else {
            Progress::Budget
        }
    }
}
