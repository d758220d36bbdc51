//! What the threads of a host share.
//!
//! Answers for: badges reaching the domain they are for, its thread being awake then, and faults being decided on in one
//! place.
//! Never: waits, but for the supervisor's lock, which is held for a few instructions at a fault.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::clock::Clock;
use crate::badge::{Badges, Channel};
use crate::sleep_flag;
use crate::supervision::{ChildState, Decision, Supervisor};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::wiring::{End, SUPERVISION, Wiring};

/// A bit that is no channel's: take a turn, there is something else to see.
const KICK: u64 = 1 << 63;

pub(super) struct Shared {
    pub(super) wiring: Wiring,
    pub(super) clock: Clock,
    pub(super) seed: u64,
    pub(super) stop_grace: Duration,
    threads: Vec<ThreadWords>,
    domains: Vec<DomainWords>,
    supervisor: Mutex<Supervisor>,
    stopping: AtomicU32,
}

struct ThreadWords {
    /// Its `mio::Poll` returns when this is used.
    waker: mio::Waker,
    asleep: AtomicU32,
    /// System calls made to sleep, to look for input, and to wake this thread.
    system_calls: AtomicU64,
}

struct DomainWords {
    /// Which thread runs it.
    thread: usize,
    badges: AtomicU64,
}

/// The token of a thread's own waker: no source has it.
pub(super) const WAKER: mio::Token = mio::Token(usize::MAX);

impl Shared {
    pub(super) fn new(
        wiring: Wiring,
        threads: &[String],
        polls: &[mio::Poll],
        clock: Clock,
        seed: u64,
        stop_grace: Duration,
    ) -> io::Result<Self> {
        let thread = |poll: &mio::Poll| {
            let waker = mio::Waker::new(poll.registry(), WAKER)?;
            Ok(ThreadWords {
                waker,
                asleep: AtomicU32::new(0),
                system_calls: AtomicU64::new(0),
            })
        };
        let thread_of = |name| {
            threads
                .iter()
                .position(|thread| thread == name)
                .unwrap_or_default()
        };
        let domains = wiring.domains().iter();
        Ok(Self {
            threads: polls.iter().map(thread).collect::<io::Result<_>>()?,
            domains: domains
                .clone()
                .map(|domain| DomainWords {
                    thread: thread_of(&domain.thread),
                    badges: AtomicU64::new(0),
                })
                .collect(),
            supervisor: Mutex::new(Supervisor::new(domains.map(|domain| domain.restart))),
            stopping: AtomicU32::new(0),
            wiring,
            clock,
            seed,
            stop_grace,
        })
    }

    /// The domains that `thread` runs.
    pub(super) fn residents(&self, thread: usize) -> impl Iterator<Item = usize> {
        (0..self.domains.len()).filter(move |&index| self.domains[index].thread == thread)
    }

    /// The badges that came for a domain since the last call, and whether it is to take a turn.
    pub(super) fn take_badges(&self, domain: usize) -> Option<Badges> {
        let word = &self.domains[domain].badges;
        // Not an exchange as long as there is nothing: this is asked in every round.
        if word.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(Badges::from_bits(word.swap(0, Ordering::Acquire)))
    }

    /// Whether something came for a domain.
    pub(super) fn has_badges(&self, domain: usize) -> bool {
        self.domains[domain].badges.load(Ordering::Acquire) != 0
    }

    /// Signals the other end of a domain's channel.
    pub(super) fn signal(&self, from: usize, channel: Channel) {
        if let Some(end) = self.wiring.other_end(from, channel) {
            self.deliver(end, self.domains[from].thread);
        }
    }

    /// Gives a domain a turn soon, from outside of all threads.
    pub(super) fn kick(&self, domain: usize) {
        self.raise(domain, KICK, usize::MAX);
    }

    /// A domain died: its links go down, who was at their other ends hears of it, and so does everybody who watches.
    pub(super) fn fault(&self, domain: usize, reason: &str) -> Decision {
        let from = self.domains[domain].thread;
        for end in self.wiring.mark_down(domain) {
            self.deliver(end, from);
        }
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let decision = supervisor.fault(domain, self.clock.now());
        let state = match decision {
            Decision::Restart { .. } => ChildState::Restarting,
            Decision::Escalate => ChildState::Down,
        };
        self.wiring.status.fault(domain, state, reason);
        drop(supervisor);
        self.tell_all(from);
        decision
    }

    /// A domain runs again.
    pub(super) fn restarted(&self, domain: usize) {
        // The page has one writer at a time.
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        self.wiring.status.restarted(domain);
        drop(supervisor);
        self.tell_all(self.domains[domain].thread);
    }

    pub(super) fn stop(&self) {
        self.stopping.store(1, Ordering::SeqCst);
        for thread in &self.threads {
            thread.wake();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst) != 0
    }

    /// `thread` may fall asleep; it looks for news after this and before it does.
    pub(super) fn fall_asleep(&self, thread: usize) {
        sleep_flag::raise(&self.threads[thread].asleep);
    }

    /// `thread` is awake.
    pub(super) fn wake_up(&self, thread: usize) {
        sleep_flag::lower(&self.threads[thread].asleep);
    }

    pub(super) fn count_system_call(&self, thread: usize) {
        self.threads[thread].system_calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn system_calls(&self) -> u64 {
        self.threads
            .iter()
            .map(|thread| thread.system_calls.load(Ordering::Relaxed))
            .sum()
    }

    /// Corrects the wall clock that the domains see.
    pub(super) fn correct_wall_clock(&self) {
        self.wiring.clock.set(self.clock.unix_us_at_epoch());
    }

    fn tell_all(&self, from: usize) {
        for domain in 0..self.domains.len() {
            self.deliver(
                End {
                    domain,
                    channel: SUPERVISION,
                },
                from,
            );
        }
    }

    fn deliver(&self, end: End, from: usize) {
        self.raise(end.domain, Badges::of(end.channel).bits(), from);
    }

    /// Adds to a domain's badges, and wakes its thread unless that is the caller's own.
    fn raise(&self, domain: usize, bits: u64, from: usize) {
        let words = &self.domains[domain];
        words.badges.fetch_or(bits, Ordering::Release);
        if words.thread != from && sleep_flag::take(&self.threads[words.thread].asleep) {
            self.threads[words.thread].wake();
        }
    }
}

impl ThreadWords {
    fn wake(&self) {
        self.system_calls.fetch_add(1, Ordering::Relaxed);
        // An eventfd that cannot be written is a full one: the thread wakes up anyway.
        let _ = self.waker.wake();
    }
}
