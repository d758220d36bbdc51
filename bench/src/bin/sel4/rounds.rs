//! Round trips between two domains: a bare notification, a frame over the link, 9P requests.
//!
//! Answers for: the manifest of the two domains, and instructions counted from ticks. The counter runs at 62.5 MHz, so
//! a tick is 16 ns of virtual time, which at 8 ns an instruction is two of them; user programs and kernel alike.
//! Never: runs the two; their programs are in `qemu/bench`.

use anyhow::{Context, ensure};
use hive::Manifest;
use hive::manifest::{Domain, Link};

const INSTRUCTIONS_PER_TICK: f64 = 2.0;
/// What `ping` says of each measurement.
const MEASURED: &str = "ping: measured ";

/// A system of two domains and the one that prints their log, with the priorities and the link of NineDoor and the queen.
pub fn manifest(hive: &Manifest) -> Manifest {
    let domain = |name: &str, like: &str| {
        let like = hive.domain.iter().find(|domain| domain.name == like);
        let like = like.expect("the manifest's check asks for both");
        Domain {
            name: name.to_owned(),
            journal_bytes: 0,
            regions: Default::default(),
            ..like.clone()
        }
    };
    let link = Link {
        name: "files".to_owned(),
        between: ["ping".to_owned(), "pong".to_owned()],
        frames: 32,
        frame_bytes: 8192,
    };
    Manifest {
        domain: vec![
            domain("ping", "ninedoor"),
            domain("pong", "queen"),
            domain("serial", "serial"),
        ],
        link: vec![link],
        mount: Vec::new(),
        ..hive.clone()
    }
}

pub fn print(log: &str) -> anyhow::Result<()> {
    println!("a round trip between two domains; turns, polls and signals are of the side that asks");
    println!(
        "{:<26} {:>13} {:>15} {:>7} {:>7} {:>8}",
        "", "instructions", ": notification", "turns", "polls", "signals"
    );
    let mut floor = None;
    for line in log.lines().filter_map(|line| line.strip_prefix(MEASURED)) {
        let (numbers, what) = numbers(line).with_context(|| format!("{MEASURED}{line}"))?;
        let [rounds, ticks, turns, polls, signals] = numbers;
        let per_round = |count: f64| count / rounds;
        let instructions = per_round(ticks * INSTRUCTIONS_PER_TICK);
        let ratio = instructions / *floor.get_or_insert(instructions);
        println!(
            "{what:<26} {instructions:>13.0} {ratio:>15.2} {:>7.2} {:>7.2} {:>8.2}",
            per_round(turns),
            per_round(polls),
            per_round(signals)
        );
    }
    ensure!(floor.is_some(), "nothing was measured:\n{log}");
    Ok(())
}

/// The five numbers before what was measured.
fn numbers(line: &str) -> Option<([f64; 5], &str)> {
    let mut words = line.splitn(6, ' ');
    let mut numbers = [0.0; 5];
    for number in &mut numbers {
        *number = words.next()?.parse().ok()?;
    }
    Some((numbers, words.next()?))
}
