//! One side of a link among the tasks of its domain.
//!
//! Answers for: who waits for what, which incarnation a handle belongs to, and that whoever waits on an incarnation
//! hears of its end. A side is up while somebody holds, or waits for, a connection, and at no other time.
//! Never: lets a handle of an earlier incarnation touch a later one.

use alloc::rc::Rc;
use alloc::string::String;
use core::cell::{Cell, RefCell};

use super::endpoint::{Endpoint, Over};
use super::frames::Received;
use super::memory::{LinkMemory, Side};
use super::{LinkError, TrySendError, Violation};
use crate::badge::Channel;
use crate::context::Core;
use crate::counters::Counter;
use crate::sleep_flag;
use crate::sync::Ordering;
use crate::wakers::Wakers;

/// Which incarnation, as this side counts them.
pub(super) type Generation = u64;

pub(crate) struct End {
    pub(super) core: Rc<Core>,
    pub(super) name: String,
    pub(super) peer: String,
    pub(crate) channel: Channel,
    memory: LinkMemory,
    side: Side,
    endpoint: RefCell<Endpoint>,
    /// The incarnation under way, or the next one.
    generation: Cell<Generation>,
    /// Handles to the incarnation under way.
    handles: Cell<usize>,
    /// Tasks that wait for the next incarnation.
    connecting: Cell<usize>,
    /// How the incarnation before `generation` ended.
    ended: Cell<LinkError>,
    pub(super) connectors: Wakers,
    pub(super) readers: Wakers,
    pub(super) writers: Wakers,
    pub(super) watchers: Wakers,
}

impl End {
    pub(crate) fn new(
        core: Rc<Core>,
        name: String,
        peer: String,
        channel: Channel,
        memory: LinkMemory,
        side: Side,
    ) -> Self {
        let endpoint = Endpoint::new(memory.view(side));
        Self {
            core,
            name,
            peer,
            channel,
            memory,
            side,
            endpoint: RefCell::new(endpoint),
            generation: Cell::new(0),
            handles: Cell::new(0),
            connecting: Cell::new(0),
            ended: Cell::new(LinkError::Closed),
            connectors: Wakers::new(),
            readers: Wakers::new(),
            writers: Wakers::new(),
            watchers: Wakers::new(),
        }
    }

    pub(super) fn frame_bytes(&self) -> usize {
        self.memory.frame_bytes()
    }

    /// The peer's badge: something changed over there.
    pub(crate) fn badge(&self) {
        self.look();
        if self.endpoint.borrow().is_agreed() {
            // A flag that the peer took down is the news that it brought.
            let mine = self.memory.view(self.side).mine;
            if !sleep_flag::is_raised(&mine.wants_frames) {
                self.wake(&self.readers);
            }
            if !sleep_flag::is_raised(&mine.wants_space) {
                self.wake(&self.writers);
            }
        }
    }

    /// A task begins to wait for a connection.
    pub(super) fn begin_connect(&self) {
        self.connecting.set(self.connecting.get() + 1);
        self.open();
    }

    /// The incarnation, once it has begun.
    pub(super) fn poll_connect(&self) -> Option<Generation> {
        self.look();
        if !self.endpoint.borrow().is_agreed() {
            return None;
        }
        self.handles.set(self.handles.get() + 1);
        Some(self.generation.get())
    }

    /// A task waits for a connection no more, whether it has one or not.
    pub(super) fn end_connect(&self) {
        self.connecting.set(self.connecting.get().saturating_sub(1));
        self.close_if_unused();
    }

    pub(super) fn add_handle(&self, generation: Generation) {
        if generation == self.generation.get() {
            self.handles.set(self.handles.get() + 1);
        }
    }

    pub(super) fn drop_handle(&self, generation: Generation) {
        if generation == self.generation.get() {
            self.handles.set(self.handles.get().saturating_sub(1));
            self.close_if_unused();
        }
    }

    /// Writes random numbers over all of the link's memory, as a domain gone mad does, and looks at it.
    pub(crate) fn scribble(&self) {
        for word in self.memory.words() {
            word.store(self.core.random.next(), Ordering::Relaxed);
        }
        self.core.signal(self.channel);
        self.badge();
    }

    /// Why `generation` is over; nothing if it is not.
    pub(super) fn check(&self, generation: Generation) -> Result<(), LinkError> {
        if generation == self.generation.get() {
            self.look();
        }
        if generation == self.generation.get() {
            Ok(())
        } else {
            Err(self.epitaph(generation))
        }
    }

    pub(super) fn close(&self, generation: Generation) {
        if generation == self.generation.get() {
            self.end(LinkError::Closed);
        }
    }

    pub(super) fn send(&self, generation: Generation, frame: &[u8]) -> Result<(), TrySendError> {
        let max = self.frame_bytes();
        if frame.len() > max {
            return Err(TrySendError::Link(LinkError::TooLong {
                len: frame.len(),
                max,
            }));
        }
        let sent = self.on(generation, |endpoint| {
            endpoint.send(self.memory.view(self.side), frame)
        });
        match sent.map_err(TrySendError::Link)? {
            Some(signal) => {
                self.core.counters.add(Counter::FramesOut, 1);
                self.signal_if(signal);
                Ok(())
            }
            None => Err(TrySendError::Full),
        }
    }

    pub(super) fn receive(&self, generation: Generation, buf: &mut [u8]) -> Result<Option<usize>, LinkError> {
        let max = buf.len();
        let (received, signal) = self.on(generation, |endpoint| {
            endpoint.receive(self.memory.view(self.side), buf)
        })?;
        if received == Received::Nothing {
            return Ok(None);
        }
        self.core.counters.add(Counter::FramesIn, 1);
        if signal {
            self.signal_if(true);
        }
        match received {
            Received::Frame(len) => Ok(Some(len)),
            Received::TooLong(len) => Err(LinkError::TooLong { len, max }),
            Received::Nothing => Ok(None),
        }
    }

    /// Whether a frame is there; if not, its coming will raise a badge.
    pub(super) fn await_frame(&self, generation: Generation) -> Result<bool, LinkError> {
        self.on(generation, |endpoint| {
            endpoint.await_frame(self.memory.view(self.side))
        })
    }

    /// Whether there is space; if not, its coming will raise a badge.
    pub(super) fn await_space(&self, generation: Generation) -> Result<bool, LinkError> {
        self.on(generation, |endpoint| {
            endpoint.await_space(self.memory.view(self.side))
        })
    }

    fn on<T>(
        &self,
        generation: Generation,
        operation: impl FnOnce(&mut Endpoint) -> Result<T, Over>,
    ) -> Result<T, LinkError> {
        if generation != self.generation.get() {
            return Err(self.epitaph(generation));
        }
        let result = operation(&mut self.endpoint.borrow_mut());
        result.map_err(|over| {
            match over {
                Over::Closed => self.look(),
                Over::Violation(violation) => {
                    self.core.counters.add(Counter::Violations, 1);
                    self.end(LinkError::Violation(violation));
                }
            }
            self.epitaph(generation)
        })
    }

    /// How an incarnation that is over ended. Only the last one is remembered.
    fn epitaph(&self, generation: Generation) -> LinkError {
        if generation + 1 == self.generation.get() {
            self.ended.get()
        } else {
            LinkError::Closed
        }
    }

    fn look(&self) {
        if self.look_once() {
            self.core.counters.add(Counter::Violations, 1);
            self.end(LinkError::Violation(Violation::Words));
        }
    }

    /// Looks what the peer says; whether it wrote over what this side says, in which case nothing else was made of it.
    fn look_once(&self) -> bool {
        let look = self.endpoint.borrow_mut().look(self.memory.view(self.side));
        if look.signal {
            self.core.signal(self.channel);
        }
        if look.lost {
            self.bury(LinkError::Closed);
        }
        if look.begun {
            self.wake(&self.connectors);
        }
        look.overwritten
    }

    fn open(&self) {
        if self.endpoint.borrow_mut().open(self.memory.view(self.side)) {
            self.core.signal(self.channel);
            // Whether the peer wrote over it meanwhile is found at the next look: this one may be part of such a case.
            self.look_once();
        }
    }

    /// Ends the incarnation from this side, and begins the next if somebody waits for it.
    fn end(&self, error: LinkError) {
        let was_agreed = self.endpoint.borrow().is_agreed();
        if self.endpoint.borrow_mut().close(self.memory.view(self.side)) {
            self.core.signal(self.channel);
        }
        if was_agreed {
            self.bury(error);
        }
        if self.connecting.get() > 0 {
            self.open();
        }
    }

    /// The incarnation under way is over: its handles are void, and who waits on it hears of it.
    fn bury(&self, error: LinkError) {
        self.ended.set(error);
        self.generation.set(self.generation.get() + 1);
        self.handles.set(0);
        self.core.counters.add(Counter::LinkResets, 1);
        self.wake(&self.readers);
        self.wake(&self.writers);
        self.wake(&self.watchers);
        self.close_if_unused();
    }

    fn close_if_unused(&self) {
        if self.handles.get() == 0 && self.connecting.get() == 0 {
            self.end(LinkError::Closed);
        }
    }

    fn signal_if(&self, needed: bool) {
        if needed {
            self.core.signal(self.channel);
        } else {
            self.core.counters.add(Counter::SignalsSuppressed, 1);
        }
    }

    fn wake(&self, wakers: &Wakers) {
        self.core.counters.add(Counter::Wakes, wakers.wake_all());
    }
}
