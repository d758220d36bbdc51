//! A domain's place on a thread, whether the domain is alive or not.
//!
//! Answers for: its turns, its death and its restarts.
//! Never: lets a panic out.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::io_source::{Io, Sources};
use super::shared::Shared;
use crate::domain::{Domain, Step, Turn};
use crate::executor::FifoExecutor;
use crate::region::Region;
use crate::supervision::Decision;
use crate::time::Instant;
use crate::topology::Build;

pub(super) struct Resident {
    shared: Arc<Shared>,
    sources: Rc<Sources>,
    /// Which domain of the topology.
    pub(super) domain: usize,
    /// Which resident of its thread.
    index: usize,
    regions: Vec<(String, Region)>,
    life: Life,
    /// It gets a turn whether or not a badge came: it is new, or one of its sockets is ready.
    pub(super) kicked: bool,
    incarnation: u64,
}

enum Life {
    Alive {
        domain: Box<Domain<FifoExecutor>>,
        deadline: Option<Instant>,
    },
    /// Dead; to be started at that time, if ever.
    Dead { restart: Option<Instant> },
}

impl Resident {
    /// A domain that is to be started at once.
    pub(super) fn new(
        shared: &Arc<Shared>,
        sources: &Rc<Sources>,
        domain: usize,
        index: usize,
        regions: Vec<(String, Region)>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            sources: Rc::clone(sources),
            domain,
            index,
            regions,
            life: Life::Dead {
                restart: Some(Instant::ZERO),
            },
            kicked: false,
            incarnation: 0,
        }
    }

    /// Does what is due at `now`; whether anything was.
    pub(super) fn step(&mut self, now: Instant) -> bool {
        let badges = self.shared.take_badges(self.domain);
        match &mut self.life {
            Life::Alive { domain, deadline } => {
                if badges.is_none() && !self.kicked && deadline.is_none_or(|at| at > now) {
                    return false;
                }
                self.kicked = false;
                let turn = catch_unwind(AssertUnwindSafe(|| domain.turn(badges.unwrap_or_default(), now)));
                match turn {
                    Ok(turn) => {
                        *deadline = turn.deadline;
                        self.pass_on(turn);
                    }
                    Err(panic) => self.bury(&*panic),
                }
            }
            Life::Dead { restart } => {
                if restart.is_none_or(|at| at > now) {
                    return false;
                }
                self.start(now);
            }
        }
        true
    }

    /// When this wants to be stepped next if nothing comes for it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.life {
            Life::Alive { .. } if self.kicked => Some(Instant::ZERO),
            Life::Alive { deadline, .. } => *deadline,
            Life::Dead { restart } => *restart,
        }
    }

    /// Ends the domain in good order.
    pub(super) fn end(&mut self) {
        self.drop_domain();
    }

    fn pass_on(&self, turn: Turn) {
        for channel in turn.signal.iter() {
            self.shared.signal(self.domain, channel);
        }
    }

    fn start(&mut self, now: Instant) {
        let incarnation = self.incarnation;
        self.incarnation += 1;
        self.life = Life::Dead { restart: None };
        let shared = Arc::clone(&self.shared);
        let asked = Rc::new(move |domain| shared.kick(domain));
        let wiring = &self.shared.wiring;
        let (Some(spec), Some(setup)) = (
            wiring.domains().get(self.domain),
            wiring.setup(
                self.domain,
                incarnation,
                self.regions.clone(),
                self.shared.seed,
                asked,
            ),
        ) else {
            return;
        };
        let executor = FifoExecutor::new(setup.limits.tasks);
        let started = catch_unwind(AssertUnwindSafe(|| {
            Domain::new(setup, executor, now, |context| match &spec.build {
                Build::Plain(build) => build(context),
                Build::Io(build) => build(context, &Io::new(&self.sources, context, self.index)),
            })
        }));
        match started {
            Ok(domain) => {
                self.life = Life::Alive {
                    domain: Box::new(domain),
                    deadline: None,
                };
                self.kicked = true;
                if incarnation > 0 {
                    self.shared.restarted(self.domain);
                }
            }
            Err(panic) => self.bury(&*panic),
        }
    }

    /// The domain died. Its tasks go first, so that none is left to touch a link that is marked down.
    fn bury(&mut self, panic: &(dyn Any + Send)) {
        self.drop_domain();
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let restart = match self
            .shared
            .fault(self.domain, text.unwrap_or("a panic without a message"))
        {
            Decision::Restart { at } => Some(at),
            Decision::Escalate => None,
        };
        self.life = Life::Dead { restart };
    }

    fn drop_domain(&mut self) {
        let life = core::mem::replace(&mut self.life, Life::Dead { restart: None });
        // What its tasks do on the way out may panic as well; the domain is over either way.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(life)));
    }
}
