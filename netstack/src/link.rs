//! Ethernet over a runtime link.
//!
//! Answers for: one frame of a link per Ethernet frame, and for finding the other side again when it was
//! restarted.
//! Never: holds a frame back; what a broken connection had taken is lost, as on a wire.

use runtime::link::{Connection, Link, TrySendError};

use crate::device::{Blocked, FrameDevice, Incarnation};
use crate::race::race;

/// A wire whose other end is another domain.
pub struct LinkDevice {
    link: Link,
    connection: Option<Connection>,
    /// How many connections there have been.
    connections: u64,
}

impl LinkDevice {
    /// The wire over `link`, whose frames should have room for [`FRAME_BYTES`](crate::FRAME_BYTES).
    pub fn new(link: Link) -> Self {
        Self {
            link,
            connection: None,
            connections: 0,
        }
    }
}

impl FrameDevice for LinkDevice {
    fn max_frame_bytes(&self) -> usize {
        self.link.frame_bytes()
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
            Err(_) => {
                self.connection = None;
                None
            }
        }
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), Blocked> {
        match self.connection.as_ref().ok_or(Blocked)?.try_send(frame) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full) => Err(Blocked),
            Err(TrySendError::Link(_)) => {
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
                self.connection = Some(self.link.connect().await);
                self.connections += 1;
            }
        }
    }
}
