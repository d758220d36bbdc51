//! `coh run`: a command under a lease.
//!
//! Answers for the command running only while its lease is in force: the lease is checked before it starts and watched
//! while it runs, and when the hive releases it, or its time is over, the command is ended. Start and end are told in
//! the GPU's status. Its exit status is this program's.
//!
//! Never ends the command because the hive cannot be reached: only a lease that is over does, and a hive that comes back
//! is told how it went. Never starts a command whose start could not be told.

mod breadcrumb;
mod child;
mod watch;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::time::Duration;

use clap::Args;
use client::{Error, Resend, Session};
use tokio::time::sleep;

use self::breadcrumb::Breadcrumb;
use self::child::{Child, Signals};
use self::watch::{LeaseWatch, Over};
use crate::connection::Connection;
use crate::exit::{RUN_FAILED, RUN_NOT_EXECUTABLE, RUN_NOT_FOUND};
use crate::gpu::{component, in_force, read};
use crate::report::{Area, Failure, complain, complain_of};

/// Pauses before each further try to tell the command's end, besides those that the session itself makes.
const EXIT_PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// `coh run`
#[derive(Debug, Args)]
pub struct Run {
    /// Id of the GPU, whose last lease has to be active.
    #[arg(long, value_name = "G")]
    pub gpu: String,
    /// End the command when the hive releases the lease or its time is over: SIGTERM, after --grace-s SIGKILL. Since
    /// leases are there to be kept this is so unless =false is given; then a warning is all.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub kill_on_release: bool,
    /// Seconds from SIGTERM to SIGKILL.
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub grace_s: u64,
    /// Milliseconds between looks at the lease.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..))]
    pub poll_ms: u64,
    /// The command and its arguments, behind `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Runs the command and says how to end.
pub async fn run(run: &Run, connection: &Connection) -> u8 {
    match start(run, connection).await {
        Ok(started) => started.until_its_end(run).await,
        Err((status, failure)) => {
            complain_of(Area::Run, &failure);
            status
        }
    }
}

/// A command that runs.
struct Started {
    session: Session,
    gpu: String,
    text: String,
    signals: Signals,
    child: Child,
    watch: LeaseWatch,
}

async fn start(run: &Run, connection: &Connection) -> Result<Started, (u8, Failure)> {
    let failed = |failure: Failure| (RUN_FAILED, failure);
    let gpu = component(&run.gpu).map_err(failed)?.to_owned();
    let words: Vec<_> = run.command.iter().map(|word| word.to_string_lossy()).collect();
    let text = words.join(" ");
    // Before anything is told, so that no signal ends this program between the two breadcrumbs.
    let signals =
        Signals::new().map_err(|why| failed(Failure::local(format!("cannot take signals: {why}"))))?;
    let session = connection.open().await.map_err(failed)?;
    // Breadcrumbs are remarks: one that is there twice is better than none.
    let session = session.with_resend(Resend::Always);
    let lines = read(&session, &gpu).await.map_err(|why| failed(why.into()))?;
    let lease = in_force(&lines, &gpu).map_err(|why| failed(why.into()))?;
    let watch = LeaseWatch::new(lease, Duration::from_millis(run.poll_ms));
    tell(&session, &gpu, &Breadcrumb::start(&text))
        .await
        .map_err(|why| failed(Failure::from(why).during("the start could not be told")))?;
    match Child::spawn(&run.command) {
        Ok(child) => Ok(Started {
            session,
            gpu,
            text,
            signals,
            child,
            watch,
        }),
        Err(why) => {
            tell_the_end(&session, &gpu, &Breadcrumb::not_started(&text)).await;
            session.quit().await;
            let status = match why.kind() {
                ErrorKind::NotFound => RUN_NOT_FOUND,
                _ => RUN_NOT_EXECUTABLE,
            };
            Err((status, Failure::local(format!("cannot run {}: {why}", words[0]))))
        }
    }
}

impl Started {
    async fn until_its_end(mut self, run: &Run) -> u8 {
        let status = self.attend(run).await;
        let Self {
            session,
            gpu,
            text,
            mut signals,
            ..
        } = self;
        let end = Breadcrumb::exit(&text, status);
        let told = tell_the_end(&session, &gpu, &end);
        tokio::select! {
            () = told => {}
            name = signals.request_to_end() => complain(&format!("{name}: the end of the command is not in /gpu/{gpu}/status")),
        }
        session.quit().await;
        status
    }

    /// Waits for the command's end; passes signals on and looks after the lease.
    async fn attend(&mut self, run: &Run) -> u8 {
        let mut ending = false;
        let kill_at = sleep(Duration::MAX);
        tokio::pin!(kill_at);
        loop {
            tokio::select! {
                status = self.child.wait() => {
                    if ending {
                        // What it left running of its own has no lease either.
                        self.child.kill_rest();
                    }
                    return status;
                }
                signal = self.signals.next() => self.child.pass_on(signal),
                over = self.watch.over(&self.session, &self.gpu) => {
                    if run.kill_on_release {
                        complain(&format!("{over}; ending the command"));
                        self.child.terminate();
                        ending = true;
                        kill_at.set(sleep(Duration::from_secs(run.grace_s)));
                    } else {
                        complain(&format!("{over}; the command goes on without it"));
                    }
                }
                () = &mut kill_at, if ending => {
                    complain(&format!("the command did not end within {} s; killing it", run.grace_s));
                    self.child.kill();
                    kill_at.set(sleep(Duration::MAX));
                }
            }
        }
    }
}

async fn tell(session: &Session, gpu: &str, breadcrumb: &Breadcrumb<'_>) -> Result<(), Error> {
    session
        .echo(&format!("/gpu/{gpu}/status"), &breadcrumb.line())
        .await?;
    Ok(())
}

/// Tells the end, and tries again for as long as that may help. A failure is a remark: the command has its status.
async fn tell_the_end(session: &Session, gpu: &str, breadcrumb: &Breadcrumb<'_>) {
    let mut pauses = EXIT_PAUSES.iter();
    loop {
        let Err(why) = tell(session, gpu, breadcrumb).await else {
            return;
        };
        let may_help = match &why {
            Error::Refused(refusal) | Error::AttachRefused(refusal) => refusal.is_busy(),
            Error::AuthRejected { .. } | Error::Request(_) | Error::Ended => false,
            _ => true,
        };
        match pauses.next() {
            Some(pause) if may_help => {
                complain(&format!("the end of the command could not be told yet: {why}"));
                sleep(*pause).await;
            }
            _ => {
                complain(&format!(
                    "the end of the command is not in /gpu/{gpu}/status: {why}"
                ));
                return;
            }
        }
    }
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Over::Released { worker } => write!(f, "the hive released the lease of {worker}"),
            Over::Expired { worker } => write!(
                f,
                "the time of {worker}'s lease is over, and the hive does not say otherwise"
            ),
        }
    }
}
