//! Heartbeat workers and lifecycle, through the console.

use std::time::{Duration, Instant};

use tests::{Console, Hive, Options};

fn spawn(console: &mut Console, request: &str) -> String {
    let before = console.ls("/worker");
    let answer = console.ask(&format!("ECHO /queen/ctl {request}"));
    assert_eq!(answer, format!("OK ECHO path=/queen/ctl bytes={}", request.len()));
    let after = console.ls("/worker");
    after
        .into_iter()
        .find(|id| id.starts_with("worker-") && !before.contains(id))
        .expect("a new worker")
}

fn ticks(console: &mut Console, worker: &str) -> Vec<u64> {
    let (ack, lines) = console.stream(&format!("TAIL /worker/{worker}/telemetry"));
    assert!(ack.starts_with("OK TAIL"), "{ack}");
    let tick = |line: &String| -> u64 {
        let rest = line
            .strip_prefix("{\"tick\":")
            .unwrap_or_else(|| panic!("not a heartbeat record: {line}"));
        assert!(rest.contains(",\"ts_ms\":"), "{line}");
        rest.split(',').next().expect("a number").parse().expect("a tick")
    };
    lines.iter().map(tick).collect()
}

#[test]
fn a_worker_ticks_and_ends_when_it_is_killed() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let worker = spawn(
        &mut console,
        r#"{"spawn":"heartbeat","ticks":100,"budget":{"ttl_s":60,"ops":1000}}"#,
    );
    std::thread::sleep(Duration::from_millis(2500));
    let seen = ticks(&mut console, &worker);
    assert!((2..=4).contains(&seen.len()), "about a tick a second: {seen:?}");
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        console.ask(&format!("KILL {worker}")),
        format!("OK KILL id={worker}")
    );
    assert!(!console.ls("/worker").contains(&worker));
    let answer = console.ask(&format!("TAIL /worker/{worker}/telemetry"));
    assert!(
        answer.starts_with("ERR TAIL reason=policy detail=invalid-path"),
        "{answer}"
    );
    let log = console.cat("/log/queen.log").join("\n");
    assert!(log.contains(&format!("killed {worker}")), "{log}");
}

#[test]
fn budgets_end_a_worker_without_anybodys_help() {
    let hive = Hive::with(Options {
        manifest: vec![("tick_ms = 1000", "tick_ms = 50")],
        ..Options::default()
    });
    let mut console = hive.queen();
    let by_ticks = spawn(&mut console, r#"{"spawn":"heartbeat","ticks":4}"#);
    let by_ops = spawn(
        &mut console,
        r#"{"spawn":"heartbeat","ticks":1000,"budget":{"ttl_s":60,"ops":5}}"#,
    );
    let by_ttl = spawn(
        &mut console,
        r#"{"spawn":"heartbeat","ticks":100000,"budget":{"ttl_s":2,"ops":100000}}"#,
    );
    let begun = Instant::now();
    loop {
        let alive = console.ls("/worker");
        if begun.elapsed() < Duration::from_millis(1200) {
            assert!(
                alive.contains(&by_ttl),
                "ended after {:?}, before its TTL",
                begun.elapsed()
            );
        } else if !alive.contains(&by_ticks) && !alive.contains(&by_ops) && !alive.contains(&by_ttl) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "still alive: {alive:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_ninth_worker_is_refused_and_the_eight_go_on() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    for _ in 0..8 {
        spawn(&mut console, r#"{"spawn":"heartbeat","ticks":100}"#);
    }
    let answer = console.ask(r#"ECHO /queen/ctl {"spawn":"heartbeat","ticks":100}"#);
    assert_eq!(
        answer,
        "ERR ECHO reason=quota detail=buffer-full path=/queen/ctl error=buffer full"
    );
    assert_eq!(
        console
            .ask(r#"SPAWN {"spawn":"heartbeat","ticks":1}"#)
            .split(' ')
            .next(),
        Some("ERR")
    );
    assert_eq!(
        console
            .ls("/worker")
            .iter()
            .filter(|name| name.starts_with("worker-"))
            .count(),
        8
    );
}

#[test]
fn telemetry_is_under_its_shard_and_its_alias() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    assert_eq!(
        spawn(&mut console, r#"{"spawn":"heartbeat","ticks":100}"#),
        "worker-1"
    );
    assert!(console.ls("/shard").contains(&"13".to_owned()));
    assert_eq!(console.ls("/shard/13"), ["worker"]);
    assert_eq!(console.ls("/shard/13/worker"), ["worker-1"]);
    let (ack, _) = console.stream("TAIL /shard/13/worker/worker-1/telemetry");
    assert!(
        ack.starts_with("OK TAIL path=/shard/13/worker/worker-1/telemetry"),
        "{ack}"
    );
    assert!(
        console
            .ask("TAIL /shard/14/worker/worker-1/telemetry")
            .starts_with("ERR TAIL reason=policy")
    );
}

#[test]
fn lifecycle_follows_its_table() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    let state = |console: &mut Console| console.cat("/proc/lifecycle/state").join("");
    let denied = "ERR ECHO reason=policy detail=denied path=/queen/lifecycle/ctl error=EPERM";
    let invalid =
        "ERR ECHO reason=policy detail=invalid-payload path=/queen/lifecycle/ctl error=invalid payload";
    assert_eq!(console.cat("/proc/lifecycle/reason"), ["reason=boot-complete"]);
    spawn(&mut console, r#"{"spawn":"heartbeat","ticks":100}"#);
    assert_eq!(console.ask("ECHO /queen/lifecycle/ctl quiesce"), denied);
    assert_eq!(console.ask("ECHO /queen/lifecycle/ctl resume"), invalid);
    assert_eq!(
        console.ask("ECHO /queen/lifecycle/ctl cordon"),
        "OK ECHO path=/queen/lifecycle/ctl bytes=6"
    );
    assert_eq!(state(&mut console), "state=DRAINING");
    let answer = console.ask(r#"ECHO /queen/ctl {"spawn":"heartbeat","ticks":1}"#);
    assert_eq!(
        answer,
        "ERR ECHO reason=policy detail=denied path=/queen/ctl error=EPERM"
    );
    assert_eq!(console.ask("KILL worker-1"), "OK KILL id=worker-1");
    assert_eq!(
        console.ask("ECHO /queen/lifecycle/ctl DRAIN"),
        "OK ECHO path=/queen/lifecycle/ctl bytes=5"
    );
    assert_eq!(state(&mut console), "state=QUIESCED");
    assert_eq!(
        console.ask("ECHO /queen/lifecycle/ctl resume"),
        "OK ECHO path=/queen/lifecycle/ctl bytes=6"
    );
    assert_eq!(state(&mut console), "state=ONLINE");
    let log = console.cat("/log/queen.log");
    for line in [
        "lifecycle transition old=ONLINE new=DRAINING reason=cordon",
        "lifecycle transition old=DRAINING new=QUIESCED reason=drain",
        "lifecycle transition old=QUIESCED new=ONLINE reason=resume",
    ] {
        assert!(
            log.iter().any(|logged| logged == line),
            "{line:?} is not in {log:?}"
        );
    }
}

#[test]
fn a_bind_makes_a_second_name() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let bind = r#"{"bind":{"from":"/log","to":"/shadow"}}"#;
    assert_eq!(
        console.ask(&format!("ECHO /queen/ctl {bind}")),
        format!("OK ECHO path=/queen/ctl bytes={}", bind.len())
    );
    console.ask("ECHO /log/queen.log seen-through-a-bind");
    assert!(
        console
            .cat("/shadow/queen.log")
            .contains(&"seen-through-a-bind".to_owned())
    );
    let mut other = hive.queen();
    assert!(
        other
            .ask("CAT /shadow/queen.log")
            .starts_with("ERR CAT reason=policy detail=invalid-path")
    );
    let bad = console.ask(r#"ECHO /queen/ctl {"bind":{"from":"/proc/../boot","to":"/tmp"}}"#);
    assert_eq!(
        bad,
        "ERR ECHO reason=policy detail=invalid-payload path=/queen/ctl error=invalid payload"
    );
}

#[test]
fn the_root_is_cut_only_when_the_last_queen_is_lost() {
    let hive = Hive::fresh();
    let first = hive.queen();
    let mut second = hive.queen();
    drop(first);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(second.cat("/proc/root/reachable"), ["reachable=yes"]);
    assert_eq!(second.cat("/proc/root/cut_reason"), ["cut_reason=none"]);
    assert_eq!(second.ask("quit"), "OK QUIT");
}
