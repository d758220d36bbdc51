//! What operators write: `/queen/ctl` and `/queen/lifecycle/ctl`.
//!
//! Answers for deciding each request, for its effect before its answer, and for its audit line. A request that is
//! dropped while it waits (the client flushed it or is gone) leaves nothing half done.
//!
//! Never knows who asks: the tree lets only operators through.

use protocol::control::{Budget, GpuLease, QueenRequest};
use protocol::lifecycle::{self, Command, Gate, TransitionError};
use protocol::path::Path;
use protocol::refusal::Refusal;

use crate::leases;
use crate::ledger::line;
use crate::queen::Queen;
use crate::record::{Change, GpuId, Grant, Kind, Spec};
use crate::workers::{Making, Phase, id_of, number_of};

/// Bytes of a path in a bind or mount: NineDoor's bound for them.
const BIND_PATH_BYTES: usize = 128;
/// The one service there is to mount.
const LOG_SERVICE: &str = "logs";
/// Bytes of an unknown lifecycle command that the log repeats.
const WORD_BYTES: usize = 24;

/// Does what a line of `/queen/ctl` asks. Gives the number of the audit line.
pub(crate) async fn request(queen: &Queen, text: &str) -> Result<Option<u64>, Refusal> {
    match QueenRequest::parse(text).map_err(|_| Refusal::InvalidPayload)? {
        QueenRequest::SpawnHeartbeat { ticks, budget } => {
            let budget = queen.default_budget().with(budget);
            may_take_work(queen).await?;
            spawn(queen, Kind::Heartbeat { ticks }, budget.ttl_s, Some(budget.ops)).await
        }
        QueenRequest::SpawnGpu { lease, budget } => spawn_gpu(queen, &lease, budget).await,
        QueenRequest::Kill { id } => kill(queen, id).await,
        QueenRequest::Bind { from, to } => {
            bindable(from)?;
            bindable(to)?;
            if to == "/" {
                return Err(Refusal::InvalidPayload);
            }
            remark(queen, &line(format_args!("bound {from} -> {to}")))
        }
        QueenRequest::Mount { service, at } => {
            if service != LOG_SERVICE {
                return Err(Refusal::InvalidPath);
            }
            bindable(at)?;
            remark(queen, &line(format_args!("mounted {service} at {at}")))
        }
        QueenRequest::Budget(stated) => {
            queen.may_operate()?;
            let budget = queen.default_budget().with(stated);
            let text = line(format_args!(
                "updated default budget ttl={} ops={}",
                budget.ttl_s, budget.ops
            ));
            Ok(queen.commit(Some(Change::Budget(budget)), Some(&text))?)
        }
    }
}

/// Does what a word written to `/queen/lifecycle/ctl` asks. Gives the number of the audit line.
pub(crate) fn command(queen: &Queen, text: &str) -> Result<Option<u64>, (Refusal, Option<u64>)> {
    let (state, live) = queen.look(|ledger| (ledger.state.lifecycle.state, ledger.state.workers.live()));
    let Some(command) = Command::from_label(text) else {
        let mut word = heapless::String::<WORD_BYTES>::new();
        for c in text
            .trim()
            .chars()
            .filter(char::is_ascii_graphic)
            .take(WORD_BYTES)
        {
            // It takes as many as it has room for.
            let _ = word.push(c);
        }
        let told = queen.note(format_args!(
            "lifecycle denied action={word} state={state} reason=invalid-command"
        ));
        return Err((Refusal::InvalidPayload, told));
    };
    match lifecycle::transition(state, command, live as u32) {
        Ok(new) => {
            queen.may_operate().map_err(|refusal| (refusal, None))?;
            let now = queen.ctx.unix_ms();
            let moved = queen.change(|ledger| ledger.transition(new, command.label(), now));
            moved.map_err(|error| (error.into(), None))
        }
        Err(error) => {
            let told = queen.note(format_args!(
                "lifecycle denied action={command} state={state} reason={error}"
            ));
            let refusal = match error {
                TransitionError::Invalid => Refusal::InvalidPayload,
                TransitionError::Outstanding { .. } => Refusal::Denied,
            };
            Err((refusal, told))
        }
    }
}

/// Grants a lease and makes its worker.
async fn spawn_gpu(queen: &Queen, lease: &GpuLease<'_>, budget: Budget) -> Result<Option<u64>, Refusal> {
    may_take_work(queen).await?;
    let gpu = GpuId::new(lease.gpu_id).ok_or(Refusal::InvalidPayload)?;
    let capacity = queen.capacity(gpu.as_str()).ok_or(Refusal::InvalidPayload)?;
    let free = queen.look(|ledger| leases::free(capacity, &ledger.state.workers, &gpu));
    if !free.is_some_and(|free| free.holds(lease.mem_mb, lease.streams)) {
        let (free_mb, free_streams) = free.map_or((0, 0), |free| (free.mem_mb, free.streams));
        let told = queen.note(format_args!(
            "lease denied gpu={gpu} mem_mb={} streams={} free_mem_mb={free_mb} free_streams={free_streams}",
            lease.mem_mb, lease.streams
        ));
        queen.told(told).await;
        return Err(Refusal::GpuBusy);
    }
    let grant = Grant {
        gpu,
        mem_mb: lease.mem_mb,
        streams: lease.streams,
        ttl_s: lease.ttl_s,
        priority: lease.priority,
    };
    let ttl_s = budget.ttl_s.map_or(lease.ttl_s, |ttl_s| ttl_s.min(lease.ttl_s));
    spawn(queen, Kind::Gpu(grant), ttl_s, budget.ops).await
}

/// Whether the lifecycle lets work begin; what it does not is told in the log.
async fn may_take_work(queen: &Queen) -> Result<(), Refusal> {
    let state = queen.look(|ledger| ledger.state.lifecycle.state);
    let gate = Gate::NewWork;
    if gate.open_in(state) {
        return Ok(());
    }
    let told = queen.note(format_args!(
        "lifecycle denied action={gate} state={state} reason=gate-denied"
    ));
    queen.told(told).await;
    Err(Refusal::Denied)
}

async fn spawn(queen: &Queen, kind: Kind, ttl_s: u64, ops: Option<u64>) -> Result<Option<u64>, Refusal> {
    queen.may_operate()?;
    queen.look(|ledger| ledger.state.workers.room())?;
    let spec = Spec {
        number: queen.look(|ledger| ledger.state.next),
        kind,
        ttl_s,
        ops,
        issued_ms: queen.ctx.unix_ms(),
    };
    let draft = Draft::begin(queen, spec)?;
    let made = |making| (making != Making::Pending).then_some(making);
    let making = queen
        .within(queen.config.operation_timeout, |ledger| {
            made(ledger.state.workers.making(spec.number))
        })
        .await;
    match making {
        Some(Making::Done) => draft.keep(),
        Some(Making::Refused(refusal)) => Err(refusal),
        // A peer is away, or somebody killed a worker that nobody had been told of.
        Some(Making::Pending | Making::Gone) | None => Err(Refusal::OwnerDown),
    }
}

/// A worker that is being made. Dropped, it is taken back.
struct Draft<'a> {
    queen: &'a Queen,
    spec: Spec,
    kept: bool,
}

impl<'a> Draft<'a> {
    fn begin(queen: &'a Queen, spec: Spec) -> Result<Draft<'a>, Refusal> {
        queen.commit(Some(Change::Spawning(spec)), None)?;
        let draft = Draft {
            queen,
            spec,
            kept: false,
        };
        // A lease is written before anybody is told of it.
        if spec.grant().is_some() && !queen.leases_are_settled() {
            return Err(Refusal::BufferFull);
        }
        Ok(draft)
    }

    /// The worker is there, and from now on it is remembered.
    fn keep(mut self) -> Result<Option<u64>, Refusal> {
        let queen = self.queen;
        let number = self.spec.number;
        let text = line(format_args!("spawned {} {}", id_of(number), self.spec));
        let told = queen.commit(Some(Change::Alive { number }), Some(&text))?;
        self.kept = true;
        // It may have made all its ticks already.
        if let Some(reason) = queen.look(|ledger| ledger.state.workers.early_end(number)) {
            // If the journal will not take it, the worker domain tells again when it is told to start the worker.
            let _ = queen.ended(self.spec.host(), number, reason);
        }
        Ok(told)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let number = self.spec.number;
        if self.kept {
            return;
        }
        // Misfit: it is gone already. A journal that is full forgets it all the same: nobody said it lives.
        if self.queen.commit(Some(Change::Gone { number }), None).is_err() {
            self.queen.change(|ledger| ledger.state.workers.set_gone(number));
            self.queen.settle_leases();
        }
    }
}

async fn kill(queen: &Queen, id: &str) -> Result<Option<u64>, Refusal> {
    let number = number_of(id).ok_or(Refusal::InvalidPath)?;
    let told = match queen.look(|ledger| ledger.state.workers.phase(number)) {
        None => return Err(Refusal::InvalidPath),
        // An earlier kill that could not be answered in time, perhaps: this one waits for the same.
        Some(Phase::Gone) => None,
        Some(Phase::Spawning | Phase::Alive) => {
            queen.may_operate()?;
            queen.commit(
                Some(Change::Gone { number }),
                Some(&line(format_args!("killed {}", queen.shown(number)))),
            )?
        }
    };
    let removed = |gone: bool| gone.then_some(());
    queen
        .within(queen.config.operation_timeout, |ledger| {
            removed(ledger.state.workers.is_removed(number))
        })
        .await
        .ok_or(Refusal::OwnerDown)?;
    Ok(told)
}

/// Says in the log what NineDoor is about to do for a session.
fn remark(queen: &Queen, text: &str) -> Result<Option<u64>, Refusal> {
    queen.may_operate()?;
    Ok(queen.commit(None, Some(text))?)
}

/// Whether a path may be bound or be bound to.
fn bindable(path: &str) -> Result<(), Refusal> {
    let good = Path::parse(path).is_ok() && !path.contains('*') && path.len() <= BIND_PATH_BYTES;
    if good {
        Ok(())
    } else {
        Err(Refusal::InvalidPayload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_can_be_bound() {
        for (path, good) in [
            ("/log", true),
            ("/", true),
            ("/proc/../boot", false),
            ("log", false),
            ("", false),
            ("/host/systemd/*/restart", false),
            ("/a/b/c/d/e/f/g/h/i", false),
        ] {
            assert_eq!(bindable(path).is_ok(), good, "{path:?}");
        }
    }
}
