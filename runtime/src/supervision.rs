//! Supervision.
use core::time::Duration;

/// How often a child may be restarted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts allowed within `window`; the next fault in it escalates.
    pub intensity: u32,
    /// The window.
    pub window: Duration,
    /// Pause before a restart.
    pub delay: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            intensity: 5,
            window: Duration::from_secs(10),
            delay: Duration::ZERO,
        }
    }
}

/// What a child is doing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It runs.
    Running,
    /// It is down and will be started again.
    Restarting,
    /// It is down for good: restarted too often.
    Down,
}

/// One child at one time.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus<'a> {
    /// The domain's name.
    pub name: &'a str,
    /// What it is doing.
    pub state: ChildState,
    /// Restarts so far.
    pub restarts: u64,
    /// Why it last went down.
    pub last_reason: Reason,
}

/// The beginning of a panic message.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct Reason {
    len: u8,
    bytes: [u64; 12],
}

impl Reason {
    /// The text; empty if there was no fault.
    pub fn as_str(&self) -> &str {
        unimplemented!()
    }
}

/// The status page, read-only.
#[derive(Clone)]
pub struct SupervisionView {}

impl SupervisionView {
    /// Whether some child is down for good.
    pub fn degraded(&self) -> bool {
        unimplemented!()
    }
    /// How many children there are.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// Whether there is no child.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The child at that index, in the order of the topology.
    pub fn child(&self, _index: usize) -> Option<ChildStatus<'_>> {
        unimplemented!()
    }
    /// Waits until the page differs from what this view last saw here.
    pub async fn changed(&self) {
        unimplemented!()
    }
}
