//! A console between a simulated network and a stand-in for NineDoor.
#![allow(dead_code)] // Each test program uses its own part.

pub mod client;
pub mod door;

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use console_tcp::Config;
use netstack::sim::{Weather, client_stack};
use netstack::{Stack, StackConfig};
use runtime::Context;
use runtime::counters::Snapshot;
use runtime::fault::Fault;
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::supervision::RestartPolicy;
use runtime::topology::{DomainLimits, DomainSpec, LinkSpec, Topology};

use client::Client;
use door::World;

pub const TOKEN: &str = "sesame-of-the-tests";
pub const PORT: u16 = 31_337;
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The network's end: where the clients of a test live.
#[derive(Clone)]
pub struct Net {
    pub ctx: Context,
    pub stack: Rc<Stack>,
    pub world: World,
}

/// What a test may change.
#[derive(Clone)]
pub struct Setting {
    pub seed: u64,
    pub weather: Weather,
    pub configure: fn(&mut Config),
    /// How long NineDoor is away when it restarts.
    pub absence: Duration,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            seed: 1,
            weather: Weather::fair(Duration::from_micros(100)),
            configure: |_| {},
            absence: Duration::ZERO,
        }
    }
}

impl Setting {
    pub fn with(configure: fn(&mut Config)) -> Setting {
        Setting {
            configure,
            ..Setting::default()
        }
    }
}

pub fn stack_config(host: bool) -> StackConfig {
    let (mac, ip) = if host { (1, HOST) } else { (2, GUEST) };
    let mut config = StackConfig::new([2, 0, 0, 0, 0, mac], ip, 30, 7);
    config.limits.connections = 96;
    config
}

pub fn console_config(configure: fn(&mut Config)) -> Config {
    let mut config = Config::new(TOKEN.as_bytes(), PORT, stack_config(false)).unwrap();
    configure(&mut config);
    config
}

/// The domains and links around a console; what is at the network's end is `net`.
pub fn topology(world: &World, configure: fn(&mut Config), net: DomainSpec) -> Topology {
    let spacious = DomainLimits {
        tasks: 256,
        timers: 1024,
        ..DomainLimits::default()
    };
    let door_world = world.clone();
    let domains = vec![
        net,
        DomainSpec::new("console-tcp", move |ctx| {
            console_tcp::spawn(ctx, console_config(configure)).unwrap();
        }),
        DomainSpec::new("ninedoor", move |ctx| door::spawn(ctx, &door_world)),
    ];
    Topology {
        domains: domains
            .into_iter()
            .map(|domain| DomainSpec {
                limits: spacious,
                ..domain
            })
            .collect(),
        links: vec![
            LinkSpec::new("net", "net", "console-tcp", 128, 2048),
            LinkSpec::new("console-ninedoor", "console-tcp", "ninedoor", 32, 8192),
        ],
        fault_injection: true,
    }
}

/// Runs a client's script to its end, and returns the world and the console's counters. A failed assertion in the
/// script is printed, and then the script has not come to its end.
pub fn play<F: Future<Output = ()> + 'static>(
    setting: Setting,
    script: impl Fn(Net) -> F + Send + Sync + 'static,
) -> (World, Snapshot) {
    let world = World::new();
    let done = Arc::new(Mutex::new(false));
    let (net_world, net_done, weather) = (world.clone(), done.clone(), setting.weather);
    let mut net = DomainSpec::new("net", move |ctx| {
        let link = ctx.link("net").unwrap();
        let stack = Rc::new(client_stack(ctx, link, weather, stack_config(true)).unwrap());
        let driver = stack.clone();
        ctx.spawn(async move { driver.run().await }).unwrap();
        let net = Net {
            ctx: ctx.clone(),
            stack,
            world: net_world.clone(),
        };
        let (script, done) = (script(net), net_done.clone());
        ctx.spawn(async move {
            script.await;
            *done.lock().unwrap() = true;
        })
        .unwrap();
    });
    net.restart = RestartPolicy {
        intensity: 0,
        ..RestartPolicy::default()
    };
    let config = SimConfig {
        seed: setting.seed,
        unix_ms: 1_800_000_000_000,
        ..SimConfig::default()
    };
    let mut topology = topology(&world, setting.configure, net);
    for domain in topology
        .domains
        .iter_mut()
        .filter(|domain| domain.name == "ninedoor")
    {
        domain.restart.delay = setting.absence;
    }
    let mut sim = Sim::new(topology, config).unwrap();
    let outcome = sim.run_until(|| *done.lock().unwrap(), DAY);
    assert_eq!(
        outcome,
        Outcome::Reached,
        "seed {}: the script did not end",
        setting.seed
    );
    assert!(*done.lock().unwrap(), "seed {}", setting.seed);
    let supervision = sim.supervision();
    let children = supervision.len();
    for child in (0..children).filter_map(|child| supervision.child(child)) {
        let expected = world.expected_restarts(child.name);
        assert_eq!(
            child.restarts,
            expected,
            "{}: {}",
            child.name,
            child.last_reason.as_str()
        );
    }
    (world, sim.counters_of("console-tcp").unwrap().snapshot())
}

impl Net {
    pub async fn connect(&self) -> Client {
        let stream = self
            .stack
            .connect(GUEST, PORT)
            .await
            .expect("the console listens");
        Client::new(self.ctx.clone(), stream)
    }

    pub async fn authenticated(&self) -> Client {
        let mut client = self.connect().await;
        assert_eq!(client.ask(&format!("AUTH {TOKEN}")).await, "OK AUTH");
        client
    }

    pub async fn queen(&self) -> Client {
        let mut client = self.authenticated().await;
        assert_eq!(client.ask("ATTACH queen ").await, "OK ATTACH role=queen");
        client
    }

    /// Kills NineDoor at its next turn.
    pub fn kill_door(&self) {
        self.world.expect_restart("ninedoor");
        self.ctx.inject_fault("ninedoor", Fault::Panic).unwrap();
    }

    pub async fn sleep(&self, time: Duration) {
        self.ctx.sleep(time).await;
    }
}
