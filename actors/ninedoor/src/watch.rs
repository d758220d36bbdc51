//! Restarts of actors, as audit lines.
//!
//! Answers for one line for each restart that the supervisor's page shows, and for one when it gives an actor up;
//! also for those that happened while the door itself was down.
//!
//! Never restarts anything.

use alloc::rc::Rc;

use runtime::supervision::{ChildState, SupervisionView};

use crate::audit::AuditLine;
use crate::restarts::Seen;
use crate::shared::Shared;

/// Watches the page for as long as the domain lives.
pub(crate) async fn restarts(shared: Rc<Shared>, page: SupervisionView) {
    let mut given_up = [false; Seen::CHILDREN];
    loop {
        for index in 0..page.len().min(Seen::CHILDREN) {
            let Some(child) = page.child(index) else { continue };
            let (name, restarts, reason) = (child.name, child.restarts, child.last_reason);
            let mut hall = shared.hall.borrow_mut();
            let tail = AuditLine::of(format_args!(
                "actor={name} restarts={restarts} reason={}",
                reason.as_str()
            ));
            let tail = tail.as_str();
            hall.note_restart(
                index,
                restarts,
                format_args!("supervisor restart {tail}"),
                shared.now(),
            );
            let down = child.state == ChildState::Down;
            if let Some(told) = given_up.get_mut(index).filter(|told| **told != down) {
                *told = down;
                if down {
                    hall.note(format_args!("supervisor gave-up {tail}"), shared.now());
                }
            }
        }
        page.changed().await;
    }
}
