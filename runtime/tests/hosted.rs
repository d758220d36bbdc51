//! Domains on threads: conversations, deaths, sockets and files.
#![cfg(feature = "hosted")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runtime::Context;
use runtime::hosted::{Handle, Hosted, HostedConfig, Io, StartError};
use runtime::link::{Connection, LinkError};
use runtime::region::OpenError;
use runtime::supervision::{ChildState, RestartPolicy};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

const PATIENCE: Duration = Duration::from_secs(20);

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Answers every frame with itself, for ever and on every connection.
fn echo(context: &Context) {
    let link = context.link("ping-pong").expect("the topology has it");
    let serve = async move {
        loop {
            let connection = link.connect().await;
            let mut frame = [0; 64];
            while let Ok(len) = connection.recv(&mut frame).await {
                if connection.send(&frame[..len]).await.is_err() {
                    break;
                }
            }
        }
    };
    context.spawn(serve).expect("there is room");
}

#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    errors: AtomicU64,
}

/// Asks `rounds` questions and counts.
fn ask(context: &Context, rounds: u64, seen: &Arc<Seen>) {
    let link = context.link("ping-pong").expect("the topology has it");
    let seen = Arc::clone(seen);
    let ask = async move {
        while seen.answers.load(Ordering::SeqCst) < rounds {
            let connection = link.connect().await;
            while seen.answers.load(Ordering::SeqCst) < rounds {
                match question(&connection, seen.answers.load(Ordering::SeqCst)).await {
                    Ok(()) => seen.answers.fetch_add(1, Ordering::SeqCst),
                    Err(error) => {
                        assert_eq!(error, LinkError::Closed);
                        seen.errors.fetch_add(1, Ordering::SeqCst);
                        break;
                    }
                };
            }
        }
    };
    context.spawn(ask).expect("there is room");
}

async fn question(connection: &Connection, number: u64) -> Result<(), LinkError> {
    let mut frame = [0; 64];
    connection.send(&number.to_le_bytes()).await?;
    let len = connection.recv(&mut frame).await?;
    assert_eq!(frame[..len], number.to_le_bytes());
    Ok(())
}

fn ping_pong(rounds: u64, pong_thread: &str) -> (Topology, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let asker = Arc::clone(&seen);
    let topology = Topology {
        domains: vec![
            DomainSpec::new("ping", move |context| ask(context, rounds, &asker)),
            DomainSpec::new("pong", echo).on_thread(pong_thread),
        ],
        links: vec![LinkSpec::new("ping-pong", "ping", "pong", 4, 64)],
        fault_injection: true,
    };
    (topology, seen)
}

fn start(topology: Topology) -> Handle {
    Hosted::start(topology, HostedConfig::default()).expect("it starts")
}

#[test]
fn a_request_on_one_thread_costs_no_system_call() {
    let (topology, seen) = ping_pong(100_000, "main");
    let handle = start(topology);
    wait_for("the answers", || seen.answers.load(Ordering::SeqCst) == 100_000);
    let system_calls = handle.system_calls();
    assert!(
        system_calls < 10,
        "{system_calls} system calls for 100,000 requests"
    );
    handle.stop().expect("it stops");
}

#[test]
fn domains_of_two_threads_wake_each_other() {
    let (topology, seen) = ping_pong(20_000, "other");
    let handle = start(topology);
    wait_for("the answers", || seen.answers.load(Ordering::SeqCst) == 20_000);
    let ping = handle.counters_of("ping").expect("there").snapshot();
    assert_eq!((ping.frames_out, ping.frames_in), (20_000, 20_000));
    handle.stop().expect("it stops");
}

#[test]
fn a_dead_peer_is_an_error_and_then_back() {
    for (thread, after_polls) in [("main", 0), ("other", 0), ("main", 10), ("other", 10)] {
        let (topology, seen) = ping_pong(u64::MAX, thread);
        let handle = start(topology);
        wait_for("some answers", || seen.answers.load(Ordering::SeqCst) > 100);
        assert!(handle.inject_panic("pong", after_polls));
        assert!(!handle.inject_panic("nobody", 0));
        wait_for("the error", || seen.errors.load(Ordering::SeqCst) == 1);
        let then = seen.answers.load(Ordering::SeqCst);
        wait_for("more answers", || {
            seen.answers.load(Ordering::SeqCst) > then + 100
        });
        let supervision = handle.supervision();
        let pong = supervision.child(1).expect("there are two");
        assert_eq!((pong.state, pong.restarts), (ChildState::Running, 1));
        assert_eq!(pong.last_reason.as_str(), "injected fault");
        handle.stop().expect("it stops");
    }
}

/// Deaths on one thread while the other uses the link: never taken for misbehaviour, never the end of the talk.
#[test]
fn many_deaths_under_load_are_no_violation() {
    let (mut topology, seen) = ping_pong(u64::MAX, "other");
    topology.domains[1].restart = RestartPolicy {
        intensity: 1_000,
        ..RestartPolicy::default()
    };
    let handle = start(topology);
    for death in 1..=200 {
        let then = seen.answers.load(Ordering::SeqCst);
        wait_for("more answers", || {
            seen.answers.load(Ordering::SeqCst) > then + death % 5
        });
        handle.inject_panic("pong", death % 3);
        wait_for("the restart", || {
            handle
                .supervision()
                .child(1)
                .is_some_and(|pong| pong.restarts == death)
        });
    }
    let violations =
        ["ping", "pong"].map(|name| handle.counters_of(name).expect("there").snapshot().violations);
    assert_eq!(violations, [0, 0]);
    let restarts = handle.supervision().child(0).map(|ping| ping.restarts);
    assert_eq!(
        restarts,
        Some(0),
        "the asker panics at anything but a closed connection"
    );
    handle.stop().expect("it stops");
}

#[test]
fn a_domain_that_cannot_start_degrades_the_node_and_nothing_else() {
    let (mut topology, seen) = ping_pong(u64::MAX, "main");
    let starts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&starts);
    let mut broken = DomainSpec::new("broken", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("it is broken"));
    });
    broken.restart = RestartPolicy {
        intensity: 3,
        window: PATIENCE,
        delay: Duration::from_millis(2),
    };
    topology.domains.push(broken);
    let handle = start(topology);
    wait_for("degradation", || handle.supervision().degraded());
    assert_eq!(starts.load(Ordering::SeqCst), 4);
    let supervision = handle.supervision();
    let child = supervision.child(2).expect("there are three");
    assert_eq!(
        (child.state, child.last_reason.as_str()),
        (ChildState::Down, "it is broken")
    );
    let then = seen.answers.load(Ordering::SeqCst);
    wait_for("more answers", || {
        seen.answers.load(Ordering::SeqCst) > then + 100
    });
    handle.stop().expect("it stops");
}

#[test]
fn a_thread_that_hangs_does_not_hold_up_another() {
    let (mut topology, seen) = ping_pong(u64::MAX, "main");
    let release = Arc::new(Mutex::new(()));
    let held = release.lock().expect("not poisoned");
    let stuck = Arc::clone(&release);
    let hang = DomainSpec::new("hang", move |context| {
        let stuck = Arc::clone(&stuck);
        context
            .spawn(async move { drop(stuck.lock()) })
            .expect("there is room");
    });
    topology.domains.push(hang.on_thread("aside"));
    let handle = start(topology);
    wait_for("answers", || seen.answers.load(Ordering::SeqCst) > 1_000);
    handle.inject_panic("pong", 0);
    wait_for("the error", || seen.errors.load(Ordering::SeqCst) == 1);
    let then = seen.answers.load(Ordering::SeqCst);
    wait_for("more answers", || {
        seen.answers.load(Ordering::SeqCst) > then + 1_000
    });
    drop(held);
    handle.stop().expect("it stops");
}

#[test]
fn timers_fire_in_order_and_not_early() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&order);
    let topology = Topology {
        domains: vec![DomainSpec::new("sleeper", move |context| {
            for ms in [30, 10, 20] {
                let (noted, context_of_task) = (Arc::clone(&noted), context.clone());
                let task = async move {
                    let begun = Instant::now();
                    context_of_task.sleep(Duration::from_millis(ms)).await;
                    assert!(begun.elapsed() >= Duration::from_millis(ms));
                    noted.lock().expect("not poisoned").push(ms);
                };
                context.spawn(task).expect("there is room");
            }
        })],
        ..Topology::default()
    };
    let handle = start(topology);
    wait_for("three timers", || order.lock().expect("not poisoned").len() == 3);
    assert_eq!(*order.lock().expect("not poisoned"), [10, 20, 30]);
    handle.stop().expect("it stops");
}

/// A domain that echoes bytes over TCP, one connection after the other, on the port it puts into `address`.
fn tcp_echo(context: &Context, io: &Io, address: &Arc<Mutex<Option<SocketAddr>>>) {
    let listener =
        mio::net::TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    *address.lock().expect("not poisoned") = listener.local_addr().ok();
    let (listener, io) = (io.register(listener).expect("registered"), io.clone());
    let serve = async move {
        loop {
            let (stream, _) = listener
                .read_with(|listener| listener.accept())
                .await
                .expect("accepted");
            let stream = io.register(stream).expect("registered");
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stream.read_with(|mut stream| stream.read(&mut buffer)).await {
                let mut rest = &buffer[..len];
                while !rest.is_empty() {
                    match stream.write_with(|mut stream| stream.write(rest)).await {
                        Ok(len) => rest = &rest[len..],
                        Err(_) => break,
                    }
                }
            }
        }
    };
    context.spawn(serve).expect("there is room");
}

#[test]
fn a_domain_may_own_sockets_beside_a_busy_one() {
    let (mut topology, seen) = ping_pong(u64::MAX, "main");
    let address = Arc::new(Mutex::new(None));
    let published = Arc::clone(&address);
    topology
        .domains
        .push(DomainSpec::with_io("tcp", move |context, io| {
            tcp_echo(context, io, &published)
        }));
    let handle = start(topology);
    wait_for("the listener", || address.lock().expect("not poisoned").is_some());
    for round in 0..3_u8 {
        // The domain is started again in between, and takes another port.
        let known = address.lock().expect("not poisoned").expect("published");
        let mut stream = TcpStream::connect(known).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("supported");
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8 ^ round).collect();
        let mut writer = stream.try_clone().expect("cloned");
        let all = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&all));
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).expect("echoed");
        writing.join().expect("no panic").expect("written");
        assert_eq!(back, sent);
        assert!(handle.inject_panic("tcp", 0));
        wait_for("another port", || {
            address
                .lock()
                .expect("not poisoned")
                .is_some_and(|now| now != known)
        });
        // The dead domain's sockets are closed.
        let closed = stream.read(&mut back).map_err(|error| error.kind());
        assert!(
            matches!(closed, Ok(0) | Err(ErrorKind::ConnectionReset)),
            "{closed:?}"
        );
    }
    assert!(seen.answers.load(Ordering::SeqCst) > 0);
    handle.stop().expect("it stops");
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("runtime-{name}-{}", std::process::id()));
    // It may be there from an earlier process of that number.
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn counting() -> Topology {
    let count = |context: &Context| {
        let region = context.region("journal").expect("the topology has it");
        let mut count = [0; 8];
        region.read_at(8, &mut count).expect("inside");
        region
            .write_at(8, &(u64::from_le_bytes(count) + 1).to_le_bytes())
            .expect("inside");
    };
    let keeper = DomainSpec::new("keeper", count).with_region("journal", 4096);
    Topology {
        domains: vec![keeper],
        links: vec![],
        fault_injection: true,
    }
}

#[test]
fn regions_are_private_files_that_outlive_a_hive() {
    let dir = scratch("regions");
    let config = HostedConfig {
        state_dir: Some(dir.join("state")),
        ..HostedConfig::default()
    };
    let file = dir.join("state/keeper.journal.region");
    let count = || {
        u64::from_le_bytes(
            std::fs::read(&file).expect("there")[8..16]
                .try_into()
                .expect("eight"),
        )
    };
    for hive in 0..3 {
        let handle = Hosted::start(counting(), config.clone()).expect("it starts");
        wait_for("the first start", || count() == 2 * hive + 1);
        handle.inject_panic("keeper", 0);
        wait_for("the restart", || count() == 2 * hive + 2);
        let second = Hosted::start(counting(), config.clone());
        assert!(matches!(second, Err(StartError::Region(OpenError::InUse { .. }))));
        handle.stop().expect("it stops");
    }
    let mode = |path: &PathBuf| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&dir.join("state"))), (0o600, 0o700));
    let mut larger = counting();
    larger.domains[0].regions[0].bytes = 8192;
    let refused = Hosted::start(larger, config);
    assert!(matches!(
        refused,
        Err(StartError::Region(OpenError::WrongSize {
            found: 4096,
            wanted: 8192,
            ..
        }))
    ));
    assert_eq!(count(), 6);
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn stops_from_another_thread_and_drops_every_task() {
    let (mut topology, seen) = ping_pong(u64::MAX, "other");
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    topology.domains.push(DomainSpec::new("holder", move |context| {
        let held = Arc::clone(&held);
        let hold = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        context.spawn(hold).expect("there is room");
    }));
    let handle = start(topology);
    wait_for("answers", || seen.answers.load(Ordering::SeqCst) > 100);
    // One here, one in the build closure, one in the task.
    assert_eq!(Arc::strong_count(&dropped), 3);
    let stopper = handle.stopper();
    let stopping = std::thread::spawn(move || stopper.stop());
    handle.join().expect("it stops");
    // The stopper knows the topology, and with it the build closure.
    stopping.join().expect("no panic");
    assert_eq!(Arc::strong_count(&dropped), 1);
}

#[test]
fn the_wall_clock_is_the_systems() {
    let shown = Arc::new(AtomicU64::new(0));
    let show = Arc::clone(&shown);
    let topology = Topology {
        domains: vec![DomainSpec::new("clock", move |context| {
            show.store(context.unix_ms(), Ordering::SeqCst)
        })],
        ..Topology::default()
    };
    let unix_ms = || {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_millis() as u64
    };
    let before = unix_ms();
    let handle = start(topology);
    wait_for("the start", || shown.load(Ordering::SeqCst) != 0);
    let range = before.saturating_sub(1)..=unix_ms() + 1;
    assert!(range.contains(&shown.load(Ordering::SeqCst)));
    handle.stop().expect("it stops");
}
