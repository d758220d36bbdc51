//! `hive-qemu`: one command that builds the hive for seL4 and boots it in QEMU.
//!
//! Answers for the command line, the log on standard error (the serial line's among it), the one `hive ready` line on
//! standard output, and QEMU's end at SIGINT or SIGTERM. Everything else is `hive::qemu`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use client::state::{Environment, StateDir};
use hive::qemu::{Config, Machine, build};
use hive::{Manifest, Secrets, run};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::level_filters::LevelFilter;

/// Pause between two looks at the machine.
const PAUSE: Duration = Duration::from_millis(20);

/// A hive on seL4, in QEMU, behind one TCP console.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Microkit's configuration of the kernel.
    #[arg(long, value_enum, default_value_t = Config::Release)]
    config: Config,
    /// Address to forward the console from; port 0 chooses one [default: the manifest's, 127.0.0.1:31337].
    #[arg(long, value_name = "ADDR")]
    console: Option<SocketAddr>,
    /// The manifest [default: the hive.toml this program was built with].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where the auth token, ticket secrets and the image are kept [default: $COH_STATE, else ~/.local/state/cohesix].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What clients authenticate with, or `env:NAME`, or `file:/path` [default: generated into the state directory].
    #[arg(long, value_name = "TOKEN", env = "COH_AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
    /// Count time in instructions: runs repeat.
    #[arg(long)]
    icount: bool,
    /// Boot this image, built before with the same state directory, instead of building one.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Build the image, say where it is, and end.
    #[arg(long, conflicts_with = "image")]
    build_only: bool,
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
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let mut manifest = match &arguments.manifest {
        Some(path) => Manifest::load(path)?,
        None => Manifest::parse(hive::manifest::DEFAULT)?,
    };
    // The image has no listener for 9P clients, so it takes no memory for their connections.
    manifest.ninep = None;
    let state = StateDir::locate(arguments.state.as_deref(), &Environment::process())?;
    state.prepare()?;
    let _lock = run::StateLock::acquire(state.path())?;
    let listen = arguments.console.unwrap_or(manifest.console.address);
    let secrets = Secrets::gather(&manifest, &state, arguments.auth_token.as_deref(), listen)?;
    let image = match &arguments.image {
        Some(image) => image.clone(),
        None => build(&manifest, &secrets, arguments.config, state.path())?.path,
    };
    if arguments.build_only {
        println!("{}", image.display());
        return Ok(());
    }
    // Registered before the machine starts, so that an early signal is not lost.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let console = free_port(listen)?;
    let mut machine = Machine::boot(&image, console, manifest.console.guest_port, arguments.icount)?;
    let token = secrets.auth_token.expose().to_owned();
    let ready = thread::spawn(move || run::wait_until_ready(console, &token));
    let (mut ready, mut boot) = (Some(ready), None);
    while machine.is_running() {
        if let Some(signal) = signals.pending().next() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            tracing::info!("{name}: stopping");
            return Ok(());
        }
        boot = boot.or_else(|| machine.boot_id());
        if let (Some(boot), Some(thread)) = (&boot, ready.take_if(|thread| thread.is_finished())) {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("the probe panicked"))??;
            println!("hive ready console={console} boot={boot}");
        }
        thread::sleep(PAUSE);
    }
    anyhow::bail!("QEMU ended by itself; the serial log above says more")
}

/// The address with a port that is free now, since QEMU does not choose one.
fn free_port(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    if listen.port() != 0 {
        return Ok(listen);
    }
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    Ok(listener.local_addr()?)
}
