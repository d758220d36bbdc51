//! What was acknowledged survives the death of a domain and of the whole hive.

use std::thread;
use std::time::{Duration, Instant};

use tests::{Console, Hive, Options};

const FAULTS: (&str, &str) = ("fault_injection = false", "fault_injection = true");

fn faulty() -> Hive {
    Hive::with(Options {
        manifest: vec![FAULTS, ("tick_ms = 1000", "tick_ms = 100")],
        ..Options::default()
    })
}

/// Sends a command until it is no longer refused because its owner restarts.
fn settle(console: &mut Console, command: &str) -> (String, Vec<String>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (ack, lines) = console.stream(command);
        if ack.starts_with("OK ") {
            return (ack, lines);
        }
        assert!(ack.contains("reason=busy"), "{command}: {ack}");
        assert!(Instant::now() < deadline, "{command} is still refused: {ack}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_hive_that_was_killed_remembers() {
    let mut hive = Hive::with(Options {
        manifest: vec![("tick_ms = 1000", "tick_ms = 100")],
        ..Options::default()
    });
    for round in 1..=5 {
        let mut console = hive.queen();
        assert!(
            console
                .ask(&format!("ECHO /log/queen.log before-kill-{round}"))
                .starts_with("OK ")
        );
        let request = r#"{"spawn":"heartbeat","ticks":100000,"budget":{"ttl_s":600,"ops":1000000}}"#;
        assert!(
            console
                .ask(&format!("ECHO /queen/ctl {request}"))
                .starts_with("OK ")
        );
        thread::sleep(Duration::from_millis(300));
        let (_, before) = console.stream("TAIL /worker/worker-1/telemetry");
        let boot = hive.boot().to_owned();
        hive.kill_and_restart();
        assert_ne!(hive.boot(), boot, "every boot has an id of its own");
        let mut console = hive.queen();
        let log = console.cat("/log/queen.log");
        assert!(log.contains(&format!("before-kill-{round}")), "{log:?}");
        let workers = console.ls("/worker");
        for id in 1..=round {
            assert!(
                workers.contains(&format!("worker-{id}")),
                "round {round}: {workers:?}"
            );
        }
        thread::sleep(Duration::from_millis(500));
        let (_, after) = console.stream("TAIL /worker/worker-1/telemetry");
        let last = before.last().expect("a tick before the kill");
        assert!(
            after.contains(last) && after.last() != Some(last),
            "before {before:?}, after {after:?}"
        );
        let tick = |line: &String| {
            line["{\"tick\":".len()..]
                .split(',')
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        let numbers: Vec<_> = after.iter().map(tick).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "a tick is lost or doubled: {numbers:?}"
        );
    }
}

#[test]
fn a_lifecycle_state_survives_a_kill() {
    let mut hive = Hive::fresh();
    assert!(
        hive.queen()
            .ask("ECHO /queen/lifecycle/ctl cordon")
            .starts_with("OK ")
    );
    hive.kill_and_restart();
    assert_eq!(hive.queen().cat("/proc/lifecycle/state"), ["state=DRAINING"]);
}

#[test]
fn each_domain_comes_back_with_what_it_acknowledged() {
    let hive = faulty();
    let mut console = hive.queen();
    let request = r#"{"spawn":"heartbeat","ticks":100000,"budget":{"ttl_s":600,"ops":1000000}}"#;
    assert!(
        console
            .ask(&format!("ECHO /queen/ctl {request}"))
            .starts_with("OK ")
    );
    for domain in ["worker-heart", "queen", "ninedoor", "console-tcp", "net"] {
        for round in 0..5 {
            let line = format!("acknowledged-{domain}-{round}");
            assert!(settle_echo(&mut console, &line));
            let begun = Instant::now();
            // The answer may be lost with the domain that carried it.
            let _ = console.try_send_frame(format!("ECHO /proc/actors/{domain}/fault panic").as_bytes());
            if matches!(domain, "console-tcp" | "net") {
                assert!(
                    console.closed_by_server().1,
                    "the console's death ends its connections"
                );
                console = reconnect(&hive);
            } else {
                let answer = console.receive();
                assert!(
                    answer.starts_with("OK ECHO") || answer.contains("reason=busy"),
                    "{answer}"
                );
            }
            let (_, log) = settle(&mut console, "CAT /log/queen.log");
            assert!(log.contains(&line), "{line} is gone after {domain} died");
            let (_, workers) = settle(&mut console, "LS /worker");
            assert!(
                workers.contains(&"worker-1".to_owned()),
                "worker-1 is gone after {domain} died: {workers:?}"
            );
            let (_, state) = settle(&mut console, "CAT /proc/lifecycle/state");
            assert_eq!(state, ["state=ONLINE"], "after {domain} died");
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{domain} took {:?} to come back",
                begun.elapsed()
            );
        }
        let (_, supervisor) = settle(&mut console, "CAT /proc/supervisor");
        let line = supervisor
            .iter()
            .find(|line| line.contains(domain))
            .expect("a line for each child");
        assert!(line.contains("restarts=5"), "{supervisor:?}");
    }
    let (_, first) = settle(&mut console, "TAIL /worker/worker-1/telemetry");
    thread::sleep(Duration::from_millis(500));
    let (_, second) = settle(&mut console, "TAIL /worker/worker-1/telemetry");
    assert_ne!(first.last(), second.last(), "the worker no longer ticks");
}

fn settle_echo(console: &mut Console, line: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let answer = console.ask(&format!("ECHO /log/queen.log {line}"));
        if answer.starts_with("OK ") {
            return true;
        }
        assert!(answer.contains("reason=busy"), "{answer}");
        thread::sleep(Duration::from_millis(10));
    }
    false
}

fn reconnect(hive: &Hive) -> Console {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(mut console) = Console::connect(hive.addr()) {
            let auth = console.try_send_frame(format!("AUTH {}", hive.token()).as_bytes());
            if auth.is_ok() && console.try_receive().is_ok_and(|line| line == "OK AUTH") {
                console.send("ATTACH queen ");
                if console
                    .try_receive()
                    .is_ok_and(|line| line.starts_with("OK ATTACH"))
                {
                    return console;
                }
            }
        }
        assert!(Instant::now() < deadline, "nobody can connect any more");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_others_are_served_while_one_domain_dies_again_and_again() {
    let hive = faulty();
    thread::scope(|scope| {
        let bystanders: Vec<_> = (0..4)
            .map(|n| {
                let mut console = hive.queen();
                scope.spawn(move || {
                    for step in 0..2000 {
                        let begun = Instant::now();
                        let answer = console.ask(&format!("ECHO /log/queen.log bystander-{n}-{step}"));
                        assert_eq!(
                            answer,
                            format!(
                                "OK ECHO path=/log/queen.log bytes={}",
                                format!("bystander-{n}-{step}").len()
                            )
                        );
                        assert!(
                            begun.elapsed() < Duration::from_secs(2),
                            "step {step} took {:?}",
                            begun.elapsed()
                        );
                    }
                })
            })
            .collect();
        let mut assassin = hive.queen();
        let mut answered = 0;
        while bystanders.iter().any(|bystander| !bystander.is_finished()) && answered < 20 {
            let answer = assassin.ask("ECHO /proc/actors/queen/fault panic");
            assert!(
                answer.starts_with("OK ECHO") || answer.contains("reason=busy"),
                "{answer}"
            );
            let (ack, _) = assassin.stream("CAT /proc/lifecycle/state");
            assert!(ack.starts_with("OK ") || ack.contains("reason=busy"), "{ack}");
            answered += 1;
            thread::sleep(Duration::from_millis(20));
        }
        assert!(answered > 0);
    });
}

#[test]
fn too_many_restarts_degrade_the_node() {
    let hive = Hive::with(Options {
        manifest: vec![FAULTS, ("intensity = 60", "intensity = 2")],
        ..Options::default()
    });
    let mut console = hive.queen();
    for _ in 0..4 {
        console.ask("ECHO /proc/actors/worker-heart/fault panic");
        thread::sleep(Duration::from_millis(200));
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while settle(&mut console, "CAT /proc/lifecycle/state").1 != ["state=DEGRADED"] {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            settle(&mut console, "CAT /proc/supervisor").1
        );
        thread::sleep(Duration::from_millis(50));
    }
    assert!(console.ask("ECHO /log/queen.log still-here").starts_with("OK "));
}

#[test]
fn a_hive_stops_cleanly_when_it_is_told_to() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    console.ask("ECHO /log/queen.log before-stop");
    assert_eq!(hive.terminate(), Some(0));
}
