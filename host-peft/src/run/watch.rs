//! Watching a lease while its command runs.
//!
//! Answers for telling that it is over, once: the hive wrote `RELEASED` for its worker, or its time has passed and the
//! hive does not say that it is still active. Never takes silence of the hive for an end before that time.

use std::time::Duration;

use client::Session;
use protocol::gpu::LeaseState;
use tokio::time::{Instant, sleep_until};

use crate::gpu::{Lease, latest_of, read};

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// The hive says so.
    Released {
        /// Whose it was.
        worker: String,
    },
    /// Its time has passed.
    Expired {
        /// Whose it was.
        worker: String,
    },
}

/// What the file says of a worker's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Active,
    Released,
    /// The hive does not answer, or its file has no line of the worker any more.
    Nothing,
}

/// A lease under watch.
pub(super) struct LeaseWatch {
    lease: Lease,
    poll: Duration,
    next: Instant,
    /// It was granted before it was seen, so that it ends no later than this.
    deadline: Instant,
    told: bool,
}

impl LeaseWatch {
    /// Watches from now on.
    pub(super) fn new(lease: Lease, poll: Duration) -> Self {
        let now = Instant::now();
        let deadline = now
            .checked_add(Duration::from_secs(lease.ttl_s))
            .unwrap_or_else(|| now + Duration::from_secs(u64::from(u32::MAX)));
        Self {
            lease,
            poll,
            next: now + poll,
            deadline,
            told: false,
        }
    }

    /// Returns when the lease is over; after that, never. May be dropped and called again.
    pub(super) async fn over(&mut self, session: &Session, gpu: &str) -> Over {
        loop {
            if self.told {
                std::future::pending::<()>().await;
            }
            sleep_until(self.next).await;
            // A hive that is gone is asked for longer than a poll takes; the deadline does not wait for it.
            let late = self.deadline.max(Instant::now() + self.poll);
            let lines = tokio::select! {
                lines = read(session, gpu) => lines.ok(),
                () = sleep_until(late) => None,
            };
            self.next = Instant::now() + self.poll;
            let said = match lines.and_then(|lines| latest_of(&lines, &self.lease.worker_id)) {
                Some(lease) if lease.state == LeaseState::Active => Said::Active,
                Some(_) => Said::Released,
                None => Said::Nothing,
            };
            if let Some(over) = self.judge(said, Instant::now()) {
                self.told = true;
                return over;
            }
        }
    }

    fn judge(&self, said: Said, now: Instant) -> Option<Over> {
        let worker = self.lease.worker_id.clone();
        match said {
            Said::Released => Some(Over::Released { worker }),
            Said::Nothing if now >= self.deadline => Some(Over::Expired { worker }),
            Said::Active | Said::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_release_or_the_time_ends_it() {
        let lease = Lease {
            state: LeaseState::Active,
            gpu_id: "GPU-0".into(),
            worker_id: "worker-1".into(),
            mem_mb: 1,
            streams: 1,
            ttl_s: 60,
            priority: 0,
        };
        let watch = LeaseWatch::new(lease.clone(), Duration::from_secs(1));
        let worker = || "worker-1".to_owned();
        let (before, after) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        for (said, now, over) in [
            (Said::Active, before, None),
            (Said::Nothing, before, None),
            (Said::Released, before, Some(Over::Released { worker: worker() })),
            (Said::Active, after, None),
            (Said::Nothing, after, Some(Over::Expired { worker: worker() })),
            (Said::Released, after, Some(Over::Released { worker: worker() })),
        ] {
            assert_eq!(watch.judge(said, now), over, "{said:?}");
        }
        let endless = LeaseWatch::new(
            Lease {
                ttl_s: u64::MAX,
                ..lease
            },
            Duration::from_secs(1),
        );
        assert_eq!(endless.judge(Said::Nothing, after), None);
    }
}
