//! A thread of the host: turns for its domains, and sleep when none is due.
//!
//! Answers for: round-robin among its domains, a look at its sockets every so often however busy they are, and not
//! sleeping over a badge.
//! Never: a system call while its domains only talk to each other.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use std::io;

use super::DomainRegions;
use super::io_source::Sources;
use super::resident::Resident;
use super::shared::{Shared, WAKER};
use crate::time::Instant;

/// Events taken from the poll at once.
const EVENTS: usize = 64;
/// A busy thread looks at its sockets this often: late enough to cost nothing, early enough not to be felt.
const LOOK_EVERY: Duration = Duration::from_micros(200);

pub(super) struct Thread {
    shared: Arc<Shared>,
    index: usize,
    poll: mio::Poll,
    events: mio::Events,
    sources: Rc<Sources>,
    residents: Vec<Resident>,
}

impl Thread {
    /// # Panics
    /// If the poll's registry cannot be cloned, for want of descriptors.
    pub(super) fn new(shared: Arc<Shared>, index: usize, poll: mio::Poll, regions: &[DomainRegions]) -> Self {
        let registry = poll
            .registry()
            .try_clone()
            .expect("a descriptor for the thread's poll");
        let sources = Rc::new(Sources::new(registry));
        let resident = |(resident, domain): (usize, usize)| {
            let regions = regions.get(domain).cloned().unwrap_or_default();
            Resident::new(&shared, &sources, domain, resident, regions)
        };
        let residents = shared.residents(index).enumerate().map(resident).collect();
        Self {
            index,
            poll,
            events: mio::Events::with_capacity(EVENTS),
            sources,
            residents,
            shared,
        }
    }

    /// Runs until the host stops.
    pub(super) fn run(mut self) {
        let mut looked = Instant::ZERO;
        let mut end = None;
        loop {
            let now = self.shared.clock.now();
            let busy = self.round(now);
            if self.shared.is_stopping() && (!busy || now >= *end.get_or_insert(now + self.shared.stop_grace))
            {
                break;
            }
            if !busy {
                self.sleep();
            } else if !self.sources.is_empty() && now.since(looked) >= LOOK_EVERY {
                looked = now;
                self.look(Some(Duration::ZERO));
            }
        }
        for resident in self.residents.iter_mut().rev() {
            resident.end();
        }
    }

    /// Steps every domain once; whether any had something to do. All take their turns at the time when the round began:
    /// reading the clock costs about as much as an idle domain's step.
    fn round(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for resident in &mut self.residents {
            busy |= resident.step(now);
        }
        busy
    }

    /// Sleeps until a badge, a socket or a deadline.
    fn sleep(&mut self) {
        self.shared.fall_asleep(self.index);
        let news = self
            .residents
            .iter()
            .any(|resident| self.shared.has_badges(resident.domain));
        if !news && !self.shared.is_stopping() {
            let deadline = self.residents.iter().filter_map(Resident::deadline).min();
            let now = self.shared.clock.now();
            self.look(deadline.map(|at| at.since(now)));
        }
        self.shared.wake_up(self.index);
    }

    /// Asks the system for events, and waits for one at most `timeout` (for ever if `None`).
    fn look(&mut self, timeout: Option<Duration>) {
        self.shared.count_system_call(self.index);
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => panic!("epoll_wait on the host's own descriptor: {error}"),
        }
        self.shared.correct_wall_clock();
        for event in self.events.iter().filter(|event| event.token() != WAKER) {
            if let Some(resident) = self
                .sources
                .on_event(event)
                .and_then(|index| self.residents.get_mut(index))
            {
                resident.kicked = true;
            }
        }
    }
}
