//! Lines as frames on a TCP connection.
//!
//! Answers for whole frames, for waiting as long as the client reads slowly, and for giving up on one that does not
//! read at all. Never looks into a line.

use core::time::Duration;

use console::{Gone, Sink};
use netstack::TcpStream;
use protocol::frame;
use runtime::Context;

/// The way to one client.
pub(crate) struct Wire<'s> {
    pub(crate) ctx: &'s Context,
    pub(crate) stream: &'s TcpStream,
    /// How long the client may take to make room for one line.
    pub(crate) patience: Duration,
}

impl Sink for Wire<'_> {
    async fn line(&mut self, line: &str) -> Result<(), Gone> {
        let header = frame::header(line.len()).ok_or(Gone)?;
        let frame = async {
            self.stream.write_all(&header).await?;
            self.stream.write_all(line.as_bytes()).await
        };
        match self.ctx.timeout(self.patience, frame).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}
