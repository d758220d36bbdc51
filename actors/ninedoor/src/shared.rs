//! What the doors of one domain share: the state, the owners, the world outside.
//!
//! Answers for the present moment, for the count of requests in progress, for ending sessions that nobody holds, for
//! every refusal being counted and told, and for what `/proc` shows of the other domains.
//!
//! Never serves a file.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use ninep::Errno;
use protocol::refusal::Reason;
use runtime::Context;
use runtime::counters::{Counters, Refused};
use runtime::link::Connection;

use crate::audit::{Fail, Verb};
use crate::forward::Forward;
use crate::hall::{Hall, Moment};
use crate::procfs::{Child, House};
use crate::snapshot::Snapshots;

/// What all doors share.
pub(crate) struct Shared {
    pub(crate) ctx: Context,
    pub(crate) hall: RefCell<Hall>,
    pub(crate) snapshots: Rc<RefCell<Snapshots>>,
    pub(crate) forward: Rc<Forward>,
    /// The connection of each door, in its present life.
    pub(crate) connections: Vec<RefCell<Option<Connection>>>,
    pub(crate) outstanding: Cell<u32>,
}

/// A request in progress, as `/proc/9p/outstanding` counts it.
pub(crate) struct Busy<'a>(&'a Cell<u32>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Shared {
    /// The present moment.
    pub(crate) fn now(&self) -> Moment {
        Moment {
            mono_ms: self.ctx.now().as_millis(),
            unix_ms: self.ctx.unix_ms(),
        }
    }

    /// A request begins. What earlier ones have left behind is cleared first.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.sweep();
        self.outstanding.set(self.outstanding.get() + 1);
        Busy(&self.outstanding)
    }

    /// Ends the sessions whose last fid is gone.
    pub(crate) fn sweep(&self) {
        let closed = |door: u8| {
            let connection = self.connections.get(usize::from(door));
            connection
                .is_some_and(|connection| connection.borrow().as_ref().is_none_or(Connection::is_closed))
        };
        self.hall
            .borrow_mut()
            .sweep(closed, self.now(), |slot| self.forward.release(slot));
    }

    pub(crate) fn count(&self, fail: Fail) {
        if let Some(refusal) = fail.refusal() {
            let reason = match refusal.reason() {
                Reason::Busy => Refused::Busy,
                Reason::Quota => Refused::Quota,
                Reason::Cut => Refused::Cut,
                Reason::Policy => Refused::Policy,
            };
            self.ctx.counters().refused(reason);
        }
    }

    /// Counts and tells a refusal; gives what the client is answered.
    pub(crate) fn answer<T>(
        &self,
        slot: usize,
        view: &str,
        verb: Verb,
        result: Result<T, Fail>,
    ) -> Result<T, Errno> {
        result.map_err(|fail| {
            self.count(fail);
            self.hall.borrow_mut().tell(slot, verb, view, fail, self.now());
            fail.errno()
        })
    }
}

impl House for Shared {
    fn actor(&self, index: u8) -> Option<&str> {
        self.ctx
            .domains()
            .get(usize::from(index))
            .map(|name| name.as_str())
    }

    fn counters(&self, name: &str) -> Option<runtime::counters::Snapshot> {
        if name == self.ctx.name() {
            return Some(Counters::snapshot(self.ctx.counters()));
        }
        Some(self.ctx.counters_of(name)?.snapshot())
    }

    fn each_child(&self, visit: &mut dyn FnMut(Child<'_>)) {
        let Some(page) = self.ctx.supervision() else {
            return;
        };
        for child in (0..page.len()).filter_map(|index| page.child(index)) {
            let reason = child.last_reason;
            visit(Child {
                name: child.name,
                state: child.state,
                restarts: child.restarts,
                reason: reason.as_str(),
            });
        }
    }

    fn degraded(&self) -> bool {
        self.ctx.supervision().is_some_and(|page| page.degraded())
    }

    fn outstanding(&self) -> u32 {
        self.outstanding.get()
    }
}
