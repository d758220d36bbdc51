//! Console commands per second of a whole hive, beside a bare echo of the same frames; and what each costs in
//! notifications between the domains.
//!
//! `[HIVE_ADDR=host:port HIVE_TOKEN=token] cargo run --release -p bench --bin console [SECONDS]`
//!
//! The hive is one on Linux, in this process; with HIVE_ADDR also the one there, such as that of `hive-qemu`. The peer
//! is what a console could cost at least on this machine: a thread per connection that reads a frame with `std::net` and
//! sends it back, without a namespace, a ticket or a journal. Clients, peer and hives share the machine.

mod counts;
mod echo;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use client::state::StateDir;
use hive::{Manifest, Secrets, run};
use tests::Console;

const TOKEN: &str = "bench-token";

/// The commands that are measured, by name.
const COMMANDS: [(&str, &str); 4] = [
    ("PING", "PING"),
    (
        "ECHO",
        "ECHO /log/queen.log forty-eight-bytes-of-payload-as-a-command-has-them",
    ),
    ("CAT ninedoor", "CAT /proc/root/reachable"),
    ("CAT queen", "CAT /proc/lifecycle/state"),
];

/// A hive to measure.
struct Target {
    name: &'static str,
    address: SocketAddr,
    token: String,
}

impl Target {
    fn console(&self) -> Console {
        Console::queen(self.address, &self.token)
    }
}

fn main() -> anyhow::Result<()> {
    let seconds = match std::env::args().nth(1) {
        Some(word) => word.parse().context("SECONDS is a number of seconds")?,
        None => 2,
    };
    let manifest = Manifest::parse(hive::manifest::DEFAULT)?;
    let directory = tempfile::tempdir()?;
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let state = StateDir::at(directory.path());
    let secrets = Secrets::gather(&manifest, &state, Some(TOKEN), listen)?;
    let hive = run::Hive::start(&manifest, &secrets, listen, Some(directory.path()))?;
    hive.wait_until_ready(TOKEN)?;
    let mut targets = vec![Target {
        name: "Linux",
        address: hive.console(),
        token: TOKEN.to_owned(),
    }];
    targets.extend(elsewhere()?);
    let peer = echo::server()?;

    bench::heading(&format!("cargo run --release -p bench --bin console {seconds}"));
    println!("peer: std::net echo of the same frames, a thread per connection, same run");
    for target in &targets[1..] {
        println!("{}: the hive at {}", target.name, target.address);
    }
    println!();
    rates(&targets, peer, Duration::from_secs(seconds));
    println!();
    for target in &targets {
        counts::print(target);
    }
    hive.stop();
    Ok(())
}

/// The hive that the environment names.
fn elsewhere() -> anyhow::Result<Option<Target>> {
    let Ok(address) = std::env::var("HIVE_ADDR") else {
        return Ok(None);
    };
    Ok(Some(Target {
        name: "HIVE_ADDR",
        address: address.parse().context("HIVE_ADDR is host:port")?,
        token: std::env::var("HIVE_TOKEN").context("HIVE_TOKEN goes with HIVE_ADDR")?,
    }))
}

fn rates(targets: &[Target], peer: SocketAddr, time: Duration) {
    print!("{:<13} {:>8} {:>10}", "commands 1/s", "sessions", "peer");
    for target in targets {
        print!(" {:>10} {:>7}", target.name, ": peer");
    }
    if targets.len() > 1 {
        print!(" {:>9}", ": Linux");
    }
    println!();
    for (name, command) in COMMANDS {
        for sessions in [1, 16] {
            let connect = || Console::connect(peer).expect("the peer");
            let peer_rate = rate(sessions, time, connect, command);
            print!("{name:<13} {sessions:>8} {peer_rate:>10.0}");
            let mut first = None;
            for target in targets {
                let rate = rate(sessions, time, || target.console(), command);
                print!(" {rate:>10.0} {:>7.3}", rate / peer_rate);
                match first {
                    None => first = Some(rate),
                    Some(first) => print!(" {:>9.3}", rate / first),
                }
            }
            println!();
        }
    }
}

/// Commands answered per second over all sessions.
fn rate(sessions: usize, time: Duration, connect: impl Fn() -> Console + Sync, command: &str) -> f64 {
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    // Connecting is not part of a command.
    let consoles: Vec<Console> = (0..sessions).map(|_| connect()).collect();
    let begun = Instant::now();
    thread::scope(|scope| {
        for mut console in consoles {
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    ask(&mut console, command);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    answered.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// One command and its whole answer; the peer's answer is the command itself.
fn ask(console: &mut Console, command: &str) {
    let answer = console.ask(command);
    if answer == command {
        return;
    }
    assert!(answer.starts_with("OK "), "{answer}");
    if command.starts_with("CAT") {
        while console.receive() != "END" {}
    } else if command == "PING" {
        assert_eq!(console.receive(), "PONG");
    }
}
