//! Following: publish what has changed, report leases, run the command for a model that became active, again and again.
//!
//! Answers for going on whatever the hive does: it may restart, forget, refuse or be gone, and is asked again at the
//! next look. What was reported is read back from the hive, so that a new connection goes on where the old one ended.
//! Ends at SIGINT or SIGTERM, or when the hive will not have this host. Never repeats a trouble that it has told.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{Error, Exit, Options, Session, Target, connect};
use protocol::gpu::is_model_id;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};

use crate::activation::Activator;
use crate::lease::{forget_ended, news};
use crate::offer::{Look, Offer};
use crate::publish::{Patience, PublishError, is_published, publish};
use crate::report::{Standing, complain, say};
use crate::status::{self, Reported};
use crate::{Failure, registry, told};

/// Time between two samples of a GPU. A status file holds 32 KiB, which is half an hour of them.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Longest pause after a connection was lost for good.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);

const ACTIVE: &str = "/gpu/models/active";

/// Where to, and how often.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) options: Options,
    pub(crate) line_digits: usize,
    pub(crate) interval: Duration,
}

/// What is followed, and what is known of it.
#[derive(Debug)]
pub(crate) struct Follower {
    offer: Offer,
    settings: Settings,
    activator: Option<Activator>,
    session: Option<Session>,
    connection: u64,
    gpus: BTreeMap<String, Followed>,
    troubles: Troubles,
}

/// A GPU, as far as the hive was told of it on this connection.
#[derive(Debug, Default)]
struct Followed {
    reported: Reported,
    sampled: Option<Instant>,
}

/// Troubles that may last.
#[derive(Debug, Default)]
struct Troubles {
    hive: Standing,
    offer: Standing,
    left_out: Standing,
    publish: Standing,
    gpu: BTreeMap<String, Standing>,
    activation: Standing,
}

impl Follower {
    pub(crate) fn new(offer: Offer, settings: Settings, activator: Option<Activator>) -> Self {
        Self {
            offer,
            settings,
            activator,
            session: None,
            connection: 0,
            gpus: BTreeMap::new(),
            troubles: Troubles::default(),
        }
    }

    /// Follows until a signal comes.
    pub(crate) async fn run(mut self) -> Result<Exit, Failure> {
        let mut stop = Stop::listen()?;
        let ended = loop {
            let looked = tokio::select! {
                () = stop.signal() => break Ok(Exit::Ok),
                looked = self.look() => looked,
            };
            let pause = match looked {
                Ok(()) => self.settings.interval,
                Err(why) if is_final(&why) => break Err(crate::failed(why)),
                Err(why) => {
                    self.troubles.hive.is(why.to_string());
                    self.settings.interval.min(LONGEST_PAUSE)
                }
            };
            let next = Instant::now() + pause;
            tokio::select! {
                () = stop.signal() => break Ok(Exit::Ok),
                () = sleep_until(next) => {}
                () = activated(&mut self.activator) => {}
            }
        };
        self.close().await;
        ended
    }

    /// One look at everything. An error is one of the session; a refusal is a trouble of what was refused.
    async fn look(&mut self) -> Result<(), Error> {
        // What cannot be looked at now is as it was.
        let look = match self.offer.look() {
            Ok(look) => {
                self.troubles.offer.is_over();
                if look.problems.is_empty() {
                    self.troubles.left_out.is_over();
                } else {
                    self.troubles.left_out.is(look.problems.join("; "));
                }
                Some(look)
            }
            Err(why) => {
                self.troubles.offer.is(why.to_string());
                None
            }
        };
        let session = self.session().await?;
        if let Some(look) = &look {
            self.publish(&session, look).await?;
            self.forget_other_gpus(look);
        }
        if session.reconnects() != self.connection {
            self.connection = session.reconnects();
            self.gpus.clear();
        }
        let ids = look.map(|look| look.snapshot.gpus.into_iter().map(|gpu| gpu.id));
        let ids: Vec<String> = match ids {
            Some(ids) => ids.collect(),
            None => self.gpus.keys().cloned().collect(),
        };
        for id in ids {
            let followed = self.gpus.remove(&id);
            let (followed, reported) = self.report(&session, &id, followed).await;
            self.gpus.extend(followed.map(|followed| (id.clone(), followed)));
            let trouble = self.troubles.gpu.entry(id).or_default();
            match reported {
                Ok(()) => {
                    trouble.is_over();
                }
                Err(Error::Refused(refusal)) => trouble.is(refusal.to_string()),
                Err(why) => return Err(why),
            }
        }
        self.activate(&session).await?;
        if self.troubles.hive.is_over() {
            complain("the hive answers again");
        }
        Ok(())
    }

    async fn session(&mut self) -> Result<Session, Error> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let Settings { target, options, .. } = &self.settings;
        let session = connect(target.clone(), options.clone()).await?;
        self.session = Some(session.clone());
        Ok(session)
    }

    /// Publishes unless the hive has it already.
    async fn publish(&mut self, session: &Session, look: &Look) -> Result<(), Error> {
        let trouble = &mut self.troubles.publish;
        let payload = &look.payload;
        match is_published(session, payload).await {
            Ok(true) => {
                trouble.is_over();
                return Ok(());
            }
            Ok(false) => {}
            Err(Error::Refused(refusal)) => {
                trouble.is(refusal.to_string());
                return Ok(());
            }
            Err(why) => return Err(why),
        }
        match publish(session, payload, self.settings.line_digits, Patience::EACH_TIME).await {
            Ok(()) => {
                trouble.is_over();
                say(&told(payload));
            }
            Err(PublishError::Session(why)) => return Err(why),
            Err(why) => trouble.is(why.to_string()),
        }
        Ok(())
    }

    fn forget_other_gpus(&mut self, look: &Look) {
        let is_ours = |id: &String| look.snapshot.gpus.iter().any(|gpu| gpu.id == *id);
        self.gpus.retain(|id, _| is_ours(id));
        self.troubles.gpu.retain(|id, _| is_ours(id));
    }

    /// Reports what is new of a GPU. Gives back what the hive was told of it, also if something failed.
    async fn report(
        &self,
        session: &Session,
        id: &str,
        followed: Option<Followed>,
    ) -> (Option<Followed>, Result<(), Error>) {
        let status = format!("/gpu/{id}/status");
        let mut followed = match followed {
            Some(followed) => followed,
            None => match session.cat(&status).await {
                Ok(lines) => Followed {
                    reported: Reported::of(&lines),
                    sampled: None,
                },
                Err(why) => return (None, Err(why)),
            },
        };
        let reported = self.report_news(session, id, &status, &mut followed).await;
        (Some(followed), reported)
    }

    async fn report_news(
        &self,
        session: &Session,
        id: &str,
        status: &str,
        followed: &mut Followed,
    ) -> Result<(), Error> {
        let Followed { reported, sampled } = followed;
        let leases = session.cat(&format!("/gpu/{id}/lease")).await?;
        for (worker, state) in news(&reported.leases, &leases) {
            session.echo(status, &status::lease(&worker, state)).await?;
            reported.leases.insert(worker, state);
        }
        forget_ended(&mut reported.leases, &leases);

        let last = self.activator.as_ref().and_then(Activator::last_result);
        if let Some((last, state)) = last.and_then(|last| Some((last, last.state?)))
            && reported.activation != Some(last.seq)
        {
            let line = status::activation(&last.model_id, last.seq, state.label(), last.exit_code);
            session.echo(status, &line).await?;
            reported.activation = Some(last.seq);
        }

        let now = Instant::now();
        if sampled.is_none_or(|then| now.duration_since(then) >= SAMPLE_EVERY) {
            // A driver that does not say is told of by the next look at the GPUs.
            if let Ok(Some(sample)) = self.offer.sample(id) {
                session.echo(status, &status::sample(&sample)).await?;
            }
            *sampled = Some(now);
        }
        Ok(())
    }

    /// Starts the command if another model has become active.
    async fn activate(&mut self, session: &Session) -> Result<(), Error> {
        let (Some(activator), Some(root)) = (&mut self.activator, self.offer.registry()) else {
            return Ok(());
        };
        let trouble = &mut self.troubles.activation;
        if let Err(why) = activator.settle() {
            trouble.is(why.to_string());
            return Ok(());
        }
        let lines = match session.cat(ACTIVE).await {
            Ok(lines) => lines,
            // Nobody has published a model.
            Err(Error::Refused(_)) => return Ok(()),
            Err(why) => return Err(why),
        };
        let active = lines
            .iter()
            .map(|line| line.trim())
            .rfind(|line| !line.is_empty());
        let Some(id) = active.filter(|id| is_model_id(id) && activator.wants(id)) else {
            trouble.is_over();
            return Ok(());
        };
        let dir = registry::model_dir(root, id);
        let there = dir.join("manifest.toml").is_file();
        match std::fs::canonicalize(&dir) {
            Ok(path) if there => match activator.start(id, path) {
                Ok(()) => {
                    trouble.is_over();
                }
                Err(why) => trouble.is(why.to_string()),
            },
            _ => trouble.is(format!(
                "model {id} is active in the hive and not in the registry; its command runs as soon as it is there"
            )),
        }
        Ok(())
    }

    /// Ends the command that runs, and says goodbye.
    async fn close(mut self) {
        if let Some(activator) = &mut self.activator
            && let Err(why) = activator.stop().await
        {
            complain(&why.to_string());
        }
        if let Some(session) = self.session.take() {
            // A hive that is not there will find out by itself.
            let _ = timeout(GOODBYE, session.quit()).await;
        }
    }
}

/// Waits for the command to end, and writes its receipt; for ever if none runs.
async fn activated(activator: &mut Option<Activator>) {
    let Some(activator) = activator else {
        return std::future::pending().await;
    };
    let outcome = activator.ended().await;
    if let Err(why) = activator.record(&outcome) {
        complain(&why.to_string());
    }
    if let Some(last) = activator.last_result() {
        let exit_code = last.exit_code.map(|code| format!(" exit_code={code}"));
        say(&format!(
            "{} ACTIVATE model={} seq={} state={}{}",
            if outcome.is_ok() { "OK" } else { "ERR" },
            last.model_id,
            last.seq,
            outcome.state.label(),
            exit_code.unwrap_or_default()
        ));
    }
}

/// Whether it makes no sense to come back.
fn is_final(why: &Error) -> bool {
    match why {
        Error::AttachRefused(refusal) => !refusal.is_busy(),
        Error::Request(_)
        | Error::Control(_)
        | Error::PlaceholderToken { .. }
        | Error::Ticket(_)
        | Error::AuthRejected { .. } => true,
        Error::Unreachable { .. }
        | Error::Lost { .. }
        | Error::Interrupted { .. }
        | Error::TimedOut { .. }
        | Error::Protocol(_)
        | Error::Refused(_)
        | Error::Ended => false,
    }
}

/// The signals that end this program.
#[derive(Debug)]
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|why| Failure {
                exit: Exit::Local,
                message: format!("cannot listen for signals: {why}"),
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one. May be dropped at any time.
    async fn signal(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
