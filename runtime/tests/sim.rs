//! Domains in the simulator: conversations, deaths and schedules.
#![cfg(feature = "sim")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runtime::Context;
use runtime::fault::{Fault, FaultError};
use runtime::link::LinkError;
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::supervision::{ChildState, RestartPolicy};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

impl Seen {
    fn failures(&self) -> u32 {
        self.errors.load(Ordering::SeqCst) + self.violations.load(Ordering::SeqCst)
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

/// What the asking side saw.
#[derive(Default)]
struct Seen {
    answers: AtomicU32,
    errors: AtomicU32,
    violations: AtomicU32,
    connections: AtomicU32,
}

/// Asks `rounds` questions, as often as it takes, and counts.
fn ask(context: &Context, rounds: u32, seen: &Arc<Seen>) {
    let link = context.link("ping-pong").expect("the topology has it");
    let seen = Arc::clone(seen);
    let ask = async move {
        let mut next = 0;
        while next < rounds {
            let connection = link.connect().await;
            seen.connections.fetch_add(1, Ordering::SeqCst);
            while next < rounds {
                match question(&connection, next).await {
                    Ok(()) => next += 1,
                    Err(error) => {
                        match error {
                            LinkError::Violation(_) => seen.violations.fetch_add(1, Ordering::SeqCst),
                            _ => seen.errors.fetch_add(1, Ordering::SeqCst),
                        };
                        break;
                    }
                }
                seen.answers.store(next, Ordering::SeqCst);
            }
        }
    };
    context.spawn(ask).expect("there is room");
}

async fn question(connection: &runtime::link::Connection, number: u32) -> Result<(), LinkError> {
    let mut frame = [0; 64];
    connection.send(&number.to_le_bytes()).await?;
    let len = connection.recv(&mut frame).await?;
    assert_eq!(frame[..len], number.to_le_bytes());
    Ok(())
}

fn ping_pong(rounds: u32) -> (Topology, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let asker = Arc::clone(&seen);
    let topology = Topology {
        domains: vec![
            DomainSpec::new("ping", move |context| ask(context, rounds, &asker)),
            DomainSpec::new("pong", echo),
        ],
        links: vec![LinkSpec::new("ping-pong", "ping", "pong", 4, 64)],
        fault_injection: true,
    };
    (topology, seen)
}

fn seeded(seed: u64) -> SimConfig {
    SimConfig {
        seed,
        keep_trace: true,
        ..SimConfig::default()
    }
}

#[test]
fn two_domains_talk_until_there_is_nothing_left_to_say() {
    for seed in 0..50 {
        let (topology, seen) = ping_pong(100);
        let mut sim = Sim::new(topology, seeded(seed)).expect("sound");
        assert_eq!(
            sim.run_for(Duration::from_secs(1)),
            Outcome::Quiescent,
            "seed {seed}"
        );
        assert_eq!(seen.answers.load(Ordering::SeqCst), 100, "seed {seed}");
        assert_eq!(seen.connections.load(Ordering::SeqCst), 1, "seed {seed}");
        let counters = sim.counters_of("ping").expect("there").snapshot();
        assert_eq!((counters.frames_out, counters.frames_in), (100, 100));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_others_do_not() {
    let run = |seed| {
        let (topology, _) = ping_pong(20);
        let panics = SimConfig {
            panics_per_million_turns: 50_000,
            ..seeded(seed)
        };
        let mut sim = Sim::new(topology, panics).expect("sound");
        sim.run_for(Duration::from_millis(10));
        (sim.trace_hash(), sim.trace().to_vec())
    };
    let (hash, trace) = run(7);
    assert_eq!(run(7), (hash, trace.clone()));
    let (other_hash, other_trace) = run(8);
    assert_ne!(hash, other_hash);
    assert_ne!(trace, other_trace);
}

#[test]
fn callers_hear_of_a_death_within_one_turn_and_reconnect() {
    for seed in 0..200 {
        let (topology, seen) = ping_pong(1_000);
        let mut sim = Sim::new(topology, seeded(seed)).expect("sound");
        let watched = Arc::clone(&seen);
        let some = 10 + (seed as u32 % 7);
        let reached = sim.run_until(
            || watched.answers.load(Ordering::SeqCst) >= some,
            Duration::from_secs(1),
        );
        assert_eq!(reached, Outcome::Reached);
        sim.inject_panic("pong", seed % 4);
        let down = |sim: &Sim| sim.trace().iter().any(|line| line.contains("fault pong"));
        while !down(&sim) {
            assert!(sim.step(), "seed {seed}: it never died");
        }
        let (died_at, line) = (seen.errors.load(Ordering::SeqCst), sim.trace().len());
        // The first turn that the asker takes after the badge has arrived is the one in which it hears.
        while seen.errors.load(Ordering::SeqCst) == died_at {
            assert!(sim.step(), "seed {seed}: it never heard");
        }
        let since = &sim.trace()[line..];
        let badge = since.iter().position(|line| line.contains("badge ping 0"));
        let turns = since
            .iter()
            .skip(badge.unwrap_or(0))
            .filter(|line| line.contains("turn ping"))
            .count();
        assert_eq!(turns, 1, "seed {seed}: {since:#?}");
        assert_eq!(seen.violations.load(Ordering::SeqCst), 0, "both are honest");
        assert_eq!(sim.run_for(Duration::from_secs(1)), Outcome::Quiescent);
        assert_eq!(seen.answers.load(Ordering::SeqCst), 1_000);
        assert_eq!(seen.connections.load(Ordering::SeqCst), 2);
        let status = sim.supervision();
        let pong = status.child(1).expect("there are two");
        assert_eq!((pong.state, pong.restarts), (ChildState::Running, 1));
        assert_eq!(pong.last_reason.as_str(), "injected fault");
    }
}

#[test]
fn whatever_dies_whenever_the_conversation_gets_to_its_end() {
    for seed in 0..300 {
        let (mut topology, seen) = ping_pong(200);
        for domain in &mut topology.domains {
            domain.restart = RestartPolicy {
                intensity: 1_000,
                ..RestartPolicy::default()
            };
        }
        let config = SimConfig {
            panics_per_million_turns: 20_000,
            panic_domains: vec!["pong".into()],
            ..seeded(seed)
        };
        let mut sim = Sim::new(topology, config).expect("sound");
        assert_eq!(
            sim.run_for(Duration::from_secs(10)),
            Outcome::Quiescent,
            "seed {seed}"
        );
        assert_eq!(seen.answers.load(Ordering::SeqCst), 200, "seed {seed}");
    }
}

#[test]
fn a_domain_that_dies_too_often_stays_down_and_the_node_is_degraded() {
    let (mut topology, seen) = ping_pong(1_000_000);
    topology.domains[1].restart = RestartPolicy {
        intensity: 2,
        window: Duration::from_secs(1),
        delay: Duration::from_millis(5),
    };
    let changes = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&changes);
    topology.domains.push(DomainSpec::new("watcher", move |context| {
        let supervision = context.supervision().expect("this host has one");
        let changes = Arc::clone(&counted);
        let watch = async move {
            loop {
                supervision.changed().await;
                changes.fetch_add(1, Ordering::SeqCst);
                if supervision.degraded() {
                    break;
                }
            }
        };
        context.spawn(watch).expect("there is room");
    }));
    let mut sim = Sim::new(topology, seeded(3)).expect("sound");
    for death in 1..=3 {
        sim.run_for(Duration::from_millis(20));
        assert!(!sim.supervision().degraded(), "before death {death}");
        sim.inject_panic("pong", 0);
    }
    sim.run_for(Duration::from_millis(20));
    let status = sim.supervision();
    let states: Vec<_> = status
        .children()
        .map(|child| (child.state, child.restarts))
        .collect();
    assert_eq!(
        states,
        [
            (ChildState::Running, 0),
            (ChildState::Down, 2),
            (ChildState::Running, 0)
        ]
    );
    assert!(status.degraded());
    assert!(
        changes.load(Ordering::SeqCst) >= 3,
        "restarts and the escalation were seen"
    );
    assert_eq!(seen.errors.load(Ordering::SeqCst), 3);
    // The others go on; the asker waits for a connection that does not come.
    assert_eq!(sim.run_for(Duration::from_secs(1)), Outcome::Quiescent);
}

#[test]
fn a_domain_asks_for_a_fault_only_where_the_topology_allows_it() {
    for allowed in [false, true] {
        let (mut topology, _) = ping_pong(10);
        topology.fault_injection = allowed;
        let mut sim = Sim::new(topology, seeded(1)).expect("sound");
        let asked = sim.with_context("ping", |context| {
            assert!(context.inject_fault("nobody", Fault::Panic).is_err());
            let refused = context.inject_fault("pong", Fault::BadPointer);
            let expected = match allowed {
                true => FaultError::Unsupported(Fault::BadPointer),
                false => FaultError::NotAllowed,
            };
            assert_eq!(refused, Err(expected), "the simulator would not outlive it");
            context.inject_fault("pong", Fault::Panic).is_ok()
        });
        assert_eq!(asked, Some(allowed));
        sim.run_for(Duration::from_millis(50));
        assert_eq!(
            sim.supervision().child(1).map(|child| child.restarts),
            Some(u64::from(allowed))
        );
    }
}

#[test]
fn a_link_is_up_only_while_both_sides_want_it() {
    let (mut topology, _) = ping_pong(0);
    topology.domains[0] = DomainSpec::new("ping", |_| {});
    let mut sim = Sim::new(topology, seeded(5)).expect("sound");
    sim.run_for(Duration::from_millis(1));
    let resets = |sim: &Sim| sim.counters_of("pong").expect("there").snapshot().link_resets;
    for round in 1..=3 {
        sim.with_context("ping", |context| {
            let link = context.link("ping-pong").expect("there");
            let context_of_task = context.clone();
            let task = async move {
                let connection = link.connect().await;
                question(&connection, round).await.expect("the peer is up");
                // A second handle to the same incarnation.
                let same = link.connect().await;
                drop(connection);
                question(&same, round + 1).await.expect("one handle is left");
                drop(same);
                // Nobody wants it now; a wait that is given up is no wish either.
                let waited = context_of_task
                    .timeout(Duration::from_micros(1), link.connect())
                    .await;
                drop(waited);
            };
            context.spawn(task).expect("there is room");
        });
        sim.run_for(Duration::from_millis(1));
        assert!(resets(&sim) >= u64::from(round), "the peer hears each time");
        assert_eq!(sim.run_for(Duration::from_secs(1)), Outcome::Quiescent);
    }
}

#[test]
fn preserved_memory_outlives_domains_and_hives() {
    let boot = || {
        DomainSpec::new("keeper", |context| {
            let region = context.region("journal").expect("the topology has it");
            let mut count = [0; 1];
            region.read_at(0, &mut count).expect("inside");
            region.write_at(0, &[count[0] + 1]).expect("inside");
        })
        .with_region("journal", 64)
    };
    let topology = || Topology {
        domains: vec![boot()],
        links: vec![],
        fault_injection: true,
    };
    let mut sim = Sim::new(topology(), seeded(1)).expect("sound");
    sim.inject_panic("keeper", 0);
    sim.run_for(Duration::from_millis(1));
    let kept = sim.regions().copy();
    drop(sim);
    let sim = Sim::new(
        topology(),
        SimConfig {
            regions: kept,
            ..seeded(2)
        },
    )
    .expect("sound");
    assert_eq!(sim.region("keeper", "journal").expect("there").to_vec()[0], 3);
}

#[test]
fn a_domain_that_scribbles_over_its_links_loses_them_and_nobody_else_anything() {
    for seed in 0..50 {
        let (mut topology, seen) = ping_pong(1_000_000);
        topology.fault_injection = true;
        let mut sim = Sim::new(topology, seeded(seed)).expect("sound");
        let answers = || seen.answers.load(Ordering::SeqCst);
        for mad in ["pong", "ping", "pong"] {
            let before = answers();
            let more = sim.run_until(|| answers() > before + 10, Duration::from_secs(1));
            assert_eq!(more, Outcome::Reached, "seed {seed}: {mad} goes on");
            let failures = seen.failures();
            let fault = |context: &Context| context.inject_fault(mad, Fault::Scribble);
            assert_eq!(sim.with_context("ping", fault), Some(Ok(())));
            let noticed = sim.run_until(|| seen.failures() > failures, Duration::from_secs(1));
            assert_eq!(noticed, Outcome::Reached, "seed {seed}: {mad}'s peer, or itself");
        }
        let before = answers();
        let more = sim.run_until(|| answers() > before + 10, Duration::from_secs(1));
        assert_eq!(more, Outcome::Reached, "seed {seed}: the link is back");
        let restarts: u64 = sim.supervision().children().map(|child| child.restarts).sum();
        assert_eq!(restarts, 0, "seed {seed}: nobody died of it");
        let violations = |name| sim.counters_of(name).expect("there").snapshot().violations;
        assert!(violations("ping") + violations("pong") >= 3, "seed {seed}");
    }
}
