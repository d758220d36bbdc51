//! One authenticated connection: frames in, frames out, nothing remembered.
//!
//! Answers for the handshake (AUTH, then ATTACH), for time limits, and for reading lines so that a read that is given
//! up loses no byte. Never reconnects and never sends a command twice; `driver` does.

use std::io;
use std::time::Duration;

use protocol::frame::{Decoder, Event, Phase};
use protocol::limits::OUT_LINE_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Target;
use crate::error::{Error, Stage};
use crate::exchange::{Exchange, Pongs, Progress, ProtocolError, parse_ack};
use crate::options::Options;
use crate::reply::{Ack, Refusal, Reply};
use crate::request::{Request, frame};

/// Bytes read from the socket at once; a few frames.
const READ_BYTES: usize = 16 * 1024;

/// A connection whose peer speaks the console's protocol.
pub(crate) struct Link {
    stream: TcpStream,
    decoder: Box<Decoder<OUT_LINE_BYTES>>,
    buffer: Vec<u8>,
    // The part of `buffer` that the decoder has not seen.
    unread: core::ops::Range<usize>,
    pub(crate) pongs: Pongs,
    pub(crate) last_traffic: Instant,
}

/// Why a link is of no use any more.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended or broke.
    Lost,
    /// Nothing came in time.
    Silent(Duration),
    /// What came is no console's.
    Protocol(ProtocolError),
}

impl Failure {
    fn during(self, stage: Stage) -> DialError {
        match self {
            Self::Lost => DialError::Lost(stage),
            Self::Silent(after) => DialError::Final(Error::TimedOut { during: stage, after }),
            Self::Protocol(why) => DialError::Final(Error::Protocol(why)),
        }
    }
}

/// Why a connection could not be made.
#[derive(Debug)]
pub(crate) enum DialError {
    /// No TCP connection: worth another try.
    Unreachable(io::Error),
    /// The peer hung up: worth another try.
    Lost(Stage),
    /// The hive is busy: worth another try.
    Busy(Refusal),
    /// Not worth one.
    Final(Error),
}

impl Link {
    /// Connects, authenticates and attaches. Returns the `OK ATTACH` as well.
    pub(crate) async fn dial(target: &Target, options: &Options) -> Result<(Self, Ack), DialError> {
        let limit = options.connect_timeout + options.answer_timeout;
        match timeout(limit, Self::dial_unbounded(target, options)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DialError::Final(Error::TimedOut {
                during: Stage::Auth,
                after: limit,
            })),
        }
    }

    async fn dial_unbounded(target: &Target, options: &Options) -> Result<(Self, Ack), DialError> {
        let connecting = TcpStream::connect((target.host.as_str(), target.port));
        let stream = match timeout(options.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(why)) => return Err(DialError::Unreachable(why)),
            Err(_) => return Err(DialError::Unreachable(io::ErrorKind::TimedOut.into())),
        };
        // Every command is one small write and waits for its answer: Nagle's delay would only add to it.
        stream.set_nodelay(true).map_err(DialError::Unreachable)?;
        let mut link = Self {
            stream,
            decoder: Box::new(Decoder::new(Phase::Client)),
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
            pongs: Pongs::default(),
            last_traffic: Instant::now(),
        };
        link.authenticate(target, options).await?;
        let ack = link.attach(target, options).await?;
        Ok((link, ack))
    }

    async fn authenticate(&mut self, target: &Target, options: &Options) -> Result<(), DialError> {
        let failed = |failure: Failure| failure.during(Stage::Auth);
        let mut out = Vec::new();
        frame(&format!("AUTH {}", target.auth_token.expose()), &mut out);
        let sent = self.send(&out, options).await;
        loop {
            // The hive may answer and close before it has read everything: its answer counts more than our write.
            let line = self.line_within(options.silence_timeout).await.map_err(failed)?;
            // `OK AUTH` with a detail is a greeting, not a yes.
            if line == "OK AUTH" {
                return sent.map_err(failed);
            }
            if let Some(ack) = parse_ack(&line).filter(|ack| ack.verb() == "AUTH" && !ack.is_ok()) {
                return Err(DialError::Final(Error::AuthRejected {
                    detail: ack.detail().to_owned(),
                }));
            }
        }
    }

    async fn attach(&mut self, target: &Target, options: &Options) -> Result<Ack, DialError> {
        let failed = |failure: Failure| failure.during(Stage::Attach);
        let request = target
            .attach_request()
            .map_err(|why| DialError::Final(why.into()))?;
        let mut out = Vec::new();
        request.encode(&mut out);
        self.send(&out, options).await.map_err(failed)?;
        let deadline = Instant::now() + options.answer_timeout;
        let reply = self.exchange(&request, options, deadline).await.map_err(failed)?;
        match reply.accepted() {
            Ok(reply) => Ok(reply.ack),
            Err(refusal) if refusal.is_busy() => Err(DialError::Busy(refusal)),
            Err(refusal) => Err(DialError::Final(Error::AttachRefused(refusal))),
        }
    }

    /// Writes bytes that are whole frames.
    pub(crate) async fn send(&mut self, frames: &[u8], options: &Options) -> Result<(), Failure> {
        self.last_traffic = Instant::now();
        match timeout(options.silence_timeout, self.stream.write_all(frames)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Failure::Lost),
            Err(_) => Err(Failure::Silent(options.silence_timeout)),
        }
    }

    /// Reads the answer to a command that was sent.
    pub(crate) async fn exchange(
        &mut self,
        request: &Request,
        options: &Options,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let mut exchange = Exchange::new(request, options.answer_bytes);
        loop {
            let next = self.line_within(options.silence_timeout);
            let line = match timeout_at(deadline, next).await {
                Ok(line) => line?,
                Err(_) => return Err(Failure::Silent(options.answer_timeout)),
            };
            match exchange.line(&line, &mut self.pongs).map_err(Failure::Protocol)? {
                Progress::Open => {}
                Progress::Complete => return exchange.finish().ok_or(Failure::Lost),
            }
        }
    }

    /// Reads one line. May be dropped at any time without losing a byte.
    pub(crate) async fn line(&mut self) -> Result<String, Failure> {
        loop {
            let mut input = &self.buffer[self.unread.clone()];
            let event = self.decoder.next(&mut input);
            let outcome = match event {
                Some(Event::Line(line)) => Some(Ok(without_line_end(line).to_owned())),
                Some(Event::Broken(why)) => Some(Err(Failure::Protocol(ProtocolError::Frame(why)))),
                // Only servers skip frames.
                Some(Event::TooLong) => None,
                None => {
                    self.unread = 0..0;
                    None
                }
            };
            self.unread.start = self.unread.end - input.len();
            if let Some(outcome) = outcome {
                return outcome;
            }
            if !self.unread.is_empty() {
                continue;
            }
            match self.stream.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Failure::Lost),
                Ok(n) => self.unread = 0..n,
            }
            self.last_traffic = Instant::now();
        }
    }

    async fn line_within(&mut self, silence: Duration) -> Result<String, Failure> {
        match timeout(silence, self.line()).await {
            Ok(line) => line,
            Err(_) => Err(Failure::Silent(silence)),
        }
    }
}

/// Some servers send a line's end with it. A carriage return alone is content.
fn without_line_end(line: &str) -> &str {
    line.strip_suffix('\n')
        .map_or(line, |line| line.strip_suffix('\r').unwrap_or(line))
}
