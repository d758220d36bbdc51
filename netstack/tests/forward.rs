//! The host forward against ordinary clients on 127.0.0.1, with a guest on the same thread.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{GUEST, HOST, LINK, config, echo, guest_stack, pattern, serve};
use netstack::forward::{self, ForwardConfig, ForwardStats, Route};
use netstack::{Stack, StackStats, TcpError};
use runtime::Context;
use runtime::hosted::{Handle, Hosted, HostedConfig};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that the forward asks for at once.
const HANDSHAKES: u16 = 4;

/// A hive of a guest and a forward.
struct Hive {
    handle: Handle,
    addresses: Vec<SocketAddr>,
    stats: Arc<Mutex<ForwardStats>>,
}

/// A hive that forwards one listener of the host to each of `ports`, at most `connections` clients at once.
fn hive(ports: &[u16], connections: u16, guest: impl Fn(&Context, &Stack) + Send + Sync + 'static) -> Hive {
    hive_on(listeners(ports.len()), ports, connections, guest)
}

fn listeners(count: usize) -> Vec<TcpListener> {
    (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the host"))
        .collect()
}

/// Like [`hive`], on listeners that are there already.
fn hive_on(
    listeners: Vec<TcpListener>,
    ports: &[u16],
    connections: u16,
    guest: impl Fn(&Context, &Stack) + Send + Sync + 'static,
) -> Hive {
    let addresses = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("bound"))
        .collect();
    let routes: Vec<(TcpListener, SocketAddrV4)> = listeners
        .into_iter()
        .zip(ports.iter().map(|port| SocketAddrV4::new(GUEST, *port)))
        .collect();
    let stats: Arc<Mutex<ForwardStats>> = Arc::default();
    let seen = stats.clone();
    let tasks = forward::tasks(connections, ports.len());

    let mut net = DomainSpec::with_io("net", move |context, io| {
        let routes = routes.iter().map(|(listener, guest)| Route {
            listener: listener.try_clone().expect("a descriptor"),
            guest: *guest,
        });
        let config = ForwardConfig {
            link: LINK.to_owned(),
            connections,
            handshakes: HANDSHAKES,
            stack: config(context, HOST, connections * 2),
        };
        let forward = forward::spawn(context, io, routes.collect(), config).expect("the forward starts");
        let (context, seen) = (context.clone(), seen.clone());
        let clock = context.clone();
        let report = async move {
            loop {
                *seen.lock().unwrap() = forward.stats();
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        context.spawn(report).expect("room for the report");
    });
    net.limits.tasks = tasks + 1;
    let mut guest = DomainSpec::new("guest", move |context| guest(context, &guest_stack(context, 200)));
    guest.limits.tasks = 300;
    let topology = Topology {
        domains: vec![net, guest],
        links: vec![LinkSpec::new(LINK, "net", "guest", 256, 2_048)],
        fault_injection: true,
    };
    let handle = Hosted::start(topology, HostedConfig::default()).expect("the hive starts");
    Hive {
        handle,
        addresses,
        stats,
    }
}

impl Hive {
    fn dial(&self) -> TcpStream {
        self.dial_port(0)
    }

    fn dial_port(&self, index: usize) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[index]).expect("the host's listener is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        stream
    }

    fn stats(&self) -> ForwardStats {
        *self.stats.lock().unwrap()
    }

    fn wait_for(&self, what: &str, condition: impl Fn(ForwardStats) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition(self.stats()) {
            assert!(Instant::now() < end, "waited for {what}: {:?}", self.stats());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stop(self) {
        self.handle.stop().expect("an orderly stop");
    }
}

fn echo_hive(connections: u16) -> Hive {
    hive(&[7], connections, |context, stack| {
        serve(context, stack, 7, 128, echo)
    })
}

fn ask(stream: &mut TcpStream, question: &[u8]) {
    stream.write_all(question).expect("the hive reads");
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer).expect("the hive answers");
    assert_eq!(answer, question);
}

#[test]
fn a_question_is_answered() {
    let hive = echo_hive(4);
    let mut stream = hive.dial();
    ask(&mut stream, b"hello");
    hive.wait_for("the count", |stats| stats.open == 1);
    drop(stream);
    hive.wait_for("the close", |stats| stats.closed == 1 && stats.open == 0);
    hive.stop();
}

#[test]
fn sixty_four_connections_at_once() {
    let hive = echo_hive(64);
    let all_open = std::sync::Barrier::new(64);
    std::thread::scope(|scope| {
        for number in 0..64_u64 {
            let (hive, all_open) = (&hive, &all_open);
            scope.spawn(move || {
                let mut stream = hive.dial();
                stream.set_nodelay(true).expect("a socket option");
                ask(&mut stream, b"are we all here?");
                all_open.wait();
                for round in 0..50 {
                    let len = 1 + (round * 37 + number as usize) % 300;
                    let question: Vec<u8> = (0..len).map(|i| pattern(number, round * 1_000 + i)).collect();
                    ask(&mut stream, &question);
                }
            });
        }
    });
    hive.wait_for("all closes", |stats| stats.closed == 64 && stats.open == 0);
    hive.wait_for("the count", |stats| stats.accepted == 64);
    hive.stop();
}

#[test]
fn a_burst_of_clients_pushes_nobody_out() {
    const CLIENTS: u16 = 60;
    let guest: Arc<Mutex<Option<StackStats>>> = Arc::default();
    let board = guest.clone();
    let listeners = listeners(1);
    let address = listeners[0].local_addr().expect("bound");
    // They are all there when the forward starts, so that it takes them in one turn.
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).expect("the kernel takes them"))
        .collect();
    let hive = hive_on(listeners, &[7], CLIENTS, move |context, stack| {
        // Room for as many as are asked for at once, and one task that takes one connection a turn.
        let listener = netstack::TcpListener::bind(stack, 7, HANDSHAKES).expect("the port is free");
        let (clock, stack, board) = (context.clone(), stack.clone(), board.clone());
        let accept = async move {
            let mut served = Vec::new();
            for _ in 0..CLIENTS {
                let stream = listener.accept().await;
                stream.write_all(b"welcome").await.expect("the client is there");
                served.push(stream);
                clock.yield_now().await;
            }
            *board.lock().unwrap() = Some(stack.stats());
            core::future::pending::<()>().await;
        };
        context.spawn(accept).expect("room for the listener");
    });
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let mut word = [0; 7];
        client.read_exact(&mut word).expect("nobody is turned away");
        assert_eq!(&word, b"welcome");
    }
    let stats = guest.lock().unwrap().expect("all are served");
    assert_eq!((stats.evicted, stats.refused), (0, 0), "{stats:?}");
    hive.stop();
}

#[test]
fn a_mebibyte_comes_back_whole() {
    const LEN: usize = 1 << 20;
    let hive = echo_hive(8);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let mut write = hive.dial();
            let mut read = write.try_clone().expect("a descriptor");
            scope.spawn(move || {
                let data: Vec<u8> = (0..LEN).map(|i| pattern(number, i)).collect();
                for chunk in data.chunks(3_001) {
                    write.write_all(chunk).expect("the hive reads");
                }
                write.shutdown(Shutdown::Write).expect("half a close");
            });
            scope.spawn(move || {
                let mut data = Vec::new();
                read.read_to_end(&mut data).expect("the hive answers");
                assert_eq!(data.len(), LEN);
                assert!(
                    data.iter()
                        .enumerate()
                        .all(|(i, byte)| *byte == pattern(number, i)),
                    "wrong data"
                );
            });
        }
    });
    hive.stop();
}

#[test]
fn either_side_may_close_first() {
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let board = heard.clone();
    let hive = hive(&[1, 2], 4, move |context, stack| {
        // Speaks only once the client has finished.
        serve(context, stack, 1, 2, |stream| async move {
            let (mut buf, mut total) = ([0; 100], 0_u32);
            while let Ok(len @ 1..) = stream.read(&mut buf).await {
                total += len as u32;
            }
            stream
                .write_all(&total.to_be_bytes())
                .await
                .expect("the client's other half is open");
            stream.close().await.expect("the client reads");
        });
        // Says its word, closes its half, and goes on listening.
        let board = board.clone();
        serve(context, stack, 2, 2, move |stream| {
            let board = board.clone();
            async move {
                stream.write_all(b"go on").await.expect("open");
                stream.shutdown();
                let mut buf = [0; 100];
                while let Ok(len @ 1..) = stream.read(&mut buf).await {
                    board.lock().unwrap().extend_from_slice(&buf[..len]);
                }
                stream.close().await.expect("nothing is left");
            }
        });
    });
    let mut stream = hive.dial_port(0);
    stream.write_all(&[1; 12_345]).expect("the hive reads");
    stream.shutdown(Shutdown::Write).expect("half a close");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the hive answers");
    assert_eq!(answer, 12_345_u32.to_be_bytes());

    let mut stream = hive.dial_port(1);
    let mut word = String::new();
    stream
        .read_to_string(&mut word)
        .expect("the hive closes its half");
    assert_eq!(word, "go on");
    std::thread::sleep(Duration::from_millis(20));
    stream.write_all(b"I shall").expect("our half is open");
    drop(stream);
    hive.wait_for("both closes", |stats| stats.closed == 2);
    assert_eq!(heard.lock().unwrap().as_slice(), b"I shall");
    hive.stop();
}

#[test]
fn resets_cross_both_ways() {
    let seen: Arc<Mutex<Vec<TcpError>>> = Arc::default();
    let board = seen.clone();
    let hive = hive(&[1, 2, 3], 4, move |context, stack| {
        serve(context, stack, 1, 1, |stream| async move {
            stream.read(&mut [0]).await.expect("the client speaks first");
            stream.abort();
        });
        let board = board.clone();
        serve(context, stack, 2, 1, move |stream| {
            let board = board.clone();
            async move {
                stream.write_all(b"!").await.expect("open");
                let error = stream.failed().await;
                board.lock().unwrap().push(error);
            }
        });
        // Nobody listens at port 3.
    });
    let mut stream = hive.dial_port(0);
    stream.write_all(b"?").expect("the hive reads");
    let error = stream.read(&mut [0]).expect_err("the guest aborts");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let mut stream = hive.dial_port(1);
    stream.read_exact(&mut [0]).expect("the guest speaks");
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a socket option");
    drop(stream);
    hive.wait_for("the client's reset", |stats| stats.reset_by_client == 1);
    let end = Instant::now() + PATIENCE;
    while seen.lock().unwrap().is_empty() {
        assert!(Instant::now() < end, "the guest never hears of it");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(seen.lock().unwrap().as_slice(), [TcpError::Reset]);

    let error = hive.dial_port(2).read(&mut [0]).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    hive.wait_for("all counts", |stats| {
        (stats.refused, stats.reset_by_guest, stats.reset_by_client) == (1, 1, 1)
    });
    hive.stop();
}

#[test]
fn a_guest_that_gives_up_on_a_stuck_client_is_believed() {
    let hive = hive(&[1], 4, |context, stack| {
        let clock = context.clone();
        serve(context, stack, 1, 1, move |stream| {
            let clock = clock.clone();
            async move {
                // Until nothing moves any more; then it aborts.
                while clock
                    .timeout(Duration::from_millis(300), stream.write_all(&[1; 8_192]))
                    .await
                    == Ok(Ok(()))
                {}
            }
        });
    });
    let mut stream = hive.dial();
    hive.wait_for("the guest's patience", |stats| stats.reset_by_guest == 1);
    let mut data = Vec::new();
    assert_eq!(
        stream.read_to_end(&mut data).expect_err("cut off").kind(),
        ErrorKind::ConnectionReset
    );
    hive.stop();
}

#[test]
fn who_finds_no_place_waits_in_the_kernel() {
    let hive = echo_hive(3);
    let mut streams: Vec<TcpStream> = (0..2).map(|_| hive.dial()).collect();
    streams.iter_mut().for_each(|stream| ask(stream, b"first come"));
    // The third place is the listener's own; this client has it.
    let mut third = hive.dial();
    ask(&mut third, b"first come");
    let mut waiting = hive.dial();
    waiting.write_all(b"then served").expect("the kernel takes it");
    waiting
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a socket option");
    assert!(waiting.read(&mut [0]).is_err(), "nobody serves it yet");
    hive.wait_for("the count", |stats| stats.accepted == 3);
    drop(streams.pop());
    waiting.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let mut answer = [0; 11];
    waiting.read_exact(&mut answer).expect("its turn has come");
    assert_eq!(&answer, b"then served");
    hive.stop();
}

#[test]
fn a_client_that_writes_in_pieces_does_not_wait_for_acknowledgements() {
    // Length and rest of a request in two writes, Nagle's algorithm on: what gpu-bridge-host does.
    let hive = hive(&[1], 4, |context, stack| {
        serve(context, stack, 1, 1, |stream| async move {
            let mut frame = [0; 24];
            loop {
                let mut len = 0;
                while len < frame.len() {
                    match stream.read(&mut frame[len..]).await {
                        Ok(read @ 1..) => len += read,
                        _ => return,
                    }
                }
                if stream.write_all(b"ok").await.is_err() {
                    return;
                }
            }
        });
    });
    let mut stream = hive.dial();
    const REQUESTS: u32 = 50;
    let begin = Instant::now();
    for _ in 0..REQUESTS {
        stream.write_all(&[24, 0, 0, 0]).expect("the hive reads");
        stream.write_all(&[1; 20]).expect("the hive reads");
        stream.read_exact(&mut [0; 2]).expect("the hive answers");
    }
    let each = begin.elapsed() / REQUESTS;
    // Linux delays an acknowledgement by 40 ms.
    assert!(each < Duration::from_millis(20), "{each:?} a request");
    hive.stop();
}

#[test]
fn a_guest_that_dies_resets_its_clients_and_comes_back() {
    let hive = echo_hive(8);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| hive.dial()).collect();
    streams.iter_mut().for_each(|stream| ask(stream, b"alive?"));
    assert!(hive.handle.inject_panic("guest", 0));
    let begin = Instant::now();
    for stream in &mut streams {
        let error = stream.read(&mut [0]).expect_err("the guest is gone");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "at once, not by a timeout"
    );
    ask(&mut hive.dial(), b"back?");
    hive.stop();
}

#[test]
fn a_forward_that_dies_comes_back() {
    let hive = echo_hive(8);
    let mut stream = hive.dial();
    ask(&mut stream, b"alive?");
    assert!(hive.handle.inject_panic("net", 0));
    assert!(
        !matches!(stream.read(&mut [0]), Ok(1..)),
        "the connection has ended"
    );
    for _ in 0..20 {
        ask(&mut hive.dial(), b"back?");
    }
    hive.stop();
}

#[test]
fn connections_come_and_go_without_a_trace() {
    static SERVED: AtomicU64 = AtomicU64::new(0);
    let hive = hive(&[7], 16, |context, stack| {
        serve(context, stack, 7, 64, |stream| async move {
            echo(stream).await;
            SERVED.fetch_add(1, Ordering::Relaxed);
        });
    });
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    ask(&mut hive.dial(), b"warm");
    let before = descriptors();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let hive = &hive;
            scope.spawn(move || {
                for round in 0..500 {
                    let mut stream = hive.dial();
                    ask(&mut stream, b"in and out");
                    if (round + thread) % 3 == 0 {
                        socket2::SockRef::from(&stream)
                            .set_linger(Some(Duration::ZERO))
                            .expect("an option");
                    }
                }
            });
        }
    });
    hive.wait_for("all ends", |stats| stats.closed + stats.reset_by_client == 2_001);
    assert_eq!((hive.stats().accepted, hive.stats().open), (2_001, 0));
    // Other tests of this program open and close descriptors, too.
    assert!(
        descriptors() < before + 200,
        "{} descriptors, {before} before",
        descriptors()
    );
    hive.stop();
}
