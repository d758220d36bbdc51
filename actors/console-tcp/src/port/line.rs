//! One place for 9P connections: TCP below, frames above, one connection after the other.
//!
//! Answers for cutting the stream into frames, for every reason that ends a connection, and for nothing of one
//! connection reaching the next. Between two it tells its server a `Tversion` with an impossible size on behalf of
//! the client that has gone: that is how a 9P session is reset, so one server, with all its memory, serves the place
//! for the domain's whole life. Never looks into a frame further than to see whether it is one.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::{Future, pending, poll_fn};
use core::pin::pin;
use core::task::Poll;

use console::{Limiter, Mailbox, SESSION_CTL};
use futures::future::{Either, select};
use netstack::TcpStream;
use ninep::codec::{DecodeError, HEADER_BYTES, Tag, Tmessage, VERSION, kind, parse_t};
use ninep::{Client, Closed, OpenFlags, Transport};
use runtime::link::Connection;
use runtime::time::Instant;

use super::holds::Holds;
use super::writers::Writers;
use super::{FIDS, Floor, HANDLERS, MSIZE, SESSIONS};
use crate::count::Count;
use crate::house::House;

/// Bytes of a frame's length field.
const SIZE_BYTES: usize = 4;

/// A place.
pub(super) struct Line {
    pub(super) house: Rc<House>,
    floor: Rc<Floor>,
    /// Its bell at the door.
    pub(super) bell: usize,
    /// The next connection.
    arrivals: Mailbox<TcpStream>,
    stream: RefCell<Option<TcpStream>>,
    writers: Writers,
    /// Rung when the receiver has to look at its deadline and at `hung_up` again.
    changed: Mailbox<()>,
    hung_up: Cell<Option<End>>,
    /// Whether the server's session is that of a connection that has gone.
    stale: Cell<bool>,
    /// Bytes that the client's frames may have.
    limit: Cell<usize>,
    /// Since when the place is taken, or nothing has been attached any more; `None` if it is free.
    since: Cell<Option<(u64, Instant)>>,
    /// Whether it counts as attached.
    attached: Cell<bool>,
    /// Whether an attach is being judged: one at a time.
    pub(super) judging: Cell<bool>,
    /// Whether the client has said a wrong token. It is told so, and that is all.
    pub(super) doomed: Cell<bool>,
    pub(super) limiter: RefCell<Limiter>,
    /// The connection to NineDoor that the sessions are on.
    pub(super) client: RefCell<Option<Client<Connection>>>,
    /// The roots of the attaches.
    pub(super) sessions: Holds,
    /// All other files.
    pub(super) files: Holds,
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The client closed it, or it broke.
    Closed,
    /// What came was no frame, or none of this session.
    Garbage,
    /// The client was told that its token is wrong.
    Refused,
    /// It attached nothing in time, or stalled in the middle of a frame.
    TimedOut,
    /// A newer one takes the place of one that has attached nothing.
    Evicted,
    /// NineDoor has restarted: the client's fids name nothing any more.
    Stale,
}

/// Marks an attach as being judged, until it is dropped.
pub(super) struct Judging<'l>(&'l Line);

impl Drop for Judging<'_> {
    fn drop(&mut self) {
        self.0.judging.set(false);
        self.0.settle();
    }
}

impl Line {
    pub(super) fn new(house: Rc<House>, floor: Rc<Floor>, bell: usize) -> Line {
        Line {
            house,
            floor,
            bell,
            arrivals: Mailbox::new(),
            stream: RefCell::new(None),
            writers: Writers::new(),
            changed: Mailbox::new(),
            hung_up: Cell::new(None),
            stale: Cell::new(false),
            limit: Cell::new(MSIZE),
            since: Cell::new(None),
            attached: Cell::new(false),
            judging: Cell::new(false),
            doomed: Cell::new(false),
            limiter: RefCell::new(Limiter::default()),
            client: RefCell::new(None),
            sessions: Holds::new(SESSIONS),
            // Walks that replace their fid hold two files for a while.
            files: Holds::new(FIDS + HANDLERS),
        }
    }

    /// Whether nobody has the place.
    pub(super) fn is_free(&self) -> bool {
        self.since.get().is_none()
    }

    /// When the connection came that has the place and has attached nothing.
    pub(super) fn stranger(&self) -> Option<u64> {
        let (turn, _) = self.since.get()?;
        (!self.attached.get()).then_some(turn)
    }

    /// Gives the place to a connection; whoever has it, or waits for it, gives way.
    pub(super) fn arrive(&self, stream: TcpStream) {
        self.take_place();
        drop(self.arrivals.put(stream));
    }

    fn take_place(&self) {
        self.since
            .set(Some((self.floor.next_turn(), self.house.ctx.now())));
    }

    /// Whether there is a client.
    pub(super) fn is_connected(&self) -> bool {
        self.stream.borrow().is_some()
    }

    /// Begins to judge an attach, unless one is being judged.
    pub(super) fn judge(&self) -> Option<Judging<'_>> {
        (!self.judging.replace(true)).then(|| Judging(self))
    }

    /// Counts the connection as attached, if there may be one more.
    pub(super) fn admit(&self) -> bool {
        let (attached, most) = (self.floor.attached.get(), self.floor.most);
        if !self.attached.get() {
            if attached >= most {
                return false;
            }
            self.attached.set(true);
            self.floor.attached.set(attached + 1);
            self.changed.put(());
        }
        true
    }

    /// Counts the connection as a stranger again, if its last session is gone.
    pub(super) fn settle(&self) {
        if self.attached.get() && self.sessions.len() == 0 && !self.judging.get() {
            self.attached.set(false);
            self.floor
                .attached
                .set(self.floor.attached.get().saturating_sub(1));
            self.take_place();
            self.changed.put(());
        }
    }

    /// Gives up a connection without a word.
    pub(super) fn drop_connection(&self) {
        self.stream.take();
        self.writers.wake();
    }

    fn hang_up(&self, end: End) {
        if self.is_connected() && self.hung_up.get().is_none() {
            self.hung_up.set(Some(end));
            self.changed.put(());
        }
    }

    /// Waits for a connection.
    async fn begin(&self) {
        if self.arrivals.is_empty() {
            self.since.set(None);
        }
        let stream = self.arrivals.take().await;
        self.hung_up.set(None);
        self.doomed.set(false);
        self.limit.set(MSIZE);
        self.stale.set(true);
        *self.limiter.borrow_mut() = Limiter::default();
        self.client.replace(None);
        self.stream.replace(Some(stream));
    }

    /// Ends the connection. NineDoor is told of sessions that the client left behind.
    #[allow(clippy::await_holding_refcell_ref)] // see `Hold::fid`
    async fn end(&self, end: End) {
        if end == End::TimedOut && !self.attached.get() {
            Count::AuthTimedOut.add(&self.house.ctx);
        }
        match self.stream.take() {
            // Its place in the stack is needed.
            Some(stream) if end == End::Evicted => stream.abort(),
            // What was said last is still delivered, if the client is there.
            Some(stream) => stream.finish(),
            None => {}
        }
        self.writers.wake();
        let client = self.client.borrow().clone();
        let Some(client) = client.filter(|client| !client.is_closed()) else {
            return;
        };
        for at in 0..self.sessions.capacity() {
            let Some(session) = self.sessions.at(at) else {
                continue;
            };
            console::Count::Lost.add(&self.house.ctx);
            let Some(root) = session.fid() else { continue };
            let report = async {
                let ctl = client.walk_open(&root, &SESSION_CTL, OpenFlags::WRONLY).await?;
                client.write(&ctl, 0, b"lost").await
            };
            // A NineDoor that is gone in between counts the session as lost by itself.
            let _ = self
                .house
                .ctx
                .timeout(self.house.config.door_timeout, report)
                .await;
        }
        self.settle();
    }

    /// What the server hears at the end of a connection.
    fn farewell(&self, buf: &mut [u8]) -> Result<usize, Closed> {
        let reset = Tmessage::Version {
            msize: 0,
            version: VERSION,
        };
        reset.emit(Tag::NONE, buf).map_err(|_| Closed)
    }

    /// The next frame.
    async fn frame(&self, buf: &mut [u8]) -> Result<usize, End> {
        let mut got = 0;
        // An attached client may be silent for as long as it likes, but not in the middle of a frame.
        self.fill(buf, &mut got, 1, SIZE_BYTES, None).await?;
        let until = Some(self.house.ctx.now() + self.house.config.idle_timeout);
        self.fill(buf, &mut got, SIZE_BYTES, SIZE_BYTES, until).await?;
        let size = buf
            .first_chunk::<SIZE_BYTES>()
            .map_or(0, |size| u32::from_le_bytes(*size));
        let size = usize::try_from(size).map_err(|_| End::Garbage)?;
        if !(HEADER_BYTES..=self.limit.get().min(buf.len())).contains(&size) {
            return Err(End::Garbage);
        }
        self.fill(buf, &mut got, size, size, until).await?;
        let frame = buf.get(..size).ok_or(End::Garbage)?;
        match parse_t(frame) {
            Err(DecodeError::Malformed(_)) => return Err(End::Garbage),
            // The next session begins with the size that its answer says.
            Ok((_, Tmessage::Version { .. })) => self.limit.set(MSIZE),
            _ => {}
        }
        Ok(size)
    }

    /// Reads until `buf` holds at least `want` bytes, and at most `room`.
    async fn fill(
        &self,
        buf: &mut [u8],
        got: &mut usize,
        want: usize,
        room: usize,
        until: Option<Instant>,
    ) -> Result<(), End> {
        loop {
            if let Some(end) = self.hung_up.get() {
                return Err(end);
            }
            let place = buf.get_mut(..room).unwrap_or(&mut []);
            let reading = pin!(self.read(place, got, want));
            let disturbed = pin!(self.disturbed(until));
            match select(reading, disturbed).await {
                Either::Left((read, _)) => return read,
                Either::Right((Some(end), _)) => return Err(end),
                Either::Right((None, _)) => {}
            }
        }
    }

    fn read(&self, place: &mut [u8], got: &mut usize, want: usize) -> impl Future<Output = Result<(), End>> {
        poll_fn(move |cx| {
            let stream = self.stream.borrow();
            let Some(stream) = stream.as_ref() else {
                return Poll::Ready(Err(End::Closed));
            };
            while *got < want {
                let rest = place.get_mut(*got..).unwrap_or(&mut []);
                let read = stream.try_read_with(|bytes| {
                    let count = bytes.len().min(rest.len());
                    rest.iter_mut()
                        .zip(bytes)
                        .for_each(|(place, byte)| *place = *byte);
                    (count, count)
                });
                match read {
                    Ok(Some(0)) | Err(_) => return Poll::Ready(Err(End::Closed)),
                    Ok(Some(count)) => *got += count,
                    Ok(None) if pin!(stream.readable()).poll(cx).is_pending() => return Poll::Pending,
                    Ok(None) => {}
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Waits for what ends the connection but is not on it. `None`: look again.
    async fn disturbed(&self, until: Option<Instant>) -> Option<End> {
        let since = self.since.get().filter(|_| !self.attached.get());
        let patience = since.map(|(_, since)| since + self.house.config.auth_timeout);
        let until = match (until, patience) {
            (Some(until), Some(patience)) => Some(until.min(patience)),
            (until, patience) => until.or(patience),
        };
        let late = pin!(async {
            match until {
                Some(until) => self.house.ctx.sleep_until(until).await,
                None => pending().await,
            }
        });
        let arrived = pin!(self.arrivals.filled());
        let changed = pin!(self.changed.take());
        let door = pin!(self.house.door.opens(self.bell));
        match select(select(arrived, changed), select(door, late)).await {
            Either::Left((Either::Left(_), _)) => Some(End::Evicted),
            Either::Left((Either::Right(_), _)) => None,
            Either::Right((Either::Left(_), _)) => {
                let client = self.client.borrow();
                client
                    .as_ref()
                    .is_some_and(Client::is_closed)
                    .then_some(End::Stale)
            }
            Either::Right((Either::Right(_), _)) => Some(End::TimedOut),
        }
    }

    /// Writes a frame, if there is still somebody to write to.
    async fn write(&self, frame: &[u8]) -> Result<(), End> {
        let _turn = self.writers.turn().await;
        let mut rest = frame;
        poll_fn(|cx| {
            let stream = self.stream.borrow();
            let Some(stream) = stream.as_ref() else {
                return Poll::Ready(Ok(()));
            };
            while !rest.is_empty() {
                let written = stream.try_write_with(|space| {
                    let count = space.len().min(rest.len());
                    space
                        .iter_mut()
                        .zip(rest)
                        .for_each(|(place, byte)| *place = *byte);
                    (count, count)
                });
                match written {
                    Ok(Some(count)) => rest = rest.get(count..).unwrap_or(&[]),
                    Ok(None) if pin!(stream.writable()).poll(cx).is_pending() => {
                        self.writers.wait(cx);
                        return Poll::Pending;
                    }
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Err(End::Closed)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl Transport for Line {
    /// Never fails: after one connection comes the next.
    async fn recv(&self, buf: &mut [u8]) -> Result<usize, Closed> {
        self.house.ctx.cooperate().await;
        loop {
            if !self.is_connected() {
                if self.stale.replace(false) {
                    return self.farewell(buf);
                }
                self.begin().await;
            }
            match self.frame(buf).await {
                Ok(len) => return Ok(len),
                Err(end) => self.end(end).await,
            }
        }
    }

    /// Never fails: what the client cannot be told any more is forgotten.
    async fn send(&self, frame: &[u8]) -> Result<(), Closed> {
        if !self.is_connected() {
            return Ok(());
        }
        let what = frame.get(SIZE_BYTES).copied().unwrap_or_default();
        if let Some(msize) = agreed_msize(what, frame) {
            self.limit.set(msize);
        }
        let patience = self.house.config.idle_timeout;
        match self.house.ctx.timeout(patience, self.write(frame)).await {
            Ok(Ok(())) if self.doomed.get() && what == kind::RLERROR => self.hang_up(End::Refused),
            Ok(Ok(())) => {}
            Ok(Err(end)) => self.hang_up(end),
            // It does not read. A part of the frame may have been sent: nothing can follow.
            Err(_) => self.hang_up(End::TimedOut),
        }
        Ok(())
    }
}

/// The message size in an `Rversion` that begins a session.
fn agreed_msize(what: u8, frame: &[u8]) -> Option<usize> {
    let msize = frame.get(HEADER_BYTES..)?.first_chunk::<4>()?;
    let version = frame.get(HEADER_BYTES + 4 + 2..)?;
    let begins = what == kind::TVERSION + 1 && version == VERSION.as_bytes();
    usize::try_from(u32::from_le_bytes(*msize))
        .ok()
        .filter(|_| begins)
}
