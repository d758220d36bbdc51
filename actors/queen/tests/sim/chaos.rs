//! Domains die at any moment while an operator works.
//!
//! Afterwards the hive is what the operator was told. An operation that was answered with OK has happened, and stays
//! so. One that was refused as `busy` may have happened if the refusal came from the door because the queen died with
//! the answer; any other refusal means that it has not. A failing seed reproduces by its number.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Hive, Options};
use protocol::refusal::Refusal;
use runtime::region::Crash;

const SEEDS: u64 = 120;
const STEPS: usize = 40;

/// What the operator knows for sure.
#[derive(Default)]
struct Knowledge {
    /// Spawned, and nobody tried to kill them.
    alive: BTreeSet<u64>,
    /// Killed, and that was acknowledged.
    dead: BTreeSet<u64>,
    /// The highest number ever seen.
    highest: u64,
    /// Lines the log must have, in this order.
    told: Vec<String>,
}

/// Numbers by seed; any would do.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn what_was_acknowledged_is_so_whoever_died_and_whenever() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| life(seed));
        assert!(outcome.is_ok(), "seed {seed} fails");
    }
}

fn life(seed: u64) {
    let options = Options::seed(seed);
    let mut hive = Hive::new(options.clone());
    let mut dice = Dice(seed ^ 0x9e37_79b9_7f4a_7c15);
    let mut known = Knowledge::default();
    for step in 0..STEPS {
        hive.sim.set_panics(if step % 8 < 6 { 4_000 } else { 0 });
        match dice.below(13) {
            0..=3 => spawn(&mut hive, &mut known),
            4..=6 => kill(&mut hive, &mut known, &mut dice),
            7 => {
                let domain = ["queen", "ninedoor", "worker-heart"][dice.below(3) as usize];
                hive.sim.inject_panic(domain, dice.below(60));
            }
            8 => {
                // It dies in the middle of what it writes.
                let domain = ["queen", "ninedoor"][dice.below(2) as usize];
                let journal = hive.sim.region(domain, "journal").expect("both have one");
                journal.crash_at(
                    1 + dice.below(20),
                    Crash::Torn {
                        prefix: dice.below(40) as usize,
                    },
                );
            }
            9 => {
                // Power fails.
                let options = Options {
                    seed: seed * 1000 + step as u64,
                    ..options.clone()
                };
                hive = hive.killed(Duration::from_millis(dice.below(500)), options);
            }
            _ => hive.run(Duration::from_millis(dice.below(400))),
        }
        assert!(hive.workers().len() <= 8);
    }
    calm(&mut hive);
    settled(&mut hive, &known);
}

/// From now on nobody dies.
fn calm(hive: &mut Hive) {
    hive.sim.set_panics(0);
    for domain in ["queen", "ninedoor"] {
        hive.sim
            .region(domain, "journal")
            .expect("both have one")
            .crash_never();
    }
    hive.run(Duration::from_secs(2));
}

#[test]
fn a_crash_at_any_write_to_a_journal_loses_nothing_acknowledged() {
    for domain in ["queen", "ninedoor"] {
        for crash in [
            Crash::Panic,
            Crash::Torn { prefix: 5 },
            Crash::Torn { prefix: usize::MAX },
        ] {
            let mut write = 1;
            while crashing_life(domain, write, crash) {
                write += 1;
            }
            assert!(write > 40, "{domain} wrote only {write} times");
        }
    }
}

/// A short life with a crash at that write; `false` if it makes fewer writes.
fn crashing_life(domain: &str, write: u64, crash: Crash) -> bool {
    let mut hive = Hive::new(Options::seed(write));
    let mut known = Knowledge::default();
    let mut dice = Dice(7);
    hive.run(Duration::from_millis(10));
    let journal = hive.sim.region(domain, "journal").expect("both have one");
    let writes = journal.writes();
    journal.crash_at(write, crash);
    for _ in 0..2 {
        spawn(&mut hive, &mut known);
    }
    kill(&mut hive, &mut known, &mut dice);
    for word in ["cordon", "resume"] {
        match hive.echo("/queen/lifecycle/ctl", word) {
            // Repeated after a lost answer, it finds that it has happened.
            Ok(()) | Err(Refusal::OwnerDown | Refusal::InvalidPayload) => {}
            Err(refusal) => panic!("{word}: {refusal}"),
        }
    }
    spawn(&mut hive, &mut known);
    hive.run(Duration::from_millis(200));
    let crashed = journal.writes() - writes >= write;
    calm(&mut hive);
    if hive.state() == "state=DRAINING" {
        hive.echo("/queen/lifecycle/ctl", "resume")
            .expect("it was DRAINING");
    }
    settled(&mut hive, &known);
    crashed
}

fn spawn(hive: &mut Hive, known: &mut Knowledge) {
    match hive.spawn(1_000_000) {
        Ok(()) => {
            let newest = hive
                .workers()
                .into_iter()
                .max()
                .expect("there is a worker at least");
            assert!(
                newest > known.highest,
                "worker-{newest} is new, after worker-{}",
                known.highest
            );
            known.highest = newest;
            known.alive.insert(newest);
            known.told.push(format!("spawned worker-{newest} "));
        }
        // A spawn that nobody heard of may be there, or come into being while its answer is lost.
        Err(Refusal::OwnerDown) => {
            let newest = hive.workers().into_iter().max().unwrap_or(0);
            known.highest = known.highest.max(newest);
        }
        Err(Refusal::BufferFull) => {}
        // A cordon whose resume was lost.
        Err(Refusal::Denied) => assert_eq!(hive.state(), "state=DRAINING"),
        Err(refusal) => panic!("spawn: {refusal}"),
    }
}

fn kill(hive: &mut Hive, known: &mut Knowledge, dice: &mut Dice) {
    let workers = hive.workers();
    if workers.is_empty() {
        return;
    }
    let number = workers[dice.below(workers.len() as u64) as usize];
    let ours = known.alive.remove(&number);
    match hive.kill(number) {
        Ok(()) => {
            known.dead.insert(number);
            // A worker that was never acknowledged may have been taken back without a word.
            if ours {
                known.told.push(format!("killed worker-{number}"));
            }
        }
        Err(Refusal::OwnerDown) => {}
        // One whose spawn was never answered may have been taken back in the meantime.
        Err(Refusal::InvalidPath) => assert!(!ours, "worker-{number} was acknowledged"),
        Err(refusal) => panic!("kill: {refusal}"),
    }
}

fn settled(hive: &mut Hive, known: &Knowledge) {
    let workers: BTreeSet<u64> = hive.workers().into_iter().collect();
    assert!(
        known.alive.is_subset(&workers),
        "{:?} are not all in {workers:?}",
        known.alive
    );
    assert!(
        known.dead.is_disjoint(&workers),
        "some of {:?} are in {workers:?}",
        known.dead
    );
    assert_eq!(hive.state(), "state=ONLINE");

    // Everybody who has files runs, and ticks without a gap.
    let before: Vec<_> = workers.iter().map(|number| hive.ticks(*number)).collect();
    hive.run(Duration::from_secs(1));
    for (number, before) in workers.iter().zip(before) {
        let after = hive.ticks(*number);
        let numbers: Vec<u64> = after.iter().map(|record| record.tick).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "worker-{number}: {numbers:?}"
        );
        let last =
            |records: &[protocol::telemetry::Heartbeat]| records.last().map_or(0, |record| record.tick);
        let made = last(&after) - last(&before);
        assert!(
            (9..=11).contains(&made),
            "worker-{number} made {made} ticks in a second"
        );
    }

    // The log has kept its last lines; of those, what was acknowledged is there in its order.
    let log = hive.log();
    let mut from = 0;
    let mut missing = 0;
    for told in &known.told {
        match log[from..]
            .iter()
            .position(|line| line.starts_with(told.as_str()))
        {
            Some(at) => from += at,
            None if from == 0 => missing += 1,
            None => panic!("{told:?} is not where it should be in {log:#?}"),
        }
    }
    assert!(
        missing < known.told.len().max(1),
        "nothing of {:?} is in {log:#?}",
        known.told
    );
}
