//! A stack allocates nothing after it was built: counted on the guest's own thread.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};

use common::{GUEST, HOST, LINK, config, guest_stack, serve};
use counting_alloc::{CountingAlloc, allocations};
use netstack::forward::{self, ForwardConfig, Route};
use runtime::hosted::{Hosted, HostedConfig};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

const PORT: u16 = 7;

/// Asks how much the guest's thread has allocated, `questions` times on each of `sessions` connections.
fn ask(address: SocketAddr, sessions: usize, questions: usize) -> u64 {
    let mut streams: Vec<TcpStream> = (0..sessions)
        .map(|_| TcpStream::connect(address).expect("the hive is up"))
        .collect();
    let mut answer = [0; 8];
    for _ in 0..questions {
        // All at once, so that frames, sockets and tasks are in use together.
        streams
            .iter_mut()
            .for_each(|stream| stream.write_all(b"how many").expect("the guest reads"));
        streams
            .iter_mut()
            .for_each(|stream| stream.read_exact(&mut answer).expect("the guest answers"));
    }
    // Some connections end with a reset.
    for stream in streams.iter().step_by(3) {
        socket2::SockRef::from(stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("a socket option");
    }
    u64::from_be_bytes(answer)
}

#[test]
fn requests_connections_and_their_ends_allocate_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the host");
    let address = listener.local_addr().expect("bound");
    let mut net = DomainSpec::with_io("net", move |context, io| {
        let route = Route {
            listener: listener.try_clone().expect("a descriptor"),
            guest: SocketAddrV4::new(GUEST, PORT),
        };
        let config = ForwardConfig {
            link: LINK.to_owned(),
            connections: 24,
            handshakes: 4,
            stack: config(context, HOST, 48),
        };
        forward::spawn(context, io, vec![route], config).expect("the forward starts");
    })
    .on_thread("host");
    net.limits.tasks = forward::tasks(24, 1);
    let guest = DomainSpec::new("guest", |context| {
        serve(
            context,
            &guest_stack(context, 40),
            PORT,
            20,
            |stream| async move {
                let mut question = [0; 8];
                let mut len = 0;
                while let Ok(read @ 1..) = stream.read(&mut question[len..]).await {
                    len += read;
                    if len == question.len() {
                        len = 0;
                        if stream.write_all(&allocations().to_be_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
                let _ = stream.close().await;
            },
        );
    })
    .on_thread("guest");
    let topology = Topology {
        domains: vec![net, guest],
        links: vec![LinkSpec::new(LINK, "net", "guest", 256, 2_048)],
        ..Topology::default()
    };
    let handle = Hosted::start(topology, HostedConfig::default()).expect("the hive starts");
    // Once through everything, for what is made at its first use.
    ask(address, 16, 20);
    let before = ask(address, 16, 20);
    assert!(before > 0, "the guest was built by the thread that counts");
    for _ in 0..20 {
        ask(address, 16, 50);
    }
    assert_eq!(ask(address, 1, 1), before);
    handle.stop().expect("an orderly stop");
}
