//! What one session's ticket has left: rates, bandwidth, cursors.
//!
//! Answers for the arithmetic of WIRE 2.7 and for the words with which the log says what ran out.
//!
//! Never decides which scope applies (the ticket's claims do), never reads a clock, never forgives: what was spent
//! stays spent until the session ends.

use core::fmt;

use protocol::limits::TICKET_SCOPES;
use protocol::ticket::{ClaimLimits, Claims};

use crate::telemetry::WorkerRef;

/// Milliseconds of a rate window.
pub(crate) const WINDOW_MS: u64 = 1000;

/// Telemetry files whose cursors one session keeps; a session that reads more of them forgets the oldest.
const CURSORS: usize = 16;

/// What a ticket denied; `Display` is the tail of the log line after `path=.. verb=..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// No scope covers the path with this verb.
    Scope,
    /// The scope's rate in this window is used up.
    Rate {
        /// Requests a second.
        limit_per_s: u32,
    },
    /// The session's bytes are used up.
    Bandwidth {
        /// Bytes the session began with.
        limit: u64,
        /// Bytes left.
        remaining: u64,
        /// Bytes wanted.
        requested: u64,
    },
    /// No telemetry read is left.
    Advances {
        /// Reads the session began with.
        limit: u32,
    },
    /// No telemetry read that goes back is left.
    Resumes {
        /// Reads the session began with.
        limit: u32,
    },
    /// The ticket's time is over.
    Expired {
        /// Unix milliseconds.
        issued_at_ms: u64,
        /// Seconds.
        ttl_s: u64,
        /// Unix milliseconds.
        now_ms: u64,
    },
}

impl Denial {
    /// The word after `reason=` in the log line.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Rate { .. } => "rate",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Advances { .. } => "cursor-advance",
            Self::Resumes { .. } => "cursor-resume",
            Self::Expired { .. } => "expired",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Scope => Ok(()),
            Self::Rate { limit_per_s } => write!(f, " limit_per_s={limit_per_s} window_ms={WINDOW_MS}"),
            Self::Bandwidth {
                limit,
                remaining,
                requested,
            } => {
                write!(
                    f,
                    " limit_bytes={limit} remaining_bytes={remaining} requested_bytes={requested}"
                )
            }
            Self::Advances { limit } | Self::Resumes { limit } => write!(f, " limit={limit}"),
            Self::Expired {
                issued_at_ms,
                ttl_s,
                now_ms,
            } => {
                write!(f, " issued_at_ms={issued_at_ms} ttl_s={ttl_s} now_ms={now_ms}")
            }
        }
    }
}

/// A quota: how much there was and how much is left; none is unlimited.
#[derive(Clone, Copy, Debug, Default)]
struct Quota<T> {
    limit: T,
    left: T,
    limited: bool,
}

impl<T: Copy + Default + PartialEq> Quota<T> {
    fn of(stated: T, fallback: T) -> Self {
        let limit = if stated == T::default() { fallback } else { stated };
        Self {
            limit,
            left: limit,
            limited: limit != T::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began_ms: u64,
    requests: u32,
}

/// What is left of a session's ticket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    windows: [Window; TICKET_SCOPES],
    bandwidth: Quota<u64>,
    resumes: Quota<u32>,
    advances: Quota<u32>,
    cursors: heapless::Deque<(WorkerRef, u64), CURSORS>,
    tracked: bool,
}

impl Usage {
    /// A session without a ticket: nothing is counted, nothing runs out.
    pub(crate) fn untracked() -> Self {
        Self::default()
    }

    /// A session with these claims. What they do not state is `fallback`'s, if there is one.
    pub(crate) fn of(claims: &Claims<'_>, fallback: Option<&ClaimLimits>) -> Self {
        let stated = claims.quotas.unwrap_or_default();
        let fallback = fallback.map(|limits| limits.quotas).unwrap_or_default();
        Self {
            bandwidth: Quota::of(stated.bandwidth_bytes, fallback.bandwidth_bytes),
            resumes: Quota::of(stated.cursor_resumes, fallback.cursor_resumes),
            advances: Quota::of(stated.cursor_advances, fallback.cursor_advances),
            tracked: true,
            ..Self::default()
        }
    }

    /// Counts a request under the scope of that index; `limit_per_s` 0 is no limit.
    pub(crate) fn request(&mut self, scope: usize, limit_per_s: u32, now_ms: u64) -> Result<(), Denial> {
        let Some(window) = self.windows.get_mut(scope).filter(|_| limit_per_s > 0) else {
            return Ok(());
        };
        if window.requests == 0 || now_ms.saturating_sub(window.began_ms) >= WINDOW_MS {
            *window = Window {
                began_ms: now_ms,
                requests: 0,
            };
        }
        if window.requests >= limit_per_s {
            return Err(Denial::Rate { limit_per_s });
        }
        window.requests += 1;
        Ok(())
    }

    /// Spends bytes, all or none.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Denial> {
        let Quota { limit, left, limited } = self.bandwidth;
        let requested = bytes as u64;
        if limited && requested > left {
            return Err(Denial::Bandwidth {
                limit,
                remaining: left,
                requested,
            });
        }
        self.bandwidth.left = left.saturating_sub(requested);
        Ok(())
    }

    /// Consumes one telemetry read.
    pub(crate) fn advance(&mut self) -> Result<(), Denial> {
        if self.advances.limited {
            let left = self.advances.left.checked_sub(1);
            self.advances.left = left.ok_or(Denial::Advances {
                limit: self.advances.limit,
            })?;
        }
        Ok(())
    }

    /// Where a telemetry read of this worker begins: at the cursor when one is kept, never before `base`.
    pub(crate) fn start(&self, worker: WorkerRef, base: u64) -> u64 {
        self.cursor(worker).map_or(base, |cursor| cursor.max(base))
    }

    /// Whether a read at `position` goes back behind what the session has seen of this worker.
    pub(crate) fn goes_back(&self, worker: WorkerRef, position: u64) -> bool {
        self.cursor(worker).is_some_and(|cursor| position < cursor)
    }

    /// Consumes one telemetry read that goes back.
    pub(crate) fn resume(&mut self) -> Result<(), Denial> {
        if self.resumes.limited {
            let left = self.resumes.left.checked_sub(1);
            self.resumes.left = left.ok_or(Denial::Resumes {
                limit: self.resumes.limit,
            })?;
        }
        Ok(())
    }

    /// Notes that the session has seen this worker's telemetry up to `end`.
    pub(crate) fn seen(&mut self, worker: WorkerRef, end: u64) {
        if !self.tracked {
            return;
        }
        if let Some((_, cursor)) = self.cursors.iter_mut().find(|(of, _)| *of == worker) {
            *cursor = end.max(*cursor);
            return;
        }
        if self.cursors.is_full() {
            self.cursors.pop_front();
        }
        // There is room: the oldest has just made it.
        let _ = self.cursors.push_back((worker, end));
    }

    fn cursor(&self, worker: WorkerRef) -> Option<u64> {
        self.cursors
            .iter()
            .find(|(of, _)| *of == worker)
            .map(|(_, cursor)| *cursor)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use protocol::role::Role;
    use protocol::ticket::Quotas;

    use super::*;
    use crate::telemetry::Workers;

    const LIMITS: ClaimLimits = ClaimLimits {
        scopes: 8,
        scope_path_bytes: 128,
        scope_rate_per_s: 64,
        quotas: Quotas {
            bandwidth_bytes: 100,
            cursor_resumes: 1,
            cursor_advances: 2,
        },
    };

    fn usage(quotas: Option<Quotas>, fallback: Option<&ClaimLimits>) -> Usage {
        Usage::of(
            &Claims {
                quotas,
                ..Claims::new(Role::Queen)
            },
            fallback,
        )
    }

    #[test]
    fn a_rate_is_counted_in_windows_of_a_second() {
        let mut usage = usage(None, None);
        let denied = Err(Denial::Rate { limit_per_s: 2 });
        for (now_ms, expected) in [
            (500, Ok(())),
            (900, Ok(())),
            (1499, denied),
            (1500, Ok(())),
            (1501, Ok(())),
            (1502, denied),
        ] {
            assert_eq!(usage.request(0, 2, now_ms), expected, "at {now_ms}");
        }
        assert_eq!(
            usage.request(1, 2, 1502),
            Ok(()),
            "another scope has its own window"
        );
        for _ in 0..1000 {
            assert_eq!(usage.request(2, 0, 0), Ok(()), "0 is no limit");
        }
    }

    #[test]
    fn bandwidth_is_spent_whole_or_not_at_all() {
        let mut usage = usage(
            Some(Quotas {
                bandwidth_bytes: 10,
                ..Quotas::default()
            }),
            None,
        );
        assert_eq!(usage.spend(7), Ok(()));
        assert_eq!(
            usage.spend(4),
            Err(Denial::Bandwidth {
                limit: 10,
                remaining: 3,
                requested: 4
            })
        );
        assert_eq!(usage.spend(3), Ok(()));
        assert_eq!(
            usage.spend(1).unwrap_err().to_string(),
            " limit_bytes=10 remaining_bytes=0 requested_bytes=1"
        );
    }

    #[test]
    fn what_a_ticket_does_not_state_is_the_manifests_where_that_applies() {
        let mut imposed = usage(None, Some(&LIMITS));
        assert_eq!(
            imposed.spend(101),
            Err(Denial::Bandwidth {
                limit: 100,
                remaining: 100,
                requested: 101
            })
        );
        let mut partly = usage(
            Some(Quotas {
                bandwidth_bytes: 7,
                ..Quotas::default()
            }),
            Some(&LIMITS),
        );
        assert!(partly.spend(8).is_err());
        assert_eq!((partly.advance(), partly.advance()), (Ok(()), Ok(())));
        assert_eq!(partly.advance(), Err(Denial::Advances { limit: 2 }));
        let mut free = usage(None, None);
        assert_eq!(free.spend(usize::MAX), Ok(()));
        assert_eq!(free.advance(), Ok(()));
    }

    #[test]
    fn a_cursor_goes_on_where_the_session_was() {
        let mut workers = Workers::new(1, 64);
        workers.create("worker-1", 0).unwrap();
        let worker = workers.find("worker-1").unwrap();
        let mut usage = usage(None, Some(&LIMITS));
        assert_eq!(usage.start(worker, 5), 5);
        usage.seen(worker, 20);
        assert_eq!(usage.start(worker, 5), 20);
        assert_eq!(usage.start(worker, 25), 25, "the ring has overtaken the cursor");
        assert!(usage.goes_back(worker, 19) && !usage.goes_back(worker, 20));
        assert_eq!(usage.resume(), Ok(()));
        assert_eq!(usage.resume(), Err(Denial::Resumes { limit: 1 }));
        let mut untracked = Usage::untracked();
        untracked.seen(worker, 20);
        assert_eq!(untracked.start(worker, 5), 5);
    }
}
