//! `hive-qemu`: one command that builds the hive for seL4 and boots it in QEMU.
//!
//! Answers for the command line, the log on standard error (the serial line's among it), the `hive serial`, `hive ninep`
//! and `hive ready` lines on standard output, and QEMU's end at SIGINT or SIGTERM. Everything else is `hive::qemu`.
// The comments on flags are also what `--help` prints, and `<ms>` is a placeholder there.
#![allow(rustdoc::invalid_html_tags)]

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use client::state::{Environment, StateDir};
use hive::listen::{self, Ninep};
use hive::microkit::NetDomain;
use hive::qemu::{Config, Forward, Machine, Wiring, build};
use hive::{Manifest, Secrets, run};
use probe::Script;
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
    /// Address to forward 9P clients from, or `off`; port 0 chooses one [default: the manifest's, 127.0.0.1:31338].
    #[arg(long, value_name = "ADDR")]
    ninep: Option<Ninep>,
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
    /// Instead of the network: build a client into the image that plays this script, and end with it. One line of the
    /// console each, or WAIT <ms>.
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    script: Option<PathBuf>,
    /// Boot without a network, an image that was built with a script; end with it.
    #[arg(long)]
    offline: bool,
    /// Socket at which whoever connects sits at the serial line: the root console, the queen's without a token. Made there,
    /// for its owner only.
    #[arg(long, value_name = "PATH")]
    serial: Option<PathBuf>,
    /// Write what comes over the serial line to this file, byte for byte.
    #[arg(long, value_name = "FILE")]
    serial_log: Option<PathBuf>,
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
    if let Some(ninep) = arguments.ninep {
        ninep.apply(&mut manifest);
    }
    let state = StateDir::locate(arguments.state.as_deref(), &Environment::process())?;
    state.prepare()?;
    let _lock = run::StateLock::acquire(state.path())?;
    let listen = arguments.console.unwrap_or(manifest.console.address);
    let exposed = listen::exposed(&manifest, listen);
    let secrets = Secrets::gather(&manifest, &state, arguments.auth_token.as_deref(), exposed)?;
    let net = match &arguments.script {
        Some(path) => NetDomain::Probe(script(path)?),
        None => NetDomain::Driver,
    };
    let image = match &arguments.image {
        Some(image) => image.clone(),
        None => build(&manifest, &secrets, &net, arguments.config, state.path())?.path,
    };
    if arguments.build_only {
        println!("{}", image.display());
        return Ok(());
    }
    // Registered before the machine starts, so that an early signal is not lost.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let serial_log = arguments
        .serial_log
        .as_ref()
        .map(|path| File::create(path).with_context(|| format!("{} cannot be written", path.display())));
    let mut wiring = Wiring {
        network: None,
        icount: arguments.icount,
        serial_log: serial_log.transpose()?,
        serial: arguments.serial.as_deref().map(serial_line).transpose()?,
    };
    if arguments.offline || arguments.script.is_some() {
        return play(Machine::boot(&image, wiring)?, &mut signals);
    }
    let console = free_port(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let mut forwards = vec![Forward {
        from: console,
        guest_port: manifest.console.guest_port,
    }];
    let ninep = ninep_forward(&manifest, arguments.ninep.is_some())?;
    forwards.extend(ninep);
    wiring.network = Some(forwards);
    let mut machine = Machine::boot(&image, wiring)?;
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
        // The console may answer before the serial line tells the boot id.
        if let Some(boot) = &boot
            && let Some(thread) = ready.take_if(|thread| thread.is_finished())
        {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("the probe panicked"))??;
            if let Some(ninep) = ninep {
                println!("hive ninep={}", ninep.from);
            }
            println!("hive ready console={console} boot={boot}");
        }
        thread::sleep(PAUSE);
    }
    anyhow::bail!("QEMU ended by itself; the serial log above says more")
}

/// Listens for terminals at a socket that only its owner may connect to, and says where. One that an earlier machine has
/// left there goes.
fn serial_line(path: &Path) -> anyhow::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        fs::remove_file(path).with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot listen on {} for the serial line", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    println!("hive serial={}", path.display());
    Ok(listener)
}

fn script(path: &Path) -> anyhow::Result<Script> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Script::parse(&text).with_context(|| path.display().to_string())
}

/// Waits until the script inside the machine has been played.
fn play(mut machine: Machine, signals: &mut Signals) -> anyhow::Result<()> {
    loop {
        if let Some(status) = machine.ended() {
            anyhow::ensure!(
                status.success(),
                "the script was not played to its end; the serial log above says why"
            );
            return Ok(());
        }
        if signals.pending().next().is_some() {
            anyhow::bail!("stopped before the script's end");
        }
        thread::sleep(PAUSE);
    }
}

/// The way in for 9P clients, if the manifest has one. An address that is taken is an error only if somebody asked for it:
/// a second hive runs without.
fn ninep_forward(manifest: &Manifest, is_asked_for: bool) -> anyhow::Result<Option<Forward>> {
    let Some(wanted) = &manifest.ninep else {
        return Ok(None);
    };
    let address = wanted.address;
    match free_port(address) {
        Ok(from) => Ok(Some(Forward {
            from,
            guest_port: wanted.guest_port,
        })),
        Err(error) if !is_asked_for => {
            tracing::warn!("cannot listen on {address} for 9P clients: {error}; none can come in");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot listen on {address} for 9P clients; give another address with --ninep, or --ninep off"
            )
        }),
    }
}

/// The address, with a port that is free now if none was chosen, since QEMU does not choose one.
fn free_port(listen: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(listen)?.local_addr()
}
