//! What the tasks of a worker domain share.
//!
//! Answers for the slots, for the one connection to NineDoor that all workers use, and for waking whoever waits for
//! either. A task never holds the slots while it waits.
//!
//! Never speaks 9P.

use core::cell::RefCell;

use ninep::Client;
use runtime::Context;
use runtime::bell::Bell;
use runtime::link::Connection;

use crate::Config;
use crate::slots::Slots;

/// Tasks that wait for the slots at once: one a slot, and the server's handlers.
const WAITERS: usize = 80;

/// A worker domain.
pub(crate) struct Host<T> {
    pub(crate) ctx: Context,
    pub(crate) config: Config,
    pub(crate) trade: T,
    slots: RefCell<Slots>,
    door: RefCell<Option<Client<Connection>>>,
    bell: Bell<WAITERS>,
}

impl<T> Host<T> {
    pub(crate) fn new(ctx: Context, config: Config, trade: T) -> Host<T> {
        Host {
            slots: RefCell::new(Slots::new(config.slots)),
            door: RefCell::new(None),
            bell: Bell::new(),
            ctx,
            config,
            trade,
        }
    }

    /// Looks at the slots.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Slots) -> R) -> R {
        look(&self.slots.borrow())
    }

    /// Changes the slots and tells everybody.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Slots) -> R) -> R {
        let changed = change(&mut self.slots.borrow_mut());
        self.bell.ring();
        changed
    }

    /// Waits until the slots show something, or give something up.
    pub(crate) async fn until<R>(&self, mut look: impl FnMut(&mut Slots) -> Option<R>) -> R {
        self.bell.until(|| look(&mut self.slots.borrow_mut())).await
    }

    /// Lets go of the wakers of tasks that are gone: each keeps the memory of the connection that it belonged to.
    pub(crate) fn forget_waiters(&self) {
        self.bell.ring();
    }

    /// Waits until there is a session with NineDoor.
    pub(crate) async fn door(&self) -> Client<Connection> {
        self.bell.until(|| self.door.borrow().clone()).await
    }

    /// There is a session with NineDoor, or there is none any more.
    pub(crate) fn set_door(&self, client: Option<Client<Connection>>) {
        *self.door.borrow_mut() = client;
        self.bell.ring();
    }
}
