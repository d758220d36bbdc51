//! The hive on seL4 in numbers: boot, image, memory of each domain, and what a 9P round trip between two domains costs
//! beside a bare notification there and back.
//!
//! `cargo run --release -p bench --bin sel4 [DIRECTORY]`
//!
//! Images, programs and serial logs are left in the directory, if one is named.
//!
//! QEMU counts time in instructions (`-icount shift=3,sleep=off`), so these numbers do not depend on the machine, and a
//! run repeats as long as sources and compiler are the same.

mod boot;
mod memory;
mod rounds;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::state::StateDir;
use hive::microkit::{self, NetDomain};
use hive::qemu::{Config, Forward, Image, Machine, Sdk, Toolchain, Wiring, build, qemu_version};
use hive::{Manifest, Secrets};

const TOKEN: &str = "bench-token";
/// How long a machine may take on this one, loaded as it may be.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> anyhow::Result<()> {
    let mut manifest = Manifest::parse(hive::manifest::DEFAULT)?;
    // As hive-qemu does: the image has no listener for 9P clients.
    manifest.ninep = None;
    let scratch = tempfile::tempdir()?;
    let directory = std::env::args().nth(1).map(PathBuf::from);
    let directory = directory.unwrap_or(scratch.path().to_owned());
    let script = NetDomain::Probe(probe::Script::parse("PING\n")?);
    let played = Built::new(&manifest, &script, &directory.join("played"))?.play()?;
    let hive = Built::new(&manifest, &NetDomain::Driver, &directory.join("hive"))?;
    let system = microkit::plan(&manifest, &NetDomain::Driver)?;
    let started = hive.start(manifest.console.guest_port, memory::names(&manifest).count())?;
    let pair = rounds::manifest(&manifest);
    let least = Built::new(&pair, &NetDomain::Driver, &directory.join("pair"))?;
    let measured = least.play()?;

    bench::heading("cargo run --release -p bench --bin sel4");
    println!(
        "Microkit SDK {} (release kernel), {}, {}",
        Sdk::find()?.version()?,
        qemu_version()?,
        Toolchain::find()?.version().unwrap_or_default()
    );
    println!(
        "time is counted in instructions, 8 ns each; peer: an image of two domains, `ping` and `pong`, same run\n"
    );
    boot::print(&played, &measured, &hive.image, &least.image)?;
    memory::print(&manifest, &system, &hive.image, &started)?;
    rounds::print(&measured)
}

/// An image, and where its machine leaves its log.
struct Built {
    image: Image,
    log: PathBuf,
}

impl Built {
    fn new(manifest: &Manifest, net: &NetDomain, state: &Path) -> anyhow::Result<Self> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let state_directory = StateDir::at(state);
        state_directory.prepare()?;
        let secrets = Secrets::gather(manifest, &state_directory, Some(TOKEN), listen)?;
        let image = build(manifest, &secrets, net, Config::Release, state)?;
        Ok(Self {
            image,
            log: state.join("serial.log"),
        })
    }

    fn boot(&self, network: Option<Vec<Forward>>) -> anyhow::Result<Machine> {
        let wiring = Wiring {
            network,
            icount: true,
            serial_log: Some(File::create(&self.log)?),
            serial: None,
        };
        Ok(Machine::boot(&self.image.path, wiring)?)
    }

    /// Runs until the machine ends itself; its serial log.
    fn play(&self) -> anyhow::Result<String> {
        let mut machine = self.boot(None)?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = machine.ended() {
                break status;
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "the machine does not end:\n{}",
                self.log()?
            );
            thread::sleep(PAUSE);
        };
        let log = self.log()?;
        ensure!(status.success(), "the machine ended with {status}:\n{log}");
        Ok(log)
    }

    /// Runs until so many domains have said that they have started; the serial log.
    fn start(&self, guest_port: u16, domains: usize) -> anyhow::Result<String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        drop(listener);
        let mut machine = self.boot(Some(vec![Forward {
            from: address,
            guest_port,
        }]))?;
        let begun = Instant::now();
        loop {
            let log = self.log()?;
            if log.lines().filter(|line| line.contains(memory::STARTED)).count() == domains {
                return Ok(log);
            }
            let patient = machine.is_running() && begun.elapsed() < PATIENCE;
            ensure!(patient, "not all of {domains} domains have started:\n{log}");
            thread::sleep(PAUSE);
        }
    }

    fn log(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }
}
