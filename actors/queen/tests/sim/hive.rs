//! The queen with a real NineDoor and a real worker domain, in the simulator.

use std::time::Duration;

use crate::support::{Hive, Options, UNIX_MS};
use protocol::refusal::Refusal;

#[test]
fn an_operator_spawns_watches_and_kills_a_worker() {
    let mut hive = Hive::new(Options::seed(1));
    assert_eq!(hive.spawn(100), Ok(()));
    assert_eq!(hive.workers(), [1], "the answer came after the effect");
    hive.run(Duration::from_millis(350));
    let ticks = hive.ticks(1);
    assert_eq!(
        ticks.iter().map(|record| record.tick).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(
        ticks
            .windows(2)
            .all(|pair| (95..=105).contains(&(pair[1].ts_ms - pair[0].ts_ms))),
        "{ticks:?}"
    );
    assert!((UNIX_MS..UNIX_MS + 1000).contains(&ticks[0].ts_ms));
    assert_eq!(hive.kill(1), Ok(()));
    assert!(hive.workers().is_empty());
    assert_eq!(hive.kill(1), Err(Refusal::InvalidPath));
    assert_eq!(hive.spawn(100), Ok(()));
    assert_eq!(hive.workers(), [2], "an id is never given twice");
    let log = hive.log();
    let expected = [
        "lifecycle transition old=BOOTING new=ONLINE reason=boot-complete",
        "spawned worker-1 ticks=100 ttl=300 ops=10000",
        "killed worker-1",
        "spawned worker-2 ticks=100 ttl=300 ops=10000",
    ];
    assert_eq!(
        log.iter()
            .filter(|line| expected.contains(&line.as_str()))
            .collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn budgets_end_workers_and_the_log_says_which() {
    let mut hive = Hive::new(Options::seed(2));
    hive.ctl(r#"{"spawn":"heartbeat","ticks":3}"#).unwrap();
    hive.ctl(r#"{"spawn":"heartbeat","ticks":1000,"budget":{"ops":4}}"#)
        .unwrap();
    hive.ctl(r#"{"spawn":"heartbeat","ticks":1000,"budget":{"ttl_s":2}}"#)
        .unwrap();
    hive.ctl(r#"{"budget":{"ttl_s":1,"ops":77}}"#).unwrap();
    hive.spawn(1000).unwrap();
    hive.run(Duration::from_millis(250));
    assert_eq!(hive.workers(), [1, 2, 3, 4]);
    hive.run(Duration::from_millis(400));
    assert_eq!(hive.workers(), [3, 4]);
    hive.run(Duration::from_millis(600));
    assert_eq!(hive.workers(), [3]);
    hive.run(Duration::from_millis(1000));
    assert!(hive.workers().is_empty());
    let log = hive.log();
    for line in [
        "revoked worker-1 reason=ticks",
        "revoked worker-2 reason=ops",
        "revoked worker-3 reason=expired",
        "revoked worker-4 reason=expired",
        "updated default budget ttl=1 ops=77",
        "spawned worker-4 ticks=1000 ttl=1 ops=77",
    ] {
        assert_eq!(
            log.iter().filter(|logged| *logged == line).count(),
            1,
            "{line} in {log:?}"
        );
    }
}

#[test]
fn a_worker_of_one_tick_is_a_worker() {
    for seed in 0..20 {
        let mut hive = Hive::new(Options {
            tick: Duration::from_micros(1),
            ..Options::seed(seed)
        });
        assert_eq!(hive.spawn(1), Ok(()), "seed {seed}");
        hive.run(Duration::from_millis(50));
        assert!(hive.workers().is_empty());
        let log = hive.log().join("\n");
        assert!(
            log.contains("spawned worker-1 ticks=1") && log.contains("revoked worker-1 reason=ticks"),
            "{log}"
        );
    }
}

#[test]
fn the_ninth_worker_is_refused_until_one_is_gone() {
    let mut hive = Hive::new(Options::seed(3));
    for _ in 0..8 {
        hive.spawn(1000).unwrap();
    }
    assert_eq!(hive.spawn(1000), Err(Refusal::BufferFull));
    hive.kill(5).unwrap();
    hive.spawn(1000).unwrap();
    assert_eq!(hive.workers(), [1, 2, 3, 4, 6, 7, 8, 9]);
}

#[test]
fn requests_that_are_none_and_requests_that_are_not_for_now() {
    let mut hive = Hive::new(Options::seed(4));
    for line in [
        "",
        "{}",
        "spawn",
        r#"{"spawn":"heartbeat","ticks":0}"#,
        r#"{"spawn":"heartbeat","ticks":1,"colour":"red"}"#,
        "{\"kill\":\"worker-1\"}\n{\"kill\":\"worker-2\"}",
        r#"{"bind":{"from":"/proc/../boot","to":"/tmp"}}"#,
        r#"{"bind":{"from":"/host/*","to":"/tmp"}}"#,
        r#"{"bind":{"from":"/log","to":"/"}}"#,
    ] {
        assert_eq!(hive.ctl(line), Err(Refusal::InvalidPayload), "{line:?}");
    }
    let gpu = r#"{"spawn":"gpu","lease":{"gpu_id":"GPU-0","mem_mb":1,"streams":1,"ttl_s":1}}"#;
    assert_eq!(hive.ctl(gpu), Err(Refusal::InvalidPayload));
    for missing in [
        r#"{"kill":"worker-1"}"#,
        r#"{"kill":"queen"}"#,
        r#"{"mount":{"service":"x","at":"/x"}}"#,
    ] {
        assert_eq!(hive.ctl(missing), Err(Refusal::InvalidPath), "{missing}");
    }
    assert_eq!(hive.ctl(r#"{"bind":{"from":"/log","to":"/shadow"}}"#), Ok(()));
    assert_eq!(hive.ctl(r#"{"mount":{"service":"logs","at":"/x"}}"#), Ok(()));
    assert_eq!(hive.cat("/queen/ctl"), Err(Refusal::InvalidPath));
    assert_eq!(
        hive.echo("/proc/lifecycle/state", "state=ONLINE"),
        Err(Refusal::Denied)
    );
    let queens = ["ctl", "export", "lifecycle", "telemetry"].map(String::from);
    assert_eq!(hive.ls("/queen"), Ok(queens.to_vec()));
    assert_eq!(
        hive.ls("/proc/lifecycle"),
        Ok(vec!["reason".into(), "since".into(), "state".into()])
    );
    let log = hive.log();
    assert!(
        log.contains(&"bound /log -> /shadow".into()) && log.contains(&"mounted logs at /x".into()),
        "{log:?}"
    );
}

#[test]
fn lifecycle_follows_its_table_and_the_log_says_so() {
    let mut hive = Hive::new(Options::seed(5));
    assert_eq!(hive.state(), "state=ONLINE");
    assert_eq!(
        hive.cat("/proc/lifecycle/reason").unwrap(),
        "reason=boot-complete\n"
    );
    let since = hive.cat("/proc/lifecycle/since").unwrap();
    assert_eq!(since, format!("since_ms={UNIX_MS}\n"));
    hive.spawn(1000).unwrap();
    let command = |hive: &mut Hive, word: &str| hive.echo("/queen/lifecycle/ctl", word);
    for (word, answer, state) in [
        ("quiesce", Err(Refusal::Denied), "state=ONLINE"),
        ("reset", Err(Refusal::Denied), "state=ONLINE"),
        ("resume", Err(Refusal::InvalidPayload), "state=ONLINE"),
        ("levitate now", Err(Refusal::InvalidPayload), "state=ONLINE"),
        ("Cordon\n", Ok(()), "state=DRAINING"),
        ("drain", Err(Refusal::Denied), "state=DRAINING"),
    ] {
        assert_eq!(command(&mut hive, word), answer, "{word}");
        assert_eq!(hive.state(), state);
    }
    assert_eq!(hive.spawn(1), Err(Refusal::Denied));
    hive.kill(1).unwrap();
    for (word, state) in [
        ("DRAIN", "state=QUIESCED"),
        ("reset", "state=BOOTING"),
        ("resume", "state=ONLINE"),
    ] {
        assert_eq!(command(&mut hive, word), Ok(()), "{word}");
        assert_eq!(hive.state(), state);
    }
    let log: Vec<_> = hive
        .log()
        .into_iter()
        .filter(|line| line.starts_with("lifecycle "))
        .collect();
    assert_eq!(
        log,
        [
            "lifecycle transition old=BOOTING new=ONLINE reason=boot-complete",
            "lifecycle denied action=quiesce state=ONLINE reason=outstanding-leases leases=1",
            "lifecycle denied action=reset state=ONLINE reason=outstanding-leases leases=1",
            "lifecycle denied action=resume state=ONLINE reason=invalid-transition",
            "lifecycle denied action=levitatenow state=ONLINE reason=invalid-command",
            "lifecycle transition old=ONLINE new=DRAINING reason=cordon",
            "lifecycle denied action=drain state=DRAINING reason=outstanding-leases leases=1",
            "lifecycle denied action=new-work state=DRAINING reason=gate-denied",
            "lifecycle transition old=DRAINING new=QUIESCED reason=drain",
            "lifecycle transition old=QUIESCED new=BOOTING reason=reset",
            "lifecycle transition old=BOOTING new=ONLINE reason=resume",
        ]
    );
}

#[test]
fn a_spawn_while_the_worker_domain_is_away_is_refused_in_time_and_leaves_nothing() {
    let slow = Some(("worker-heart", Duration::from_secs(20)));
    let mut hive = Hive::new(Options {
        slow_restart: slow,
        ..Options::seed(6)
    });
    hive.spawn(10_000).unwrap();
    hive.sim.inject_panic("worker-heart", 0);
    hive.run(Duration::from_millis(10));
    let before = hive.sim.now();
    assert_eq!(hive.spawn(10_000), Err(Refusal::OwnerDown));
    let took = hive.sim.now().since(before);
    assert!((900..1500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(hive.workers(), [1]);
    assert_eq!(
        hive.kill(1),
        Ok(()),
        "a worker whose domain is away can be killed"
    );
    hive.run(Duration::from_secs(25));
    assert_eq!(hive.spawn(10_000), Ok(()));
    hive.run(Duration::from_secs(1));
    assert_eq!(hive.workers(), [3]);
    assert!(hive.ticks(3).len() >= 9);
}

#[test]
fn a_child_that_is_given_up_degrades_the_node_once() {
    let mut hive = Hive::new(Options {
        intensity: 2,
        ..Options::seed(7)
    });
    for _ in 0..3 {
        hive.sim.inject_panic("worker-heart", 0);
        hive.run(Duration::from_millis(100));
    }
    assert_eq!(hive.state(), "state=DEGRADED");
    assert_eq!(
        hive.cat("/proc/lifecycle/reason").unwrap(),
        "reason=supervisor-escalation\n"
    );
    hive.echo("/queen/lifecycle/ctl", "resume").unwrap();
    hive.sim.inject_panic("queen", 0);
    hive.run(Duration::from_millis(100));
    assert_eq!(hive.state(), "state=ONLINE", "it is known already");
}

#[test]
fn a_hive_that_was_killed_remembers_and_its_workers_go_on() {
    let options = Options::seed(8);
    let mut hive = Hive::new(options.clone());
    hive.spawn(100_000).unwrap();
    hive.ctl(r#"{"spawn":"heartbeat","ticks":100000,"budget":{"ttl_s":5}}"#)
        .unwrap();
    hive.echo("/queen/lifecycle/ctl", "cordon").unwrap();
    hive.run(Duration::from_millis(500));
    let before = hive.ticks(1);
    let mut hive = hive.killed(Duration::from_secs(1), options.clone());
    assert_eq!(
        (hive.state().as_str(), hive.workers()),
        ("state=DRAINING", vec![1, 2])
    );
    hive.run(Duration::from_millis(500));
    let after = hive.ticks(1);
    assert!(after.starts_with(&before) && after.len() > before.len());
    assert!(
        (1..).zip(&after).all(|(number, record)| record.tick == number),
        "{after:?}"
    );
    // A worker's time passes while nobody is there.
    let mut hive = hive.killed(Duration::from_secs(3), options);
    hive.run(Duration::from_millis(100));
    assert_eq!(hive.workers(), [1]);
    hive.echo("/queen/lifecycle/ctl", "resume").unwrap();
    hive.spawn(10).unwrap();
    assert_eq!(hive.workers(), [1, 3]);
}

#[test]
fn a_journal_that_does_not_verify_degrades_the_node_once_whosever_it_is() {
    for domain in ["queen", "ninedoor"] {
        let options = Options::seed(13);
        let mut hive = Hive::new(options.clone());
        hive.spawn(100_000).unwrap();
        hive.run(Duration::from_millis(300));
        let journal = hive.sim.region(domain, "journal").expect("both have one");
        journal.write_at(48, b"garbage").unwrap();
        let mut hive = hive.killed(Duration::ZERO, options.clone());
        hive.run(Duration::from_millis(100));
        assert_eq!(hive.state(), "state=DEGRADED", "{domain}");
        assert_eq!(
            hive.cat("/proc/lifecycle/reason").unwrap(),
            "reason=journal-corrupt\n"
        );
        let log = hive.log().join("\n");
        assert!(
            log.contains(&format!("journal actor={domain} outcome=corrupt")),
            "{log}"
        );
        // What the queen forgot ends; what NineDoor forgot is made again.
        assert_eq!(
            hive.workers(),
            if domain == "queen" { vec![] } else { vec![1] },
            "{domain}"
        );
        hive.spawn(100_000).unwrap();
        assert_eq!(
            hive.workers().into_iter().max(),
            Some(2),
            "an id is not given twice all the same"
        );
        hive.echo("/queen/lifecycle/ctl", "resume").unwrap();
        let mut hive = hive.killed(Duration::ZERO, options);
        hive.run(Duration::from_millis(100));
        assert_eq!(hive.state(), "state=ONLINE", "{domain}");
    }
}

#[test]
fn time_passes_while_the_queen_is_down() {
    let slow = Some(("queen", Duration::from_secs(4)));
    let mut hive = Hive::new(Options {
        slow_restart: slow,
        ..Options::seed(9)
    });
    hive.ctl(r#"{"spawn":"heartbeat","ticks":100000,"budget":{"ttl_s":2}}"#)
        .unwrap();
    hive.sim.inject_panic("queen", 0);
    hive.run(Duration::from_secs(3));
    assert_eq!(
        hive.spawn(1),
        Err(Refusal::OwnerDown),
        "the door answers for an owner that is down"
    );
    let last = hive.ticks(1).last().unwrap().ts_ms;
    assert!(last < UNIX_MS + 2100, "the worker ended by itself");
    hive.run(Duration::from_secs(2));
    assert!(hive.workers().is_empty());
}

#[test]
fn while_the_door_is_away_what_happens_is_remembered_and_told_later_in_order() {
    let slow = Some(("ninedoor", Duration::from_secs(5)));
    let mut hive = Hive::new(Options {
        slow_restart: slow,
        ..Options::seed(10)
    });
    for ttl_s in [3, 1, 2] {
        hive.ctl(&format!(
            r#"{{"spawn":"heartbeat","ticks":1000,"budget":{{"ttl_s":{ttl_s}}}}}"#
        ))
        .unwrap();
    }
    hive.sim.inject_panic("ninedoor", 0);
    hive.run(Duration::from_secs(6));
    assert!(hive.workers().is_empty());
    let log = hive.log();
    let revoked: Vec<_> = log.iter().filter(|line| line.starts_with("revoked")).collect();
    let expected = [2, 3, 1].map(|number| format!("revoked worker-{number} reason=expired"));
    assert_eq!(revoked, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_spawn_while_the_door_is_away_is_refused_in_time_and_a_kill_stands() {
    let slow = Some(("ninedoor", Duration::from_secs(10)));
    let mut hive = Hive::new(Options {
        slow_restart: slow,
        direct: true,
        ..Options::seed(11)
    });
    let spawn = r#"{"spawn":"heartbeat","ticks":100000}"#;
    hive.echo_direct("/queen/ctl", spawn).unwrap();
    hive.sim.inject_panic("ninedoor", 0);
    hive.run(Duration::from_millis(1));
    for (path, line, answer, at_most_ms) in [
        ("/queen/ctl", spawn, Err(Refusal::OwnerDown), 1100),
        ("/queen/ctl", r#"{"kill":"worker-1"}"#, Ok(()), 300),
        ("/queen/lifecycle/ctl", "quiesce", Ok(()), 300),
    ] {
        let before = hive.sim.now();
        assert_eq!(hive.echo_direct(path, line), answer, "{line}");
        assert!(hive.sim.now().since(before).as_millis() <= at_most_ms, "{line}");
    }
    hive.run(Duration::from_secs(10));
    assert!(hive.workers().is_empty());
    let log = hive.log();
    let at = |line: &str| {
        log.iter()
            .position(|logged| logged == line)
            .unwrap_or_else(|| panic!("{line}: {log:?}"))
    };
    assert!(at("killed worker-1") < at("lifecycle transition old=ONLINE new=QUIESCED reason=quiesce"));
    hive.echo_direct("/queen/lifecycle/ctl", "resume").unwrap();
    hive.echo_direct("/queen/ctl", spawn).unwrap();
    assert_eq!(hive.workers(), [3], "worker-2 never was");
}

#[test]
fn operations_stop_when_no_more_lines_can_wait_and_none_is_lost() {
    let slow = Some(("ninedoor", Duration::from_secs(60)));
    let mut hive = Hive::new(Options {
        slow_restart: slow,
        direct: true,
        ..Options::seed(12)
    });
    hive.run(Duration::from_millis(10));
    hive.sim.inject_panic("ninedoor", 0);
    hive.run(Duration::from_millis(1));
    let mut made = 0;
    let refusal = loop {
        match hive.echo_direct("/queen/ctl", &format!(r#"{{"budget":{{"ops":{}}}}}"#, made + 1)) {
            Ok(()) => made += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((refusal, made), (Refusal::OwnerDown, 56));
    hive.sim.inject_panic("queen", 0);
    hive.run(Duration::from_secs(60));
    let log = hive.log();
    let told: Vec<_> = log
        .iter()
        .filter(|line| line.starts_with("updated"))
        .cloned()
        .collect();
    let expected: Vec<_> = (1..=made)
        .map(|ops| format!("updated default budget ttl=300 ops={ops}"))
        .collect();
    assert_eq!(told, expected);
    hive.echo_direct("/queen/ctl", r#"{"budget":{"ops":1}}"#).unwrap();
}

#[test]
fn a_spawn_whose_client_lost_patience_is_whole_or_not_at_all() {
    let (mut whole, mut none) = (0, 0);
    for step in 0..120 {
        let mut hive = Hive::new(Options::seed(step));
        hive.run(Duration::from_millis(5));
        let patience = Duration::from_micros(5 * step);
        let line = r#"{"spawn":"heartbeat","ticks":100000}"#;
        hive.ask(move |session| async move { Ok(session.echo_within("/queen/ctl", line, patience).await) })
            .unwrap();
        hive.run(Duration::from_secs(1));
        let log = hive.log();
        let said = log.iter().any(|line| line.starts_with("spawned worker-1"));
        match hive.workers()[..] {
            [] => {
                assert!(!said, "step {step}: {log:?}");
                none += 1;
            }
            [1] => {
                assert!(said && hive.ticks(1).len() >= 10, "step {step}: {log:?}");
                whole += 1;
            }
            ref others => panic!("step {step}: {others:?}"),
        }
    }
    assert!(
        whole > 0 && none > 0,
        "{whole} happened, {none} did not: the test does not cut in between"
    );
}
