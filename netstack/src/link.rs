//! Ethernet over a runtime link.
//!
//! Answers for: one frame of a link per Ethernet frame, and for finding the other side again when it was
//! restarted.
//! Never: holds a frame back; what a broken connection had taken is lost, as on a wire.

use alloc::boxed::Box;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use runtime::link::{Connection, Link, LinkError, TrySendError};

use crate::device::{Blocked, FrameDevice, Incarnation};
use crate::race::race;

/// A wire whose other end is another domain.
pub struct LinkDevice {
    frame_bytes: usize,
    reconnect: Box<dyn Reconnect>,
    connection: Option<Connection>,
    /// How many connections there have been.
    connections: u64,
}

impl LinkDevice {
    /// The wire over `link`, whose frames should have room for [`FRAME_BYTES`](crate::FRAME_BYTES).
    pub fn new(link: Link) -> Self {
        let frame_bytes = link.frame_bytes();
        let reconnect = Box::new(Connector {
            connect: move || link.connect(),
            under_way: None,
        });
        Self {
            frame_bytes,
            reconnect,
            connection: None,
            connections: 0,
        }
    }
}

impl FrameDevice for LinkDevice {
    fn max_frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    fn incarnation(&self) -> Option<Incarnation> {
        let up = self
            .connection
            .as_ref()
            .is_some_and(|connection| !connection.is_closed());
        up.then_some(Incarnation(self.connections))
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<usize> {
        match self.connection.as_ref()?.try_recv(buf) {
            Ok(len) => len,
            // Not a frame that Ethernet knows; the next one may be. An empty one is passed over.
            Err(LinkError::TooLong { .. }) => Some(0),
            Err(LinkError::Closed | LinkError::Violation(_)) => {
                self.connection = None;
                None
            }
        }
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), Blocked> {
        match self.connection.as_ref().ok_or(Blocked)?.try_send(frame) {
            // Too long for the link: lost, as on a wire.
            Ok(()) | Err(TrySendError::Link(LinkError::TooLong { .. })) => Ok(()),
            Err(TrySendError::Full) => Err(Blocked),
            Err(TrySendError::Link(LinkError::Closed | LinkError::Violation(_))) => {
                self.connection = None;
                Err(Blocked)
            }
        }
    }

    async fn ready(&mut self, room: bool) {
        match &self.connection {
            // A failure of either shows at the next frame.
            Some(connection) if room => {
                race(connection.readable(), connection.writable()).await;
            }
            Some(connection) => {
                let _ = connection.readable().await;
            }
            None => {
                self.connection = Some(poll_fn(|cx| self.reconnect.poll(cx)).await);
                self.connections += 1;
            }
        }
    }
}

/// A wait for a connection that goes on while nobody polls it: a side of a link is up only while somebody waits
/// there, and a stack has other things to do in between.
trait Reconnect {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Connection>;
}

struct Connector<C, F> {
    connect: C,
    under_way: Option<F>,
}

impl<C, F> Reconnect for Connector<C, F>
where
    C: Fn() -> F,
    F: Future<Output = Connection> + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Connection> {
        let under_way = self.under_way.get_or_insert_with(&self.connect);
        let connected = Pin::new(under_way).poll(cx);
        if connected.is_ready() {
            self.under_way = None;
        }
        connected
    }
}
