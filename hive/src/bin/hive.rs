//! `hive`: one command that starts everything, on Linux, without privileges.
//!
//! Answers for the command line, the log on standard error, the `hive ready` and `hive ninep` lines on standard output,
//! and a clean stop at SIGINT or SIGTERM. Everything else is `hive::run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hive::listen::{self, Ninep};
use hive::{Manifest, Secrets, run};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::level_filters::LevelFilter;

/// A hive: the control plane's actors on this machine, behind one TCP console.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Address to listen on; port 0 lets the system choose [default: the manifest's, 127.0.0.1:31337].
    #[arg(long, value_name = "ADDR")]
    console: Option<SocketAddr>,
    /// Address for 9P clients, or `off`; port 0 lets the system choose [default: the manifest's, 127.0.0.1:31338].
    #[arg(long, value_name = "ADDR")]
    ninep: Option<Ninep>,
    /// The manifest [default: the hive.toml this program was built with].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where journals, the auth token and ticket secrets are kept [default: $COH_STATE, else ~/.local/state/cohesix].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What clients authenticate with, or `env:NAME`, or `file:/path` [default: generated into the state directory].
    #[arg(long, value_name = "TOKEN", env = "COH_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
    /// How much to log: off, error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_max_level(arguments.log)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    // The supervisor restarts what panics; the operator should know why.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    // Registered before anything starts, so that an early signal is not lost.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut manifest = match &arguments.manifest {
        Some(path) => Manifest::load(path)?,
        None => Manifest::parse(hive::manifest::DEFAULT)?,
    };
    if let Some(ninep) = arguments.ninep {
        ninep.apply(&mut manifest);
    }
    let state =
        client::state::StateDir::locate(arguments.state.as_deref(), &client::state::Environment::process())?;
    state.prepare()?;
    let _lock = run::StateLock::acquire(state.path())?;
    let listen = arguments.console.unwrap_or(manifest.console.address);
    let exposed = listen::exposed(&manifest, listen);
    let secrets = Secrets::gather(&manifest, &state, arguments.auth_token.as_deref(), exposed)?;
    let start = |manifest: &Manifest| run::Hive::start(manifest, &secrets, listen, Some(state.path()));
    let hive = match start(&manifest) {
        // Nobody has asked for it: a second hive runs without.
        Err(error @ run::RunError::ListenNinep(..)) if arguments.ninep.is_none() => {
            tracing::warn!("{error}");
            manifest.ninep = None;
            start(&manifest)?
        }
        started => started?,
    };
    hive.wait_until_ready(secrets.auth_token.expose())?;
    println!("hive ready console={} boot={}", hive.console(), hive.boot_id());
    if let Some(ninep) = hive.ninep() {
        println!("hive ninep={ninep}");
    }
    if let Some(signal) = signals.forever().next() {
        let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
        tracing::info!("{name}: stopping");
    }
    hive.stop();
    Ok(())
}
