//! The whole hive in the simulator, clients included: lossy network, dying domains, a thousand seeds.
//!
//! A failing seed is reproduced by its number: `SEED=17 cargo test -p tests --test simulation`; `SEEDS=20` runs fewer.

mod console;
mod world;

use std::time::Duration;

use netstack::sim::Weather;
use runtime::sim::Outcome;

use world::{Plan, World};

/// Seeds of each scenario, unless `SEEDS` says otherwise. Three scenarios share a thousand.
const SEEDS: u64 = 334;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Runs a plan for every seed; all failures are told, by seed.
fn for_all_seeds(plan: impl Fn(u64) -> Plan) {
    let mut failures = Vec::new();
    for seed in seeds() {
        let mut world = World::new(plan(seed), seed, false);
        let outcome = world.run();
        if let Err(error) = world.verdict(outcome) {
            failures.push(format!("SEED={seed}: {error}"));
        }
    }
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_command_is_answered_in_order_over_a_foul_network() {
    for_all_seeds(|_| Plan { weather: Weather::foul(), ..Plan::default() });
}

#[test]
fn what_was_acknowledged_outlives_dying_domains() {
    for_all_seeds(|_| Plan { panics_per_million_turns: 3000, ..Plan::default() });
}

#[test]
fn what_was_acknowledged_outlives_dying_domains_over_a_foul_network() {
    for_all_seeds(|_| Plan {
        weather: Weather::foul(),
        panics_per_million_turns: 2000,
        ..Plan::default()
    });
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..5 {
        let run = |seed| {
            let plan = Plan { weather: Weather::foul(), panics_per_million_turns: 2000, ..Plan::default() };
            let mut world = World::new(plan, seed, true);
            world.run();
            world.trace()
        };
        let (first, second) = (run(seed), run(seed));
        assert!(!first.is_empty());
        assert!(first == second, "seed {seed} gave two different runs");
    }
    let hash = |seed| {
        let mut world = World::new(Plan::default(), seed, false);
        world.run();
        world.hash()
    };
    assert_ne!(hash(1), hash(2), "the seed decides nothing");
}

#[test]
fn a_hive_that_was_killed_in_the_middle_remembers() {
    for seed in seeds().into_iter().take(100) {
        let mut before = World::new(Plan::default(), seed, false);
        // Somewhere in the middle of the work, another place for each seed.
        let outcome = before.run_for(Duration::from_millis(50 + seed * 7));
        assert_ne!(outcome, Outcome::Quiescent, "SEED={seed}");
        let mut after = before.restarted(seed);
        let outcome = after.run();
        if let Err(error) = after.verdict(outcome) {
            panic!("SEED={seed}: {error}");
        }
    }
}
