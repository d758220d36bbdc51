//! The domain of heartbeat workers in the simulator: a real NineDoor, and the test in the queen's place.

#[path = "../../worker/testing/house.rs"]
mod house;

use protocol::refusal::Refusal;
use protocol::role::Role;
use protocol::telemetry::Heartbeat;
use protocol::worker::EndReason;

use house::{House, Kind, Limits, To, UNIX_MS};

const HEART: Kind = Kind {
    domain: "worker-heart",
    role: Role::WorkerHeartbeat,
    door_link: worker_heart::DOOR_LINK,
    queen_link: worker_heart::QUEEN_LINK,
    gpu_id: None,
    spawn: |ctx| worker_heart::spawn(ctx, Default::default()).unwrap(),
};

fn house(seed: u64) -> House {
    House::new(HEART, seed)
}

fn tick_of(line: &str) -> Option<u64> {
    Heartbeat::parse(line).map(|record| record.tick)
}

fn ticks(house: &mut House, id: &str) -> Vec<u64> {
    house.telemetry(id).lines().filter_map(tick_of).collect()
}

#[test]
fn a_worker_starts_ticks_and_stops() {
    let mut house = house(1);
    house.create("worker-1");
    assert_eq!(house.start("worker-1", Limits::default()), Ok(()));
    assert_eq!(
        house.start("worker-1", Limits::default()),
        Ok(()),
        "starting it again is fine"
    );
    assert_eq!(house.running(), ["worker-1"]);
    house.run(105);
    assert_eq!(ticks(&mut house, "worker-1"), (1..=10).collect::<Vec<_>>());
    assert_eq!(house.stop("worker-1"), Ok(()));
    assert_eq!(house.stop("worker-1"), Ok(()), "stopping it again is fine");
    let made = ticks(&mut house, "worker-1");
    house.run(100);
    assert_eq!(ticks(&mut house, "worker-1"), made);
    assert!(house.running().is_empty());
}

#[test]
fn a_worker_that_cannot_attach_is_refused_in_time_and_leaves_its_slot() {
    let mut house = house(2);
    for n in 0..20 {
        // It has no files at NineDoor.
        let before = house.sim.now();
        assert_eq!(
            house.start(&format!("worker-{n}"), Limits::default()),
            Err(Refusal::OwnerDown)
        );
        assert!((690..800).contains(&house.sim.now().since(before).as_millis()));
    }
    assert!(house.running().is_empty());
}

#[test]
fn what_nine_door_refuses_for_good_ends_the_worker() {
    let mut house = house(3);
    house.create("worker-1");
    for (limits, refusal, reason) in [
        (
            Limits {
                forged: true,
                ..Limits::default()
            },
            Refusal::TicketRejected,
            EndReason::Refused,
        ),
        (
            Limits {
                ttl_s: Some(0),
                ..Limits::default()
            },
            Refusal::TicketExpired,
            EndReason::Expired,
        ),
        (
            Limits {
                expires_unix_ms: Some(UNIX_MS),
                ..Limits::default()
            },
            Refusal::TicketExpired,
            EndReason::Expired,
        ),
    ] {
        assert_eq!(house.start("worker-1", limits), Err(refusal));
        assert_eq!(house.event(), ("worker-1".into(), reason));
        assert!(house.running().is_empty());
    }
}

#[test]
fn ends_are_told_once_each() {
    let mut house = house(4);
    for (id, ticks) in [("worker-1", 5), ("worker-2", 2)] {
        house.create(id);
        house
            .start(
                id,
                Limits {
                    ticks: Some(ticks),
                    ..Limits::default()
                },
            )
            .unwrap();
    }
    house.create("worker-3");
    house
        .start(
            "worker-3",
            Limits {
                expires_unix_ms: Some(UNIX_MS + 500),
                ..Limits::default()
            },
        )
        .unwrap();
    // The first read waits, the next finds what has ended meanwhile.
    assert_eq!(house.event(), ("worker-2".into(), EndReason::Ticks));
    house.run(100);
    assert_eq!(house.event(), ("worker-1".into(), EndReason::Ticks));
    assert_eq!(house.event(), ("worker-3".into(), EndReason::Expired));
    assert!((500..520).contains(&house.sim.now().as_millis()));
    assert_eq!(
        (
            ticks(&mut house, "worker-1").len(),
            ticks(&mut house, "worker-2").len()
        ),
        (5, 2)
    );
    // Told to run again, a worker knows that it has used up its ticks.
    house
        .start(
            "worker-1",
            Limits {
                ticks: Some(5),
                ..Limits::default()
            },
        )
        .unwrap();
    assert_eq!(house.event(), ("worker-1".into(), EndReason::Ticks));
    assert_eq!(ticks(&mut house, "worker-1").len(), 5);
}

#[test]
fn the_ninth_worker_finds_no_slot() {
    let mut house = house(5);
    for n in 1..=8 {
        let id = format!("worker-{n}");
        house.create(&id);
        house.start(&id, Limits::default()).unwrap();
    }
    assert_eq!(
        house.start("worker-9", Limits::default()),
        Err(Refusal::BufferFull)
    );
    assert_eq!(house.running().len(), 8);
}

#[test]
fn only_the_queen_may_attach_and_only_requests_are_taken() {
    let mut house = house(6);
    let stranger = house.ask(To::Workers, |client, _root| async move {
        client.attach("queen", "").await.map(drop)
    });
    assert_eq!(stranger, Err(Refusal::Denied));
    for line in [
        "",
        "{}",
        "stop",
        r#"{"stop":{"id":"a/b"}}"#,
        r#"{"stop":{"id":"a"},"start":{}}"#,
    ] {
        assert_eq!(
            house.write(To::Workers, &["ctl"], line.into()),
            Err(Refusal::InvalidPayload),
            "{line:?}"
        );
    }
    assert_eq!(
        house.write(To::Workers, &["ctl"], "x".repeat(600)),
        Err(Refusal::TooLong)
    );
    assert_eq!(
        house.write(To::Workers, &["events"], "x".into()),
        Err(Refusal::Denied)
    );
    assert_eq!(
        house.write(To::Workers, &["queen"], "x".into()),
        Err(Refusal::InvalidPath)
    );
}

#[test]
fn a_request_for_a_gpu_is_none_for_this_domain() {
    let kind = Kind {
        gpu_id: Some("GPU-0"),
        ..HEART
    };
    let mut house = House::new(kind, 8);
    house.create("worker-1");
    assert_eq!(
        house.start("worker-1", Limits::default()),
        Err(Refusal::InvalidPayload)
    );
}

#[test]
fn whoever_dies_no_tick_is_lost_and_none_is_doubled() {
    house::no_tick_is_lost(HEART, tick_of, ninep::ramtree::RamTree::new);
}
