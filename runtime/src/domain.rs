//! A protection domain: tasks behind a pure step function.
//!
//! Answers for: one turn at a time: badges to waiting tasks, expired timers to theirs, a bounded number of polls, and
//! then the channels to signal and the next deadline.
//! Never: knows who calls it. A host that gives it the same badges at the same times gets the same turns back.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::badge::{Badges, Channel};
use crate::context::{Context, Core, Inner};
use crate::counters::{Counter, Counters};
use crate::executor::{Executor, Progress};
use crate::link::end::End;
use crate::link::{Link, LinkMemory, Side};
use crate::page::Page;
use crate::region::Region;
use crate::supervision::StatusView;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Instant;
use crate::topology::DomainLimits;
use crate::wakers::Wakers;

/// What a turn asks of its host.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Channels of this domain whose other ends are to be signalled.
    pub signal: Badges,
    /// When to take the next turn if no badge comes earlier; the time of this turn if work is left.
    pub deadline: Option<Instant>,
}

/// What a host drives.
pub trait Step {
    /// Takes one turn. `now` never goes backwards. Badges may be none, or from before the domain was started.
    fn turn(&mut self, badges: Badges, now: Instant) -> Turn;
}

/// A protection domain's tasks and their executor.
pub struct Domain<E: Executor> {
    executor: E,
    context: Context,
    supervision: Option<Channel>,
    polls_per_turn: u32,
}

/// What a host gives a domain.
pub struct DomainSetup {
    /// The domain's name.
    pub name: String,
    /// Its bounds; `limits.tasks` is the executor's business.
    pub limits: DomainLimits,
    /// Its links.
    pub links: Vec<LinkSetup>,
    /// Its preserved memory, by name.
    pub regions: Vec<(String, Region)>,
    /// Its own counters.
    pub counters: Counters,
    /// Who else there is.
    pub directory: Directory,
    /// The status page, and the channel on which its changes are signalled.
    pub supervision: Option<(StatusView, Channel)>,
    /// Offset from the host's time to the wall clock.
    pub clock: WallClock,
    /// For [`Context::random_u64`].
    pub seed: u64,
    /// Whether the fault word in the counters is obeyed.
    pub fault_injection: bool,
    /// Called after the domain asked for a fault of the domain at that index of the directory, so that it gets a turn
    /// soon. `None`: the domain may not ask for faults.
    pub fault_asked: Option<Rc<dyn Fn(usize)>>,
    /// Whether an access to the first page of the address space, where nothing is mapped, ends this domain alone.
    pub address_faults: bool,
}

/// One end of a link, for a domain.
pub struct LinkSetup {
    /// The link's name.
    pub name: String,
    /// The other domain's name.
    pub peer: String,
    /// The domain's channel to the other end, and for badges from it.
    pub channel: Channel,
    /// The link's memory.
    pub memory: LinkMemory,
    /// Which end.
    pub side: Side,
}

/// All domains, with their counters, in the order of the topology.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<(Vec<String>, Vec<Counters>)>,
}

/// The wall clock, as an offset that the host may correct while domains read it.
#[derive(Clone)]
pub struct WallClock {
    /// Microseconds from the Unix epoch to the host's.
    offset: Page<AtomicU64>,
}

impl<E: Executor> Domain<E> {
    /// Starts a domain: `build` spawns its tasks, which are first polled in the first turn.
    pub fn new(setup: DomainSetup, executor: E, now: Instant, build: impl FnOnce(&Context)) -> Self {
        let DomainSetup {
            name,
            limits,
            links,
            regions,
            counters,
            directory,
            supervision,
            clock,
            seed,
            ..
        } = setup;
        let faults = setup.fault_injection;
        let core = Rc::new(Core::new(name, counters, limits.timers, seed, faults, now));
        let link = |link: LinkSetup| {
            let LinkSetup {
                name,
                peer,
                channel,
                memory,
                side,
            } = link;
            Link {
                end: Rc::new(End::new(Rc::clone(&core), name, peer, channel, memory, side)),
            }
        };
        let inner = Inner {
            spawner: executor.spawner(),
            links: links.into_iter().map(link).collect(),
            regions,
            directory,
            status: supervision
                .as_ref()
                .map(|(status, _)| (status.clone(), Rc::new(Wakers::new()))),
            clock,
            fault_asked: setup.fault_asked,
            address_faults: setup.address_faults,
            core,
        };
        let context = Context {
            inner: Rc::new(inner),
        };
        build(&context);
        Self {
            executor,
            context,
            supervision: supervision.map(|(_, channel)| channel),
            polls_per_turn: limits.polls_per_turn.max(1),
        }
    }

    /// The handle that the domain's tasks have.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The fault [`Fault::Scribble`](crate::fault::Fault::Scribble), if it was asked for.
    fn scribble_if_asked(&self) {
        let Inner { core, links, .. } = &*self.context.inner;
        if core.take_scribble() {
            links.iter().for_each(|link| link.end.scribble());
        }
    }

    fn route(&self, badges: Badges) {
        let Inner {
            core, links, status, ..
        } = &*self.context.inner;
        for link in links.iter().filter(|link| badges.contains(link.end.channel)) {
            link.end.badge();
        }
        if let (Some(channel), Some((_, wakers))) = (self.supervision, status)
            && badges.contains(channel)
        {
            core.counters.add(Counter::Wakes, wakers.wake_all());
        }
    }
}

impl<E: Executor> Step for Domain<E> {
    fn turn(&mut self, badges: Badges, now: Instant) -> Turn {
        let core = Rc::clone(&self.context.inner.core);
        core.begin_turn(now);
        self.scribble_if_asked();
        self.route(badges);
        core.fire_timers();
        let progress = self.executor.run(self.polls_per_turn);
        self.scribble_if_asked();
        let deadline = match progress {
            Progress::Stalled => core.next_deadline(),
            Progress::Budget => Some(now),
        };
        Turn {
            signal: core.take_signals(),
            deadline,
        }
    }
}

impl Directory {
    /// The domains of these names, each with fresh counters.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self::with(names.into_iter().map(|name| (name, Counters::new())))
    }

    /// The domains of these names and counters.
    pub fn with(domains: impl IntoIterator<Item = (String, Counters)>) -> Self {
        Self {
            inner: Arc::new(domains.into_iter().unzip()),
        }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.inner.0
    }

    /// The counters of the domain of that name.
    pub fn counters(&self, name: &str) -> Option<&Counters> {
        let index = self.names().iter().position(|known| known == name)?;
        self.inner.1.get(index)
    }
}

impl WallClock {
    /// A clock that shows `unix_us` microseconds since the Unix epoch at the host's epoch.
    pub fn new(unix_us: u64) -> Self {
        Self {
            offset: Page::Counted(Arc::new(AtomicU64::new(unix_us))),
        }
    }

    /// A clock whose offset a host keeps in shared memory, in microseconds.
    pub fn over(offset: Page<AtomicU64>) -> Self {
        Self { offset }
    }

    /// Corrects the clock.
    pub fn set(&self, unix_us: u64) {
        self.offset.store(unix_us, Ordering::Relaxed);
    }

    /// Milliseconds since the Unix epoch at `now`.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        self.offset
            .load(Ordering::Relaxed)
            .saturating_add(now.as_micros())
            / 1_000
    }
}
