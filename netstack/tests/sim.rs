//! Two domains of a simulation, a guest and a wire with its client, over good and bad weather.

mod common;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{ECHO, GUEST, HOST, LINK, config, echo, guest_stack, pattern, run, serve};
use netstack::sim::{Network, Weather, client_stack};
use netstack::{ConnectError, LinkDevice, Stack, StackStats, TcpError, TcpListener};
use runtime::Context;
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// What the tasks of a simulation tell the test.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<BTreeMap<String, u64>>>);

impl Board {
    fn add(&self, key: &str, count: u64) {
        *self.0.lock().unwrap().entry(key.to_owned()).or_default() += count;
    }

    fn get(&self, key: &str) -> u64 {
        self.0.lock().unwrap().get(key).copied().unwrap_or_default()
    }
}

type Tasks = Box<dyn Fn(&Context, Stack) + Send + Sync>;

fn sim(seed: u64, weather: Weather, guest: Tasks, client: Tasks) -> Sim {
    let guest = DomainSpec::new("guest", move |context| {
        let stack = guest_stack(context, 40);
        guest(context, stack);
    });
    let net = DomainSpec::new("net", move |context| {
        let link = context.link(LINK).expect("the topology has the link");
        let stack =
            client_stack(context, link, weather, config(context, HOST, 40)).expect("a good configuration");
        run(context, &stack);
        client(context, stack);
    });
    let topology = Topology {
        domains: vec![guest, net],
        links: vec![LinkSpec::new(LINK, "guest", "net", 64, 2_048)],
        ..Topology::default()
    };
    Sim::new(
        topology,
        SimConfig {
            seed,
            ..SimConfig::default()
        },
    )
    .expect("a sound topology")
}

fn echo_server() -> Tasks {
    Box::new(|context, stack| serve(context, &stack, ECHO, 16, echo))
}

/// A client that sends `bytes` and checks that they come back.
async fn converse(stack: &Stack, stream_number: u64, bytes: usize) -> Result<(), Box<dyn Error>> {
    let stream = stack.connect(GUEST, ECHO).await?;
    let write = async {
        let mut sent = 0;
        while sent < bytes {
            let len = (1 + sent % 3_000).min(bytes - sent);
            let piece: Vec<u8> = (sent..sent + len).map(|i| pattern(stream_number, i)).collect();
            stream.write_all(&piece).await?;
            sent += len;
        }
        stream.shutdown();
        Ok::<(), TcpError>(())
    };
    let read = async {
        let (mut buf, mut read) = ([0; 1_000], 0);
        loop {
            let len = stream.read(&mut buf).await?;
            if len == 0 {
                assert_eq!(read, bytes, "the stream ended early");
                return Ok::<(), TcpError>(());
            }
            for (i, byte) in buf[..len].iter().enumerate() {
                assert_eq!(*byte, pattern(stream_number, read + i), "byte {}", read + i);
            }
            read += len;
        }
    };
    let (written, read) = futures::future::join(write, read).await;
    Ok(written.and(read)?)
}

fn conversations(board: &Board, tasks: u64, rounds: u64, bytes: usize) -> Tasks {
    let board = board.clone();
    Box::new(move |context, stack| {
        for task in 0..tasks {
            let (stack, board) = (stack.clone(), board.clone());
            let work = async move {
                for round in 0..rounds {
                    match converse(&stack, task * rounds + round, bytes).await {
                        Ok(()) => board.add("done", 1),
                        Err(error) => board.add(&error.to_string(), 1),
                    }
                }
            };
            context.spawn(work).expect("room for the clients");
        }
    })
}

#[test]
fn every_conversation_is_whole_whatever_the_weather() {
    for seed in 0..200 {
        let weather = if seed % 2 == 0 {
            Weather::foul()
        } else {
            Weather::fair(Duration::from_millis(1))
        };
        let board = Board::default();
        let mut sim = sim(seed, weather, echo_server(), conversations(&board, 8, 3, 9_000));
        let outcome = sim.run_until(|| board.get("done") == 24, HOUR);
        assert_eq!(
            outcome,
            Outcome::Reached,
            "seed {seed}: {:?}",
            board.0.lock().unwrap()
        );
    }
}

#[test]
fn the_seed_decides_to_the_last_frame() {
    let run = |seed| {
        let board = Board::default();
        let mut sim = sim(
            seed,
            Weather::foul(),
            echo_server(),
            conversations(&board, 3, 2, 5_000),
        );
        assert_eq!(sim.run_until(|| board.get("done") == 6, HOUR), Outcome::Reached);
        (sim.trace_hash(), sim.now())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// A client that says on `board` what became of it after the other side was restarted.
fn watcher(board: &Board) -> Tasks {
    let board = board.clone();
    Box::new(move |context, stack| {
        let board = board.clone();
        let task = async move {
            let stream = stack.connect(GUEST, ECHO).await.expect("the guest is up");
            stream.write_all(b"hello").await.expect("the guest is up");
            let mut buf = [0; 5];
            stream.read(&mut buf).await.expect("the guest is up");
            board.add("ready", 1);
            match stream.read(&mut buf).await {
                Err(TcpError::LinkLost) => board.add("link lost", 1),
                other => panic!("{other:?}"),
            }
            drop(stream);
            let again = stack.connect(GUEST, ECHO).await;
            board.add(if again.is_ok() { "again" } else { "not again" }, 1);
        };
        context.spawn(task).expect("room for the client");
    })
}

#[test]
fn a_restart_of_the_guest_is_noticed_at_once_and_survived() {
    for seed in 0..20 {
        let board = Board::default();
        let mut sim = sim(
            seed,
            Weather::fair(Duration::ZERO),
            echo_server(),
            watcher(&board),
        );
        assert_eq!(
            sim.run_until(|| board.get("ready") == 1, SECOND),
            Outcome::Reached,
            "seed {seed}"
        );
        assert!(sim.inject_panic("guest", 0));
        let noticed = sim.run_until(|| board.get("link lost") == 1, Duration::from_millis(10));
        assert_eq!(noticed, Outcome::Reached, "seed {seed}");
        assert_eq!(
            sim.run_until(|| board.get("again") == 1, 10 * SECOND),
            Outcome::Reached,
            "seed {seed}"
        );
    }
}

#[test]
fn a_restart_of_the_wire_frees_the_guests_sockets() {
    let stats: Arc<Mutex<StackStats>> = Arc::default();
    let seen = stats.clone();
    let guest: Tasks = Box::new(move |context, stack| {
        serve(context, &stack, ECHO, 4, echo);
        let (context, seen) = (context.clone(), seen.clone());
        let clock = context.clone();
        let report = async move {
            loop {
                *seen.lock().unwrap() = stack.stats();
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        context.spawn(report).expect("room for the report");
    });
    let board = Board::default();
    let dialled = board.clone();
    let client: Tasks = Box::new(move |context, stack| {
        let board = dialled.clone();
        let hold = async move {
            let mut held = vec![];
            for _ in 0..4 {
                held.push(stack.connect(GUEST, ECHO).await.expect("the guest is up"));
            }
            board.add("held", 4);
            std::future::pending::<()>().await;
        };
        context.spawn(hold).expect("room for the client");
    });
    let mut sim = sim(1, Weather::fair(Duration::from_millis(1)), guest, client);
    assert_eq!(sim.run_until(|| board.get("held") == 4, SECOND), Outcome::Reached);
    sim.run_for(Duration::from_millis(20));
    assert_eq!(stats.lock().unwrap().held, 4);
    assert!(sim.inject_panic("net", 0));
    let lost = sim.run_until(
        || stats.lock().unwrap().link_losses == 4,
        Duration::from_millis(20),
    );
    assert_eq!(lost, Outcome::Reached);
    assert_eq!(
        sim.run_until(|| board.get("held") == 8, 10 * SECOND),
        Outcome::Reached,
        "and serves again"
    );
}

/// A guest and a client of one test, each a task.
fn pair<G, C>(
    weather: Weather,
    guest: impl Fn(Context, TcpListener, Board) -> G + Send + Sync + Clone + 'static,
    client: impl Fn(Context, Stack, Board) -> C + Send + Sync + Clone + 'static,
) -> (Sim, Board)
where
    G: Future<Output = ()> + 'static,
    C: Future<Output = ()> + 'static,
{
    let board = Board::default();
    let (for_guest, for_client) = (board.clone(), board.clone());
    let guest: Tasks = Box::new(move |context, stack| {
        let listener = TcpListener::bind(&stack, ECHO, 4).expect("the port is free");
        context
            .spawn(guest(context.clone(), listener, for_guest.clone()))
            .expect("room");
    });
    let client: Tasks = Box::new(move |context, stack| {
        context
            .spawn(client(context.clone(), stack, for_client.clone()))
            .expect("room");
    });
    (sim(3, weather, guest, client), board)
}

fn finish((mut sim, board): (Sim, Board), keys: &[&str], limit: Duration) {
    let reached = sim.run_until(|| keys.iter().all(|key| board.get(key) > 0), limit);
    assert_eq!(reached, Outcome::Reached, "{:?}", board.0.lock().unwrap());
}

#[test]
fn half_a_close_leaves_the_other_half() {
    let case = pair(
        Weather::foul(),
        |_, listener, board| async move {
            let stream = listener.accept().await;
            let (mut buf, mut read) = ([0; 100], 0);
            loop {
                match stream.read(&mut buf).await {
                    Ok(0) => break,
                    Ok(len) => read += len,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(read, 5_000);
            stream.write_all(&[7; 5_000]).await.expect("our half is open");
            stream.close().await.expect("the client reads it all");
            board.add("guest", 1);
        },
        |_, stack, board| async move {
            let stream = stack.connect(GUEST, ECHO).await.expect("the guest listens");
            stream.write_all(&[3; 5_000]).await.expect("open");
            stream.shutdown();
            assert_eq!(stream.write(&[1]).await, Err(TcpError::Closed));
            let (mut buf, mut read) = ([0; 100], 0);
            while let Ok(len @ 1..) = stream.read(&mut buf).await {
                read += len;
            }
            assert_eq!(read, 5_000);
            assert_eq!(stream.read(&mut buf).await, Ok(0), "the end stays the end");
            stream.close().await.expect("nothing is left to acknowledge");
            board.add("client", 1);
        },
    );
    finish(case, &["guest", "client"], 60 * SECOND);
}

#[test]
fn dropping_a_stream_is_a_reset_for_the_peer() {
    let case = pair(
        Weather::fair(Duration::from_millis(1)),
        |_, listener, board| async move {
            let stream = listener.accept().await;
            drop(stream);
            let stream = listener.accept().await;
            stream.abort();
            board.add("guest", 1);
            std::future::pending().await
        },
        |_, stack, board| async move {
            for _ in 0..2 {
                let stream = stack.connect(GUEST, ECHO).await.expect("the guest listens");
                assert_eq!(stream.failed().await, TcpError::Reset);
                assert_eq!(stream.write(&[1]).await, Err(TcpError::Reset));
                assert_eq!(stream.read(&mut [0]).await, Err(TcpError::Reset));
                assert_eq!(stream.close().await, Err(TcpError::Reset));
            }
            board.add("client", 1);
        },
    );
    finish(case, &["guest", "client"], 10 * SECOND);
}

#[test]
fn finish_delivers_without_anybody_waiting() {
    let case = pair(
        Weather::foul(),
        |_, listener, board| async move {
            for _ in 0..10 {
                let stream = listener.accept().await;
                stream.write_all(b"OK QUIT").await.expect("room");
                stream.finish();
            }
            board.add("guest", 1);
            std::future::pending().await
        },
        |_, stack, board| async move {
            for _ in 0..10 {
                let stream = stack.connect(GUEST, ECHO).await.expect("the guest listens");
                let (mut buf, mut read) = ([0; 16], 0);
                while let Ok(len @ 1..) = stream.read(&mut buf[read..]).await {
                    read += len;
                }
                assert_eq!(&buf[..read], b"OK QUIT");
            }
            board.add("client", 1);
        },
    );
    finish(case, &["guest", "client"], 120 * SECOND);
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read() {
    let case = pair(
        Weather::fair(Duration::from_millis(1)),
        |context, listener, board| async move {
            let stream = listener.accept().await;
            let mut written = 0;
            while context.timeout(SECOND, stream.writable()).await.is_ok() {
                let filled = stream.try_write_with(|space| (space.len(), space.len()));
                written += filled.expect("open").unwrap_or_default();
            }
            assert_eq!(written, 32 * 1024, "a send buffer and a receive buffer");
            board.add("stuck", 1);
            stream.close().await.expect("the client reads after all");
            board.add("guest", 1);
        },
        |context, stack, board| async move {
            let stream = stack.connect(GUEST, ECHO).await.expect("the guest listens");
            while board.get("stuck") == 0 {
                context.sleep(SECOND).await;
            }
            let (mut buf, mut read) = ([0; 5_000], 0);
            while let Ok(len @ 1..) = stream.read(&mut buf).await {
                read += len;
            }
            assert_eq!(read, 32 * 1024);
            stream.close().await.expect("the guest is there");
            board.add("client", 1);
        },
    );
    finish(case, &["guest", "client"], 60 * SECOND);
}

#[test]
fn refusals_and_timeouts_are_told_apart() {
    let case = pair(
        Weather::fair(Duration::from_millis(1)),
        |_, listener, _| async move {
            let _listener = listener;
            std::future::pending().await
        },
        |_, stack, board| async move {
            let nobody = Ipv4Addr::new(10, 0, 2, 77);
            assert_eq!(stack.connect(GUEST, 9).await.err(), Some(ConnectError::Refused));
            assert_eq!(stack.connect(nobody, 9).await.err(), Some(ConnectError::TimedOut));
            for (ip, port) in [(Ipv4Addr::UNSPECIFIED, 9), (Ipv4Addr::BROADCAST, 9), (GUEST, 0)] {
                assert_eq!(
                    stack.connect(ip, port).await.err(),
                    Some(ConnectError::Unaddressable)
                );
            }
            let mut held = vec![];
            loop {
                match stack.connect(GUEST, ECHO).await {
                    Ok(stream) => held.push(stream),
                    Err(error) => {
                        assert_eq!(error, ConnectError::Refused);
                        break;
                    }
                }
            }
            assert_eq!(held.len(), 4, "as many as the backlog holds");
            board.add("client", 1);
        },
    );
    finish(case, &["client"], 60 * SECOND);
}

#[test]
fn a_waiting_accept_ends_with_its_task_and_leaves_the_others() {
    let case = pair(
        Weather::fair(Duration::from_millis(1)),
        |_, listener, board| async move {
            for _ in 0..20 {
                // The loser is dropped while it waits.
                let first = std::pin::pin!(listener.accept());
                let second = std::pin::pin!(listener.accept());
                let stream = futures::future::select(first, second).await.factor_first().0;
                stream.write_all(b"!").await.expect("open");
                stream.finish();
            }
            board.add("guest", 1);
            std::future::pending().await
        },
        |_, stack, board| async move {
            for _ in 0..20 {
                let stream = stack.connect(GUEST, ECHO).await.expect("the guest listens");
                assert_eq!(stream.read(&mut [0]).await, Ok(1));
            }
            board.add("client", 1);
        },
    );
    finish(case, &["guest", "client"], 10 * SECOND);
}

#[test]
fn weather_can_change_and_is_counted() {
    let board = Board::default();
    let seen = board.clone();
    let guest = DomainSpec::new("guest", |context| {
        let stack = guest_stack(context, 8);
        serve(context, &stack, ECHO, 2, echo);
    });
    let net = DomainSpec::new("net", move |context| {
        let link = context.link(LINK).expect("the topology has the link");
        let still = Weather::fair(Duration::from_millis(1));
        let network = Network::new(context, still, still);
        let stack = network
            .client_stack(LinkDevice::new(link), config(context, HOST, 8))
            .expect("a good configuration");
        run(context, &stack);
        let (board, clock) = (seen.clone(), context.clone());
        let task = async move {
            let stream = stack.connect(GUEST, ECHO).await.expect("the guest listens");
            network.set_weather(
                Weather {
                    loss_ppm: 1_000_000,
                    ..still
                },
                still,
            );
            stream.write_all(b"lost").await.expect("room");
            while network.counts()[0].lost == 0 {
                clock.sleep(Duration::from_millis(1)).await;
            }
            network.set_weather(still, still);
            let mut buf = [0; 4];
            stream.read(&mut buf).await.expect("sent again");
            assert_eq!(&buf, b"lost");
            board.add("done", 1);
        };
        context.spawn(task).expect("room");
    });
    let topology = Topology {
        domains: vec![guest, net],
        links: vec![LinkSpec::new(LINK, "guest", "net", 16, 2_048)],
        ..Topology::default()
    };
    let mut sim = Sim::new(topology, SimConfig::default()).expect("a sound topology");
    assert_eq!(
        sim.run_until(|| board.get("done") == 1, 60 * SECOND),
        Outcome::Reached
    );
}
