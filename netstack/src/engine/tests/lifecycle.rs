//! How connections begin and end.

use core::task::Poll;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn fair() -> World {
    World::new(Weather::fair(Duration::from_millis(1)), 1)
}

fn states(world: &mut World, client: SlotId, server: SlotId) -> (tcp::State, tcp::State) {
    (
        world.client.socket(client).state(),
        world.server.socket(server).state(),
    )
}

#[test]
fn a_request_and_its_answer_cross() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world.client.socket(client).send_slice(b"ping").expect("open");
    world.until(SECOND, |world| {
        (world.server.socket(server).recv_queue() == 4).then_some(())
    });
    world.server.socket(server).send_slice(b"pong").expect("open");
    world.until(SECOND, |world| {
        (world.client.socket(client).recv_queue() == 4).then_some(())
    });
    assert_eq!(
        world.server.table().peer(server).map(|peer| *peer.ip()),
        Some(CLIENT)
    );
}

#[test]
fn an_answer_carries_the_acknowledgement() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world.run_for(SECOND);
    let before = world.server.engine.stats().frames_sent;
    world.client.socket(client).send_slice(b"ping").expect("open");
    world.until(SECOND, |world| {
        (world.server.socket(server).recv_queue() == 4).then_some(())
    });
    world.server.socket(server).send_slice(b"pong").expect("open");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.server.engine.stats().frames_sent - before, 1);
}

#[test]
fn a_closed_port_refuses() {
    let mut world = fair();
    let client = world.dial();
    let outcome = world.until(SECOND, |world| {
        let now = world.now();
        match world.client.table().connect_outcome(client, now) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    });
    assert_eq!(outcome, Err(ConnectError::Refused));
}

#[test]
fn nobody_there_is_a_timeout() {
    let mut world = fair();
    world.paths[0].borrow_mut().set_weather(Weather {
        loss_ppm: 1_000_000,
        ..Weather::fair(SECOND)
    });
    let client = world.dial();
    let outcome = world.until(11 * SECOND, |world| {
        let now = world.now();
        match world.client.table().connect_outcome(client, now) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    });
    assert_eq!(outcome, Err(ConnectError::TimedOut));
    assert!(world.now() >= Instant::from_millis(10_000));
}

#[test]
fn half_a_close_leaves_the_other_half_open() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world.client.table().shutdown(client);
    world.until(SECOND, |world| {
        (!world.server.socket(server).may_recv()).then_some(())
    });
    assert_eq!(
        world.server.socket(server).recv_slice(&mut [0]),
        Err(tcp::RecvError::Finished)
    );
    world
        .server
        .socket(server)
        .send_slice(b"still here")
        .expect("the other half is open");
    world.until(SECOND, |world| {
        (world.client.socket(client).recv_queue() == 10).then_some(())
    });
    assert_eq!(world.client.table().failure(client), TcpError::Closed);
}

#[test]
fn both_close_at_once() {
    for weather in [Weather::fair(Duration::from_millis(5)), Weather::foul()] {
        for seed in 0..50 {
            let mut world = World::new(weather, seed);
            let door = world.listen(4);
            let (client, server) = world.connect(door);
            let now = world.now();
            world.client.table().drain(client, now);
            world.server.table().drain(server, now);
            world.until(40 * SECOND, |world| {
                (world.client.engine.stats().closing == 0 && world.server.engine.stats().closing == 0)
                    .then_some(())
            });
            assert_eq!(world.client.engine.stats().timeouts, 0, "seed {seed}");
        }
    }
}

#[test]
fn close_waits_for_what_was_written() {
    let mut world = World::new(
        Weather {
            loss_ppm: 200_000,
            ..Weather::fair(Duration::from_millis(5))
        },
        5,
    );
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    let data = [7; 8_000];
    assert_eq!(world.server.socket(server).send_slice(&data), Ok(data.len()));
    world.server.table().shutdown(server);
    let outcome = world.until(60 * SECOND, |world| {
        match world.server.table().close_outcome(server) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(world.client.socket(client).recv_queue(), data.len());
}

#[test]
fn a_close_that_nobody_acknowledges_ends_in_time() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world.paths[1].borrow_mut().set_weather(Weather {
        loss_ppm: 1_000_000,
        ..Weather::fair(SECOND)
    });
    world.server.socket(server).send_slice(b"bye").expect("open");
    let now = world.now();
    world.server.table().shutdown(server);
    world.server.table().limit_close(server, now);
    let outcome = world.until(21 * SECOND, |world| {
        match world.server.table().close_outcome(server) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    });
    assert_eq!(outcome, Err(TcpError::TimedOut));
    let now = world.now();
    world.server.table().leave(server, now);
    world.run_for(2 * SECOND);
    assert_eq!(world.server.engine.stats().free, 48);
    let _ = client;
}

#[test]
fn an_abort_is_heard_and_frees_the_socket_at_once() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    let now = world.now();
    world.server.table().leave(server, now);
    world.until(SECOND, |world| {
        (world.client.socket(client).state() == tcp::State::Closed).then_some(())
    });
    assert_eq!(world.client.table().failure(client), TcpError::Reset);
    assert_eq!(world.client.engine.stats().resets, 1);
    assert_eq!(world.server.engine.stats().free, 48);
}

#[test]
fn data_before_a_reset_can_still_be_read() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world
        .server
        .socket(server)
        .send_slice(b"last words")
        .expect("open");
    world.run_for(Duration::from_millis(20));
    let now = world.now();
    world.server.table().leave(server, now);
    world.run_for(Duration::from_millis(20));
    let mut buf = [0; 16];
    assert_eq!(world.client.socket(client).recv_slice(&mut buf), Ok(10));
    assert_eq!(world.client.table().failure(client), TcpError::Reset);
}

#[test]
fn a_vanished_peer_is_noticed_within_the_stated_time() {
    let mut world = fair();
    let door = world.listen(4);
    let (_, server) = world.connect(door);
    world.run_for(100 * SECOND);
    assert_eq!(
        world.server.socket(server).state(),
        tcp::State::Established,
        "keep-alive keeps it"
    );
    for path in &world.paths {
        path.borrow_mut().set_weather(Weather {
            loss_ppm: 1_000_000,
            ..Weather::fair(SECOND)
        });
    }
    let gone = world.now();
    world.until(76 * SECOND, |world| {
        (world.server.socket(server).state() == tcp::State::Closed).then_some(())
    });
    assert_eq!(world.server.table().failure(server), TcpError::TimedOut);
    assert!(
        world.now().since(gone) > 59 * SECOND,
        "75 s after the last sign of life"
    );
}

#[test]
fn a_peer_that_forgot_is_noticed_by_keep_alive() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world.client.table().release(client);
    world.until(16 * SECOND, |world| {
        (world.server.socket(server).state() == tcp::State::Closed).then_some(())
    });
    assert_eq!(world.server.table().failure(server), TcpError::Reset);
}

#[test]
fn a_lingering_connection_takes_no_more_than_its_time() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    let now = world.now();
    world.server.table().drain(server, now);
    world.run_for(SECOND);
    assert_eq!(
        states(&mut world, client, server),
        (tcp::State::CloseWait, tcp::State::FinWait2)
    );
    // The peer keeps talking to nobody; that is thrown away, and does not keep the socket.
    for _ in 0..8 {
        let _ = world.client.socket(client).send_slice(&[1; 4_000]);
        world.run_for(SECOND);
    }
    assert_eq!(world.server.engine.stats().free, 48);
    assert_eq!(world.client.table().failure(client), TcpError::Reset);
}

#[test]
fn a_link_that_returns_as_another_ends_connections_at_once() {
    let mut world = fair();
    let door = world.listen(4);
    let (_, server) = world.connect(door);
    world.server.end.other_side.set(Some(Incarnation(2)));
    world.act();
    assert_eq!(world.server.table().failure(server), TcpError::LinkLost);
    let now = world.now();
    world.server.table().leave(server, now);
    assert_eq!(world.server.engine.stats().free, 48);
    assert_eq!(world.server.engine.stats().link_losses, 1);
}

#[test]
fn a_short_break_is_survived_if_the_grace_allows() {
    let mut world = World::with(Weather::fair(Duration::from_millis(1)), 1, |config| {
        config.timers.link_grace = 20 * SECOND;
    });
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world.client.socket(client).send_slice(b"before").expect("open");
    for down in [5, 25] {
        world.server.end.other_side.set(None);
        world.client.end.other_side.set(None);
        world.run_for(down * SECOND);
        world.server.end.other_side.set(Some(Incarnation(down.into())));
        world.client.end.other_side.set(Some(Incarnation(down.into())));
        world.run_for(2 * SECOND);
        if down == 5 {
            assert_eq!(
                world.server.socket(server).recv_queue(),
                6,
                "resent as soon as the link was back"
            );
        }
    }
    assert_eq!(world.server.table().failure(server), TcpError::LinkLost);
}

#[test]
fn a_full_device_loses_no_frame_and_delays_no_other_work() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    world.client.end.room = Some(2);
    world
        .client
        .socket(client)
        .send_slice(&[9; 10_000])
        .expect("open");
    world.run_for(Duration::from_millis(500));
    assert!(world.server.socket(server).recv_queue() <= 2 * 1460);
    world.client.end.room = None;
    world.run_for(Duration::from_millis(400));
    assert_eq!(
        world.server.socket(server).recv_queue(),
        10_000,
        "no retransmission timeout was needed"
    );
}

#[test]
fn a_device_that_never_has_room_again_ends_connections() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, _) = world.connect(door);
    world.client.end.room = Some(0);
    world
        .client
        .socket(client)
        .send_slice(b"into the void")
        .expect("open");
    world.run_for(70 * SECOND);
    assert_eq!(world.client.socket(client).state(), tcp::State::Established);
    world.run_for(10 * SECOND);
    assert_eq!(world.client.table().failure(client), TcpError::LinkLost);
}

#[test]
fn a_port_used_again_during_time_wait_connects() {
    let mut world = World::with(Weather::fair(Duration::from_millis(1)), 1, |config| {
        config.limits.connections = 4;
    });
    let door = world.listen(4);
    for _ in 0..3 {
        let (client, server) = world.connect(door);
        // The server closes first, so TIME-WAIT is there; the client forgets at once.
        let now = world.now();
        world.server.table().drain(server, now);
        world.run_for(Duration::from_millis(10));
        world.client.table().drain(client, now);
        world.run_for(Duration::from_millis(10));
        assert_eq!(world.client.engine.stats().free, 4);
        assert_eq!(world.server.engine.stats().closing, 1);
        world.client.engine.next_port -= 1;
    }
    assert_eq!(world.server.engine.stats().accepted, 3);
}

#[test]
fn a_port_used_again_before_its_reset_has_left_connects() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    // The reset waits for room, the client forgets and asks again from the same port.
    world.server.end.room = Some(0);
    let now = world.now();
    world.server.table().leave(server, now);
    world.run_for(Duration::from_millis(10));
    world.client.table().release(client);
    world.client.engine.next_port -= 1;
    let client = world.dial();
    world.run_for(Duration::from_millis(10));
    world.server.end.room = None;
    world.until(SECOND, |world| {
        let now = world.now();
        world.server.table().accept(door, now)
    });
    assert_eq!(world.client.socket(client).state(), tcp::State::Established);
}

#[test]
fn a_repeated_request_finds_its_connection() {
    let weather = Weather {
        duplication_ppm: 1_000_000,
        jitter: Duration::from_millis(3),
        ..Weather::fair(Duration::from_millis(5))
    };
    for seed in 0..100 {
        let mut world = World::new(weather, seed);
        let door = world.listen(4);
        let (client, server) = world.connect(door);
        transfer(&mut world, client, server, 20_000, 60 * SECOND);
        assert_eq!(world.server.engine.stats().resets, 0, "seed {seed}");
    }
}

#[test]
fn a_slow_reader_stops_the_writer_and_nothing_else() {
    let mut world = fair();
    let door = world.listen(4);
    let (client, server) = world.connect(door);
    let (other_client, other_server) = world.connect(door);
    let mut written = 0;
    for _ in 0..100 {
        written += world.client.socket(client).send_slice(&[3; 4_096]).expect("open");
        world.run_for(SECOND);
    }
    assert_eq!(written, 32 * 1024, "one send buffer and one receive buffer");
    transfer(&mut world, other_client, other_server, 100_000, 10 * SECOND);
    // Ten minutes later it reads, and everything is there.
    world.run_for(600 * SECOND);
    let mut read = 0;
    world.until(70 * SECOND, |world| {
        read += world
            .server
            .socket(server)
            .recv_slice(&mut [0; 4_096])
            .expect("open");
        (read == written).then_some(())
    });
}

#[test]
fn a_request_made_before_the_link_is_up_leaves_when_it_is() {
    let mut world = fair();
    let door = world.listen(4);
    for end in [&world.client.end, &world.server.end] {
        end.other_side.set(None);
    }
    let client = world.dial();
    world.run_for(SECOND);
    for end in [&world.client.end, &world.server.end] {
        end.other_side.set(Some(Incarnation(7)));
    }
    // An address resolution, a handshake: two round trips of 2 ms.
    world.until(Duration::from_millis(5), |world| {
        let now = world.now();
        world.server.table().accept(door, now)
    });
    assert_eq!(world.client.socket(client).state(), tcp::State::Established);
}
