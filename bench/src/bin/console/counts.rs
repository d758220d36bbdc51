//! What a command costs inside a hive: notifications, turns, polls and wakes of all domains.
//!
//! Answers for: the difference of the counters in `/proc/actors` before and after the commands, over their number,
//! less what reading the counters adds.
//! Never: counts what has no counters: on seL4 the timer's, the supervisor's and the serial domain's own signals.

use tests::Console;

use crate::{COMMANDS, Target, ask};

const ROUNDS: u32 = 500;

/// Sums over all domains, and signals by domain.
#[derive(Clone, Default)]
struct Counts {
    signals: f64,
    turns: f64,
    polls: f64,
    wakes: f64,
    by_domain: Vec<f64>,
}

pub fn print(target: &Target) {
    let mut console = target.console();
    let domains = console.ls("/proc/actors");
    println!(
        "{} hive, 1 session, {ROUNDS} commands, counts of all domains per command; signals by domain",
        target.name
    );
    print!(
        "{:<13} {:>8} {:>7} {:>7} {:>7}  ",
        "per command", "signals", "turns", "polls", "wakes"
    );
    domains.iter().for_each(|domain| print!(" {domain:>12}"));
    println!();
    let reading = cost(&mut console, &domains, |_| {});
    for (name, command) in COMMANDS {
        // The first of a kind may open what later ones find open.
        ask(&mut console, command);
        let all = cost(&mut console, &domains, |console| {
            (0..ROUNDS).for_each(|_| ask(console, command));
        });
        let counts = all.less(&reading).over(ROUNDS);
        print!(
            "{name:<13} {:>8.2} {:>7.2} {:>7.2} {:>7.2}  ",
            counts.signals, counts.turns, counts.polls, counts.wakes
        );
        counts
            .by_domain
            .iter()
            .for_each(|signals| print!(" {signals:>12.2}"));
        println!();
    }
    println!();
}

fn cost(console: &mut Console, domains: &[String], work: impl FnOnce(&mut Console)) -> Counts {
    let before = read(console, domains);
    work(console);
    read(console, domains).less(&before)
}

fn read(console: &mut Console, domains: &[String]) -> Counts {
    let mut counts = Counts::default();
    for domain in domains {
        let lines = console.cat(&format!("/proc/actors/{domain}/counters"));
        let value = |name: &str| -> f64 {
            let value = lines
                .iter()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let value = value.and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("no {name} among {lines:?}"))
        };
        let signals = value("signals_sent");
        counts.signals += signals;
        counts.by_domain.push(signals);
        counts.turns += value("turns");
        counts.polls += value("polls");
        counts.wakes += value("wakes");
    }
    counts
}

impl Counts {
    fn less(&self, other: &Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    fn over(&self, number: u32) -> Self {
        self.with(self, |a, _| a / f64::from(number))
    }

    fn with(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.by_domain.iter().zip(&other.by_domain);
        Self {
            signals: combine(self.signals, other.signals),
            turns: combine(self.turns, other.turns),
            polls: combine(self.polls, other.polls),
            wakes: combine(self.wakes, other.wakes),
            by_domain: pairs.map(|(a, b)| combine(*a, *b)).collect(),
        }
    }
}
