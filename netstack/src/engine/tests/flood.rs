//! Bursts and floods of connection requests.

use core::net::SocketAddrV4;

use smoltcp::wire::{EthernetAddress, TcpControl, TcpRepr};

use super::*;
use crate::frames;

const SECOND: Duration = Duration::from_secs(1);

fn roomy(connections: u16) -> World {
    World::with(Weather::fair(Duration::from_millis(1)), 1, |config| {
        config.limits = Limits {
            connections,
            receive_bytes: 2_048,
            send_bytes: 2_048,
            ..Limits::default()
        };
    })
}

/// A connection request from an address that never answers.
fn spoofed_request(world: &World, number: u32) {
    let source = Ipv4Addr::from_bits(0xc612_0000 | number); // 198.18.0.0/15, for benchmarks (RFC 2544)
    let mac = |last| EthernetAddress([2, 0, 0, 0, 0, last]);
    let request = TcpRepr {
        max_seg_size: Some(1_460),
        ..frames::segment(TcpControl::Syn, number as i32, None, b"")
    };
    let bytes = frames::frame(
        (mac(9), SocketAddrV4::new(source, 1_024)),
        (mac(2), SocketAddrV4::new(SERVER, PORT)),
        request,
    );
    world.paths[0].borrow_mut().offer(&bytes, world.now());
}

#[test]
fn a_burst_waits_for_a_late_accept() {
    let mut world = roomy(64);
    let door = world.listen(64);
    let clients: Vec<_> = (0..64).map(|_| world.dial()).collect();
    world.run_for(SECOND);
    for client in clients {
        assert_eq!(world.client.socket(client).state(), tcp::State::Established);
    }
    let now = world.now();
    let accepted: Vec<_> = core::iter::from_fn(|| world.server.table().accept(door, now)).collect();
    assert_eq!(accepted.len(), 64);
    let ports: Vec<u16> = accepted
        .iter()
        .filter_map(|id| world.server.table().peer(*id))
        .map(|peer| peer.port())
        .collect();
    assert!(ports.is_sorted(), "in the order in which they came: {ports:?}");
    assert_eq!(world.server.engine.stats().refused, 0);
}

#[test]
fn one_more_than_the_backlog_is_refused_visibly() {
    let mut world = roomy(64);
    let door = world.listen(3);
    let clients: Vec<_> = (0..4).map(|_| world.dial()).collect();
    // The fourth request pushes out the first, which asks again a second later, when the place is taken.
    world.run_for(2 * SECOND);
    let refused = clients
        .iter()
        .filter(|id| world.client.table().failure(**id) == TcpError::Reset)
        .count();
    assert_eq!((refused, world.server.engine.stats().refused), (1, 1));
    // A place that becomes free is used.
    let now = world.now();
    assert!(world.server.table().accept(door, now).is_some());
    let late = world.dial();
    world.run_for(SECOND);
    assert_eq!(world.client.socket(late).state(), tcp::State::Established);
}

#[test]
fn a_request_waits_a_turn_for_an_accept_that_is_late() {
    let mut world = roomy(64);
    let door = world.listen(2);
    let clients: Vec<_> = (0..2).map(|_| world.dial()).collect();
    world.run_for(SECOND);
    let late = world.dial();
    world.client.turn(world.now());
    world.clock.set(world.now() + Duration::from_millis(1));
    // The turn that the request arrives in ends with it, and whoever accepts has its chance.
    let now = world.now();
    let frames = world.server.engine.ingress(&mut world.server.end, now);
    assert!(world.server.engine.has_more(frames), "{frames} frames");
    assert_eq!(world.server.engine.stats().refused, 0);
    assert!(world.server.table().accept(door, now).is_some());
    world.run_for(SECOND);
    for client in clients.into_iter().chain([late]) {
        assert_eq!(world.client.socket(client).state(), tcp::State::Established);
    }
    assert_eq!(world.server.engine.stats().refused, 0);
}

#[test]
fn without_sockets_a_request_is_refused_and_later_ones_are_not() {
    let mut world = roomy(2);
    let door = world.listen(8);
    let (first, held) = world.connect(door);
    let (_second, _) = world.connect(door);
    world.client.table().release(first);
    let third = world.dial();
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.client.table().failure(third), TcpError::Reset);
    assert_eq!(world.server.engine.stats().refused, 1);
    let now = world.now();
    world.server.table().leave(held, now);
    world.client.table().leave(third, now);
    world.run_for(Duration::from_millis(100));
    let fourth = world.dial();
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.client.socket(fourth).state(), tcp::State::Established);
}

#[test]
fn a_flood_of_requests_keeps_nobody_out() {
    let mut world = roomy(32);
    let door = world.listen(16);
    let (client, server) = world.connect(door);
    let mut number = 0;
    // 5,000 requests a second from as many addresses: ten in the 2 ms that an honest handshake takes.
    for _ in 0..20 {
        let honest = world.dial();
        let mut served = false;
        for _ in 0..50 {
            spoofed_request(&world, number);
            number += 1;
            world.run_for(Duration::from_micros(200));
            let now = world.now();
            while let Some(id) = world.server.table().accept(door, now) {
                world.server.table().leave(id, now);
                served = true;
            }
        }
        assert!(served, "kept out after {number} requests");
        let now = world.now();
        world.client.table().leave(honest, now);
    }
    assert_eq!(world.server.engine.stats().refused, 0);
    assert!(world.server.engine.stats().evicted > 900);
    // The connection that was there before has noticed nothing, and the flood leaves nothing behind.
    transfer(&mut world, client, server, 10_000, 10 * SECOND);
    world.run_for(20 * SECOND);
    let stats = world.server.engine.stats();
    assert_eq!(
        (stats.held, stats.half_open, stats.ready, stats.closing),
        (1, 0, 0, 0)
    );
}

#[test]
fn a_handshake_that_is_never_completed_is_given_up() {
    let mut world = roomy(8);
    world.listen(4);
    spoofed_request(&world, 1);
    world.run_for(SECOND);
    assert_eq!(world.server.engine.stats().half_open, 1);
    world.run_for(10 * SECOND);
    let stats = world.server.engine.stats();
    assert_eq!((stats.half_open, stats.free), (0, 8));
}

#[test]
fn a_listener_that_goes_takes_its_backlog_with_it() {
    let mut world = roomy(8);
    let door = world.listen(4);
    let client = world.dial();
    world.run_for(SECOND);
    let now = world.now();
    world.server.table().unbind(door, now);
    world.run_for(SECOND);
    assert_eq!(world.client.table().failure(client), TcpError::Reset);
    assert_eq!(world.server.engine.stats().free, 8);
    assert_eq!(world.server.table().bind(PORT, 1).map(|_| ()), Ok(()));
}

#[test]
fn binding_says_what_is_wrong() {
    use crate::error::BindError;
    let mut world = roomy(4);
    assert_eq!(world.server.table().bind(0, 1).map(|_| ()), Err(BindError::Zero));
    assert_eq!(world.server.table().bind(1, 0).map(|_| ()), Err(BindError::Zero));
    world.listen(1);
    assert_eq!(
        world.server.table().bind(PORT, 1).map(|_| ()),
        Err(BindError::PortInUse(PORT))
    );
    assert!(world.server.table().bind(1, 1).is_ok());
    assert_eq!(
        world.server.table().bind(2, 1).map(|_| ()),
        Err(BindError::Exhausted)
    );
}

#[test]
fn thousands_of_connections_leave_nothing_behind() {
    for weather in [Weather::fair(Duration::from_millis(1)), Weather::foul()] {
        let mut world = World::with(weather, 4, |config| {
            config.limits = Limits {
                connections: 64,
                receive_bytes: 2_048,
                send_bytes: 2_048,
                ..Limits::default()
            };
        });
        let door = world.listen(8);
        for round in 0..3_000_u32 {
            let (client, server) = world.connect(door);
            let now = world.now();
            match round % 5 {
                0 => world.client.table().leave(client, now),
                1 => world.client.table().drain(client, now),
                2 => {
                    world.server.socket(server).send_slice(b"OK QUIT").expect("open");
                    world.server.table().drain(server, now);
                    world.client.table().drain(client, now);
                    continue;
                }
                3 => {
                    world.server.table().leave(server, now);
                    world.client.table().leave(client, now);
                    continue;
                }
                _ => {
                    world.server.table().drain(server, now);
                    world.run_for(Duration::from_millis(20));
                    world.client.table().drain(client, now);
                    continue;
                }
            }
            world.run_for(Duration::from_millis(20));
            world.server.table().drain(server, now);
        }
        world.run_for(60 * SECOND);
        for stats in [world.client.engine.stats(), world.server.engine.stats()] {
            assert_eq!(
                (stats.free, stats.held, stats.ready, stats.half_open),
                (64, 0, 0, 0),
                "{stats:?}"
            );
        }
        assert_eq!(world.server.engine.stats().refused, 0);
        assert_eq!(world.act(), None, "no timer is left running");
    }
}

#[test]
fn a_completed_request_is_not_pushed_out() {
    let mut world = roomy(40);
    let door = world.listen(4);
    for _ in 0..6 {
        // As fast as a client can: its acknowledgement and its next request arrive together.
        let client = world.dial();
        world.until(SECOND, |world| {
            (world.client.socket(client).state() != tcp::State::SynSent).then_some(())
        });
    }
    world.run_for(SECOND);
    let stats = world.server.engine.stats();
    assert_eq!(
        (stats.ready, stats.evicted, stats.refused),
        (4, 0, 2),
        "{stats:?}"
    );
    let now = world.now();
    let accepted: Vec<_> = core::iter::from_fn(|| world.server.table().accept(door, now)).collect();
    assert_eq!(accepted.len(), 4);
}
