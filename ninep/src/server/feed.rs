//! Feeds raw frames to a server, one by one and without an executor.
//!
//! Answers for fuzzing and table tests: after each frame the server has run as far
//! as it can. Never waits: a tree's operation that waits for something outside
//! stays where it is. Allocates; not for a request path.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

use futures::task::{ArcWake, waker};

use super::{Ended, Server};
use crate::pipe::{self, Pipe};
use crate::transport::Transport;
use crate::tree::FileTree;

/// Frames in flight each way, at most, between two polls of the server.
const FRAMES: usize = 64;
/// Bytes of the longest frame that is fed: more than any server accepts.
const FRAME_BYTES: usize = 2 * crate::codec::MAX_MSIZE as usize;

/// A server's side of one connection, driven by hand.
pub struct Feed {
    server: Pin<Box<dyn Future<Output = Ended>>>,
    client: Pipe,
    woken: Arc<Woken>,
    ended: Option<Ended>,
    buf: Vec<u8>,
}

struct Woken(AtomicBool);

impl ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Woken>) {
        woken.0.store(true, Ordering::Release);
    }
}

impl Feed {
    /// A fresh connection to the server.
    pub fn new<T: FileTree + 'static>(server: Rc<Server<T>>) -> Feed {
        let (client, conn) = pipe::pair(FRAMES, FRAME_BYTES);
        Feed {
            server: Box::pin(async move { server.serve(&conn).await }),
            client,
            woken: Arc::new(Woken(AtomicBool::new(true))),
            ended: None,
            buf: alloc::vec![0; FRAME_BYTES],
        }
    }

    /// Feeds one frame and passes each answer to `visit`, also those to earlier frames.
    ///
    /// Returns why the connection is over, if it is. A frame longer than twice
    /// [`MAX_MSIZE`](crate::codec::MAX_MSIZE) is cut.
    pub fn frame(&mut self, frame: &[u8], visit: impl FnMut(&[u8])) -> Option<Ended> {
        let _closed = self.client.try_send(frame.get(..FRAME_BYTES).unwrap_or(frame));
        self.wake(visit)
    }

    /// Closes the client's side and lets the server end, if its clunks do not wait.
    pub fn close(&mut self) -> Option<Ended> {
        self.client.close();
        self.wake(|_| {})
    }

    /// Lets the server run until it waits, and passes its answers to `visit`.
    pub fn wake(&mut self, mut visit: impl FnMut(&[u8])) -> Option<Ended> {
        self.woken.0.store(true, Ordering::Release);
        loop {
            if self.ended.is_none() && self.woken.0.swap(false, Ordering::AcqRel) {
                let waker = waker(self.woken.clone());
                match self.server.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(ended) => self.ended = Some(ended),
                    Poll::Pending => {}
                }
            }
            match self.client.try_recv(&mut self.buf) {
                Some(Ok(len)) => visit(self.buf.get(..len).unwrap_or(&[])),
                _ if self.ended.is_none() && self.woken.0.load(Ordering::Acquire) => {}
                _ => return self.ended,
            }
        }
    }
}
