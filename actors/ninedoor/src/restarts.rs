//! Which restarts of actors the log already tells of.
//!
//! Answers for telling each restart once, also one that happened while the door itself was down: the counts are in
//! the journal, and a new boot of the hive counts from 0 again.
//!
//! Never restarts anything; that is the supervisor's.

/// What the log knows of the children on the supervisor's page.
#[derive(Debug)]
pub(crate) struct Seen {
    boot: u64,
    restarts: [u64; Self::CHILDREN],
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            boot: 0,
            restarts: [0; Self::CHILDREN],
        }
    }
}

impl Seen {
    /// Children that can be kept apart: as many as Microkit has domains.
    pub(crate) const CHILDREN: usize = 63;

    /// A boot began; of another one nothing counts any more.
    pub(crate) fn boot(&mut self, boot: u64) {
        if boot != self.boot {
            *self = Self {
                boot,
                ..Self::default()
            };
        }
    }

    /// The boot the counts belong to.
    pub(crate) fn boot_hash(&self) -> u64 {
        self.boot
    }

    /// Notes that the log tells of so many restarts of a child.
    pub(crate) fn set(&mut self, child: usize, restarts: u64) {
        if let Some(seen) = self.restarts.get_mut(child) {
            *seen = restarts;
        }
    }

    /// Whether the log does not tell of that many yet.
    pub(crate) fn is_news(&self, child: usize, restarts: u64) -> bool {
        self.restarts.get(child).is_some_and(|seen| restarts > *seen)
    }

    /// Visits the children that were restarted.
    pub(crate) fn each<E>(&self, mut visit: impl FnMut(u8, u64) -> Result<(), E>) -> Result<(), E> {
        let restarted = self
            .restarts
            .iter()
            .enumerate()
            .filter(|(_, restarts)| **restarts > 0);
        restarted
            .map(|(child, restarts)| (child as u8, *restarts))
            .try_for_each(|(c, r)| visit(c, r))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_news_once_and_a_new_boot_forgets() {
        let mut seen = Seen::default();
        seen.boot(7);
        assert!(seen.is_news(2, 1) && !seen.is_news(2, 0));
        seen.set(2, 1);
        seen.boot(7);
        assert!(!seen.is_news(2, 1) && seen.is_news(2, 2));
        seen.boot(8);
        assert!(seen.is_news(2, 1));
        assert!(
            !seen.is_news(Seen::CHILDREN, 5),
            "nothing is kept of a child beyond the table"
        );
    }
}
