//! A session: commands in, typed answers out.
//!
//! Answers for the verbs of the console as functions. A session is a handle: cloning it is cheap, and commands of all
//! clones are carried out one after the other over one connection. Never checks what the hive checks: a path that is
//! too long or a payload that is wrong comes back as a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::control::QueenRequest;
use protocol::limits::CONTROL_BYTES;
use tokio::sync::{mpsc, oneshot};

use crate::Target;
use crate::binary::{self, BinaryError};
use crate::driver::{Driver, Job};
use crate::error::Error;
use crate::options::{Options, Resend};
use crate::reply::{Ack, Reply};
use crate::request::Request;

/// Commands waiting in a session; more callers wait for a place.
const QUEUE: usize = 32;

/// The queen's log.
pub const QUEEN_LOG: &str = "/log/queen.log";
/// The queen's control file.
pub const QUEEN_CTL: &str = "/queen/ctl";

/// An attached session. Dropping the last clone says goodbye to the hive in the background; [`Session::quit`] waits
/// for it.
#[derive(Debug, Clone)]
pub struct Session {
    jobs: mpsc::Sender<Job>,
    resend: Resend,
    attached: Ack,
    reconnects: Arc<AtomicU64>,
}

/// Connects, authenticates and attaches.
///
/// Must be called within a tokio runtime, on which a task then owns the connection.
pub async fn connect(target: Target, options: Options) -> Result<Session, Error> {
    target.check()?;
    let reconnects = Arc::new(AtomicU64::new(0));
    let resend = options.resend;
    let (driver, attached) = Driver::connect(target, options, Arc::clone(&reconnects)).await?;
    let (jobs, queue) = mpsc::channel(QUEUE);
    tokio::spawn(driver.run(queue));
    Ok(Session {
        jobs,
        resend,
        attached,
        reconnects,
    })
}

impl Session {
    /// The same session, but with another rule for commands whose connection was lost.
    pub fn with_resend(&self, resend: Resend) -> Self {
        Self {
            resend,
            ..self.clone()
        }
    }

    /// The first `OK ATTACH`.
    pub fn attached(&self) -> &Ack {
        &self.attached
    }

    /// How often a lost connection was made anew.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Sends a command line as it is. A refusal is a reply too; see [`Reply::accepted`].
    pub async fn command(&self, line: &str) -> Result<Reply, Error> {
        let mut replies = self.commands(vec![Request::new(line)?]).await?;
        replies.pop().ok_or(Error::Ended)
    }

    /// Sends several commands, up to eight under way at once, and returns their replies in the same order.
    pub async fn commands(&self, requests: Vec<Request>) -> Result<Vec<Reply>, Error> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Run {
            requests,
            resend: self.resend,
            answer,
        };
        self.jobs.send(job).await.map_err(|_| Error::Ended)?;
        answered.await.map_err(|_| Error::Ended)?
    }

    /// The names in a directory.
    pub async fn ls(&self, path: &str) -> Result<Vec<String>, Error> {
        Ok(self.accepted(&format!("LS {path}")).await?.lines)
    }

    /// The lines of a file. A server that sends only a summary gives one line: the summary.
    pub async fn cat(&self, path: &str) -> Result<Vec<String>, Error> {
        Ok(content(self.accepted(&format!("CAT {path}")).await?))
    }

    /// The bytes of a binary file, which the console carries as `b64:` lines.
    pub async fn cat_binary(&self, path: &str) -> Result<Result<Vec<u8>, BinaryError>, Error> {
        Ok(binary::decode(&self.cat(path).await?))
    }

    /// The last lines of a log or a telemetry file. It does not wait for more.
    pub async fn tail(&self, path: &str) -> Result<Vec<String>, Error> {
        Ok(self.accepted(&format!("TAIL {path}")).await?.lines)
    }

    /// The last lines of the queen's log.
    pub async fn log(&self) -> Result<Vec<String>, Error> {
        self.tail(QUEEN_LOG).await
    }

    /// Appends one line to a file. Sent again if the connection is lost before the answer (see [`Resend`]), so that
    /// the line may be there twice.
    pub async fn echo(&self, path: &str, text: &str) -> Result<Ack, Error> {
        Ok(self.accepted(&format!("ECHO {path} {text}")).await?.ack)
    }

    /// Appends several lines, up to eight under way at once. One reply a line, refusals included.
    pub async fn echo_all(&self, path: &str, lines: &[String]) -> Result<Vec<Reply>, Error> {
        let requests: Result<Vec<_>, _> = lines
            .iter()
            .map(|text| Request::new(format!("ECHO {path} {text}")))
            .collect();
        self.commands(requests?).await
    }

    /// Asks the queen for something by a line of `/queen/ctl`: spawn, kill, bind, mount, budget.
    pub async fn queen(&self, request: &QueenRequest<'_>) -> Result<Ack, Error> {
        let mut line = [0; CONTROL_BYTES];
        let line = request.render(&mut line).map_err(Error::Control)?;
        self.echo(QUEEN_CTL, line).await
    }

    /// Spawns a heartbeat worker of `ticks` ticks. The acknowledgement comes after it lives.
    pub async fn spawn_heartbeat(&self, ticks: u64) -> Result<Ack, Error> {
        self.queen(&QueenRequest::SpawnHeartbeat {
            ticks,
            budget: Default::default(),
        })
        .await
    }

    /// Ends a worker.
    pub async fn kill(&self, id: &str) -> Result<Ack, Error> {
        self.queen(&QueenRequest::Kill { id }).await
    }

    /// Whether the hive answers.
    pub async fn ping(&self) -> Result<Ack, Error> {
        Ok(self.accepted("PING").await?.ack)
    }

    /// Says goodbye. Returns the hive's `OK QUIT`, or `None` if it closed without a word. Other clones get
    /// [`Error::Ended`] from now on.
    pub async fn quit(self) -> Option<Ack> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Quit { answer }).await.ok()?;
        answered.await.ok().flatten()
    }

    /// Sends the first `bytes` bytes of the frame of `ECHO path text` and drops the connection, as a crash would. For
    /// tests and benchmarks of what a hive makes of it: nothing, and the next command reconnects.
    pub async fn sever(&self, path: &str, text: &str, bytes: usize) -> Result<(), Error> {
        let request = Request::new(format!("ECHO {path} {text}"))?;
        let (answer, answered) = oneshot::channel();
        self.jobs
            .send(Job::Sever {
                request,
                bytes,
                answer,
            })
            .await
            .map_err(|_| Error::Ended)?;
        answered.await.map_err(|_| Error::Ended)?
    }

    async fn accepted(&self, line: &str) -> Result<Reply, Error> {
        Ok(self.command(line).await?.accepted()?)
    }
}

/// The content of a CAT reply: its lines, or what the acknowledgement carries if there are none.
pub fn content(reply: Reply) -> Vec<String> {
    let summary = reply.ack.tail_field("data").unwrap_or("");
    if reply.lines.is_empty() && !summary.is_empty() {
        vec![summary.to_owned()]
    } else {
        reply.lines
    }
}
