//! The task behind a session: it owns the connection, and makes a new one when it is gone.
//!
//! Answers for the order of commands (one after the other, each with its own answer), for tries and pauses, for what
//! is sent again, for the heartbeat and for the goodbye. A command whose caller went away is carried through, so that
//! the next one does not read its answer. Never shows a caller half an answer: lines of a stream that was cut off are
//! dropped, and the command starts again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Target;
use crate::error::{Error, Stage};
use crate::exchange::parse_ack;
use crate::link::{DialError, Failure, Link};
use crate::options::{Backoff, Options, Resend};
use crate::reply::{Ack, Reply};
use crate::request::Request;

/// Commands that may be under way at once. The public server drops the oldest of more than eight; and eight answers
/// fit any socket buffer, so that neither side waits for the other to read first.
pub(crate) const WINDOW: usize = 8;

/// How long a goodbye may take. Nobody depends on it.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a session asks of its driver.
pub(crate) enum Job {
    /// Carry out commands, in order.
    Run {
        requests: Vec<Request>,
        resend: Resend,
        answer: oneshot::Sender<Result<Vec<Reply>, Error>>,
    },
    /// Send the first bytes of a command's frame, then drop the connection.
    Sever {
        request: Request,
        bytes: usize,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    /// Say goodbye and end.
    Quit { answer: oneshot::Sender<Option<Ack>> },
}

/// The owner of the connection.
pub(crate) struct Driver {
    target: Target,
    options: Options,
    link: Option<Link>,
    reconnects: Arc<AtomicU64>,
}

impl Driver {
    /// Makes the first connection.
    pub(crate) async fn connect(
        target: Target,
        options: Options,
        reconnects: Arc<AtomicU64>,
    ) -> Result<(Self, Ack), Error> {
        let mut driver = Self {
            target,
            options,
            link: None,
            reconnects,
        };
        let mut backoff = Backoff::new(&driver.options);
        let ack = driver.dial(&mut backoff).await?;
        Ok((driver, ack))
    }

    /// Serves `jobs` until the session quits or is dropped.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(Job::Run { requests, resend, answer }) => {
                        // The caller may have gone away; what it asked for is done all the same.
                        let _ = answer.send(self.carry_out(&requests, resend).await);
                    }
                    Some(Job::Sever { request, bytes, answer }) => {
                        let _ = answer.send(self.sever(&request, bytes).await);
                    }
                    Some(Job::Quit { answer }) => {
                        let _ = answer.send(self.goodbye().await);
                        return;
                    }
                    None => {
                        self.goodbye().await;
                        return;
                    }
                },
                () = idle(&mut self.link, self.options.heartbeat) => self.heartbeat().await,
            }
        }
    }

    /// Carries out commands in order, several under way at once.
    async fn carry_out(&mut self, requests: &[Request], resend: Resend) -> Result<Vec<Reply>, Error> {
        let mut replies = Vec::with_capacity(requests.len());
        let mut backoff = Backoff::new(&self.options);
        let mut tries = 0;
        while replies.len() < requests.len() {
            if self.link.is_none() {
                self.dial(&mut backoff).await?;
                self.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            tries += 1;
            let before = replies.len();
            let mut sent = before;
            let Err(failure) = self.try_all(requests, &mut replies, &mut sent).await else {
                continue;
            };
            // Whatever it was: the answers of this connection can no longer be told apart.
            self.link = None;
            let during = Stage::Command(requests[replies.len()].verb().to_owned());
            match failure {
                Failure::Silent(after) => return Err(Error::TimedOut { during, after }),
                Failure::Protocol(why) => return Err(Error::Protocol(why)),
                Failure::Lost => {}
            }
            let undecided = &requests[replies.len()..sent.max(replies.len())];
            if let Some(write) = undecided
                .iter()
                .find(|r| resend == Resend::ReadsOnly && !r.is_read())
            {
                return Err(Error::Interrupted {
                    verb: write.verb().to_owned(),
                });
            }
            if replies.len() > before {
                (backoff, tries) = (Backoff::new(&self.options), 0);
            }
            match backoff.pause() {
                Some(pause) => sleep(pause).await,
                None => return Err(Error::Lost { during, tries }),
            }
        }
        Ok(replies)
    }

    /// Sends `requests` from the first without a reply on, and adds their replies. `sent` counts those sent.
    async fn try_all(
        &mut self,
        requests: &[Request],
        replies: &mut Vec<Reply>,
        sent: &mut usize,
    ) -> Result<(), Failure> {
        let Some(link) = &mut self.link else {
            return Err(Failure::Lost);
        };
        let mut frames = Vec::new();
        while let Some(request) = requests.get(replies.len()) {
            frames.clear();
            while *sent < requests.len() && *sent < replies.len() + WINDOW {
                requests[*sent].encode(&mut frames);
                *sent += 1;
            }
            if !frames.is_empty() {
                match link.send(&frames, &self.options).await {
                    // The peer closed: answers that it sent before are still to be read, and the end comes behind them.
                    Ok(()) | Err(Failure::Lost) => {}
                    Err(failure) => return Err(failure),
                }
            }
            let deadline = Instant::now() + self.options.answer_timeout;
            replies.push(link.exchange(request, &self.options, deadline).await?);
        }
        Ok(())
    }

    /// Makes a connection, with pauses between tries.
    async fn dial(&mut self, backoff: &mut Backoff) -> Result<Ack, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let failed = match Link::dial(&self.target, &self.options).await {
                Ok((link, ack)) => {
                    self.link = Some(link);
                    return Ok(ack);
                }
                Err(DialError::Final(why)) => return Err(why),
                Err(failed) => failed,
            };
            let Some(pause) = backoff.pause() else {
                return Err(self.give_up(failed, tries));
            };
            sleep(pause).await;
        }
    }

    fn give_up(&self, failed: DialError, tries: u32) -> Error {
        match failed {
            DialError::Unreachable(why) => {
                let address = format!("{}:{}", self.target.host, self.target.port);
                Error::Unreachable { address, why, tries }
            }
            DialError::Lost(during) => Error::Lost { during, tries },
            DialError::Busy(refusal) => Error::AttachRefused(refusal),
            DialError::Final(why) => why,
        }
    }

    /// Shows the hive that we are here, and us that it is. If it is not, the next command finds out how to go on.
    async fn heartbeat(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Ok(ping) = Request::new("PING") else { return };
        let mut frames = Vec::new();
        ping.encode(&mut frames);
        let alive = match link.send(&frames, &self.options).await {
            Ok(()) => {
                let deadline = Instant::now() + self.options.silence_timeout;
                link.exchange(&ping, &self.options, deadline).await.is_ok()
            }
            Err(_) => false,
        };
        if !alive {
            self.link = None;
        }
    }

    /// Breaks the connection in the middle of a frame, as a crash of this process would.
    async fn sever(&mut self, request: &Request, bytes: usize) -> Result<(), Error> {
        let Some(mut link) = self.link.take() else {
            return Ok(());
        };
        let mut frames = Vec::new();
        request.encode(&mut frames);
        frames.truncate(bytes);
        match link.send(&frames, &self.options).await {
            Ok(()) | Err(Failure::Lost) => Ok(()),
            Err(Failure::Silent(after)) => Err(Error::TimedOut {
                during: Stage::Command(request.verb().to_owned()),
                after,
            }),
            Err(Failure::Protocol(why)) => Err(Error::Protocol(why)),
        }
    }

    /// Ends the session so that the hive does not count it as lost. Returns the hive's words, if it had any.
    async fn goodbye(&mut self) -> Option<Ack> {
        let mut link = self.link.take()?;
        let mut frames = Vec::new();
        Request::new("quit").ok()?.encode(&mut frames);
        let goodbye = async {
            link.send(&frames, &self.options).await.ok()?;
            loop {
                let line = link.line().await.ok()?;
                if let Some(ack) = parse_ack(&line).filter(|ack| ack.verb().eq_ignore_ascii_case("QUIT")) {
                    return Some(ack);
                }
            }
        };
        timeout(GOODBYE, goodbye).await.ok().flatten()
    }
}

/// Waits until an idle link needs a heartbeat. Takes what the hive says unasked, and forgets a link that it closes.
/// May be dropped at any time.
async fn idle(link: &mut Option<Link>, heartbeat: Duration) {
    loop {
        let Some(open) = link else {
            return std::future::pending().await;
        };
        let due = open.last_traffic + heartbeat;
        tokio::select! {
            () = sleep_until(due) => return,
            line = open.line() => match line {
                Ok(line) if line == "PONG" => {
                    open.pongs.take(false);
                }
                Ok(_) => {}
                Err(_) => *link = None,
            },
        }
    }
}
