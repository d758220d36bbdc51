//! The requests of one connection that are not answered yet, and their order.
//!
//! Answers for the tag window, for which request may run next (requests on one
//! fid run in the order they came, those that only look at it side by side), and
//! for a `Tflush` to be answered after what it flushes. Plain data: never waits,
//! never allocates after `new`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::codec::{FidNumber, Tag, Tmessage};

/// The fids that a request uses, and whether it shares them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Claims([Option<(FidNumber, Use)>; 2]);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// Looks at the file only.
    Shared,
    /// Makes the fid, ends it or works on the open file.
    Alone,
}

impl Claims {
    pub(super) fn of(message: &Tmessage<'_>) -> Claims {
        match *message {
            Tmessage::Attach { fid, .. }
            | Tmessage::Open { fid, .. }
            | Tmessage::Read { fid, .. }
            | Tmessage::Write { fid, .. }
            | Tmessage::Readdir { fid, .. }
            | Tmessage::Clunk { fid }
            | Tmessage::Remove { fid } => Claims([Some((fid, Use::Alone)), None]),
            Tmessage::Walk { fid, newfid, .. } => {
                Claims([Some((fid, Use::Shared)), Some((newfid, Use::Alone))])
            }
            Tmessage::Getattr { fid, .. } | Tmessage::Statfs { fid } => {
                Claims([Some((fid, Use::Shared)), None])
            }
            Tmessage::Version { .. } | Tmessage::Flush { .. } | Tmessage::Other(_) => Claims::default(),
        }
    }

    /// Whether two requests cannot run side by side.
    fn conflicts(&self, other: &Claims) -> bool {
        let collide = |(fid, how): &(FidNumber, Use)| {
            let both =
                |(fid2, how2): &(FidNumber, Use)| fid == fid2 && (*how == Use::Alone || *how2 == Use::Alone);
            other.0.iter().flatten().any(both)
        };
        self.0.iter().flatten().any(collide)
    }
}

/// Names a slot of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlotId(usize);

/// Why a request was not admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Its tag is in use.
    Duplicate,
    /// As many requests as allowed are unanswered.
    Full,
    /// Answers are still being sent; there will be a slot.
    Wait,
}

/// What became of a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flushed {
    /// There is nothing to wait for: answer now.
    Done,
    /// It is answered later, by [`Window::next_flush`]; the task to wake, if
    /// what it flushes is in progress.
    Later(Option<usize>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Queued,
    /// In progress with the task of that number.
    Running {
        task: usize,
        cancelled: bool,
    },
    /// Done; its tag may be used again, but its answer is not with the transport yet.
    Replying,
}

struct Slot {
    state: State,
    tag: Tag,
    sequence: u64,
    claims: Claims,
    frame: Box<[u8]>,
    len: usize,
}

impl Slot {
    fn is_unanswered(&self) -> bool {
        matches!(self.state, State::Queued | State::Running { .. })
    }
}

struct Flush {
    tag: Tag,
    sequence: u64,
    /// What it waits for.
    target: u64,
    sending: bool,
}

/// A flush whose answer is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DueFlush {
    pub(super) tag: Tag,
    sequence: u64,
}

pub(super) struct Window {
    slots: Vec<Slot>,
    /// The queued slots, oldest first.
    queue: VecDeque<usize>,
    flushes: VecDeque<Flush>,
    next_sequence: u64,
    /// Slots that are queued or running: mostly none or one, and then there is nothing to search.
    unanswered: usize,
}

impl Window {
    /// For `tags` requests of up to `msize` bytes.
    pub(super) fn new(tags: usize, msize: usize) -> Window {
        let slot = || Slot {
            state: State::Free,
            tag: Tag::NONE,
            sequence: 0,
            claims: Claims::default(),
            frame: alloc::vec![0; msize].into_boxed_slice(),
            len: 0,
        };
        Window {
            slots: (0..tags).map(|_| slot()).collect(),
            queue: VecDeque::with_capacity(tags),
            flushes: VecDeque::with_capacity(tags),
            next_sequence: 0,
            unanswered: 0,
        }
    }

    /// Queues a request; swaps its `frame` for an empty one.
    pub(super) fn admit(
        &mut self,
        tag: Tag,
        claims: Claims,
        frame: &mut Box<[u8]>,
        len: usize,
    ) -> Result<(), Refusal> {
        if self.is_in_use(tag) {
            return Err(Refusal::Duplicate);
        }
        let sequence = self.sequence();
        let free = self
            .slots
            .iter_mut()
            .enumerate()
            .find(|(_, slot)| slot.state == State::Free);
        if let Some((at, slot)) = free {
            slot.state = State::Queued;
            slot.tag = tag;
            slot.sequence = sequence;
            slot.claims = claims;
            slot.len = len;
            core::mem::swap(&mut slot.frame, frame);
            self.queue.push_back(at);
            self.unanswered += 1;
            Ok(())
        } else if self.slots.iter().any(|slot| slot.state == State::Replying) {
            Err(Refusal::Wait)
        } else {
            Err(Refusal::Full)
        }
    }

    /// Gives the oldest request that may run to `task`, with its frame.
    pub(super) fn start(&mut self, task: usize) -> Option<(SlotId, Box<[u8]>, usize)> {
        let at = self.queue.remove(self.runnable()?)?;
        let slot = self.slots.get_mut(at)?;
        slot.state = State::Running {
            task,
            cancelled: false,
        };
        Some((SlotId(at), core::mem::take(&mut slot.frame), slot.len))
    }

    /// Whether a request may run.
    pub(super) fn has_runnable(&self) -> bool {
        self.runnable().is_some()
    }

    /// The place in the queue of the oldest request that no older one keeps from running.
    fn runnable(&self) -> Option<usize> {
        if self.unanswered == self.queue.len() {
            // None is running, and the first in the queue is the oldest.
            return (!self.queue.is_empty()).then_some(0);
        }
        self.queue.iter().position(|at| {
            self.slots.get(*at).is_some_and(|slot| {
                !self.slots.iter().any(|other| {
                    other.is_unanswered()
                        && other.sequence < slot.sequence
                        && other.claims.conflicts(&slot.claims)
                })
            })
        })
    }

    /// Whether a request in progress was flushed.
    pub(super) fn is_cancelled(&self, id: SlotId) -> bool {
        self.slots
            .get(id.0)
            .is_some_and(|slot| matches!(slot.state, State::Running { cancelled: true, .. }))
    }

    /// A request is done; others on its fids may run.
    pub(super) fn performed(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.state = State::Replying;
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }

    /// Its answer is with the transport, or there is none; the slot takes the frame back.
    pub(super) fn finish(&mut self, id: SlotId, frame: Box<[u8]>) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.state = State::Free;
            slot.frame = frame;
        }
    }

    /// Gives up the request `old` for the flush `tag`.
    pub(super) fn flush(&mut self, tag: Tag, old: Tag) -> Result<Flushed, Refusal> {
        if self.is_in_use(tag) {
            return Err(Refusal::Duplicate);
        }
        let slots = self.slots.iter_mut().enumerate();
        let occupied = slots.filter(|(_, slot)| slot.state != State::Free && slot.tag == old);
        let target = match occupied.max_by_key(|(_, slot)| slot.sequence) {
            Some((at, slot)) if slot.state == State::Queued => {
                slot.state = State::Free; // it never ran and gets no answer
                self.queue.retain(|queued| *queued != at);
                self.unanswered = self.unanswered.saturating_sub(1);
                None
            }
            Some((_, slot)) => Some(slot.sequence),
            None => None,
        };
        let flush = self
            .flushes
            .iter()
            .rev()
            .find(|flush| flush.tag == old)
            .map(|flush| flush.sequence);
        let Some(target) = target.or(flush) else {
            return Ok(Flushed::Done);
        };
        if self.flushes.len() >= self.slots.len() {
            return Err(Refusal::Full);
        }
        let sequence = self.sequence();
        self.flushes.push_back(Flush {
            tag,
            sequence,
            target,
            sending: false,
        });
        Ok(Flushed::Later(self.cancel(target)))
    }

    /// The oldest flush whose answer is due; [`Window::flush_sent`] must follow.
    pub(super) fn next_flush(&mut self) -> Option<DueFlush> {
        let due = |flush: &&Flush| !flush.sending && !self.is_pending(flush.target);
        let DueFlush { tag, sequence } = {
            let flush = self.flushes.iter().find(due)?;
            DueFlush {
                tag: flush.tag,
                sequence: flush.sequence,
            }
        };
        let flush = self.flushes.iter_mut().find(|flush| flush.sequence == sequence)?;
        flush.sending = true;
        Some(DueFlush { tag, sequence })
    }

    /// The answer to a flush is with the transport.
    pub(super) fn flush_sent(&mut self, due: DueFlush) {
        self.flushes.retain(|flush| flush.sequence != due.sequence);
    }

    /// Gives up all requests; calls `wake` with each task that has one in progress.
    pub(super) fn abort(&mut self, mut wake: impl FnMut(usize)) {
        self.flushes.clear();
        self.unanswered = self.unanswered.saturating_sub(self.queue.len());
        self.queue.clear();
        for slot in &mut self.slots {
            match &mut slot.state {
                State::Queued => slot.state = State::Free,
                State::Running { task, cancelled } => {
                    *cancelled = true;
                    wake(*task);
                }
                State::Free | State::Replying => {}
            }
        }
    }

    /// Whether every slot is free.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.state == State::Free)
    }

    /// Whether some slot is free.
    pub(super) fn has_free_slot(&self) -> bool {
        self.slots.iter().any(|slot| slot.state == State::Free)
    }

    fn is_in_use(&self, tag: Tag) -> bool {
        let unanswered = |slot: &Slot| slot.is_unanswered() && slot.tag == tag;
        self.unanswered > 0 && self.slots.iter().any(unanswered)
            || self
                .flushes
                .iter()
                .any(|flush| !flush.sending && flush.tag == tag)
    }

    fn is_pending(&self, sequence: u64) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.state != State::Free && slot.sequence == sequence)
            || self.flushes.iter().any(|flush| flush.sequence == sequence)
    }

    fn cancel(&mut self, sequence: u64) -> Option<usize> {
        self.slots.iter_mut().find_map(|slot| match &mut slot.state {
            State::Running { task, cancelled } if slot.sequence == sequence => {
                *cancelled = true;
                Some(*task)
            }
            _ => None,
        })
    }

    fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }
}
