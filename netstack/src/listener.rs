//! Listening for connections.
//!
//! Answers for: handing out established connections in the order in which their handshakes completed.
//! Never: refuses a request while the backlog and the stack have room, however late `accept` is called.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::task::Poll;

use crate::engine::DoorId;
use crate::error::BindError;
use crate::stack::{Shared, Stack};
use crate::stream::TcpStream;

/// A port that peers can connect to. Dropping it resets the connections nobody accepted.
pub struct TcpListener {
    shared: Rc<Shared>,
    door: DoorId,
}

impl TcpListener {
    /// Listens on `port`, holding up to `sockets` connections that nobody has accepted yet (those in the middle
    /// of the handshake included). They come from the stack's common stock
    /// ([`Limits::connections`](crate::Limits::connections)); one more than `sockets` pushes out the oldest
    /// request that has not completed its handshake, or else is answered with a reset.
    pub fn bind(stack: &Stack, port: u16, sockets: u16) -> Result<Self, BindError> {
        let shared = stack.shared.clone();
        let door = shared.engine.borrow_mut().table.bind(port, sockets)?;
        Ok(Self { shared, door })
    }

    /// The next connection. Any number of tasks may wait at once; a wait may be dropped without loss.
    pub async fn accept(&self) -> TcpStream {
        poll_fn(|cx| {
            let mut engine = self.shared.engine.borrow_mut();
            let table = &mut engine.table;
            // A connection that the peer reset while it waited was taken off the queue.
            while let Some(slot) = table.accept(self.door, self.shared.now()) {
                if let Some(peer) = table.peer(slot) {
                    return Poll::Ready(TcpStream::new(self.shared.clone(), slot, peer));
                }
                table.release(slot);
            }
            table.wait(self.door, cx.waker());
            Poll::Pending
        })
        .await
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.engine.borrow_mut().table.unbind(self.door, now);
        self.shared.touch();
    }
}
