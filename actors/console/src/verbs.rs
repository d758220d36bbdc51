//! What each verb does (WIRE 1.6, CONTROL 1).
//!
//! Answers for one answer to every line: an `OK` after the effect, or an `ERR` that says why there was none. Paths,
//! tickets, roles and quotas are NineDoor's to judge; here is only what the console alone knows (whether a session has
//! attached, which files TAIL serves). Never tries a request twice.

use ninep::OpenFlags;
use protocol::ack::{self, ACK_BYTES, Report};
use protocol::command::{self, Command};
use protocol::control::QueenRequest;
use protocol::lifecycle::State;
use protocol::limits::SPAWN_BYTES;
use protocol::line::Line;
use protocol::path::Path;
use protocol::refusal::{Reason, Refusal};
use protocol::role::{CONSOLE_ACTOR, Role};

use crate::door::File;
use crate::facts::{self, SelfTest};
use crate::fault::{Fault, Gone, Stop, class};
use crate::house::House;
use crate::listing::{self, Batch, Directory};
use crate::reader::{Reader, Source};
use crate::render::{self, Sink};
use crate::session::{Next, Page, Session};

/// How a file is opened whose end is of interest: the queen adds a line to `/proc/ingest/watch` for such a reader.
const FOLLOW: OpenFlags = OpenFlags::APPEND;
/// The log of the whole node.
pub const QUEEN_LOG: &str = "/log/queen.log";
/// Where SPAWN and KILL go.
const QUEEN_CTL: &str = "/queen/ctl";
/// Where the lifecycle state is that refuses workers.
const LIFECYCLE_STATE: &str = "/proc/lifecycle/state";
/// Bytes of an ack that repeats a SPAWN request.
const SPAWN_ACK_BYTES: usize = SPAWN_BYTES + "OK SPAWN payload=".len();

impl Source for File<'_> {
    async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Fault> {
        File::read(self, offset, buf).await
    }
}

impl Directory for File<'_> {
    async fn readdir(&self, offset: u64, visit: &mut impl FnMut(&str)) -> Result<Option<u64>, Fault> {
        File::readdir(self, offset, visit).await
    }
}

impl<H: House> Session<'_, H> {
    /// Does what a line says and answers it.
    ///
    /// # Errors
    /// Nobody takes the answer any more.
    pub async fn execute(
        &mut self,
        line: &str,
        scratch: &mut [u8],
        page: &mut Page,
        sink: &mut impl Sink,
    ) -> Result<Next, Gone> {
        let command = match command::parse(line, scratch) {
            Ok(command) => command,
            Err(error) => {
                self.house.ctx().counters().refused(class(Reason::Policy));
                sink.line(ack::parse_error(&mut [0; ACK_BYTES], &error)).await?;
                return Ok(Next::GoOn);
            }
        };
        let verb = command.verb();
        let (outcome, path) = match command {
            Command::Ping => (ping(sink).await, None),
            Command::Help => (help(sink).await, None),
            Command::Test => {
                self.house.ctx().counters().refused(class(Reason::Policy));
                (
                    sink.line("ERR TEST reason=policy detail=host-only")
                        .await
                        .map_err(Stop::from),
                    None,
                )
            }
            Command::NetTest => (self.net_test(sink).await, None),
            Command::NetStats => (self.net_stats(sink).await, None),
            Command::BootInfo | Command::Caps | Command::Mem => (self.facts(&command, sink).await, None),
            // Nothing here maintains caches, so their log is empty.
            Command::CacheLog { .. } => (acknowledge(sink, verb, &[]).await.map_err(Stop::from), None),
            Command::Attach { role, ticket } => (self.reattach(role, ticket.unwrap_or(""), sink).await, None),
            Command::Ls { path } => (self.list(path, page, sink).await, Some(path)),
            Command::Cat { path } => (self.cat(path, page, sink).await, Some(path)),
            Command::Tail { path } => (self.tail(path, page, sink).await, Some(path)),
            Command::Log => (self.log(page, sink).await, Some(QUEEN_LOG)),
            Command::Echo { path, payload } => (self.echo(path, payload, sink).await, Some(path)),
            Command::Spawn { json } => (self.spawn(json, sink).await, None),
            Command::Kill { id } => (self.kill(id, sink).await, None),
            Command::Quit => {
                self.detach().await;
                acknowledge(sink, verb, &[]).await?;
                return Ok(Next::Quit);
            }
        };
        match outcome {
            Ok(()) => {}
            Err(Stop::Gone) => return Err(Gone),
            Err(Stop::Refused(fault)) => {
                let report = Report {
                    path,
                    word: Some(verb),
                    ..Report::new(fault.refusal)
                };
                self.refuse(fault, report, verb, sink).await?;
            }
        }
        Ok(Next::GoOn)
    }

    async fn refuse(
        &self,
        fault: Fault,
        report: Report<'_>,
        verb: &str,
        sink: &mut impl Sink,
    ) -> Result<(), Gone> {
        fault.count(self.house.ctx().counters());
        sink.line(report.render(&mut [0; ACK_BYTES], verb)).await
    }

    async fn net_test(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        acknowledge(sink, "NETTEST", &[]).await?;
        let mut buf = [0; ACK_BYTES];
        let mut line = Line::new(&mut buf);
        // Both lines are shorter than the buffer.
        let _ = match facts::self_test(self.house).await {
            SelfTest::Passed(took) => line.put(format_args!(
                "[net-selftest] door=ok door_us={}",
                took.as_micros()
            )),
            SelfTest::Failed | SelfTest::Never => line.push("[net-selftest] door=unavailable"),
        };
        Ok(sink.line(line.as_str()).await?)
    }

    async fn net_stats(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        acknowledge(sink, "NETSTATS", &[]).await?;
        let mut buf = [0; ACK_BYTES];
        let mut index = 0;
        while let Some(line) =
            facts::transport(self.house, index, &mut buf).map_err(|_| Refusal::BufferFull)?
        {
            sink.line(line).await?;
            index += 1;
        }
        let line = facts::counters(self.house, &mut buf).map_err(|_| Refusal::BufferFull)?;
        sink.line(line).await?;
        let line = facts::last_self_test(self.house, &mut buf).map_err(|_| Refusal::BufferFull)?;
        Ok(sink.line(line).await?)
    }

    async fn facts(&mut self, command: &Command<'_>, sink: &mut impl Sink) -> Result<(), Stop> {
        let mut buf = [0; ACK_BYTES];
        let line = match command {
            Command::BootInfo => facts::boot(self.house, &mut buf),
            Command::Caps => facts::capabilities(self.house, &mut buf),
            _ => facts::memory(self.house, &mut buf),
        };
        let line = line.map_err(|_| Refusal::BufferFull)?;
        acknowledge(sink, command.verb(), &[]).await?;
        Ok(sink.line(line).await?)
    }

    /// ATTACH. Whatever comes of it, what the session was before is over.
    async fn reattach(&mut self, label: &str, ticket: &str, sink: &mut impl Sink) -> Result<(), Stop> {
        let house = self.house;
        self.detach().await;
        let role = Role::from_label(label).ok_or(Refusal::InvalidRole)?;
        if let Err(delay_ms) = self.limiter.check(house.ctx().now()) {
            let report = Report {
                delay_ms: Some(delay_ms),
                ..Report::new(Refusal::Throttled)
            };
            return Ok(self
                .refuse(Refusal::Throttled.into(), report, "ATTACH", sink)
                .await?);
        }
        let patience = house.attach_patience();
        house.door().wait_open(self.place, patience).await;
        let Err(fault) = self.attach(role, ticket).await else {
            self.limiter.succeeded();
            return Ok(acknowledge(sink, "ATTACH", &[("role", &role)]).await?);
        };
        match fault.refusal {
            Refusal::TicketRejected | Refusal::Denied => match self.limiter.failed(house.ctx().now()) {
                Some(delay_ms) => {
                    let report = Report {
                        delay_ms: Some(delay_ms),
                        ..Report::new(Refusal::RateLimited)
                    };
                    Ok(self
                        .refuse(Refusal::RateLimited.into(), report, "ATTACH", sink)
                        .await?)
                }
                None => Err(fault.into()),
            },
            Refusal::LifecycleDenied => {
                let report = Report {
                    state: self.lifecycle_state().await,
                    ..Report::new(fault.refusal)
                };
                Ok(self.refuse(fault, report, "ATTACH", sink).await?)
            }
            _ => Err(fault.into()),
        }
    }

    /// The lifecycle's state, as the console itself may see it; `None` if it cannot be read.
    async fn lifecycle_state(&self) -> Option<State> {
        let door = self.house.door();
        let pass = door.attach(CONSOLE_ACTOR, "").await.ok()?;
        let file = door
            .open(&pass, Path::parse(LIFECYCLE_STATE).ok()?, OpenFlags::RDONLY)
            .await
            .ok()?;
        let mut buf = [0; 64];
        let count = file.read(0, &mut buf).await.ok()?;
        let text = core::str::from_utf8(buf.get(..count)?).ok()?;
        State::from_label(text.trim().strip_prefix("state=")?)
    }

    async fn open(&mut self, path: &str, flags: OpenFlags) -> Result<File<'_>, Stop> {
        let house = self.house;
        let pass = self.pass().await?;
        let path = Path::parse(path).map_err(|_| Refusal::InvalidPath)?;
        Ok(house.door().open(pass, path, flags).await?)
    }

    async fn open_text(&mut self, path: &str, flags: OpenFlags) -> Result<File<'_>, Stop> {
        let file = self.open(path, flags).await?;
        if file.is_dir() {
            Err(Refusal::InvalidPath.into())
        } else {
            Ok(file)
        }
    }

    async fn list(&mut self, path: &str, page: &mut Page, sink: &mut impl Sink) -> Result<(), Stop> {
        let directory = self.open(path, OpenFlags::RDONLY).await?;
        if !directory.is_dir() {
            return Err(Refusal::InvalidPath.into());
        }
        let mut batch = Batch::new(&mut page.bytes);
        let entries = listing::collect(&directory, &mut batch).await?;
        acknowledge(sink, "LS", &[("path", &path), ("entries", &entries)]).await?;
        loop {
            for name in batch.names() {
                render::send_record(name.as_bytes(), sink).await?;
            }
            if !batch.is_cut() || batch.names().next().is_none() {
                break;
            }
            batch.proceed();
            listing::collect(&directory, &mut batch).await?;
        }
        Ok(sink.line(ack::END).await?)
    }

    async fn cat(&mut self, path: &str, page: &mut Page, sink: &mut impl Sink) -> Result<(), Stop> {
        let file = self.open_text(path, OpenFlags::RDONLY).await?;
        // WIRE 1.7, after the ticket was asked whether it may be read at all (WIRE 1.6).
        if is_telemetry(path) {
            return Err(Refusal::InvalidPath.into());
        }
        let mut reader = Reader::new(file, &mut page.bytes);
        let survey = render::survey(&mut reader, path.len(), &mut page.preview).await?;
        acknowledge(sink, "CAT", &[("path", &path), ("data", &page.preview)]).await?;
        render::send(&mut reader, survey, 0, sink).await?;
        Ok(sink.line(ack::END).await?)
    }

    async fn tail(&mut self, path: &str, page: &mut Page, sink: &mut impl Sink) -> Result<(), Stop> {
        self.pass().await?;
        if !is_tailed(path) {
            // WIRE 1.8: this one refusal has no `error=`.
            let refusal = Refusal::InvalidPath;
            Fault::from(refusal).count(self.house.ctx().counters());
            let mut buf = [0; ACK_BYTES];
            let mut line = Line::new(&mut buf);
            let detail = refusal.detail().unwrap_or("none");
            // A path has at most 96 bytes.
            let _ = line.put(format_args!(
                "ERR TAIL reason={} detail={detail} path={path}",
                refusal.reason()
            ));
            return Ok(sink.line(line.as_str()).await?);
        }
        let file = self.open_text(path, FOLLOW).await?;
        send_tail(file, page, sink, "TAIL", Some(path)).await
    }

    async fn log(&mut self, page: &mut Page, sink: &mut impl Sink) -> Result<(), Stop> {
        self.require_queen()?;
        let file = self.open_text(QUEEN_LOG, FOLLOW).await?;
        send_tail(file, page, sink, "LOG", None).await
    }

    async fn echo(&mut self, path: &str, payload: &str, sink: &mut impl Sink) -> Result<(), Stop> {
        let barred = self.role().is_some_and(Role::is_worker) && !is_sidecars(path);
        let file = self.open(path, OpenFlags::WRONLY).await?;
        if barred {
            return Err(Refusal::Denied.into());
        }
        file.write_all(payload.as_bytes()).await?;
        Ok(acknowledge(sink, "ECHO", &[("path", &path), ("bytes", &payload.len())]).await?)
    }

    async fn spawn(&mut self, json: &str, sink: &mut impl Sink) -> Result<(), Stop> {
        self.require_queen()?;
        match QueenRequest::parse(json) {
            Ok(QueenRequest::SpawnHeartbeat { .. } | QueenRequest::SpawnGpu { .. }) => {}
            Ok(_) | Err(_) => return Err(Refusal::InvalidPayload.into()),
        }
        self.append(QUEEN_CTL, json).await?;
        let mut buf = [0; SPAWN_ACK_BYTES];
        let mut line = ack::ok(&mut buf, "SPAWN");
        // The buffer has room for the longest request.
        let _ = line.field("payload", json);
        Ok(sink.line(line.as_str()).await?)
    }

    async fn kill(&mut self, id: &str, sink: &mut impl Sink) -> Result<(), Stop> {
        self.require_queen()?;
        let mut buf = [0; ACK_BYTES];
        // What cannot be a worker's name is no worker's name.
        let request = QueenRequest::Kill { id }
            .render(&mut buf)
            .map_err(|_| Refusal::InvalidPath)?;
        self.append(QUEEN_CTL, request).await?;
        Ok(acknowledge(sink, "KILL", &[("id", &id)]).await?)
    }

    async fn append(&mut self, path: &str, record: &str) -> Result<(), Stop> {
        let file = self.open(path, OpenFlags::WRONLY).await?;
        Ok(file.write_all(record.as_bytes()).await?)
    }

    /// LOG, SPAWN and KILL are a queen's; to everybody else they are as if not attached (WIRE 4.13).
    fn require_queen(&self) -> Result<(), Refusal> {
        if self.role() == Some(Role::Queen) {
            Ok(())
        } else {
            Err(Refusal::Unauthenticated)
        }
    }
}

async fn ping(sink: &mut impl Sink) -> Result<(), Stop> {
    acknowledge(sink, "PING", &[("reply", &"pong")]).await?;
    Ok(sink.line("PONG").await?)
}

async fn help(sink: &mut impl Sink) -> Result<(), Stop> {
    acknowledge(sink, "HELP", &[]).await?;
    for line in facts::HELP {
        sink.line(line).await?;
    }
    Ok(())
}

async fn send_tail(
    file: File<'_>,
    page: &mut Page,
    sink: &mut impl Sink,
    verb: &str,
    path: Option<&str>,
) -> Result<(), Stop> {
    let mut reader = Reader::new(file, &mut page.bytes);
    let survey = render::survey(&mut reader, 0, &mut page.preview).await?;
    match path {
        Some(path) => acknowledge(sink, verb, &[("path", &path)]).await?,
        None => acknowledge(sink, verb, &[]).await?,
    }
    render::send(&mut reader, survey, survey.tail, sink).await?;
    Ok(sink.line(ack::END).await?)
}

/// `OK <VERB>` and its fields.
async fn acknowledge(
    sink: &mut impl Sink,
    verb: &str,
    fields: &[(&str, &dyn core::fmt::Display)],
) -> Result<(), Gone> {
    let mut buf = [0; ACK_BYTES];
    let mut line = ack::ok(&mut buf, verb);
    for (key, value) in fields {
        // A path, a preview and two numbers fit.
        let _ = line.field(key, value);
    }
    sink.line(line.as_str()).await
}

/// Where a worker may ECHO: its sidecar's files (WIRE 4.13). What else it may write it writes over 9P.
fn is_sidecars(path: &str) -> bool {
    path.starts_with("/bus/") || path.starts_with("/lora/")
}

/// The files that TAIL serves (WIRE 1.8).
fn is_tailed(path: &str) -> bool {
    path == QUEEN_LOG || path == "/proc/ingest/watch" || is_telemetry(path)
}

/// `/worker/<id>/telemetry` and `/shard/<label>/worker/<id>/telemetry`. CAT does not serve these (WIRE 4.7).
fn is_telemetry(path: &str) -> bool {
    let Ok(path) = Path::parse(path) else { return false };
    let mut names = path.components();
    let first = names.next();
    if first == Some("shard") && (names.next().is_none() || names.next() != Some("worker")) {
        return false;
    }
    matches!(first, Some("shard" | "worker"))
        && names.next().is_some()
        && names.next() == Some("telemetry")
        && names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::Lines;
    use crate::testing::now;
    use std::string::String;

    #[test]
    fn only_these_are_tailed() {
        for path in [
            "/log/queen.log",
            "/proc/ingest/watch",
            "/worker/worker-1/telemetry",
            "/shard/13/worker/worker-1/telemetry",
        ] {
            assert!(is_tailed(path), "{path}");
        }
        for path in [
            "/",
            "/log",
            "/log/queen.log/",
            "/worker",
            "/worker/telemetry",
            "/worker/worker-1",
            "/worker/worker-1/telemetry/x",
            "/shard/13/telemetry",
            "/shard/13/workers/worker-1/telemetry",
            "/shard/worker/worker-1/telemetry",
            "/gpu/GPU-0/telemetry",
            "worker/worker-1/telemetry",
        ] {
            assert!(!is_tailed(path), "{path}");
        }
    }

    #[test]
    fn acks_read_as_documented() {
        let mut lines = Lines::default();
        now(acknowledge(&mut lines, "LS", &[("path", &"/"), ("entries", &3)]))
            .unwrap()
            .unwrap();
        now(ping(&mut lines)).unwrap().unwrap();
        assert_eq!(lines.0, ["OK LS path=/ entries=3", "OK PING reply=pong", "PONG"]);
    }

    #[test]
    fn help_names_every_verb_and_nothing_that_a_client_takes_for_an_ack() {
        let mut lines = Lines::default();
        now(help(&mut lines)).unwrap().unwrap();
        assert_eq!(lines.0[0], "OK HELP");
        let text: String = lines.0[1..].join("\n");
        for verb in
            "help attach ls cat tail log echo spawn kill ping bi caps mem netstats nettest test cachelog quit"
                .split(' ')
        {
            assert!(text.contains(&std::format!("\n  {verb} ")), "{verb}");
        }
        assert!(!lines.0[1..].iter().any(|line| protocol::chunk::needs_group(line)));
    }
}
