//! What an actor has of the world: time, tasks, links, memory that lasts, counters.
//!
//! Answers for: everything that crosses a domain's boundary going through one handle, the same on every host.
//! Never: blocks, reads a clock or touches an operating system. A handle stays in its domain.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context as TaskContext, Poll};
use core::time::Duration;

use crate::badge::{Badges, Channel};
use crate::counters::{Counter, Counters, CountersView};
use crate::domain::{Directory, WallClock};
use crate::executor::{Spawn, SpawnError};
use crate::fault::{self, Fault, FaultError};
use crate::link::Link;
use crate::random::Random;
use crate::region::Region;
use crate::supervision::{StatusView, SupervisionView};
use crate::time::Instant;
use crate::timers::{TimerId, Timers};
use crate::wakers::Wakers;

/// Frames and the like that one poll of a task may handle before others get their turn: a task to which frames keep
/// coming would otherwise never end its poll.
const OPERATIONS_PER_POLL: u32 = 32;

/// A domain's handle to its runtime. Clones are the same handle.
#[derive(Clone)]
pub struct Context {
    pub(crate) inner: Rc<Inner>,
}

/// A future that is ready at a point in time. Dropping it takes the timer away.
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    core: Rc<Core>,
    at: Instant,
    timer: Option<TimerId>,
}

/// The time was up first.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elapsed;

pub(crate) struct Inner {
    pub(crate) core: Rc<Core>,
    pub(crate) spawner: Rc<dyn Spawn>,
    pub(crate) links: Vec<Link>,
    pub(crate) regions: Vec<(String, Region)>,
    pub(crate) directory: Directory,
    pub(crate) status: Option<(StatusView, Rc<Wakers>)>,
    pub(crate) clock: WallClock,
    pub(crate) fault_asked: Option<Rc<dyn Fn(usize)>>,
    pub(crate) address_faults: bool,
}

/// The part of a domain that its links and timers share. It refers to none of them.
pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) now: Cell<Instant>,
    /// To be signalled when the turn ends.
    signals: Cell<Badges>,
    operations_left: Cell<u32>,
    pub(crate) counters: Counters,
    timers: RefCell<Timers>,
    pub(crate) random: Random,
    faults: bool,
    /// It was asked to write over its links' memory, and has not yet.
    scribble: Cell<bool>,
}

impl Context {
    /// The domain's name.
    pub fn name(&self) -> &str {
        &self.inner.core.name
    }

    /// The time of this turn. It stands still while a turn lasts.
    pub fn now(&self) -> Instant {
        self.inner.core.now.get()
    }

    /// The wall clock in milliseconds since the Unix epoch. It may jump, as wall clocks do.
    pub fn unix_ms(&self) -> u64 {
        self.inner.clock.unix_ms(self.now())
    }

    /// Ready in the first turn at or after `at`.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep {
            core: Rc::clone(&self.inner.core),
            at,
            timer: None,
        }
    }

    /// Ready in the first turn `time` or more from now.
    pub fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(self.now() + time)
    }

    /// Awaits `future` for at most `time`, then drops it.
    ///
    /// # Errors
    /// [`Elapsed`] if it was not ready by then.
    pub async fn timeout<F: Future>(&self, time: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut sleep = self.sleep(time);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Lets other ready tasks run first.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if core::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Lets other ready tasks run if this one has done its share of this poll, else goes on at once. For loops that
    /// await nothing else; operations on connections call it themselves.
    pub async fn cooperate(&self) {
        poll_fn(|cx| self.inner.core.poll_budget(cx)).await;
    }

    /// Adds a task to the domain. Allocates, so it is for boot only; what comes and goes later is served by tasks that
    /// were there from the start.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
        let core = Rc::clone(&self.inner.core);
        self.inner.spawner.spawn(Box::pin(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                core.begin_poll();
                task.as_mut().poll(cx)
            })
            .await;
        }))
    }

    /// This domain's side of the link of that name.
    pub fn link(&self, name: &str) -> Option<Link> {
        self.inner.links.iter().find(|link| link.name() == name).cloned()
    }

    /// This domain's preserved memory of that name.
    pub fn region(&self, name: &str) -> Option<Region> {
        self.inner
            .regions
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, region)| region.clone())
    }

    /// A number from the host's seed. Not for secrets.
    pub fn random_u64(&self) -> u64 {
        self.inner.core.random.next()
    }

    /// This domain's counters.
    pub fn counters(&self) -> &Counters {
        &self.inner.core.counters
    }

    /// The counters of any domain, by name.
    pub fn counters_of(&self, domain: &str) -> Option<CountersView> {
        self.inner.directory.counters(domain).map(Counters::view)
    }

    /// The supervisor's status page, if the host has one.
    pub fn supervision(&self) -> Option<SupervisionView> {
        let (status, wakers) = self.inner.status.as_ref()?;
        Some(SupervisionView::new(
            status.clone(),
            Rc::clone(wakers),
            Rc::clone(&self.inner.core),
        ))
    }

    /// The names of all domains, in the order of the topology.
    pub fn domains(&self) -> &[String] {
        self.inner.directory.names()
    }

    /// Makes `domain` do that in its next turn.
    ///
    /// # Errors
    /// See [`FaultError`]; nothing happens then.
    pub fn inject_fault(&self, domain: &str, fault: Fault) -> Result<(), FaultError> {
        let asked = self.inner.fault_asked.as_ref().ok_or(FaultError::NotAllowed)?;
        if fault == Fault::BadPointer && !self.inner.address_faults {
            return Err(FaultError::Unsupported(fault));
        }
        let index = self.domains().iter().position(|name| name == domain);
        let index = index.ok_or(FaultError::UnknownDomain)?;
        let counters = self.inner.directory.counters(domain);
        counters.ok_or(FaultError::UnknownDomain)?.set_fault(fault, 0);
        asked(index);
        Ok(())
    }
}

impl Core {
    pub(crate) fn new(
        name: String,
        counters: Counters,
        timers: usize,
        seed: u64,
        faults: bool,
        now: Instant,
    ) -> Self {
        Self {
            name,
            now: Cell::new(now),
            signals: Cell::new(Badges::EMPTY),
            operations_left: Cell::new(OPERATIONS_PER_POLL),
            counters,
            timers: RefCell::new(Timers::new(timers)),
            random: Random::new(seed),
            faults,
            scribble: Cell::new(false),
        }
    }

    /// Signals `channel` when the turn ends.
    pub(crate) fn signal(&self, channel: Channel) {
        self.signals.set(self.signals.get().union(Badges::of(channel)));
    }

    pub(crate) fn take_signals(&self) -> Badges {
        let signals = self.signals.replace(Badges::EMPTY);
        self.counters.add(Counter::SignalsSent, u64::from(signals.len()));
        signals
    }

    pub(crate) fn begin_turn(&self, now: Instant) {
        self.now.set(now);
        self.counters.add(Counter::Turns, 1);
        if self.faults {
            self.commit(self.counters.fault_at_turn());
        }
    }

    /// Wakes whose time has come.
    pub(crate) fn fire_timers(&self) {
        let now = self.now.get();
        loop {
            // The borrow ends before the wake-up, which may do what it likes.
            let expired = self.timers.borrow_mut().expired(now);
            let Some(waker) = expired else { break };
            self.counters.add(Counter::Wakes, 1);
            waker.wake();
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.borrow().next()
    }

    /// One operation of this poll's share; pending, and the task ready again, once it is used up.
    pub(crate) fn poll_budget(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self.operations_left.get().checked_sub(1) {
            Some(left) => {
                self.operations_left.set(left);
                Poll::Ready(())
            }
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn begin_poll(&self) {
        self.operations_left.set(OPERATIONS_PER_POLL);
        self.counters.add(Counter::Polls, 1);
        if self.faults {
            self.commit(self.counters.fault_at_poll());
        }
    }

    fn commit(&self, due: Option<Fault>) {
        match due {
            None => {}
            Some(Fault::Panic) => fault::panic(),
            Some(Fault::BadPointer) => fault::touch_nothing(),
            Some(Fault::Scribble) => self.scribble.set(true),
        }
    }

    /// Whether the domain was asked, since the last call, to write over its links' memory.
    pub(crate) fn take_scribble(&self) -> bool {
        self.scribble.replace(false)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let core = Rc::clone(&self.core);
        if core.now.get() >= self.at {
            return Poll::Ready(());
        }
        let mut timers = core.timers.borrow_mut();
        if self.timer.is_some_and(|timer| timers.update(timer, cx.waker())) {
            return Poll::Pending;
        }
        self.timer = timers.insert(self.at, cx.waker());
        if self.timer.is_none() {
            // All timers are in use: look again every turn.
            core.counters.add(Counter::TimersExhausted, 1);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            // The waker is dropped after the borrow has ended.
            let waker = self.core.timers.borrow_mut().remove(timer);
            drop(waker);
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name())
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time allowed was up first")
    }
}

impl core::error::Error for Elapsed {}
