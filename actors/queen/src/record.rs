//! What the queen writes into her journal.
//!
//! Answers for the one form of a record: a change of state, the audit line that tells of it, or both, so that a
//! crash never leaves one without the other. Records borrow their texts; reading one allocates nothing.
//!
//! Never changes state: that is [`State::apply`](crate::state::State::apply), for new records and old ones alike.

use runtime::journal::Owner;
use serde::{Deserialize, Serialize};

/// Whose journal it is. Raise the number when [`Record`] changes incompatibly.
pub(crate) const OWNER: Owner = Owner::new("queen", 1);

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    /// What changed.
    #[serde(borrow)]
    pub(crate) change: Option<Change<'a>>,
    /// What the log is to say of it.
    pub(crate) line: Option<&'a str>,
}

/// A change of what the queen remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change<'a> {
    /// The lifecycle moved.
    Lifecycle {
        /// The new state's label.
        state: &'a str,
        /// What moved it.
        reason: &'a str,
        /// When, Unix milliseconds.
        since_ms: u64,
    },
    /// A worker is being made: nobody was told yet that it exists.
    Spawning(Spec),
    /// The worker exists, and somebody was told.
    Alive {
        /// Its number.
        number: u64,
    },
    /// The worker is to be gone everywhere.
    Gone {
        /// Its number.
        number: u64,
    },
    /// The budget of workers that state none.
    Budget(Budget),
    /// The next worker's number is at least this.
    Next {
        /// That number.
        number: u64,
    },
    /// All audit lines before this one are in the log.
    Delivered {
        /// The first that may not be.
        next: u64,
    },
    /// Which children the supervisor has given up, one bit each in the order of its page.
    Down {
        /// The bits.
        children: u64,
    },
    /// Whether NineDoor, when last asked, had found its own journal corrupt.
    DoorCorrupt(bool),
}

/// How a worker may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The worker's number; its id is `worker-<number>`.
    pub(crate) number: u64,
    /// Ticks it may make.
    pub(crate) ticks: u64,
    /// Its other limits.
    pub(crate) budget: Budget,
    /// When it was spawned, Unix milliseconds.
    pub(crate) issued_ms: u64,
}

impl Spec {
    /// When its time is over, Unix milliseconds.
    pub(crate) fn expires_ms(&self) -> u64 {
        self.issued_ms
            .saturating_add(self.budget.ttl_s.saturating_mul(1000))
    }
}

/// A worker's limits besides its ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Budget {
    /// Seconds it may live.
    pub(crate) ttl_s: u64,
    /// Operations it may make.
    pub(crate) ops: u64,
}

impl Budget {
    /// This budget, with what a request states in place of what it has.
    pub(crate) fn with(self, stated: protocol::control::Budget) -> Budget {
        Budget {
            ttl_s: stated.ttl_s.unwrap_or(self.ttl_s),
            ops: stated.ops.unwrap_or(self.ops),
        }
    }
}
