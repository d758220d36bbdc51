//! One connection's shared state: window, fids, and the tasks that wait on them.
//!
//! Answers for waking whoever can go on after a change. Every borrow of the state
//! ends before anything waits and before the tree is called. Never sends and never
//! receives.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use super::ServerConfig;
use super::fids::FidTable;
use super::window::{Claims, DueFlush, Flushed, Refusal, SlotId, Window};
use crate::codec::{FidNumber, Tag};
use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::qid::Qid;
use crate::tree::FileTree;

/// What a fid names.
pub(super) struct File<T: FileTree> {
    pub(super) node: T::Node,
    pub(super) qid: Qid,
    pub(super) open: Option<Open<T>>,
}

/// What an open fid has besides.
pub(super) struct Open<T: FileTree> {
    pub(super) flags: OpenFlags,
    pub(super) state: T::Open,
}

/// A task of the connection: one of the handlers, or the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Task(pub(super) usize);

/// A request given to a handler.
pub(super) struct Work {
    pub(super) id: SlotId,
    pub(super) frame: Box<[u8]>,
    pub(super) len: usize,
}

/// Why an operation has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// Answer with this.
    Refused(Errno),
    /// The client gave it up: no answer.
    Cancelled,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Refused(errno)
    }
}

pub(super) struct Session<T: FileTree> {
    state: RefCell<State<T>>,
    receiver: Task,
    max_msize: u32,
}

struct State<T: FileTree> {
    closing: bool,
    /// Between `Tversion` and `Rversion`: answers to older requests are dropped.
    resetting: bool,
    /// Agreed with the client; `None` before it has said its version.
    msize: Option<u32>,
    window: Window,
    fids: FidTable<File<T>>,
    wakers: Vec<Option<Waker>>,
    /// Handlers without work.
    idle: Vec<Task>,
}

impl<T: FileTree> Session<T> {
    pub(super) fn new(config: &ServerConfig) -> Session<T> {
        let state = State {
            closing: false,
            resetting: false,
            msize: None,
            window: Window::new(config.tags, config.msize as usize),
            fids: FidTable::new(config.fids),
            wakers: (0..=config.handlers).map(|_| None).collect(),
            idle: Vec::with_capacity(config.handlers),
        };
        Session {
            state: RefCell::new(state),
            receiver: Task(config.handlers),
            max_msize: config.msize,
        }
    }

    /// The task that receives.
    pub(super) fn receiver(&self) -> Task {
        self.receiver
    }

    /// Bytes in a frame at most.
    pub(super) fn msize(&self) -> u32 {
        self.state.borrow().msize.unwrap_or(self.max_msize)
    }

    /// Whether the client has said its version.
    pub(super) fn is_versioned(&self) -> bool {
        self.state.borrow().msize.is_some()
    }

    /// The connection is over: every task stops where it waits, but for clunks.
    pub(super) fn close(&self) {
        let mut state = self.state.borrow_mut();
        state.closing = true;
        state.window.abort(|_| {});
        state
            .wakers
            .iter_mut()
            .filter_map(Option::take)
            .for_each(Waker::wake);
    }

    /// Gives up all requests and waits until none is in progress.
    pub(super) async fn reset(&self) {
        {
            let mut state = self.state.borrow_mut();
            let State { window, wakers, .. } = &mut *state;
            window.abort(|task| wake(wakers, Task(task)));
            state.resetting = true;
            state.msize = None;
        }
        poll_fn(|cx| self.receive_when(cx, |state| state.window.is_idle())).await;
    }

    /// The session begins, with the message size that was agreed on, if any.
    pub(super) fn begin(&self, msize: Option<u32>) {
        let mut state = self.state.borrow_mut();
        state.resetting = false;
        state.msize = msize;
    }

    /// Queues a request, swapping its frame for an empty one. `Err`: what to answer.
    pub(super) async fn admit(
        &self,
        tag: Tag,
        claims: Claims,
        frame: &mut Box<[u8]>,
        len: usize,
    ) -> Result<(), Errno> {
        let mut patient = true;
        loop {
            let admitted = self.state.borrow_mut().window.admit(tag, claims, frame, len);
            match admitted {
                Ok(()) => {
                    self.state.borrow_mut().wake_idle();
                    return Ok(());
                }
                Err(Refusal::Duplicate) => return Err(Errno::EINVAL),
                Err(Refusal::Wait) => {
                    poll_fn(|cx| self.receive_when(cx, |state| state.window.has_free_slot())).await;
                    if self.state.borrow().closing {
                        return Err(Errno::ESHUTDOWN);
                    }
                }
                Err(Refusal::Full) if patient => {
                    patient = false; // the handlers may have had no turn yet
                    yield_now().await;
                }
                Err(Refusal::Full) => return Err(Errno::EBUSY),
            }
        }
    }

    /// Gives up a request. `Ok(true)`: answer now.
    pub(super) fn flush(&self, tag: Tag, old: Tag) -> Result<bool, Errno> {
        let mut state = self.state.borrow_mut();
        match state.window.flush(tag, old) {
            Ok(Flushed::Done) => {
                state.wake_idle(); // what waited behind a request that never ran
                Ok(true)
            }
            Ok(Flushed::Later(task)) => {
                if let Some(task) = task {
                    wake(&mut state.wakers, Task(task));
                }
                Ok(false)
            }
            Err(Refusal::Duplicate) => Err(Errno::EINVAL),
            Err(Refusal::Full | Refusal::Wait) => Err(Errno::EBUSY),
        }
    }

    pub(super) fn next_flush(&self) -> Option<DueFlush> {
        self.state.borrow_mut().window.next_flush()
    }

    pub(super) fn flush_sent(&self, due: DueFlush) {
        self.state.borrow_mut().window.flush_sent(due);
    }

    /// Waits for a request that may run; `None` when the connection is over.
    pub(super) async fn work(&self, task: Task) -> Option<Work> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.closing {
                return Poll::Ready(None);
            }
            state.idle.retain(|other| *other != task);
            match state.window.start(task.0) {
                Some((id, frame, len)) => {
                    state.wake_idle();
                    Poll::Ready(Some(Work { id, frame, len }))
                }
                None => {
                    state.idle.push(task);
                    state.register(task, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// A request is done. Whether its answer is to be sent.
    pub(super) fn performed(&self, id: SlotId) -> bool {
        let mut state = self.state.borrow_mut();
        state.window.performed(id);
        state.wake_idle();
        !state.resetting
    }

    /// The slot of a request takes its frame back.
    pub(super) fn finish(&self, id: SlotId, frame: Box<[u8]>) {
        let mut state = self.state.borrow_mut();
        state.window.finish(id, frame);
        wake(&mut state.wakers, self.receiver);
    }

    /// Awaits a tree's operation, unless the client gives its request up.
    pub(super) async fn run<R>(
        &self,
        task: Task,
        id: SlotId,
        operation: impl Future<Output = Result<R, Errno>>,
    ) -> Result<R, Stop> {
        let mut operation = pin!(operation);
        poll_fn(|cx| {
            {
                let mut state = self.state.borrow_mut();
                if state.window.is_cancelled(id) {
                    return Poll::Ready(Err(Stop::Cancelled));
                }
                state.register(task, cx);
            }
            operation.as_mut().poll(cx).map_err(Stop::Refused)
        })
        .await
    }

    /// Awaits the transport; `None` when the connection is over.
    pub(super) async fn unless_closing<R>(&self, task: Task, transfer: impl Future<Output = R>) -> Option<R> {
        let mut transfer = pin!(transfer);
        poll_fn(|cx| {
            {
                let mut state = self.state.borrow_mut();
                if state.closing {
                    return Poll::Ready(None);
                }
                state.register(task, cx);
            }
            transfer.as_mut().poll(cx).map(Some)
        })
        .await
    }

    pub(super) fn reserve(&self, fid: FidNumber) -> Result<(), Errno> {
        self.state.borrow_mut().fids.reserve(fid)
    }

    pub(super) fn take(&self, fid: FidNumber) -> Result<File<T>, Errno> {
        self.state.borrow_mut().fids.take(fid).ok_or(Errno::EBADF)
    }

    pub(super) fn put(&self, fid: FidNumber, file: File<T>) -> Option<File<T>> {
        self.state.borrow_mut().fids.put(fid, file)
    }

    pub(super) fn release(&self, fid: FidNumber) -> Result<File<T>, Errno> {
        self.state.borrow_mut().fids.release(fid).ok_or(Errno::EBADF)
    }

    /// Ends any fid.
    pub(super) fn pop(&self) -> Option<File<T>> {
        self.state.borrow_mut().fids.pop()
    }

    /// The node and qid of a fid, and whether it is open.
    pub(super) fn look(&self, fid: FidNumber) -> Result<(T::Node, Qid, bool), Errno> {
        let state = self.state.borrow();
        let file = state.fids.get(fid).ok_or(Errno::EBADF)?;
        Ok((file.node.clone(), file.qid, file.open.is_some()))
    }

    fn receive_when(&self, cx: &Context<'_>, ready: impl Fn(&State<T>) -> bool) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if ready(&state) || state.closing {
            return Poll::Ready(());
        }
        state.register(self.receiver, cx);
        Poll::Pending
    }
}

impl<T: FileTree> State<T> {
    fn register(&mut self, task: Task, cx: &Context<'_>) {
        match self.wakers.get_mut(task.0) {
            Some(Some(waker)) if waker.will_wake(cx.waker()) => {}
            Some(place) => *place = Some(cx.waker().clone()),
            None => {}
        }
    }

    /// If a request may run, some handler without work is told.
    fn wake_idle(&mut self) {
        if !self.idle.is_empty()
            && self.window.has_runnable()
            && let Some(task) = self.idle.pop()
        {
            wake(&mut self.wakers, task);
        }
    }
}

fn wake(wakers: &mut [Option<Waker>], task: Task) {
    if let Some(waker) = wakers.get(task.0).and_then(Option::as_ref) {
        waker.wake_by_ref();
    }
}

/// Lets the other tasks have a turn.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
