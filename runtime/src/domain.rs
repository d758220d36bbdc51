//! Domains.
use crate::badge::Badges;
use crate::executor::Executor;
use crate::time::Instant;

/// What a turn asks of its host.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Channels to signal.
    pub signal: Badges,
    /// When to take the next turn at the latest.
    pub deadline: Option<Instant>,
}

/// A step function.
pub trait Step {
    /// Takes one turn.
    fn turn(&mut self, badges: Badges, now: Instant) -> Turn;
}

/// A protection domain's tasks.
pub struct Domain<E: Executor> {
    _executor: E,
}

impl<E: Executor> Step for Domain<E> {
    fn turn(&mut self, _badges: Badges, _now: Instant) -> Turn {
        unimplemented!()
    }
}
