//! An in-process transport: two ends, a bounded ring of frames each way.
//!
//! Answers for tests and examples that need a client and a server in one place.
//! Takes all its memory when it is made, but for more than [`WAITERS`] tasks that
//! wait on one end. Never crosses a thread.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use crate::transport::{Closed, Transport};

/// Tasks that may wait on one end before its list of them grows.
pub const WAITERS: usize = 32;

/// One end. Dropping it closes both.
pub struct Pipe {
    shared: Rc<Shared>,
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

struct Shared {
    closed: Cell<bool>,
    rightward: RefCell<Ring>,
    leftward: RefCell<Ring>,
}

/// Two ends with `frames` places of `frame_bytes` each way.
pub fn pair(frames: usize, frame_bytes: usize) -> (Pipe, Pipe) {
    let shared = Rc::new(Shared {
        closed: Cell::new(false),
        rightward: RefCell::new(Ring::new(frames, frame_bytes)),
        leftward: RefCell::new(Ring::new(frames, frame_bytes)),
    });
    (
        Pipe {
            shared: shared.clone(),
            side: Side::Left,
        },
        Pipe {
            shared,
            side: Side::Right,
        },
    )
}

impl Pipe {
    /// Whether either end has closed.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.get()
    }

    /// Frames that wait to be received here.
    pub fn pending(&self) -> usize {
        self.incoming().borrow().count
    }

    /// Takes the next frame if there is one.
    pub fn try_recv(&self, buf: &mut [u8]) -> Option<Result<usize, Closed>> {
        if self.is_closed() {
            return Some(Err(Closed));
        }
        self.incoming().borrow_mut().pop(buf)
    }

    /// Hands over a frame if there is space.
    pub fn try_send(&self, frame: &[u8]) -> Option<Result<(), Closed>> {
        if self.is_closed() {
            return Some(Err(Closed));
        }
        self.outgoing().borrow_mut().push(frame)
    }

    fn incoming(&self) -> &RefCell<Ring> {
        match self.side {
            Side::Left => &self.shared.leftward,
            Side::Right => &self.shared.rightward,
        }
    }

    fn outgoing(&self) -> &RefCell<Ring> {
        match self.side {
            Side::Left => &self.shared.rightward,
            Side::Right => &self.shared.leftward,
        }
    }
}

impl Transport for Pipe {
    async fn recv(&self, buf: &mut [u8]) -> Result<usize, Closed> {
        poll_fn(|cx| match self.try_recv(buf) {
            Some(result) => Poll::Ready(result),
            None => self.incoming().borrow_mut().wait(cx),
        })
        .await
    }

    async fn send(&self, frame: &[u8]) -> Result<(), Closed> {
        poll_fn(|cx| match self.try_send(frame) {
            Some(result) => Poll::Ready(result),
            None => self.outgoing().borrow_mut().wait(cx),
        })
        .await
    }

    fn close(&self) {
        self.shared.closed.set(true);
        self.shared.rightward.borrow_mut().wake();
        self.shared.leftward.borrow_mut().wake();
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

/// Frames of one direction, and the tasks that wait for one or for space.
struct Ring {
    places: Vec<(usize, Box<[u8]>)>,
    first: usize,
    count: usize,
    waiters: Vec<Waker>,
}

impl Ring {
    fn new(frames: usize, frame_bytes: usize) -> Ring {
        let place = || (0, alloc::vec![0; frame_bytes].into_boxed_slice());
        Ring {
            places: (0..frames).map(|_| place()).collect(),
            first: 0,
            count: 0,
            waiters: Vec::with_capacity(WAITERS),
        }
    }

    /// `None`: no space.
    fn push(&mut self, frame: &[u8]) -> Option<Result<(), Closed>> {
        if self.count >= self.places.len() {
            return None;
        }
        let at = (self.first + self.count) % self.places.len();
        let (len, bytes) = self.places.get_mut(at)?;
        let Some(place) = bytes.get_mut(..frame.len()) else {
            return Some(Err(Closed));
        };
        place.copy_from_slice(frame);
        *len = frame.len();
        self.count += 1;
        self.wake();
        Some(Ok(()))
    }

    /// `None`: no frame.
    fn pop(&mut self, buf: &mut [u8]) -> Option<Result<usize, Closed>> {
        if self.count == 0 {
            return None;
        }
        let (len, bytes) = self.places.get(self.first)?;
        let (Some(place), Some(frame)) = (buf.get_mut(..*len), bytes.get(..*len)) else {
            return Some(Err(Closed));
        };
        place.copy_from_slice(frame);
        let len = *len;
        self.first = (self.first + 1) % self.places.len();
        self.count -= 1;
        self.wake();
        Some(Ok(len))
    }

    fn wait<R>(&mut self, cx: &Context<'_>) -> Poll<R> {
        if !self.waiters.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiters.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&mut self) {
        self.waiters.drain(..).for_each(Waker::wake);
    }
}
