//! Restart policy: a pure function of faults and their times.
//!
//! Answers for: one-for-one restarts with an intensity over a window, an optional delay, and escalation.
//! Never: reads a clock or a page.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

/// How often a domain may be restarted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts allowed within `window`; one more fault within it escalates.
    pub intensity: u32,
    /// How long a restart counts.
    pub window: Duration,
    /// Pause between a fault and the restart.
    pub delay: Duration,
}

/// What to do about a fault.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start the domain again at that time.
    Restart {
        /// Not before.
        at: Instant,
    },
    /// Leave it down; the node is degraded.
    Escalate,
}

/// The parent of all domains.
#[derive(Debug)]
pub struct Supervisor {
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    policy: RestartPolicy,
    /// When it was restarted, the last `intensity` times at most.
    restarts: VecDeque<Instant>,
    down: bool,
}

impl Default for RestartPolicy {
    /// Five restarts in ten seconds, at once: a fault in one request is forgiven, a fault at every start is not.
    fn default() -> Self {
        Self {
            intensity: 5,
            window: Duration::from_secs(10),
            delay: Duration::ZERO,
        }
    }
}

impl Supervisor {
    /// The parent of children with these policies, by index.
    pub fn new(policies: impl IntoIterator<Item = RestartPolicy>) -> Self {
        let child = |policy: RestartPolicy| Child {
            policy,
            restarts: VecDeque::with_capacity(policy.intensity as usize),
            down: false,
        };
        Self {
            children: policies.into_iter().map(child).collect(),
        }
    }

    /// The child at `index` faulted at `now`. A child that is not known, or was given up, stays down.
    pub fn fault(&mut self, index: usize, now: Instant) -> Decision {
        let Some(child) = self.children.get_mut(index) else {
            return Decision::Escalate;
        };
        let window = child.policy.window;
        while child.restarts.front().is_some_and(|&at| now.since(at) >= window) {
            child.restarts.pop_front();
        }
        if child.down || child.restarts.len() >= child.policy.intensity as usize {
            child.down = true;
            return Decision::Escalate;
        }
        let at = now + child.policy.delay;
        child.restarts.push_back(at);
        Decision::Restart { at }
    }

    /// Whether some child was given up.
    pub fn is_degraded(&self) -> bool {
        self.children.iter().any(|child| child.down)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RestartPolicy = RestartPolicy {
        intensity: 2,
        window: Duration::from_millis(100),
        delay: Duration::from_millis(3),
    };

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn escalates_at_one_fault_more_than_the_intensity() {
        let mut supervisor = Supervisor::new([POLICY, POLICY]);
        assert_eq!(supervisor.fault(0, at(0)), Decision::Restart { at: at(3) });
        assert_eq!(supervisor.fault(0, at(10)), Decision::Restart { at: at(13) });
        assert!(!supervisor.is_degraded());
        assert_eq!(supervisor.fault(0, at(20)), Decision::Escalate);
        assert!(supervisor.is_degraded());
        // For good, and for that child only.
        assert_eq!(supervisor.fault(0, at(10_000)), Decision::Escalate);
        assert_eq!(supervisor.fault(1, at(20)), Decision::Restart { at: at(23) });
        assert_eq!(supervisor.fault(2, at(20)), Decision::Escalate);
    }

    #[test]
    fn old_restarts_do_not_count() {
        let mut supervisor = Supervisor::new([POLICY]);
        for ms in [0, 60, 110, 170, 220] {
            assert!(
                matches!(supervisor.fault(0, at(ms)), Decision::Restart { .. }),
                "at {ms}"
            );
        }
    }

    #[test]
    fn no_intensity_means_no_restart() {
        let mut supervisor = Supervisor::new([RestartPolicy {
            intensity: 0,
            ..POLICY
        }]);
        assert_eq!(supervisor.fault(0, at(0)), Decision::Escalate);
    }

    proptest! {
        #[test]
        fn never_more_restarts_in_a_window_than_the_intensity(
            gaps in prop::collection::vec(0_u64..80, 1..50), intensity in 0_u32..5,
        ) {
            let mut supervisor = Supervisor::new([RestartPolicy { intensity, ..POLICY }]);
            let (mut now, mut restarts) = (0, std::vec::Vec::new());
            for gap in gaps {
                now += gap;
                if let Decision::Restart { at } = supervisor.fault(0, Instant::from_millis(now)) {
                    restarts.push(at);
                    let recent = restarts.iter().filter(|&&then| at.since(then) < POLICY.window).count();
                    prop_assert!(recent <= intensity as usize);
                }
            }
        }
    }
}
