//! Round trips a second through the host forward and the guest's stack, with an echo server in the guest.
//!
//! `cargo run --release -p netstack --features forward --example forward_bench -- [SECONDS]`
//! Prints, for each number of sessions, round trips a second, the time of one in the middle and in the worst
//! hundredth, the processor time of the hive's thread for each, and the ratio to the same clients against an echo
//! server of the standard library with a thread for each connection. The clients are threads of this process, so
//! that clients, kernel and hive share the machine's cores.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{ECHO, GUEST, HOST, LINK, config, echo, guest_stack, serve};
use netstack::forward::{self, ForwardConfig, Route};
use runtime::hosted::{Handle, Hosted, HostedConfig};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

/// A console command and its answer are about this long.
const QUESTION_BYTES: usize = 48;
const SESSIONS: [usize; 4] = [1, 4, 16, 64];
const CONNECTIONS: u16 = 72;

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(3);
    let time = Duration::from_secs(seconds);
    let (handle, address) = start();
    let plain = plain();
    println!("cargo run --release -p netstack --features forward --example forward_bench -- {seconds}");
    println!(
        "{} cores of {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        cpu()
    );
    println!(
        "{:>8} {:>12} {:>10} {:>10} {:>14} {:>12} {:>6}",
        "sessions", "per second", "median", "p99", "hive cpu each", "plain TCP", "ratio"
    );
    for sessions in SESSIONS {
        let cpu_before = hive_cpu();
        let hive = measure(address, sessions, time);
        let cpu = hive_cpu().saturating_sub(cpu_before);
        let plain = measure(plain, sessions, time);
        println!(
            "{sessions:>8} {:>12.0} {:>10.1?} {:>10.1?} {:>14.2?} {:>12.0} {:>6.2}",
            hive.per_second,
            hive.median,
            hive.p99,
            cpu.div_f64(hive.per_second * hive.elapsed.as_secs_f64()),
            plain.per_second,
            hive.per_second / plain.per_second,
        );
    }
    handle.stop().expect("an orderly stop");
}

/// What to compare with: an echo server as one writes it without a hive.
fn plain() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the host");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.set_nodelay(true).expect("a socket option");
                let mut buf = [0; 2_048];
                while let Ok(len @ 1..) = stream.read(&mut buf) {
                    if stream.write_all(&buf[..len]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn start() -> (Handle, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the host");
    let address = listener.local_addr().expect("bound");
    let mut net = DomainSpec::with_io("net", move |context, io| {
        let route = Route {
            listener: listener.try_clone().expect("a descriptor"),
            guest: SocketAddrV4::new(GUEST, ECHO),
        };
        let stack = config(context, HOST, 2 * CONNECTIONS);
        let config = ForwardConfig {
            link: LINK.to_owned(),
            connections: CONNECTIONS,
            handshakes: 4,
            stack,
        };
        forward::spawn(context, io, vec![route], config).expect("the forward starts");
    })
    .on_thread("hive");
    net.limits.tasks = forward::tasks(CONNECTIONS, 1);
    let mut guest = DomainSpec::new("guest", |context| {
        serve(
            context,
            &guest_stack(context, 2 * CONNECTIONS),
            ECHO,
            CONNECTIONS,
            echo,
        );
    })
    .on_thread("hive");
    guest.limits.tasks = 2 * usize::from(CONNECTIONS);
    let topology = Topology {
        domains: vec![net, guest],
        links: vec![LinkSpec::new(LINK, "net", "guest", 256, 2_048)],
        ..Topology::default()
    };
    (
        Hosted::start(topology, HostedConfig::default()).expect("the hive starts"),
        address,
    )
}

struct Figures {
    per_second: f64,
    median: Duration,
    p99: Duration,
    elapsed: Duration,
}

fn measure(address: SocketAddr, sessions: usize, time: Duration) -> Figures {
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    let mut trips: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..sessions)
            .map(|_| scope.spawn(|| client(address, &stop)))
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("the client ran"))
            .collect()
    });
    let elapsed = begin.elapsed();
    trips.sort_unstable();
    Figures {
        per_second: trips.len() as f64 / elapsed.as_secs_f64(),
        median: trips[trips.len() / 2],
        p99: trips[trips.len() * 99 / 100],
        elapsed,
    }
}

fn client(address: SocketAddr, stop: &AtomicBool) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("the hive is up");
    stream.set_nodelay(true).expect("a socket option");
    let (question, mut answer) = ([7; QUESTION_BYTES], [0; QUESTION_BYTES]);
    let mut trips = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        stream.write_all(&question).expect("the hive reads");
        stream.read_exact(&mut answer).expect("the hive answers");
        trips.push(begin.elapsed());
    }
    trips
}

/// Processor time of the thread that runs the hive.
fn hive_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    for task in tasks.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.trim() == "hive" {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos = stat
                .split_whitespace()
                .next()
                .and_then(|nanos| nanos.parse().ok());
            return Duration::from_nanos(nanos.unwrap_or_default());
        }
    }
    Duration::ZERO
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown processor");
    model.trim_start_matches([' ', '\t', ':']).to_owned()
}
