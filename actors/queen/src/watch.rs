//! What nobody asks for: time runs out, a GPU is gone, the supervisor gives up a child.
//!
//! Answers for all of it being acted on in time, also when they happened while the queen was down.
//!
//! Never restarts anything.

use alloc::rc::Rc;
use core::pin::pin;
use core::time::Duration;

use futures::future::select;
use protocol::worker::EndReason;
use runtime::supervision::{ChildState, SupervisionView};

use crate::queen::Queen;
use crate::record::Change;
use crate::workers::Phase;

/// The longest sleep: wall time may be set while the queen sleeps on another clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Gives up workers whose time is over.
pub(crate) async fn expiries(queen: Rc<Queen>) {
    loop {
        let next = queen.look(|ledger| {
            let alive = ledger
                .state
                .workers
                .wanted()
                .filter(|worker| worker.phase == Phase::Alive);
            alive
                .map(|worker| (worker.spec.expires_ms(), worker.spec.number))
                .min()
        });
        let now = queen.ctx.unix_ms();
        let sleep = match next {
            Some((expires, number)) if expires <= now => {
                match queen.revoke(number, EndReason::Expired.label()) {
                    Ok(()) => continue,
                    // The journal will not take it; it may after its next compaction.
                    Err(_) => queen.config.retry_pause,
                }
            }
            Some((expires, _)) => Duration::from_millis(expires - now).min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        };
        select(pin!(queen.ctx.sleep(sleep)), pin!(queen.bell.next())).await;
    }
}

/// Gives up leases that their GPUs can bear no more, and sees to it that lease files say what is.
pub(crate) async fn leases(queen: Rc<Queen>) {
    loop {
        if let Some((number, reason)) = queen.lost_lease() {
            if queen.revoke(number, reason).is_ok() {
                continue;
            }
        } else if queen.leases_are_settled() {
            queen.bell.next().await;
            continue;
        } else {
            queen.settle_leases();
            if queen.leases_are_settled() {
                continue;
            }
        }
        // A journal will not take it; it may after its next compaction.
        queen.ctx.sleep(queen.config.retry_pause).await;
    }
}

/// Moves an ONLINE node to DEGRADED when the supervisor gives up a child.
pub(crate) async fn escalations(queen: Rc<Queen>, page: SupervisionView) {
    loop {
        let down = down(&page);
        let seen = queen.look(|ledger| ledger.state.down);
        if down != seen {
            let now = queen.ctx.unix_ms();
            let noted = queen.change(|ledger| {
                if down & !seen != 0 {
                    ledger.degrade("supervisor-escalation", now)?;
                }
                ledger.commit(Some(Change::Down { children: down }), None)
            });
            if noted.is_err() {
                queen.ctx.sleep(queen.config.retry_pause).await;
                continue;
            }
        }
        page.changed().await;
    }
}

/// The children that are down for good, one bit each; there are at most 63 domains.
fn down(page: &SupervisionView) -> u64 {
    (0..page.len().min(64))
        .filter(|index| {
            page.child(*index)
                .is_some_and(|child| child.state == ChildState::Down)
        })
        .fold(0, |children, index| children | 1 << index)
}
