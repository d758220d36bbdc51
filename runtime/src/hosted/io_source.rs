//! Sockets of the operating system for the domains that own some.
//!
//! Answers for: tasks that wait until a socket may be read or written, by the thread's own `mio::Poll`.
//! Never: blocks, and never shows a socket to a domain of another thread.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::task::{Context as TaskContext, Poll, ready};
use std::io;

use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::context::{Context, Core};
use crate::wakers::Wakers;

/// A domain's access to its thread's poll.
#[derive(Clone)]
pub struct Io {
    sources: Rc<Sources>,
    core: Rc<Core>,
    resident: usize,
}

/// A source registered with the thread's poll, until it is dropped.
pub struct IoSource<S: mio::event::Source> {
    source: S,
    token: Token,
    readiness: Rc<Readiness>,
    io: Io,
}

/// The sources of a thread.
pub(super) struct Sources {
    registry: Registry,
    table: RefCell<Vec<Option<Entry>>>,
    registered: Cell<usize>,
}

struct Entry {
    readiness: Rc<Readiness>,
    /// Which of the thread's domains owns it.
    resident: usize,
}

/// What is known of a source. Edges: true from an event until an operation would have blocked.
struct Readiness {
    readable: Cell<bool>,
    writable: Cell<bool>,
    readers: Wakers,
    writers: Wakers,
}

impl Io {
    pub(super) fn new(sources: &Rc<Sources>, context: &Context, resident: usize) -> Self {
        Self {
            sources: Rc::clone(sources),
            core: Rc::clone(&context.inner.core),
            resident,
        }
    }

    /// Registers a source for reading and writing. It must be in non-blocking mode, as mio's own types are.
    ///
    /// # Errors
    /// The system's.
    pub fn register<S: mio::event::Source>(&self, mut source: S) -> io::Result<IoSource<S>> {
        let token = self.sources.vacancy();
        self.sources
            .registry
            .register(&mut source, token, Interest::READABLE | Interest::WRITABLE)?;
        let readiness = Rc::new(Readiness {
            // Until an operation says otherwise.
            readable: Cell::new(true),
            writable: Cell::new(true),
            readers: Wakers::new(),
            writers: Wakers::new(),
        });
        let entry = Entry {
            readiness: Rc::clone(&readiness),
            resident: self.resident,
        };
        if let Some(place) = self.sources.table.borrow_mut().get_mut(token.0) {
            *place = Some(entry);
        }
        self.sources.registered.set(self.sources.registered.get() + 1);
        Ok(IoSource {
            source,
            token,
            readiness,
            io: self.clone(),
        })
    }
}

impl<S: mio::event::Source> IoSource<S> {
    /// The source. Its operations may fail with `WouldBlock`; [`IoSource::read_with`] deals with that.
    pub fn get(&self) -> &S {
        &self.source
    }

    /// Runs `operation` until it gives something else than `WouldBlock`, each time the source may have become readable.
    ///
    /// # Errors
    /// The operation's.
    pub fn read_with<R>(
        &self,
        operation: impl FnMut(&S) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        self.run(&self.readiness.readable, &self.readiness.readers, operation)
    }

    /// As [`IoSource::read_with`], each time the source may have become writable.
    ///
    /// # Errors
    /// The operation's.
    pub fn write_with<R>(
        &self,
        operation: impl FnMut(&S) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        self.run(&self.readiness.writable, &self.readiness.writers, operation)
    }

    fn run<R>(
        &self,
        may: &Cell<bool>,
        wakers: &Wakers,
        mut operation: impl FnMut(&S) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        poll_fn(move |cx: &mut TaskContext<'_>| {
            ready!(self.io.core.poll_budget(cx));
            while may.get() {
                match operation(&self.source) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => may.set(false),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return Poll::Ready(result),
                }
            }
            wakers.register(cx.waker());
            Poll::Pending
        })
    }
}

impl<S: mio::event::Source> Drop for IoSource<S> {
    fn drop(&mut self) {
        // A descriptor that cannot be deregistered is about to be closed, which does the same.
        let _ = self.io.sources.registry.deregister(&mut self.source);
        if let Some(place) = self.io.sources.table.borrow_mut().get_mut(self.token.0) {
            *place = None;
        }
        self.io
            .sources
            .registered
            .set(self.io.sources.registered.get().saturating_sub(1));
    }
}

impl Sources {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            table: RefCell::new(Vec::new()),
            registered: Cell::new(0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.registered.get() == 0
    }

    /// Wakes who waited for this; the resident that is to take a turn. An event may be for a source that is gone, or,
    /// its token being used again, for its successor, which then looks once for nothing.
    pub(super) fn on_event(&self, event: &Event) -> Option<usize> {
        let (readiness, resident) = {
            let table = self.table.borrow();
            let entry = table.get(event.token().0)?.as_ref()?;
            (Rc::clone(&entry.readiness), entry.resident)
        };
        // Errors and hang-ups show in whatever operation comes next, so both directions are worth a try.
        let failed = event.is_error();
        if failed || event.is_readable() || event.is_read_closed() {
            readiness.readable.set(true);
            readiness.readers.wake_all();
        }
        if failed || event.is_writable() || event.is_write_closed() {
            readiness.writable.set(true);
            readiness.writers.wake_all();
        }
        Some(resident)
    }

    /// A token that no source has.
    fn vacancy(&self) -> Token {
        let mut table = self.table.borrow_mut();
        let index = table.iter().position(Option::is_none).unwrap_or_else(|| {
            table.push(None);
            table.len() - 1
        });
        Token(index)
    }
}
