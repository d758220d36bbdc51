//! The host: notifications to turns, turns to signals and a deadline.
//!
//! Answers for: one turn per notification, and more as long as work is left; signals that leave when the turn is over,
//! the last of them together with the next receive, which saves a system call.
//! Never: waits anywhere but in Microkit's own receive.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::task::{Context, Poll, Waker};

use hive_boot::channel;
use runtime::badge::{self, Badges};
use runtime::domain::{Domain, Step};
use sel4_microkit::{Channel, ChannelSet, DeferredAction, Handler};

use crate::heap;
use crate::pool::PoolExecutor;
use crate::symbols;
use crate::time::{self, Deadline};

/// Where Microkit puts a domain's receive end and its reply object.
const INPUT: sel4::cap::Endpoint = sel4::Cap::from_bits(1);
const REPLY: sel4::cap::Reply = sel4::Cap::from_bits(4);

/// A domain of the manifest on seL4.
pub struct Host {
    domain: Domain<PoolExecutor>,
    deadline: Deadline,
    /// The channels of its links.
    links: Badges,
    /// Rung when one of `rings` comes.
    bell: Rc<Bell>,
    /// The channels of what is no domain's task: the device's interrupt, and for the serial domain everybody's log.
    rings: Badges,
    /// A turn was asked for from inside.
    again: Rc<Cell<bool>>,
    deferred: Option<DeferredAction>,
}

/// An interrupt, or news in a log, that a task waits for.
#[derive(Default)]
pub struct Bell {
    rung: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Bell {
    /// Ready if it came since the last time.
    pub fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rung.replace(false) {
            return Poll::Ready(());
        }
        self.waiter.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn ring(&self) {
        self.rung.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

impl Host {
    pub(crate) fn new(
        domain: Domain<PoolExecutor>,
        deadline: Deadline,
        links: Badges,
        bell: Rc<Bell>,
        rings: Badges,
        again: Rc<Cell<bool>>,
    ) -> Self {
        if symbols::microkit_irqs.get() & 1 << channel::DEVICE != 0 {
            // An earlier life may have died before it said that it had heard the interrupt, which comes no more then.
            let _ = Channel::new(channel::DEVICE.into()).irq_ack();
        }
        let mut host = Self {
            domain,
            deadline,
            links,
            bell,
            rings,
            again,
            deferred: None,
        };
        host.turns(Badges::EMPTY);
        // The first receive comes without asking for a deferred action.
        host.execute();
        host
    }

    /// Rings the bell, and gives the domain a turn.
    pub fn ring(&mut self) {
        self.bell.ring();
        self.turns(Badges::EMPTY);
    }

    /// Turns until there is nothing left to do but wait.
    fn turns(&mut self, mut badges: Badges) {
        loop {
            if badges.bits() & self.rings.bits() != 0 {
                self.bell.ring();
            }
            if contains(badges, channel::SUPERVISION) {
                // The supervisor may have taken down a side on behalf of a domain that died.
                badges = badges.union(self.links);
            }
            let now = time::now();
            let turn = self.domain.turn(badges, now);
            let counters = self.domain.context().counters();
            counters.set_heap_bytes(heap::live_bytes() as u64);
            for signal in turn.signal.iter() {
                self.defer(DeferredAction::new_notify(Channel::new(signal.number().into())));
            }
            if contains(badges, channel::DEVICE) {
                self.defer(DeferredAction::new_irq_ack(Channel::new(channel::DEVICE.into())));
            }
            let more = turn.deadline.is_some_and(|at| at <= now) || self.again.replace(false);
            if !more {
                if self.deadline.set(turn.deadline, now) {
                    self.domain.context().counters().signalled();
                    self.defer(DeferredAction::new_notify(Channel::new(channel::TIMER.into())));
                }
                return;
            }
            self.execute();
            let (_, fired) = INPUT.nb_recv(REPLY);
            badges = Badges::from_bits(fired);
        }
    }

    /// Remembers an action for the next receive; one that was remembered before is executed now.
    fn defer(&mut self, action: DeferredAction) {
        self.execute();
        self.deferred = Some(action);
    }

    fn execute(&mut self) {
        if let Some(action) = self.deferred.take() {
            // Acknowledging an interrupt fails only without the capability, which the system file gives.
            let _ = action.execute_now();
        }
    }
}

impl Handler for Host {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let mut badges = Badges::EMPTY;
        for fired in channels.iter() {
            if let Some(fired) = u8::try_from(fired.index()).ok().and_then(badge::Channel::new) {
                badges.insert(fired);
            }
        }
        self.turns(badges);
        Ok(())
    }

    fn take_deferred_action(&mut self) -> Option<DeferredAction> {
        self.deferred.take()
    }
}

fn contains(badges: Badges, number: u8) -> bool {
    badge::Channel::new(number).is_some_and(|channel| badges.contains(channel))
}
