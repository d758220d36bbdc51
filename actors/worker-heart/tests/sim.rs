//! The worker domain in the simulator: a real NineDoor, and the test in the queen's place.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::select;
use ninep::{Client, ClientConfig, ClientError, Fid, OpenFlags};
use protocol::refusal::Refusal;
use protocol::role::{QUEEN_ACTOR, Role};
use protocol::telemetry::Heartbeat;
use protocol::ticket::{Claims, Key, Version, mint};
use protocol::worker::{DoorRequest, EndReason, Start, WorkerEvent, WorkerRequest};
use runtime::link::{Connection, Link};
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::supervision::RestartPolicy;
use runtime::topology::{DomainSpec, LinkSpec, Topology};

const UNIX_MS: u64 = 1_700_000_000_000;
const SECRET: &str = "a secret of this test";
const LINKS: [&str; 2] = ["queen-worker-heart", "queen-ninedoor"];

thread_local! {
    /// The test's connections, in the order of `LINKS`. A simulation runs on one thread.
    static CONNECTIONS: RefCell<[Option<Client<Connection>>; 2]> = const { RefCell::new([const { None }; 2]) };
}

/// Which server a request is for.
#[derive(Clone, Copy)]
enum To {
    Heart = 0,
    Door = 1,
}

struct House {
    sim: Sim,
}

impl House {
    fn new(seed: u64) -> House {
        CONNECTIONS.with(|all| *all.borrow_mut() = [None, None]);
        let door = ninedoor::Config {
            keys: vec![(Role::WorkerHeartbeat, Key::from_secret(SECRET))],
            doors: vec![
                ninedoor::Door::workers(worker_heart::DOOR_LINK, Role::WorkerHeartbeat),
                ninedoor::Door::queen(),
            ],
            mounts: Vec::new(),
            lifecycle: None,
            ..ninedoor::Config::default()
        };
        let mut domains = vec![
            DomainSpec::new("queen", |ctx| {
                for (index, link) in LINKS.into_iter().enumerate() {
                    let link = ctx.link(link).expect("the topology has it");
                    ctx.spawn(keep(link, index)).unwrap();
                }
            }),
            DomainSpec::new("ninedoor", move |ctx| ninedoor::spawn(ctx, door.clone()).unwrap())
                .with_region("journal", 524_288),
            DomainSpec::new("worker-heart", |ctx| {
                worker_heart::spawn(ctx, Default::default()).unwrap()
            }),
        ];
        for domain in &mut domains {
            domain.restart = RestartPolicy {
                intensity: 1_000_000,
                ..RestartPolicy::default()
            };
        }
        let links = vec![
            LinkSpec::new(worker_heart::DOOR_LINK, "worker-heart", "ninedoor", 16, 8192),
            LinkSpec::new("queen-ninedoor", "queen", "ninedoor", 16, 8192),
            LinkSpec::new(worker_heart::QUEEN_LINK, "queen", "worker-heart", 16, 8192),
        ];
        let config = SimConfig {
            seed,
            unix_ms: UNIX_MS,
            ..SimConfig::default()
        };
        let sim = Sim::new(
            Topology {
                domains,
                links,
                fault_injection: false,
            },
            config,
        );
        House {
            sim: sim.expect("the topology is sound"),
        }
    }

    fn run(&mut self, ms: u64) {
        self.sim.run_for(Duration::from_millis(ms));
    }

    /// Has the queen's stand-in do something and waits for the outcome.
    fn ask<T: 'static, F>(
        &mut self,
        to: To,
        act: impl FnOnce(Client<Connection>, Fid) -> F + 'static,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, ClientError>> + 'static,
    {
        let outcome = Rc::new(RefCell::new(None));
        let (slot, answered) = (outcome.clone(), outcome.clone());
        self.sim.with_context("queen", |ctx| {
            let task = ctx.clone();
            ctx.spawn(async move {
                let client = loop {
                    match CONNECTIONS.with(|all| all.borrow()[to as usize].clone()) {
                        Some(client) => break client,
                        None => task.sleep(Duration::from_millis(1)).await,
                    }
                };
                let answer = match client.attach(QUEEN_ACTOR, "").await {
                    Ok(root) => act(client, root).await,
                    Err(error) => Err(error),
                };
                *slot.borrow_mut() = Some(answer);
            })
            .unwrap();
        });
        let reached = self
            .sim
            .run_until(move || answered.borrow().is_some(), Duration::from_secs(5));
        assert_eq!(reached, Outcome::Reached, "a request was never answered");
        let answer = outcome.borrow_mut().take().unwrap();
        answer.map_err(|error| match error {
            ClientError::Remote(errno) => Refusal::from_errno(errno.raw()),
            ClientError::Closed => Refusal::OwnerDown,
            error => panic!("{error}"),
        })
    }

    fn write(&mut self, to: To, path: &'static [&'static str], line: String) -> Result<(), Refusal> {
        self.ask(to, move |client, root| async move {
            let fid = client
                .walk_open(&root, path, OpenFlags::WRONLY | OpenFlags::APPEND)
                .await?;
            client.write(&fid, 0, line.as_bytes()).await.map(drop)
        })
    }

    fn read(&mut self, to: To, path: Vec<String>) -> Result<String, Refusal> {
        self.ask(to, move |client, root| async move {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            let fid = client.walk_open(&root, &names, OpenFlags::RDONLY).await?;
            let mut text = [0; 4096];
            let count = client.read_all(&fid, &mut text).await?;
            Ok(String::from_utf8(text[..count].to_vec()).unwrap())
        })
    }

    fn create(&mut self, id: &str) {
        let line = DoorRequest::Create { id }
            .render(&mut [0; 512])
            .unwrap()
            .to_string();
        self.write(To::Door, &["worker", "ctl"], line).unwrap();
    }

    fn start(&mut self, id: &str, limits: Limits) -> Result<(), Refusal> {
        let mut buffer = [0; 512];
        let ticket = ticket(id, &limits);
        let start = Start {
            id,
            ticket: &ticket,
            ticks: limits.ticks,
            ops: None,
            period_ms: 10,
            expires_unix_ms: limits.expires_unix_ms,
            gpu_id: None,
        };
        let line = WorkerRequest::Start(start)
            .render(&mut buffer)
            .unwrap()
            .to_string();
        self.write(To::Heart, &["ctl"], line)
    }

    fn stop(&mut self, id: &str) -> Result<(), Refusal> {
        let line = WorkerRequest::Stop { id }
            .render(&mut [0; 512])
            .unwrap()
            .to_string();
        self.write(To::Heart, &["ctl"], line)
    }

    fn running(&mut self) -> Vec<String> {
        let list = self.read(To::Heart, vec!["ctl".into()]).unwrap();
        list.lines().map(String::from).collect()
    }

    fn ticks(&mut self, id: &str) -> Vec<u64> {
        let path = ["worker", id, "telemetry"].map(String::from).to_vec();
        let text = loop {
            match self.read(To::Door, path.clone()) {
                Ok(text) => break text,
                // It died with the request.
                Err(refusal) => assert_eq!(refusal, Refusal::OwnerDown),
            }
        };
        text.lines()
            .filter_map(Heartbeat::parse)
            .map(|record| record.tick)
            .collect()
    }

    /// The next end of a worker.
    fn event(&mut self) -> (String, EndReason) {
        let line = self.ask(To::Heart, |client, root| async move {
            let fid = client.walk_open(&root, &["events"], OpenFlags::RDONLY).await?;
            let mut text = [0; 512];
            let count = client.read(&fid, 0, &mut text).await?;
            Ok(String::from_utf8(text[..count].to_vec()).unwrap())
        });
        let line = line.unwrap();
        let WorkerEvent::Ended { id, reason } = WorkerEvent::parse(&line).unwrap();
        (id.to_string(), reason)
    }
}

/// How a test wants a worker; by default nothing ends it.
#[derive(Default)]
struct Limits {
    ticks: Option<u64>,
    expires_unix_ms: Option<u64>,
    /// The ticket's own time, seconds from `UNIX_MS`.
    ttl_s: Option<u64>,
    forged: bool,
}

fn ticket(id: &str, limits: &Limits) -> String {
    let claims = Claims {
        subject: Some(id),
        ttl_s: limits.ttl_s,
        issued_at_ms: UNIX_MS,
        ..Claims::new(Role::WorkerHeartbeat)
    };
    let key = Key::from_secret(if limits.forged { "another secret" } else { SECRET });
    mint(&claims, Version::V1, &key).unwrap().to_string()
}

/// Keeps one of the test's connections.
async fn keep(link: Link, index: usize) {
    let set = |client| CONNECTIONS.with(|all| all.borrow_mut()[index] = client);
    loop {
        let client = Client::new(link.connect().await, ClientConfig::default());
        let opened = async {
            if client.version().await.is_ok() {
                set(Some(client.clone()));
            }
            std::future::pending::<()>().await;
        };
        select(pin!(client.run()), pin!(opened)).await;
        set(None);
    }
}

fn counts_up(ticks: &[u64]) -> bool {
    ticks.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

#[test]
fn a_worker_starts_ticks_and_stops() {
    let mut house = House::new(1);
    house.create("worker-1");
    assert_eq!(house.start("worker-1", Limits::default()), Ok(()));
    assert_eq!(
        house.start("worker-1", Limits::default()),
        Ok(()),
        "starting it again is fine"
    );
    assert_eq!(house.running(), ["worker-1"]);
    house.run(105);
    assert_eq!(house.ticks("worker-1"), (1..=10).collect::<Vec<_>>());
    assert_eq!(house.stop("worker-1"), Ok(()));
    assert_eq!(house.stop("worker-1"), Ok(()), "stopping it again is fine");
    let made = house.ticks("worker-1");
    house.run(100);
    assert_eq!(house.ticks("worker-1"), made);
    assert!(house.running().is_empty());
}

#[test]
fn a_worker_that_cannot_attach_is_refused_in_time_and_leaves_its_slot() {
    let mut house = House::new(2);
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
    let mut house = House::new(3);
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
    let mut house = House::new(4);
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
        (house.ticks("worker-1").len(), house.ticks("worker-2").len()),
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
    assert_eq!(house.ticks("worker-1").len(), 5);
}

#[test]
fn the_ninth_worker_finds_no_slot() {
    let mut house = House::new(5);
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
    let mut house = House::new(6);
    let stranger = house.ask(To::Heart, |client, _root| async move {
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
            house.write(To::Heart, &["ctl"], line.into()),
            Err(Refusal::InvalidPayload),
            "{line:?}"
        );
    }
    assert_eq!(
        house.write(To::Heart, &["ctl"], "x".repeat(600)),
        Err(Refusal::TooLong)
    );
    assert_eq!(
        house.write(To::Heart, &["events"], "x".into()),
        Err(Refusal::Denied)
    );
    assert_eq!(
        house.write(To::Heart, &["queen"], "x".into()),
        Err(Refusal::InvalidPath)
    );
}

#[test]
fn whoever_dies_no_tick_is_lost_and_none_is_doubled() {
    for seed in 0..150 {
        let mut house = House::new(seed);
        house.create("worker-1");
        house.start("worker-1", Limits::default()).unwrap();
        let mut seen: Vec<u64> = Vec::new();
        for round in 0..6 {
            let victim = ["ninedoor", "worker-heart", "queen"][(seed + round) as usize % 3];
            // The test's own domain dies between two requests, the others at any moment.
            let after_polls = if victim == "queen" {
                0
            } else {
                seed * 7 % 23 + round
            };
            house.sim.inject_panic(victim, after_polls);
            house.run(40 + seed % 13);
            // As the queen does at each reconnect.
            while house.start("worker-1", Limits::default()) == Err(Refusal::OwnerDown) {}
            house.run(50);
            let ticks = house.ticks("worker-1");
            assert!(counts_up(&ticks), "seed {seed}, {victim} died: {ticks:?}");
            let begins = seen
                .iter()
                .position(|tick| ticks.first() == Some(tick))
                .unwrap_or(seen.len());
            assert!(
                ticks.starts_with(&seen[begins..]),
                "seed {seed}: {seen:?} became {ticks:?}"
            );
            assert!(
                ticks.last() > seen.last(),
                "seed {seed}, {victim} died: no tick since {seen:?}"
            );
            seen = ticks;
        }
        assert!(
            seen.last().is_some_and(|last| *last >= 15),
            "seed {seed}: {seen:?}"
        );
    }
}
