//! Jobs, by themselves: opened when a gate is met, told of in the log, and let go when there are too many.
//!
//! Answers for each of the three happening in pieces that leave room for requests, and again after a restart until it
//! has happened. Never judges a gate.

use alloc::rc::Rc;
use core::pin::pin;

use futures::future::select;
use protocol::refusal::Refusal;

use super::base::base_of;
use super::store::{Base, Piece};
use crate::ledger::line;
use crate::queen::Queen;

/// Opens jobs, for as long as the domain lives.
pub(crate) async fn run(queen: Rc<Queen>) {
    loop {
        match work(&queen) {
            Ok(true) => queen.ctx.yield_now().await,
            Ok(false) => queen.bell.next().await,
            Err(_) => {
                // What was half done is begun again. The journal may take it after its next compaction.
                let pause = pin!(queen.ctx.sleep(queen.config.retry_pause));
                select(pause, pin!(queen.bell.next())).await;
            }
        }
    }
}

/// Does a piece of work. False if there is none.
fn work(queen: &Queen) -> Result<bool, Refusal> {
    if let Some((number, text)) = untold(queen) {
        queen.commit(None, Some(&text))?;
        queen.ingest.store.borrow_mut().jobs.set_told(number)?;
        return Ok(true);
    }
    let surplus = queen.ingest.store.borrow().jobs.surplus().cloned();
    if let Some(job) = surplus {
        let text = line(format_args!("lora-job closed id={} reason=jobs-bound", job.id));
        queen.commit(None, Some(&text))?;
        queen.ingest.store.borrow_mut().jobs.close(job.facts.number)?;
        return Ok(true);
    }
    let piece = {
        let mut store = queen.ingest.store.borrow_mut();
        let base = |model: &str, base: &mut Base| {
            let gpus = queen.gpus.borrow();
            if let Some(named) = gpus.manifest(model).and_then(base_of) {
                // It is not longer than the longest.
                let _ = base.push_str(named);
            }
        };
        let piece = store.export(base, queen.ctx.unix_ms());
        if piece.is_err() {
            store.settle()?;
        }
        piece?
    };
    if let Piece::Empty(place) = piece {
        let store = queen.ingest.store.borrow();
        let model = store.gates.get(place).map_or("", |gate| gate.model.as_str());
        queen.note(format_args!(
            "lora-job skipped model={model} reason=records-evicted"
        ));
    }
    Ok(piece != Piece::Nothing)
}

/// The audit line of a job that the log does not tell of yet.
fn untold(queen: &Queen) -> Option<(u32, crate::audit::Line)> {
    let store = queen.ingest.store.borrow();
    let job = store.untold()?;
    let facts = job.facts;
    let model = store
        .gates
        .get(facts.model)
        .map_or("", |gate| gate.model.as_str());
    let drift = facts.used.mean().unwrap_or(0.0);
    let text = line(format_args!(
        "lora-job opened id={} model={model} samples={} drift={drift:.4} records={} bytes={}",
        job.id, facts.used.samples, facts.records, facts.bytes[0]
    ));
    Some((facts.number, text))
}
