//! What the queen's tasks share.
//!
//! Answers for changing the ledger and telling everybody who waits, for waiting with a bound, and for the audit line
//! of an operation. A task never holds the ledger while it waits.
//!
//! Never speaks 9P, never decides.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;

use protocol::refusal::{Reason, Refusal};
use protocol::worker::EndReason;
use runtime::Context;
use runtime::bell::Bell;
use runtime::counters::Refused;

use crate::config::Config;
use crate::gpu::Gpus;
use crate::ingest::Ingest;
use crate::ledger::{CommitError, Ledger, line};
use crate::record::{Budget, Change, GpuId};
use crate::workers::{Peer, Step, id_of};

/// Tasks that wait for the ledger at once: the server's handlers and the queen's own tasks.
const WAITERS: usize = 40;

/// The queen of one domain.
pub(crate) struct Queen {
    pub(crate) ctx: Context,
    pub(crate) config: Config,
    ledger: RefCell<Ledger>,
    /// What hosts published. Never held while a task waits.
    pub(crate) gpus: RefCell<Gpus>,
    /// What devices sent.
    pub(crate) ingest: Ingest,
    /// How often something had been published when the lease files last said what the table says.
    pub(crate) settled_at: Cell<Option<u32>>,
    pub(crate) bell: Bell<WAITERS>,
}

impl Queen {
    pub(crate) fn new(ctx: Context, config: Config, ledger: Ledger, gpus: Gpus, ingest: Ingest) -> Queen {
        Queen {
            ctx,
            config,
            ledger: RefCell::new(ledger),
            gpus: RefCell::new(gpus),
            ingest,
            settled_at: Cell::new(None),
            bell: Bell::new(),
        }
    }

    /// Looks at the ledger.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger.borrow())
    }

    /// Commits a change and tells everybody, lease files included.
    pub(crate) fn commit(
        &self,
        change: Option<Change<'_>>,
        line: Option<&str>,
    ) -> Result<Option<u64>, CommitError> {
        let committed = self.change(|ledger| ledger.commit(change, line));
        if matches!(change, Some(Change::Spawning(_) | Change::Gone { .. })) {
            self.settle_leases();
        }
        committed
    }

    /// Changes the ledger and tells everybody.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let changed = change(&mut self.ledger.borrow_mut());
        self.bell.ring();
        changed
    }

    /// Waits until the ledger shows something.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&Ledger) -> Option<T>) -> T {
        self.bell.until(|| look(&self.ledger.borrow())).await
    }

    /// As [`until`](Self::until), for at most that long.
    pub(crate) async fn within<T>(
        &self,
        time: Duration,
        look: impl FnMut(&Ledger) -> Option<T>,
    ) -> Option<T> {
        self.ctx.timeout(time, self.until(look)).await.ok()
    }

    /// Whether an operation may begin: it must be possible to write its audit line.
    pub(crate) fn may_operate(&self) -> Result<(), Refusal> {
        if self.look(|ledger| ledger.state.audit.has_room()) {
            Ok(())
        } else {
            Err(Refusal::OwnerDown)
        }
    }

    /// Says something in the log that changes nothing. Without room for it, it is counted as lost.
    pub(crate) fn note(&self, text: fmt::Arguments<'_>) -> Option<u64> {
        self.change(|ledger| {
            if !ledger.state.audit.has_room() {
                ledger.state.audit.lose();
                return None;
            }
            ledger.commit(None, Some(&line(text))).ok().flatten()
        })
    }

    /// Waits until the line of that number is in the log, for at most the configured time.
    pub(crate) async fn told(&self, line: Option<u64>) {
        if let Some(number) = line {
            let delivered = |ledger: &Ledger| ledger.state.audit.is_delivered(number).then_some(());
            self.within(self.config.audit_timeout, delivered).await;
        }
    }

    /// The budget of a worker whose request states none.
    pub(crate) fn default_budget(&self) -> Budget {
        let manifest = Budget {
            ttl_s: self.config.default_ttl_s,
            ops: self.config.default_ops,
        };
        self.look(|ledger| ledger.state.budget).unwrap_or(manifest)
    }

    /// Gives up a worker that nobody asked to end.
    pub(crate) fn revoke(&self, number: u64, reason: &str) -> Result<(), CommitError> {
        let text = line(format_args!("revoked {} reason={reason}", self.shown(number)));
        self.commit(Some(Change::Gone { number }), Some(&text)).map(drop)
    }

    /// A worker as the log names it, with its GPU if it has a lease.
    pub(crate) fn shown(&self, number: u64) -> Shown {
        let spec = self.look(|ledger| ledger.state.workers.spec(number));
        Shown {
            number,
            gpu: spec.and_then(|spec| Some(spec.grant()?.gpu)),
        }
    }

    /// A worker of that domain has ended by itself.
    pub(crate) fn ended(&self, host: Peer, number: u64, reason: EndReason) -> Result<(), CommitError> {
        if self.change(|ledger| ledger.state.workers.ended(host, number, reason)) {
            self.revoke(number, reason.label())?;
            self.change(|ledger| ledger.state.workers.done(host, Step::Unmake(number)));
        }
        Ok(())
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, refusal: Refusal) {
        self.ctx.counters().refused(match refusal.reason() {
            Reason::Busy => Refused::Busy,
            Reason::Quota => Refused::Quota,
            Reason::Cut => Refused::Cut,
            Reason::Policy => Refused::Policy,
        });
    }
}

/// A worker as the log names it.
pub(crate) struct Shown {
    number: u64,
    gpu: Option<GpuId>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&id_of(self.number))?;
        match &self.gpu {
            Some(gpu) => write!(f, " gpu={gpu}"),
            None => Ok(()),
        }
    }
}
