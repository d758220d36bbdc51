//! What a client knows of its connection: requests by tag, fids, and their fates.
//!
//! Answers for matching replies with requests, and for every tag and fid coming
//! back exactly once, also when nobody waits for the reply any more. Plain data:
//! never waits, never allocates after `new`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Waker;

use super::wait::WaitQueue;
use super::{ClientConfig, ClientError, ProtocolError};
use crate::codec::{FidNumber, Rmessage, Tag, kind, parse_r};

/// Names a request; the index of its call, and its tag unless it is `Tversion`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CallId(pub(super) u16);

/// What a reply does to a fid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    None,
    /// Makes a fid, if so many names were walked.
    Makes {
        fid: FidNumber,
        names: usize,
    },
    /// Ends a fid, whatever it says.
    Ends {
        fid: FidNumber,
    },
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Free,
    /// With its task, which has the frame.
    Held,
    /// Sent; its task waits.
    Waiting,
    /// The reply is in the call's frame.
    Answered,
    /// Sent, and its task is gone: to be flushed.
    Dropped,
    /// Sent, and its task is gone or never was: the reply is awaited all the same.
    Detached,
    /// The flush was sent.
    Flushing {
        answered: bool,
    },
}

struct Call {
    phase: Phase,
    kind: u8,
    effect: Effect,
    waker: Option<Waker>,
    frame: Box<[u8]>,
    len: usize,
}

/// Something the driver has to send of its own accord.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Errand {
    Flush { tag: Tag, old: Tag },
    Clunk { tag: Tag, fid: FidNumber },
}

pub(super) struct Table {
    /// Why the connection is over.
    pub(super) end: Option<ClientError>,
    /// Bytes in a message.
    pub(super) msize: u32,
    pub(super) is_versioned: bool,
    pub(super) tag_queue: WaitQueue,
    pub(super) fid_queue: WaitQueue,
    pub(super) driver: Option<Waker>,
    /// One per tag, and one more for `Tversion`.
    calls: Vec<Call>,
    tags: u16,
    free_tags: Vec<u16>,
    free_fids: Vec<FidNumber>,
    /// Calls in [`Phase::Dropped`]: mostly none, and then there is nothing to search.
    dropped: usize,
    /// Dropped fids whose clunk is not sent yet.
    ending: VecDeque<FidNumber>,
    /// Fids that come back when a clunk is answered.
    ends: usize,
}

impl Table {
    pub(super) fn new(config: &ClientConfig) -> Table {
        let call = || Call {
            phase: Phase::Free,
            kind: 0,
            effect: Effect::None,
            waker: None,
            frame: alloc::vec![0; config.msize as usize].into_boxed_slice(),
            len: 0,
        };
        let tags = config.tags as u16; // `Client::new` has clamped it
        Table {
            end: None,
            msize: config.msize,
            is_versioned: false,
            tag_queue: WaitQueue::new(config.waiters),
            fid_queue: WaitQueue::new(config.waiters),
            driver: None,
            calls: (0..=tags).map(|_| call()).collect(),
            tags,
            free_tags: (0..tags).rev().collect(),
            free_fids: (0..config.fids as u32).rev().filter_map(FidNumber::new).collect(),
            dropped: 0,
            ending: VecDeque::with_capacity(config.fids),
            ends: 0,
        }
    }

    /// The connection is over; everyone who waits is told.
    pub(super) fn fail(&mut self, error: ClientError) {
        self.end.get_or_insert(error);
        self.calls
            .iter_mut()
            .filter_map(|call| call.waker.take())
            .for_each(Waker::wake);
        self.tag_queue.wake_all();
        self.fid_queue.wake_all();
        self.wake_driver();
    }

    /// The call of `Tversion`.
    pub(super) fn version_call(&self) -> CallId {
        CallId(self.tags)
    }

    pub(super) fn tag(&self, id: CallId) -> Tag {
        if id.0 < self.tags { Tag(id.0) } else { Tag::NONE }
    }

    /// Takes a tag for a task; clunks that wait for one come first.
    pub(super) fn take_tag(&mut self) -> Option<CallId> {
        if self.ending.is_empty() {
            self.free_tags.pop().map(CallId)
        } else {
            None
        }
    }

    /// A call begins; its task gets the frame. `None` if it is in use, which only `Tversion`'s can be.
    pub(super) fn begin(&mut self, id: CallId) -> Option<Box<[u8]>> {
        let call = self.call(id).filter(|call| call.phase == Phase::Free)?;
        call.phase = Phase::Held;
        call.effect = Effect::None;
        Some(core::mem::take(&mut call.frame))
    }

    /// What the reply will do.
    pub(super) fn set_effect(&mut self, id: CallId, effect: Effect) {
        if let Some(call) = self.call(id) {
            call.effect = effect;
        }
        if matches!(effect, Effect::Ends { .. }) {
            self.ends += 1;
        }
    }

    /// The request is with the transport; the frame is for the reply now.
    pub(super) fn sent(&mut self, id: CallId, kind: u8, frame: Box<[u8]>) {
        if let Some(call) = self.call(id) {
            call.phase = Phase::Waiting;
            call.kind = kind;
            call.frame = frame;
        }
    }

    /// The reply, if it is there: the call is held again.
    pub(super) fn take_reply(&mut self, id: CallId, waker: &Waker) -> Option<(Box<[u8]>, usize)> {
        let call = self.call(id)?;
        if call.phase != Phase::Answered {
            match &mut call.waker {
                Some(place) => place.clone_from(waker),
                place => *place = Some(waker.clone()),
            }
            return None;
        }
        call.phase = Phase::Held;
        call.waker = None;
        Some((core::mem::take(&mut call.frame), call.len))
    }

    /// A task is done with its call, or gone. `frame` is the call's, if the task has it.
    pub(super) fn drop_call(&mut self, id: CallId, frame: Box<[u8]>) {
        let is_version = id == self.version_call();
        let Some(call) = self.call(id) else { return };
        call.waker = None;
        match call.phase {
            Phase::Held => {
                call.frame = frame;
                self.settle(id, false);
                self.free(id);
            }
            Phase::Answered => {
                let names = match call.effect {
                    Effect::Makes { names, .. } => names,
                    _ => 0,
                };
                let reply = parse_r(call.frame.get(..call.len).unwrap_or(&[]));
                let made = reply.is_ok_and(|(_, message)| makes(&message, names));
                self.settle(id, made);
                self.free(id);
            }
            Phase::Waiting if is_version || matches!(call.effect, Effect::Ends { .. }) => {
                call.phase = Phase::Detached;
            }
            Phase::Waiting => {
                call.phase = Phase::Dropped;
                self.dropped += 1;
                self.wake_driver();
            }
            Phase::Free | Phase::Dropped | Phase::Detached | Phase::Flushing { .. } => {}
        }
    }

    /// Takes a reply: swaps it with the frame of the call that waits for it.
    pub(super) fn answer(&mut self, frame: &mut Box<[u8]>, len: usize) -> Result<(), ProtocolError> {
        let bytes = frame
            .get(..len)
            .filter(|_| len <= self.msize as usize)
            .ok_or(ProtocolError::Excess)?;
        let (tag, message) = parse_r(bytes).map_err(ProtocolError::Malformed)?;
        let unexpected = ProtocolError::UnexpectedTag(tag.0);
        let id = match tag {
            Tag::NONE => self.version_call(),
            Tag(number) if number < self.tags => CallId(number),
            Tag(number) => return self.flushed(CallId(number - self.tags), tag, &message),
        };
        let call = self.call(id).ok_or(unexpected)?;
        let awaited = matches!(
            call.phase,
            Phase::Waiting | Phase::Dropped | Phase::Detached | Phase::Flushing { answered: false }
        );
        if !awaited {
            return Err(unexpected);
        }
        if message.kind() != kind::RLERROR && message.kind() != call.kind + 1 {
            return Err(ProtocolError::UnexpectedKind(message.kind()));
        }
        if call.phase == Phase::Waiting {
            core::mem::swap(&mut call.frame, frame);
            call.len = len;
            call.phase = Phase::Answered;
            if let Some(waker) = call.waker.take() {
                waker.wake();
            }
            return Ok(());
        }
        let made = match call.effect {
            Effect::Makes { names, .. } => makes(&message, names),
            _ => false,
        };
        if call.phase == (Phase::Flushing { answered: false }) {
            call.phase = Phase::Flushing { answered: true };
            self.settle(id, made);
        } else {
            if call.phase == Phase::Dropped {
                self.dropped = self.dropped.saturating_sub(1);
            }
            self.settle(id, made);
            self.free(id);
        }
        Ok(())
    }

    /// Takes the answer to a flush.
    fn flushed(&mut self, id: CallId, tag: Tag, message: &Rmessage<'_>) -> Result<(), ProtocolError> {
        let call = self.call(id).ok_or(ProtocolError::UnexpectedTag(tag.0))?;
        let Phase::Flushing { answered } = call.phase else {
            return Err(ProtocolError::UnexpectedTag(tag.0));
        };
        match message {
            Rmessage::Flush => {
                self.settle(id, false);
                self.free(id);
            }
            // The server will not flush: the reply must come.
            Rmessage::Error(_) if !answered => call.phase = Phase::Detached,
            Rmessage::Error(_) => self.free(id),
            other => return Err(ProtocolError::UnexpectedKind(other.kind())),
        }
        Ok(())
    }

    /// The next thing the driver has to send, if any.
    pub(super) fn errand(&mut self) -> Option<Errand> {
        if self.dropped > 0 {
            for (old, call) in (0..self.tags).zip(&mut self.calls) {
                if call.phase == Phase::Dropped {
                    call.phase = Phase::Flushing { answered: false };
                    self.dropped -= 1;
                    return Some(Errand::Flush {
                        tag: Tag(old + self.tags),
                        old: Tag(old),
                    });
                }
            }
        }
        if self.ending.is_empty() {
            return None;
        }
        let id = self.free_tags.pop().map(CallId)?;
        let fid = self.ending.pop_front()?;
        if let Some(call) = self.call(id) {
            call.phase = Phase::Detached;
            call.kind = kind::TCLUNK;
            call.effect = Effect::Ends { fid };
        }
        self.offer_tags();
        Some(Errand::Clunk {
            tag: self.tag(id),
            fid,
        })
    }

    /// Takes a free fid. `Err`: none will become free by itself.
    pub(super) fn take_fid(&mut self) -> Result<Option<FidNumber>, ClientError> {
        match self.free_fids.pop() {
            Some(fid) => Ok(Some(fid)),
            None if self.ends > 0 => Ok(None),
            None => Err(ClientError::Exhausted),
        }
    }

    /// A fid that names no file (any more) may be used again.
    pub(super) fn free_fid(&mut self, fid: FidNumber) {
        self.free_fids.push(fid);
        self.fid_queue.wake_first();
    }

    /// A fid was dropped: the driver clunks it.
    pub(super) fn end_fid(&mut self, fid: FidNumber) {
        self.ends += 1;
        self.ending.push_back(fid);
        self.wake_driver();
    }

    /// The reply, or that there is none, does what it does to its fid, once.
    fn settle(&mut self, id: CallId, made: bool) {
        let Some(call) = self.call(id) else { return };
        match core::mem::replace(&mut call.effect, Effect::None) {
            Effect::None => {}
            Effect::Makes { fid, .. } if made => self.end_fid(fid),
            Effect::Makes { fid, .. } => self.free_fid(fid),
            Effect::Ends { fid } => {
                self.ends = self.ends.saturating_sub(1);
                self.free_fid(fid);
            }
        }
    }

    fn free(&mut self, id: CallId) {
        if let Some(call) = self.call(id) {
            call.phase = Phase::Free;
        }
        if id != self.version_call() {
            self.free_tags.push(id.0);
            self.offer_tags();
        }
    }

    /// Tells who may take a free tag.
    fn offer_tags(&self) {
        if self.free_tags.is_empty() {
        } else if self.ending.is_empty() {
            self.tag_queue.wake_first();
        } else {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        if let Some(waker) = &self.driver {
            waker.wake_by_ref();
        }
    }

    fn call(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(usize::from(id.0))
    }
}

/// Whether a reply says that the fid its request asked for exists now.
fn makes(message: &Rmessage<'_>, names: usize) -> bool {
    match message {
        Rmessage::Attach { .. } => true,
        Rmessage::Walk { qids } => qids.as_slice().len() == names,
        _ => false,
    }
}
