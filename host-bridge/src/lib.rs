//! `gpu-bridge-host`: publishes a host's GPUs and models to a hive, and follows what the hive decides about them.
//!
//! Answers for what is on this side of the hive: which GPUs and models there are, how a snapshot of them gets there
//! whole, and what is done here when a lease or the active model changes. The program is `main.rs`; everything is
//! here, so that it can be tested.
//!
//! Never grants a lease, never changes a registry (its receipts excepted), never speaks the console's protocol itself.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// The comments on flags are also what `--help` prints, and `<model>` is a placeholder there.
#![allow(rustdoc::invalid_html_tags)]

pub mod activation;
pub mod cli;
pub mod exit;
mod follow;
mod lease;
mod offer;
mod publish;
pub mod registry;
mod report;
pub mod snapshot;
pub mod source;
mod status;

use client::state::Environment;
use client::{Exit, connect};

use crate::activation::Activator;
use crate::cli::Cli;
use crate::follow::{Follower, Settings};
use crate::offer::{Look, Offer};
use crate::publish::{Patience, PublishError, publish};
use crate::report::{complain, say};
use crate::snapshot::Payload;
use crate::source::Source;

/// Why the program ends, if not well.
struct Failure {
    exit: Exit,
    message: String,
}

/// Does what the command line asks for.
pub fn run(cli: &Cli) -> Exit {
    match try_run(cli) {
        Ok(exit) => exit,
        Err(Failure { exit, message }) => {
            complain(&message);
            exit
        }
    }
}

fn try_run(cli: &Cli) -> Result<Exit, Failure> {
    let local = |message: String| Failure {
        exit: Exit::Local,
        message,
    };
    let source = Source::open(cli.mock).map_err(|why| local(why.to_string()))?;
    let offer = Offer::new(source, cli.registry.clone());
    let look = offer.look().map_err(|why| local(why.to_string()))?;
    if cli.list {
        say(&look.snapshot.list(&look.payload));
        return Ok(shortcomings(&look));
    }
    let target = cli.target(&Environment::process()).map_err(|why| Failure {
        exit: Exit::Authentication,
        message: why.to_string(),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| local(format!("cannot start: {why}")))?;
    runtime.block_on(async {
        let Some(interval) = cli.interval() else {
            let session = connect(target, cli.options()).await.map_err(failed)?;
            let published = publish(&session, &look.payload, cli.line_digits, Patience::ONCE).await;
            session.quit().await;
            published.map_err(not_published)?;
            say(&told(&look.payload));
            return Ok(shortcomings(&look));
        };
        let settings = Settings {
            target,
            options: cli.options(),
            line_digits: cli.line_digits,
            interval,
        };
        let activator = match (&cli.on_activate, &cli.registry) {
            (Some(command), Some(root)) => {
                let timeout = std::time::Duration::from_secs(cli.activate_timeout_s);
                let (activator, notes) = Activator::open(root, command.clone(), timeout, cli.retry_unknown)
                    .map_err(|why| local(why.to_string()))?;
                notes.iter().for_each(|note| complain(note));
                Some(activator)
            }
            _ => None,
        };
        Follower::new(offer, settings, activator).run().await
    })
}

/// Tells what was left out; the status says that something was.
fn shortcomings(look: &Look) -> Exit {
    look.problems.iter().for_each(|problem| complain(problem));
    if look.problems.is_empty() {
        Exit::Ok
    } else {
        Exit::Shortfall
    }
}

/// The line that says what was published.
fn told(payload: &Payload) -> String {
    format!(
        "OK PUBLISH bytes={} sha256={} gpus={} models={} active={}",
        payload.text.len(),
        payload.sha256,
        payload.gpus,
        payload.models,
        payload.active.as_deref().unwrap_or("none")
    )
}

fn failed(why: client::Error) -> Failure {
    Failure {
        exit: Exit::of(&why),
        message: why.to_string(),
    }
}

fn not_published(why: PublishError) -> Failure {
    let exit = match &why {
        PublishError::Session(why) => Exit::of(why),
        PublishError::Broken { .. } => Exit::Connection,
        PublishError::Refused { .. } | PublishError::Busy { .. } | PublishError::NotConfirmed { .. } => {
            Exit::Refused
        }
    };
    Failure {
        exit,
        message: why.to_string(),
    }
}
