//! Each domain is killed again and again while four sessions work: nobody waits, nobody else dies, nothing is forgotten.
//!
//! With `HIVE_ADDR` that hive is used, which has to run with `supervision.fault_injection = true` and an `intensity` above
//! the number of kills; else a hive of our own. `KILLS` is how often each domain dies of each fault, 50 if it is not set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::operator::Tally;
use tests::{Answer, Hive, Operator, Options};

/// The domains that are killed, if the hive has them.
const VICTIMS: [&str; 5] = ["console-tcp", "ninedoor", "queen", "worker-heart", "worker-gpu"];
/// How long a domain may be away.
const RETURN_LIMIT: Duration = Duration::from_secs(5);
/// Heap that a domain may have taken beyond what it had after the victim's first death. The request path allocates nothing; this is
/// less than one session's buffers.
const HEAP_SLACK_BYTES: u64 = 4096;
/// A worker that outlives the test.
const SPAWN: &str = r#"{"spawn":"heartbeat","ticks":100000,"budget":{"ttl_s":3600,"ops":1000000}}"#;

fn hive() -> Hive {
    if std::env::var_os("HIVE_ADDR").is_some() {
        return Hive::any();
    }
    Hive::with(Options {
        manifest: vec![
            ("fault_injection = false", "fault_injection = true"),
            ("intensity = 60", "intensity = 10000"),
        ],
        ..Options::default()
    })
}

fn kills() -> u64 {
    std::env::var("KILLS").map_or(50, |kills| kills.parse().expect("KILLS is a number"))
}

/// Restarts of each domain, and whether it runs.
fn children(operator: &mut Operator) -> BTreeMap<String, (u64, bool)> {
    let field = |line: &str, name: &str| {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name));
        word.unwrap_or_else(|| panic!("no {name} in {line:?}")).to_owned()
    };
    let lines = operator.settle("CAT /proc/supervisor");
    let children = lines.iter().filter(|line| line.starts_with("child="));
    children
        .map(|line| {
            let restarts = field(line, "restarts=").parse().expect("a number");
            (
                field(line, "child="),
                (restarts, field(line, "state=") == "running"),
            )
        })
        .collect()
}

/// Bytes of heap of each domain, where the host counts them, once they stand still: a domain that was just started has
/// not taken everything yet.
fn heaps(operator: &mut Operator, domains: &[String]) -> BTreeMap<String, u64> {
    let mut last = BTreeMap::new();
    loop {
        let mut now = BTreeMap::new();
        for domain in domains {
            for line in operator.settle(&format!("CAT /proc/actors/{domain}/counters")) {
                if let Some(bytes) = line.strip_prefix("heap_bytes=") {
                    now.insert(domain.clone(), bytes.parse().expect("a number"));
                }
            }
        }
        if now == last {
            return now;
        }
        last = now;
        thread::sleep(Duration::from_millis(200));
    }
}

/// The sessions that work meanwhile.
#[derive(Clone, Copy)]
struct Load<'a> {
    hive: &'a Hive,
    over: &'a AtomicBool,
    limit: Duration,
}

impl Load<'_> {
    fn operator(&self) -> Operator {
        Operator::patient(self.hive, self.limit)
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Writes to the log. A line that was acknowledged is there as long as one older than it is.
    fn scribe(&self, name: &str) -> Tally {
        let mut operator = self.operator();
        let (mut acknowledged, mut next) = (BTreeSet::new(), 0);
        while self.goes_on() {
            for _ in 0..10 {
                next += 1;
                if let Answer::Done(..) = operator.ask(&format!("ECHO /log/queen.log {name}-{next}")) {
                    acknowledged.insert(next);
                }
            }
            let log = operator.settle("CAT /log/queen.log");
            let prefix = format!("{name}-");
            let there: Vec<u64> = log
                .iter()
                .filter_map(|line| line.strip_prefix(&prefix)?.parse().ok())
                .collect();
            assert!(
                there.is_sorted(),
                "lines are in the order in which they were written: {there:?}"
            );
            let oldest = there.first().copied().unwrap_or(next);
            let missing: Vec<_> = acknowledged
                .range(oldest..)
                .filter(|line| !there.contains(line))
                .collect();
            assert!(
                missing.is_empty(),
                "acknowledged and gone: {missing:?} of {there:?}"
            );
        }
        operator.tally
    }

    /// Spawns workers and kills them. One that was acknowledged is there until its end was.
    fn keeper(&self, own: &mut BTreeSet<String>, others: &BTreeSet<String>) -> Tally {
        let mut operator = self.operator();
        let mut acknowledged: BTreeSet<String> = BTreeSet::new();
        // Whose end was asked for and not acknowledged: it may come at any time, or never.
        let mut doubtful = BTreeSet::new();
        while self.goes_on() {
            let spawned = operator.ask(&format!("ECHO /queen/ctl {SPAWN}"));
            let now = self.workers(&mut operator, others);
            let gone: Vec<_> = acknowledged
                .difference(&now)
                .filter(|id| !doubtful.contains(*id))
                .collect();
            assert!(
                gone.is_empty(),
                "acknowledged and gone: {gone:?}; there are {now:?}"
            );
            if let Answer::Done(..) = spawned {
                let mut new = now.difference(own);
                let one = new.next();
                assert!(one.is_some(), "a spawn was acknowledged, and there are {now:?}");
                // With two, one belongs to a request that was cut off before its answer; which of them is not told.
                acknowledged.extend(one.filter(|_| new.next().is_none()).cloned());
            }
            *own = now;
            while own.len() > 2 {
                let victim = own.first().expect("there are more than two").clone();
                match operator.ask(&format!("KILL {victim}")) {
                    Answer::Done(..) => {
                        let now = self.workers(&mut operator, others);
                        assert!(
                            !now.contains(&victim),
                            "{victim} was killed, and there are {now:?}"
                        );
                        own.remove(&victim);
                        acknowledged.remove(&victim);
                    }
                    Answer::Refused(_) | Answer::Lost => {
                        doubtful.insert(victim);
                        *own = self.workers(&mut operator, others);
                    }
                }
            }
        }
        operator.tally
    }

    fn workers(&self, operator: &mut Operator, others: &BTreeSet<String>) -> BTreeSet<String> {
        let names = operator.settle("LS /worker").into_iter();
        names
            .filter(|name| name.starts_with("worker-") && !others.contains(name))
            .collect()
    }

    /// Reads a worker's telemetry: no record is lost, doubled or out of order.
    fn listener(&self, worker: &str) -> Tally {
        let mut operator = self.operator();
        let mut last = 0;
        while self.goes_on() {
            let Answer::Done(_, lines) = operator.ask(&format!("TAIL /worker/{worker}/telemetry")) else {
                continue;
            };
            let tick = |line: &String| -> u64 {
                let rest = line
                    .strip_prefix("{\"tick\":")
                    .unwrap_or_else(|| panic!("no record: {line}"));
                rest.split(',').next().expect("a number").parse().expect("a tick")
            };
            let ticks: Vec<u64> = lines.iter().map(tick).collect();
            assert!(
                ticks.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "lost or doubled: {ticks:?}"
            );
            let newest = ticks.last().copied().unwrap_or_default();
            assert!(
                newest >= last,
                "record {last} was there, and now the newest is {newest}"
            );
            last = newest;
            thread::sleep(Duration::from_millis(5));
        }
        assert!(last > 0, "{worker} never ticked");
        operator.tally
    }

    /// Streams records as a device does. One that was acknowledged is in its segment.
    fn device(&self, name: &str) -> Tally {
        let mut operator = self.operator();
        let root = format!("/queen/telemetry/{name}");
        let mut next = 0_u64;
        while self.goes_on() {
            // One that was cut off may be there all the same; the next one takes its place.
            operator.settle(&format!(
                r#"ECHO {root}/ctl {{"new":"segment","mime":"text/plain"}}"#
            ));
            let latest = operator.settle(&format!("CAT {root}/latest"));
            let segment = format!("{root}/seg/{}", latest.first().expect("a segment was begun"));
            let mut acknowledged = BTreeSet::new();
            for _ in 0..20 {
                next += 1;
                match operator.ask(&format!("ECHO {segment} record {next}")) {
                    Answer::Done(..) => {
                        acknowledged.insert(next);
                    }
                    Answer::Refused(ack) => assert!(ack.contains("reason=busy"), "{ack}"),
                    Answer::Lost => {}
                }
            }
            let there: Vec<u64> = operator
                .settle(&format!("CAT {segment}"))
                .iter()
                .map(|line| {
                    line.strip_prefix("record ")
                        .expect("a record")
                        .parse()
                        .expect("a number")
                })
                .collect();
            assert!(
                there.is_sorted_by(|one, next| one < next),
                "doubled or out of order: {there:?}"
            );
            let missing: Vec<_> = acknowledged
                .iter()
                .filter(|record| !there.contains(record))
                .collect();
            assert!(
                missing.is_empty(),
                "acknowledged and gone: {missing:?} of {there:?}"
            );
        }
        operator.tally
    }

    /// Reads what several domains own.
    fn reader(&self) -> Tally {
        let mut operator = self.operator();
        let commands = [
            "CAT /proc/lifecycle/state",
            "LS /",
            "CAT /proc/boot",
            "CAT /proc/supervisor",
            "LS /proc",
        ];
        for command in commands.iter().cycle() {
            if !self.goes_on() {
                break;
            }
            if let Answer::Refused(ack) = operator.ask(command) {
                assert!(ack.contains("reason=busy"), "{command}: {ack}");
            }
        }
        operator.tally
    }
}

/// Makes each victim do `fault` under load, `kills` times; whether this host has that fault.
fn campaign(hive: &Hive, fault: &str, kills: u64) -> bool {
    let mut assassin = Operator::new(hive);
    let domains: Vec<String> = children(&mut assassin).into_keys().collect();
    let named = assassin.settle("LS /proc/actors/queen");
    assert!(
        named.contains(&"fault".to_owned()),
        "the hive at HIVE_ADDR does not run with supervision.fault_injection = true"
    );
    if let Answer::Refused(ack) = assassin.ask(&format!("ECHO /proc/actors/worker-heart/fault {fault}")) {
        assert!(ack.contains("detail=unsupported"), "{ack}");
        println!("{fault}: not on this host, it says so itself: {ack}");
        return false;
    }
    thread::sleep(Duration::from_millis(200));
    let over = AtomicBool::new(false);
    let load = Load {
        hive,
        over: &over,
        limit: tests::operator::LIMIT,
    };
    let everybody = load.workers(&mut assassin, &BTreeSet::new());
    assassin.settle(&format!("ECHO /queen/ctl {SPAWN}"));
    let ticking = load
        .workers(&mut assassin, &everybody)
        .pop_first()
        .expect("it was acknowledged");
    while assassin
        .settle(&format!("TAIL /worker/{ticking}/telemetry"))
        .is_empty()
    {
        thread::sleep(Duration::from_millis(50));
    }
    let others: BTreeSet<String> = everybody.into_iter().chain([ticking.clone()]).collect();
    let mut kept = BTreeSet::new();
    let mut baseline: BTreeMap<String, u64> = BTreeMap::new();
    let begun = Instant::now();
    thread::scope(|scope| {
        // However this ends, the load ends with it.
        let stop = Stop(&over);
        let (others, kept, ticking) = (&others, &mut kept, &ticking);
        let sessions = [
            scope.spawn(move || load.scribe(&format!("{fault}-{}", std::process::id()))),
            scope.spawn(move || load.keeper(kept, others)),
            scope.spawn(move || load.listener(ticking)),
            scope.spawn(move || load.device(&format!("{fault}-device"))),
            scope.spawn(move || load.reader()),
        ];
        for victim in VICTIMS
            .iter()
            .filter(|victim| domains.iter().any(|domain| domain == *victim))
        {
            for kill in 0..kills {
                let before = children(&mut assassin);
                // The answer may be lost with the domain that carried it; then it may not have been asked at all.
                let asked = assassin.ask(&format!("ECHO /proc/actors/{victim}/fault {fault}"));
                await_restart(&mut assassin, victim, &before, &asked);
                assert!(
                    sessions.iter().all(|session| !session.is_finished()),
                    "a session of the load gave up; see above"
                );
                if kill == 0 {
                    // With all connections that there may be: who lost one may take its time to make it again.
                    let settled = Instant::now() + Duration::from_secs(3);
                    while Instant::now() < settled {
                        for (name, bytes) in heaps(&mut assassin, &domains) {
                            let most = baseline.entry(name).or_insert(bytes);
                            *most = bytes.max(*most);
                        }
                    }
                }
            }
            // Neither the victim's later lives nor anybody who knew it takes more than after its first death. What a worker
            // still holds of an earlier life of NineDoor goes when it next ticks.
            let deadline = Instant::now() + RETURN_LIMIT;
            loop {
                let grown: Vec<_> = heaps(&mut assassin, &domains)
                    .into_iter()
                    .filter(|(name, bytes)| *bytes > baseline[name] + HEAP_SLACK_BYTES)
                    .collect();
                if grown.is_empty() {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "{victim} died {kills} times; bytes of heap after the first: {baseline:?}, in the end: {grown:?}"
                );
            }
        }
        drop(stop);
        for (session, name) in sessions
            .into_iter()
            .zip(["log", "workers", "ticks", "telemetry", "reads"])
        {
            let tally = session.join().expect("the session found nothing wrong");
            println!("{fault}: {name}: {tally:?}");
            assert!(tally.done > 0, "{name}: nothing was answered");
        }
    });
    println!("{fault}: {kills} of each in {:?}", begun.elapsed());
    for worker in kept.iter().chain([&ticking]) {
        let _ = assassin.ask(&format!("KILL {worker}"));
    }
    true
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until the victim was restarted, and nobody else was.
fn await_restart(
    operator: &mut Operator,
    victim: &str,
    before: &BTreeMap<String, (u64, bool)>,
    asked: &Answer,
) {
    let deadline = Instant::now() + RETURN_LIMIT;
    loop {
        let now = children(operator);
        for (name, (restarts, _)) in &now {
            let more = restarts - before[name].0;
            assert!(
                more == 0 || (name == victim && more == 1),
                "{victim} was to die, and {name} was restarted {more} times"
            );
        }
        let (restarts, runs) = now[victim];
        if restarts == before[victim].0 + 1 && runs {
            return;
        }
        if *asked == Answer::Lost && restarts == before[victim].0 {
            // The connection was lost for another reason, such as the last victim's death.
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{victim} is not back: {now:?} after {asked:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn domains_that_die_cost_nobody_an_answer_and_forget_nothing() {
    let hive = hive();
    let kills = kills();
    assert!(campaign(&hive, "panic", kills));
    campaign(&hive, "bad-pointer", kills);
}

#[test]
fn a_domain_that_scribbles_over_its_links_loses_only_those() {
    let hive = hive();
    let mut madman = Operator::patient(&hive, RETURN_LIMIT);
    let before = children(&mut madman);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = Stop(&over);
        let load = Load {
            hive: &hive,
            over: &over,
            limit: RETURN_LIMIT,
        };
        let sessions = [
            scope.spawn(move || load.scribe(&format!("scribble-{}", std::process::id()))),
            scope.spawn(move || load.reader()),
        ];
        for victim in VICTIMS.iter().filter(|victim| before.contains_key(**victim)) {
            for _ in 0..kills().div_ceil(5) {
                let _ = madman.ask(&format!("ECHO /proc/actors/{victim}/fault scribble"));
                if !matches!(*victim, "console-tcp" | "ninedoor") {
                    // NineDoor's own files do not pass over the links that are gone.
                    assert!(
                        matches!(madman.ask("CAT /proc/boot"), Answer::Done(..)),
                        "{victim} scribbled, and NineDoor does not serve its own files"
                    );
                }
                // Everything is back: the queen's subtree, and her workers.
                madman.settle("CAT /proc/lifecycle/state");
                madman.settle("LS /worker");
                madman.settle(&format!("ECHO /log/queen.log after-{victim}"));
            }
        }
        drop(stop);
        for session in sessions {
            let tally = session.join().expect("the session found nothing wrong");
            println!("scribble: {tally:?}");
        }
    });
    let restarts =
        |children: &BTreeMap<String, (u64, bool)>| children.values().map(|(count, _)| *count).sum::<u64>();
    assert_eq!(
        restarts(&children(&mut madman)),
        restarts(&before),
        "nobody died of it"
    );
}
