//! The simulator: domains in virtual time, in an order that a seed decides.
//!
//! Answers for: everything that may happen in another order on a real host happening in some order here (which domain
//! runs next, which ready task, when a signal arrives, where a panic strikes), and for the same seed giving the same
//! run, to the byte of its trace.
//! Never: reads a clock, starts a thread or asks the operating system for anything.

#[cfg(feature = "hosted")]
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::badge::Badges;
use crate::context::Context;
use crate::counters::CountersView;
use crate::domain::{Domain, Step, Turn, WallClock};
use crate::executor::SeededExecutor;
use crate::fault::Fault;
use crate::random::{Random, mix};
use crate::region::Region;
use crate::supervision::{ChildState, Decision, StatusView, Supervisor};
use crate::time::Instant;
use crate::topology::{Build, Topology, TopologyError};
use crate::wiring::{End, SUPERVISION, Wiring};

mod trace;

use trace::Trace;

/// A turn, a delivery or a restart takes 1 to this many microseconds of virtual time.
const MAX_EVENT_US: usize = 3;
/// A panic by chance strikes within this many polls of the turn it was drawn for.
const MAX_POLLS_TO_PANIC: usize = 8;

/// What a simulation does beside running the topology.
#[derive(Clone, Debug, Default)]
pub struct SimConfig {
    /// The seed that decides everything.
    pub seed: u64,
    /// Out of a million turns, how many a panic is drawn for. See [`Sim::set_panics`].
    pub panics_per_million_turns: u32,
    /// Domains that panic by chance; all if empty.
    pub panic_domains: Vec<String>,
    /// Wall clock at time zero, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Keep the trace as text, beside its hash.
    pub keep_trace: bool,
    /// Preserved memory of an earlier simulation: what a hive that was killed finds when it starts again.
    pub regions: Regions,
}

/// Preserved memory by domain and name. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    by_name: BTreeMap<(String, String), Region>,
}

/// How a run ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition holds.
    Reached,
    /// The time is up.
    TimeUp,
    /// Nothing will ever happen again: no signal under way, no domain ready, no timer.
    Quiescent,
}

/// A simulated host.
pub struct Sim {
    wiring: Wiring,
    supervisor: Supervisor,
    places: Vec<Place>,
    /// Signals on their way, each once, as a notification word holds them.
    under_way: Vec<End>,
    /// Domains of which a fault was asked during a turn.
    kicked: Rc<RefCell<Vec<usize>>>,
    random: Random,
    now: Instant,
    trace: Trace,
    config: SimConfig,
}

/// A domain's place in the host, whether the domain is alive or not.
struct Place {
    domain: Option<Domain<SeededExecutor>>,
    incarnation: u64,
    badges: Badges,
    /// It gets a turn whether or not it has badges.
    kicked: bool,
    deadline: Option<Instant>,
    restart: Option<Instant>,
}

/// Something that can happen now.
enum Event {
    Arrive(usize),
    Turn(usize),
    Restart(usize),
}

impl Sim {
    /// Builds the topology's domains at time zero; none has had a turn.
    ///
    /// # Errors
    /// What is wrong with the topology. A domain that needs sockets of the operating system is not built: it faults.
    pub fn new(topology: Topology, mut config: SimConfig) -> Result<Self, TopologyError> {
        let clock = WallClock::new(config.unix_ms.saturating_mul(1_000));
        // Faults strike by seed here; whether domains may ask for them remains the topology's say.
        let wiring = Wiring::new(topology, clock)?;
        for domain in wiring.domains() {
            for region in &domain.regions {
                let key = (domain.name.clone(), region.name.clone());
                config
                    .regions
                    .by_name
                    .entry(key)
                    .or_insert_with(|| Region::in_memory(region.bytes));
            }
        }
        let place = |_| Place {
            domain: None,
            incarnation: 0,
            badges: Badges::EMPTY,
            kicked: false,
            deadline: None,
            restart: Some(Instant::ZERO),
        };
        let mut sim = Self {
            supervisor: Supervisor::new(wiring.domains().iter().map(|domain| domain.restart)),
            places: (0..wiring.domains().len()).map(place).collect(),
            wiring,
            under_way: Vec::new(),
            kicked: Rc::default(),
            random: Random::new(mix(config.seed)),
            now: Instant::ZERO,
            trace: Trace::new(config.keep_trace),
            config,
        };
        for index in 0..sim.places.len() {
            sim.start(index);
        }
        Ok(sim)
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// One event: a signal arrives, a domain takes a turn or is started again; if nothing can happen now, time first
    /// passes to when something can. False if nothing can happen ever.
    pub fn step(&mut self) -> bool {
        let Some(event) = self.draw() else { return false };
        match event {
            Event::Arrive(index) => {
                let End { domain, channel } = self.under_way.swap_remove(index);
                if let Some(place) = self.places.get_mut(domain) {
                    place.badges.insert(channel);
                }
                self.trace.line(
                    self.now,
                    format_args!("badge {} {}", name(&self.wiring, domain), channel.number()),
                );
            }
            Event::Turn(index) => self.turn(index),
            Event::Restart(index) => {
                self.start(index);
                self.wiring.status.restarted(index);
                self.tell_all();
            }
        }
        for index in self.kicked.take() {
            self.kick(index);
        }
        self.now = self.now + Duration::from_micros(1 + self.random.below(MAX_EVENT_US) as u64);
        true
    }

    /// Runs for a stretch of virtual time.
    pub fn run_for(&mut self, time: Duration) -> Outcome {
        self.run_until(|| false, time)
    }

    /// Runs until `condition` holds, for at most `limit` of virtual time. The condition is looked at before and after
    /// every event.
    pub fn run_until(&mut self, mut condition: impl FnMut() -> bool, limit: Duration) -> Outcome {
        let end = self.now + limit;
        loop {
            if condition() {
                return Outcome::Reached;
            }
            match self.next_event_at() {
                None => return Outcome::Quiescent,
                Some(at) if at > end => {
                    self.now = end;
                    return Outcome::TimeUp;
                }
                Some(_) => {
                    self.step();
                }
            }
        }
    }

    /// From now on, so many panics by chance in a million turns.
    pub fn set_panics(&mut self, per_million_turns: u32) {
        self.config.panics_per_million_turns = per_million_turns;
    }

    /// Makes `domain` panic after so many more polls; with 0 at its next turn, which is soon. False if there is no such
    /// domain.
    pub fn inject_panic(&mut self, domain: &str, after_polls: u64) -> bool {
        let Some(index) = self.index(domain) else {
            return false;
        };
        if let Some(counters) = self.wiring.directory.counters(domain) {
            counters.set_fault(Fault::Panic, after_polls);
        }
        self.kick(index);
        true
    }

    /// Runs `f` with the handle of a living domain, which then gets a turn: for tests that add tasks or read state.
    pub fn with_context<R>(&mut self, domain: &str, f: impl FnOnce(&Context) -> R) -> Option<R> {
        let index = self.index(domain)?;
        let result = f(self.places.get(index)?.domain.as_ref()?.context());
        self.kick(index);
        Some(result)
    }

    /// A region, for crash plans and inspection.
    pub fn region(&self, domain: &str, name: &str) -> Option<Region> {
        self.config.regions.region(domain, name)
    }

    /// All preserved memory, shared with this simulation.
    pub fn regions(&self) -> Regions {
        self.config.regions.clone()
    }

    /// A domain's counters.
    pub fn counters_of(&self, domain: &str) -> Option<CountersView> {
        self.wiring
            .directory
            .counters(domain)
            .map(crate::counters::Counters::view)
    }

    /// The status page.
    pub fn supervision(&self) -> StatusView {
        self.wiring.status.view()
    }

    /// A hash over everything that happened.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// What happened, one line per event, if it was kept.
    pub fn trace(&self) -> &[String] {
        self.trace.lines()
    }

    /// Chooses among all that can happen now; lets time pass if that is nothing.
    fn draw(&mut self) -> Option<Event> {
        self.now = self.next_event_at()?.max(self.now);
        let turns = self.places.iter().filter(|place| place.may_run(self.now)).count();
        let restarts = self
            .places
            .iter()
            .filter(|place| place.may_restart(self.now))
            .count();
        let mut choice = self.random.below(self.under_way.len() + turns + restarts);
        if choice < self.under_way.len() {
            return Some(Event::Arrive(choice));
        }
        choice -= self.under_way.len();
        for (index, place) in self.places.iter().enumerate() {
            let event = match place {
                place if place.may_run(self.now) => Event::Turn(index),
                place if place.may_restart(self.now) => Event::Restart(index),
                _ => continue,
            };
            match choice.checked_sub(1) {
                None => return Some(event),
                Some(rest) => choice = rest,
            }
        }
        None
    }

    /// When the next event can happen: now, later, or never.
    fn next_event_at(&self) -> Option<Instant> {
        if !self.under_way.is_empty() {
            return Some(self.now);
        }
        self.places
            .iter()
            .filter_map(|place| place.next_event_at(self.now))
            .min()
    }

    fn turn(&mut self, index: usize) {
        self.maybe_fault(index);
        let Some(place) = self.places.get_mut(index) else {
            return;
        };
        let badges = core::mem::take(&mut place.badges);
        place.kicked = false;
        place.deadline = None;
        let Some(domain) = &mut place.domain else { return };
        let now = self.now;
        match catch_unwind(AssertUnwindSafe(|| domain.turn(badges, now))) {
            Ok(Turn { signal, deadline }) => {
                place.deadline = deadline;
                let name = name(&self.wiring, index);
                self.trace.line(
                    now,
                    format_args!("turn {name} {badges:?} -> {signal:?} {deadline:?}"),
                );
                for channel in signal.iter() {
                    self.wiring
                        .other_end(index, channel)
                        .into_iter()
                        .for_each(|end| self.send(end));
                }
            }
            Err(panic) => self.bury(index, &reason(&*panic)),
        }
    }

    /// Draws whether this turn gets a panic.
    fn maybe_fault(&mut self, index: usize) {
        let per_million = self.config.panics_per_million_turns as usize;
        let name = &self.wiring.domains()[index].name;
        let chosen = &self.config.panic_domains;
        if per_million == 0 || !(chosen.is_empty() || chosen.contains(name)) {
            return;
        }
        if self.random.below(1_000_000) < per_million
            && let Some(counters) = self.wiring.directory.counters(name)
        {
            counters.set_fault(Fault::Panic, self.random.below(MAX_POLLS_TO_PANIC) as u64);
        }
    }

    /// Starts the domain at `index`, anew or for the first time.
    fn start(&mut self, index: usize) {
        let (name, build) = match self.wiring.domains().get(index) {
            Some(spec) => (spec.name.clone(), spec.build.clone()),
            None => return,
        };
        let Some(place) = self.places.get_mut(index) else {
            return;
        };
        let (incarnation, now) = (place.incarnation, self.now);
        place.incarnation += 1;
        place.restart = None;
        place.kicked = true;
        place.badges = Badges::EMPTY;
        let kicked = Rc::clone(&self.kicked);
        let asked = Rc::new(move |index| kicked.borrow_mut().push(index));
        let regions = self.config.regions.of(&name);
        let seed = self.config.seed;
        let Some(mut setup) = self.wiring.setup(index, incarnation, regions, seed, asked) else {
            return;
        };
        setup.fault_injection = true;
        let executor = SeededExecutor::new(setup.limits.tasks, mix(setup.seed));
        let started = catch_unwind(AssertUnwindSafe(|| {
            Domain::new(setup, executor, now, |context| match build {
                Build::Plain(build) => build(context),
                #[cfg(feature = "hosted")]
                Build::Io(_) => std::panic::resume_unwind(Box::new("a simulation has no sockets")),
            })
        }));
        self.trace.line(now, format_args!("start {name} {incarnation}"));
        match started {
            Ok(domain) => place.domain = Some(domain),
            Err(panic) => self.bury(index, &reason(&*panic)),
        }
    }

    /// The domain at `index` died of `reason`.
    fn bury(&mut self, index: usize, reason: &str) {
        let Some(place) = self.places.get_mut(index) else {
            return;
        };
        if let Some(domain) = place.domain.take() {
            // What its tasks leave behind may panic as well; it is dead already.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(domain)));
        }
        let decision = self.supervisor.fault(index, self.now);
        let state = match decision {
            Decision::Restart { at } => {
                place.restart = Some(at);
                ChildState::Restarting
            }
            Decision::Escalate => ChildState::Down,
        };
        self.trace.line(
            self.now,
            format_args!("fault {} {decision:?} {reason}", name(&self.wiring, index)),
        );
        self.wiring.status.fault(index, state, reason);
        let ends: Vec<End> = self.wiring.mark_down(index).collect();
        for end in ends {
            self.send(end);
        }
        self.tell_all();
    }

    fn tell_all(&mut self) {
        for domain in 0..self.places.len() {
            self.send(End {
                domain,
                channel: SUPERVISION,
            });
        }
    }

    fn send(&mut self, end: End) {
        if !self.under_way.contains(&end) {
            self.under_way.push(end);
        }
    }

    fn kick(&mut self, index: usize) {
        if let Some(place) = self.places.get_mut(index) {
            place.kicked = true;
        }
    }

    fn index(&self, domain: &str) -> Option<usize> {
        self.wiring
            .domains()
            .iter()
            .position(|known| known.name == domain)
    }
}

impl Place {
    fn next_event_at(&self, now: Instant) -> Option<Instant> {
        match self.domain {
            Some(_) if self.kicked || !self.badges.is_empty() => Some(now),
            Some(_) => self.deadline,
            None => self.restart,
        }
    }

    fn may_run(&self, now: Instant) -> bool {
        self.domain.is_some() && self.next_event_at(now).is_some_and(|at| at <= now)
    }

    fn may_restart(&self, now: Instant) -> bool {
        self.domain.is_none() && self.next_event_at(now).is_some_and(|at| at <= now)
    }
}

impl Regions {
    /// The region of that domain and name.
    pub fn region(&self, domain: &str, name: &str) -> Option<Region> {
        self.by_name.get(&(domain.to_string(), name.to_string())).cloned()
    }

    /// The same bytes in memory of their own: what would be found if everything stopped now.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = |(key, region): (&_, &Region)| (Clone::clone(key), Region::from_bytes(&region.to_vec()));
        Self {
            by_name: self.by_name.iter().map(copy).collect(),
        }
    }

    fn of(&self, domain: &str) -> Vec<(String, Region)> {
        let own = self.by_name.iter().filter(|((owner, _), _)| owner == domain);
        own.map(|((_, name), region)| (name.clone(), region.clone()))
            .collect()
    }
}

fn name(wiring: &Wiring, index: usize) -> &str {
    wiring.domains().get(index).map_or("", |domain| &domain.name)
}

/// What a panic said.
fn reason(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_string()
}
