//! Console commands per second of a whole hive, beside a bare echo of the same frames.
//!
//! `cargo run --release -p bench --bin console [SECONDS]`
//!
//! The peer is what a console could cost at least on this machine: a thread per connection that reads a frame with
//! `std::net` and sends it back, without a namespace, a ticket or a journal. Clients, peer and hive share the machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::state::StateDir;
use hive::{Manifest, Secrets, run};
use tests::Console;

const TOKEN: &str = "bench-token";

/// A command and how many lines answer it before its last.
const COMMANDS: [(&str, &str); 4] = [
    ("PING", "PING"),
    (
        "ECHO",
        "ECHO /log/queen.log forty-eight-bytes-of-payload-as-a-command-has-them",
    ),
    ("CAT ninedoor", "CAT /proc/root/reachable"),
    ("CAT queen", "CAT /proc/lifecycle/state"),
];

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(2);
    let time = Duration::from_secs(seconds);
    let manifest = Manifest::parse(hive::manifest::DEFAULT).expect("the default manifest is valid");
    let directory = tempfile::tempdir().expect("a directory for the state");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let state = StateDir::at(directory.path());
    let secrets = Secrets::gather(&manifest, &state, Some(TOKEN), listen).expect("secrets");
    let hive = run::Hive::start(&manifest, &secrets, listen, Some(directory.path())).expect("a hive");
    hive.wait_until_ready(TOKEN).expect("ready");
    let peer = echo_server();

    bench::heading(&format!("cargo run --release -p bench --bin console {seconds}"));
    println!("peer: std::net echo of the same frames, a thread per connection, same run\n");
    println!(
        "{:<13} {:>8} {:>12} {:>12} {:>7}",
        "command", "sessions", "hive 1/s", "peer 1/s", "ratio"
    );
    for (name, command) in COMMANDS {
        for sessions in [1, 16] {
            let hive_rate = rate(sessions, time, || Console::queen(hive.console(), TOKEN), command);
            let peer_rate = rate(
                sessions,
                time,
                || Console::connect(peer).expect("the peer"),
                command,
            );
            let ratio = hive_rate / peer_rate;
            println!("{name:<13} {sessions:>8} {hive_rate:>12.0} {peer_rate:>12.0} {ratio:>7.2}");
        }
    }
    hive.stop();
}

/// Commands answered per second over all sessions.
fn rate(sessions: usize, time: Duration, connect: impl Fn() -> Console + Sync, command: &str) -> f64 {
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..sessions {
            scope.spawn(|| {
                let mut console = connect();
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

fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                stream.set_nodelay(true).expect("an option of a live socket");
                let mut frame = vec![0; 8192];
                loop {
                    if stream.read_exact(&mut frame[..4]).is_err() {
                        return;
                    }
                    let header = [frame[0], frame[1], frame[2], frame[3]];
                    let total = u32::from_le_bytes(header) as usize;
                    let body = frame.get_mut(4..total).expect("a frame of our own clients");
                    if stream.read_exact(body).is_err() || stream.write_all(&frame[..total]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}
