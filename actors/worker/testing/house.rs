//! A worker domain in the simulator: a real NineDoor, and the test in the queen's place. Shared by the domains' suites.
#![allow(dead_code)] // each of them needs some of it

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::select;
use ninep::ramtree::RamTree;
use ninep::{Client, ClientConfig, ClientError, Fid, OpenFlags, Server, ServerConfig};
use protocol::refusal::Refusal;
use protocol::role::{QUEEN_ACTOR, Role};
use protocol::ticket::{Claims, Key, Version, mint};
use protocol::worker::{DoorRequest, EndReason, Start, WorkerEvent, WorkerRequest};
use runtime::Context;
use runtime::link::{Connection, Link};
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::supervision::RestartPolicy;
use runtime::topology::{DomainSpec, LinkSpec, Topology};

/// Wall time at which simulations begin.
pub const UNIX_MS: u64 = 1_700_000_000_000;
const SECRET: &str = "a secret of this test";
/// The link on which the test serves `/gpu` to NineDoor.
const GPU_LINK: &str = "ninedoor-gpu";

thread_local! {
    /// The test's connections: to the worker domain and to NineDoor. A simulation runs on one thread.
    static CONNECTIONS: RefCell<[Option<Client<Connection>>; 2]> = const { RefCell::new([const { None }; 2]) };
    /// What the test serves below `/gpu`.
    static FILES: RefCell<Rc<RamTree>> = RefCell::new(Rc::new(RamTree::new()));
}

/// The domain that is tested.
#[derive(Clone, Copy)]
pub struct Kind {
    pub domain: &'static str,
    pub role: Role,
    pub door_link: &'static str,
    pub queen_link: &'static str,
    /// What its workers are started with.
    pub gpu_id: Option<&'static str>,
    pub spawn: fn(&Context),
}

/// Which server a request is for.
#[derive(Clone, Copy)]
pub enum To {
    Workers = 0,
    Door = 1,
}

pub struct House {
    pub sim: Sim,
    kind: Kind,
}

impl House {
    pub fn new(kind: Kind, seed: u64) -> House {
        House::with_files(kind, seed, RamTree::new())
    }

    /// A house where `/gpu` is there as well: the tree has it by this name.
    pub fn with_files(kind: Kind, seed: u64, files: RamTree) -> House {
        CONNECTIONS.with(|all| *all.borrow_mut() = [None, None]);
        FILES.with(|tree| *tree.borrow_mut() = Rc::new(files));
        let door = ninedoor::Config {
            keys: vec![(kind.role, Key::from_secret(SECRET))],
            doors: vec![
                ninedoor::Door::workers(kind.door_link, kind.role),
                ninedoor::Door::queen(),
            ],
            mounts: vec![ninedoor::Mount {
                prefix: "/gpu".into(),
                link: GPU_LINK.into(),
            }],
            lifecycle: None,
            ..ninedoor::Config::default()
        };
        let mut domains = vec![
            DomainSpec::new("queen", move |ctx| {
                let link = |name| ctx.link(name).expect("the topology has it");
                for (index, name) in [kind.queen_link, "queen-ninedoor"].into_iter().enumerate() {
                    ctx.spawn(keep(link(name), index)).unwrap();
                }
                ctx.spawn(serve(link(GPU_LINK))).unwrap();
            }),
            DomainSpec::new("ninedoor", move |ctx| ninedoor::spawn(ctx, door.clone()).unwrap())
                .with_region("journal", 524_288),
            DomainSpec::new(kind.domain, move |ctx| (kind.spawn)(ctx)),
        ];
        for domain in &mut domains {
            domain.restart = RestartPolicy {
                intensity: 1_000_000,
                ..RestartPolicy::default()
            };
        }
        let links = vec![
            LinkSpec::new(kind.door_link, kind.domain, "ninedoor", 16, 8192),
            LinkSpec::new("queen-ninedoor", "queen", "ninedoor", 16, 8192),
            LinkSpec::new(kind.queen_link, "queen", kind.domain, 16, 8192),
            LinkSpec::new(GPU_LINK, "ninedoor", "queen", 16, 8192),
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
            kind,
        }
    }

    pub fn run(&mut self, ms: u64) {
        self.sim.run_for(Duration::from_millis(ms));
    }

    /// Has the queen's stand-in do something and waits for the outcome.
    pub fn ask<T: 'static, F>(
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

    pub fn write(&mut self, to: To, path: &'static [&'static str], line: String) -> Result<(), Refusal> {
        self.ask(to, move |client, root| async move {
            let fid = client
                .walk_open(&root, path, OpenFlags::WRONLY | OpenFlags::APPEND)
                .await?;
            client.write(&fid, 0, line.as_bytes()).await.map(drop)
        })
    }

    pub fn read(&mut self, to: To, path: Vec<String>) -> Result<String, Refusal> {
        self.ask(to, move |client, root| async move {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            let fid = client.walk_open(&root, &names, OpenFlags::RDONLY).await?;
            let mut text = [0; 4096];
            let count = client.read_all(&fid, &mut text).await?;
            Ok(String::from_utf8(text[..count].to_vec()).unwrap())
        })
    }

    pub fn create(&mut self, id: &str) {
        let line = DoorRequest::Create { id }
            .render(&mut [0; 512])
            .unwrap()
            .to_string();
        self.write(To::Door, &["worker", "ctl"], line).unwrap();
    }

    pub fn start(&mut self, id: &str, limits: Limits) -> Result<(), Refusal> {
        let mut buffer = [0; 512];
        let ticket = ticket(self.kind.role, id, &limits);
        let start = Start {
            id,
            ticket: &ticket,
            ticks: limits.ticks,
            ops: None,
            period_ms: 10,
            expires_unix_ms: limits.expires_unix_ms,
            gpu_id: self.kind.gpu_id,
        };
        let line = WorkerRequest::Start(start)
            .render(&mut buffer)
            .unwrap()
            .to_string();
        self.write(To::Workers, &["ctl"], line)
    }

    pub fn stop(&mut self, id: &str) -> Result<(), Refusal> {
        let line = WorkerRequest::Stop { id }
            .render(&mut [0; 512])
            .unwrap()
            .to_string();
        self.write(To::Workers, &["ctl"], line)
    }

    pub fn running(&mut self) -> Vec<String> {
        let list = self.read(To::Workers, vec!["ctl".into()]).unwrap();
        list.lines().map(String::from).collect()
    }

    /// What a worker's telemetry says.
    pub fn telemetry(&mut self, id: &str) -> String {
        let path = ["worker", id, "telemetry"].map(String::from).to_vec();
        loop {
            match self.read(To::Door, path.clone()) {
                Ok(text) => return text,
                // It died with the request.
                Err(refusal) => assert_eq!(refusal, Refusal::OwnerDown),
            }
        }
    }

    /// The next end of a worker.
    pub fn event(&mut self) -> (String, EndReason) {
        let line = self.ask(To::Workers, |client, root| async move {
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
pub struct Limits {
    pub ticks: Option<u64>,
    pub expires_unix_ms: Option<u64>,
    /// The ticket's own time, seconds from `UNIX_MS`.
    pub ttl_s: Option<u64>,
    pub forged: bool,
}

fn ticket(role: Role, id: &str, limits: &Limits) -> String {
    let claims = Claims {
        subject: Some(id),
        ttl_s: limits.ttl_s,
        issued_at_ms: UNIX_MS,
        ..Claims::new(role)
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

/// Serves the test's files to NineDoor.
async fn serve(link: Link) {
    let files = FILES.with(|files| files.borrow().clone());
    let server = Server::new(files, ServerConfig::default());
    loop {
        let connection = link.connect().await;
        server.serve(&connection).await;
        ninep::Transport::close(&connection);
    }
}

/// What is served below `/gpu`.
pub fn files() -> Rc<RamTree> {
    FILES.with(|files| files.borrow().clone())
}

pub fn counts_up(ticks: &[u64]) -> bool {
    ticks.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// Whoever dies, and whenever: no tick of a worker is lost and none is doubled, and it goes on.
pub fn no_tick_is_lost(kind: Kind, tick_of: fn(&str) -> Option<u64>, files: fn() -> RamTree) {
    for seed in 0..150 {
        let mut house = House::with_files(kind, seed, files());
        let ticks = |house: &mut House| -> Vec<u64> {
            house.telemetry("worker-1").lines().filter_map(tick_of).collect()
        };
        house.create("worker-1");
        house.start("worker-1", Limits::default()).unwrap();
        let mut seen: Vec<u64> = Vec::new();
        for round in 0..6 {
            let victim = ["ninedoor", kind.domain, "queen"][(seed + round) as usize % 3];
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
            let made = ticks(&mut house);
            assert!(counts_up(&made), "seed {seed}, {victim} died: {made:?}");
            let begins = seen
                .iter()
                .position(|tick| made.first() == Some(tick))
                .unwrap_or(seen.len());
            assert!(
                made.starts_with(&seen[begins..]),
                "seed {seed}: {seen:?} became {made:?}"
            );
            assert!(
                made.last() > seen.last(),
                "seed {seed}, {victim} died: no tick since {seen:?}"
            );
            seen = made;
        }
        assert!(
            seen.last().is_some_and(|last| *last >= 15),
            "seed {seed}: {seen:?}"
        );
    }
}
