//! The whole hive in the simulator, clients included: lossy network, dying domains, a thousand seeds.
//!
//! A failing seed is reproduced by its number: `SEED=17 cargo test -p tests --test simulation`; `SEEDS=20` runs fewer.

mod console;
mod world;

use std::time::Duration;

use netstack::sim::Weather;
use runtime::region::Crash;
use runtime::sim::Outcome;

use world::{Plan, World};

/// How a write to a journal fails: not at all written, or torn after some bytes.
const CRASHES: [Crash; 3] = [Crash::Panic, Crash::Torn { prefix: 1 }, Crash::Torn { prefix: 9 }];

/// Seeds of each scenario, unless `SEEDS` says otherwise.
const SEEDS: u64 = 1000;

fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().expect("a number"))
    };
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Runs a plan for every seed; all failures are told, by seed.
fn for_all_seeds(plan: Plan) {
    let mut failures = Vec::new();
    let mut deaths = 0;
    for seed in seeds() {
        let mut world = World::new(plan, seed, false);
        let outcome = world.run();
        if let Err(error) = world.verdict(outcome) {
            failures.push(format!("SEED={seed}: {error}"));
        }
        deaths += world.deaths();
    }
    assert!(
        failures.is_empty(),
        "{} seeds failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert_eq!(
        deaths > 0,
        plan.panics_per_million_turns > 0,
        "{deaths} domains died"
    );
}

#[test]
fn every_command_is_answered_in_order_over_a_foul_network() {
    for_all_seeds(Plan {
        weather: Weather::foul(),
        ..Plan::default()
    });
}

#[test]
fn what_was_acknowledged_outlives_dying_domains() {
    for_all_seeds(Plan {
        panics_per_million_turns: 3000,
        ..Plan::default()
    });
}

#[test]
fn what_was_acknowledged_outlives_dying_domains_over_a_foul_network() {
    for_all_seeds(Plan {
        weather: Weather::foul(),
        panics_per_million_turns: 2000,
    });
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..5 {
        let run = |seed| {
            let plan = Plan {
                weather: Weather::foul(),
                panics_per_million_turns: 2000,
            };
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
fn a_domain_that_dies_at_any_write_to_its_journal_loses_nothing_acknowledged() {
    for domain in ["ninedoor", "queen"] {
        let mut deaths = 0;
        for (nth, crash) in (1..=80).flat_map(|nth| CRASHES.map(|crash| (nth, crash))) {
            let mut world = World::new(Plan::default(), nth, false);
            world.crash_at_journal_write(domain, nth, crash);
            let outcome = world.run();
            if let Err(error) = world.verdict(outcome) {
                panic!("{domain} at write {nth}, {crash:?}: {error}");
            }
            deaths += world.deaths();
        }
        assert!(
            deaths >= 30,
            "{domain} died only {deaths} times: does the plan still reach its journal?"
        );
    }
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
