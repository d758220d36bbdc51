//! Deaths: of the queen, of the door, anywhere, and at every write of the journal.

mod house;

use std::time::Duration;

use house::{House, config, connect, console};
use ninep::{Errno, OpenFlags};
use runtime::region::Crash;
use runtime::sim::{Outcome, SimConfig};

const CREATE: &str = r#"{"create":{"id":"worker-1"}}"#;
const TELEMETRY: &str = "/shard/13/worker/worker-1/telemetry";

#[test]
fn a_dead_queen_fails_her_own_files_at_once_and_nothing_else() {
    let mut house = House::new(4);
    let memory = house.queen.clone();
    house.run(move |ctx| async move {
        let peer = console(&ctx).await;
        let queen = peer.queen().await;
        let slow = queen.open("/queen/slow", OpenFlags::WRONLY).await.unwrap();
        let held = queen.client.walk(&queen.root, &["queen"]).await.unwrap();
        let killer = peer.queen().await;
        let watch = memory.clone();
        let clock = ctx.clone();
        ctx.spawn(async move {
            while watch.lock().unwrap().hanging == 0 {
                clock.sleep(Duration::from_millis(1)).await;
            }
            killer.echo("/proc/actors/queen/fault", "panic").await.unwrap();
        })
        .unwrap();
        let before = ctx.now();
        let in_flight = queen.client.write(&slow, 0, b"x").await.map_err(house::errno);
        assert_eq!(in_flight, Err(Errno::EREMOTEIO));
        assert!(
            ctx.now().since(before) < Duration::from_millis(100),
            "at once, not after a timeout"
        );
        queen.echo("/log/queen.log", "the door goes on").await.unwrap();
        // What was held is of her old life; what is walked to now is of the new one.
        while queen.cat("/proc/lifecycle/state").await.is_err() {
            ctx.sleep(Duration::from_millis(1)).await;
        }
        let stale = queen
            .client
            .walk(&held, &["ctl"])
            .await
            .map(drop)
            .map_err(house::errno);
        assert_eq!(stale, Err(Errno::EREMOTEIO));
        let stale = queen.client.write(&slow, 0, b"x").await.map_err(house::errno);
        assert_eq!(stale, Err(Errno::EREMOTEIO));
        queen.echo("/queen/ctl", r#"{"kill":"worker-1"}"#).await.unwrap();
        assert_eq!(
            queen.ls("/").await.unwrap(),
            ["log", "proc", "queen", "shard", "worker"]
        );
        assert!(
            queen
                .logged("fault injected actor=queen fault=panic role=queen")
                .await
        );
        assert!(
            queen
                .logged("supervisor restart actor=queen restarts=1 reason=")
                .await
        );
        let state = queen.cat("/proc/actors/queen/state").await.unwrap();
        assert!(state.starts_with("state=running\nrestarts=1\n"), "{state}");
    });
}

#[test]
fn a_restarted_door_remembers_and_tells_of_its_restart_once() {
    let mut house = House::new(5);
    house.run(|ctx| async move {
        let actor = connect(&ctx, "queen-ninedoor")
            .await
            .attach("queen-actor", "")
            .await
            .unwrap();
        actor.echo("/worker/ctl", CREATE).await.unwrap();
        let queen = console(&ctx).await.queen().await;
        queen.echo("/log/queen.log", "acknowledged").await.unwrap();
        queen.echo(TELEMETRY, "tick").await.unwrap();
    });
    for restart in 1..=3 {
        assert!(house.sim.inject_panic("ninedoor", 0));
        house.sim.run_for(Duration::from_millis(50));
        house.run(move |ctx| async move {
            let queen = console(&ctx).await.queen().await;
            let log = queen.log().await;
            assert!(log.contains(&"acknowledged".to_owned()), "{log:?}");
            let told = log
                .iter()
                .filter(|line| line.starts_with("supervisor restart actor=ninedoor"))
                .count();
            assert_eq!(told, restart, "{log:?}");
            assert_eq!(log.iter().filter(|line| line.starts_with("boot id=")).count(), 1);
            assert_eq!(queen.cat(TELEMETRY).await.unwrap(), "tick");
            assert_eq!(
                queen.cat("/proc/root/reachable").await.unwrap(),
                "reachable=yes\n"
            );
            assert!(
                queen
                    .cat("/proc/boot")
                    .await
                    .unwrap()
                    .contains("journal.ninedoor=clean\n")
            );
        });
    }
    // The whole hive is killed and started again.
    let regions = house.sim.regions();
    let mut again = House::with(
        config(),
        SimConfig {
            seed: 6,
            regions,
            ..SimConfig::default()
        },
    );
    again.run(|ctx| async move {
        let queen = console(&ctx).await.queen().await;
        assert!(queen.logged("acknowledged").await);
        assert_eq!(queen.cat(TELEMETRY).await.unwrap(), "tick");
    });
}

#[test]
fn panics_anywhere_leave_a_door_that_answers() {
    let mut panics = 0;
    for seed in 0..40 {
        let sim = SimConfig {
            seed,
            panics_per_million_turns: 20_000,
            panic_domains: vec!["ninedoor".to_owned(), "queen".to_owned()],
            ..SimConfig::default()
        };
        let mut config = config();
        config.limits.log_lines = 1024;
        let mut house = House::with(config, sim);
        house.run(|ctx| async move {
            let mut acknowledged = Vec::new();
            let mut peer = console(&ctx).await;
            for number in 0..60 {
                let line = format!("line {number}.");
                loop {
                    let Ok(queen) = peer.attach("queen", "").await else {
                        peer = console(&ctx).await;
                        continue;
                    };
                    // At least once: a write without an answer is repeated.
                    match queen.echo("/log/queen.log", &line).await {
                        Ok(()) => break,
                        Err(error) => assert_eq!(error, Errno::ECONNRESET),
                    }
                }
                acknowledged.push(line);
            }
            let log = loop {
                if let Ok(queen) = peer.attach("queen", "").await
                    && let Ok(log) = queen.cat("/log/queen.log").await
                {
                    break log;
                }
                peer = console(&ctx).await;
            };
            for line in acknowledged {
                assert!(
                    log.contains(&line),
                    "{line:?} was acknowledged and is gone:\n{log}"
                );
            }
            // The next scenario is another client on the same link.
            peer.close();
        });
        house.sim.set_panics(0);
        let page = house.sim.supervision();
        panics += (0..page.len())
            .filter_map(|index| page.child(index))
            .map(|child| child.restarts)
            .sum::<u64>();
        house.run(|ctx| async move {
            let queen = console(&ctx).await.queen().await;
            while queen.cat("/proc/lifecycle/state").await.is_err() {
                ctx.sleep(Duration::from_millis(1)).await;
            }
        });
    }
    assert!(panics > 40, "only {panics} panics");
}

#[test]
fn a_crash_at_any_write_of_the_journal_loses_nothing_that_was_acknowledged() {
    let mut config = config();
    // Small tables, so that the journal is compacted many times.
    (
        config.limits.log_lines,
        config.limits.log_bytes,
        config.limits.ring_bytes,
    ) = (64, 8192 + 1, 256);
    let mut crashes = 0;
    for nth in (1..900).step_by(11) {
        let sim = SimConfig {
            seed: nth,
            ..SimConfig::default()
        };
        let mut house = House::with_journal(config.clone(), sim, 84 * 1024);
        let region = house.sim.region("ninedoor", ninedoor::JOURNAL_REGION).unwrap();
        house.run(|ctx| async move {
            let actor = connect(&ctx, "queen-ninedoor")
                .await
                .attach("queen-actor", "")
                .await
                .unwrap();
            actor.echo("/worker/ctl", CREATE).await.unwrap();
            actor.client.close();
        });
        region.crash_at(
            nth,
            Crash::Torn {
                prefix: nth as usize % 9,
            },
        );
        house.run(|ctx| async move {
            let mut peer = console(&ctx).await;
            let (mut number, mut written) = (0, 0);
            while number < 100 {
                let Ok(queen) = peer.attach("queen", "").await else {
                    peer = console(&ctx).await;
                    continue;
                };
                while number < 100 {
                    let line = format!("line {number}. {}", "x".repeat(number * 20));
                    if queen.echo("/log/queen.log", &line).await.is_err() {
                        break;
                    }
                    number += 1;
                    // A write that is not answered may have happened.
                    if queen
                        .echo(TELEMETRY, &format!("tick {written:03};"))
                        .await
                        .is_err()
                    {
                        break;
                    }
                    written += 1;
                }
            }
            let (log, ticks) = loop {
                if let Ok(queen) = peer.attach("queen", "").await
                    && let (Ok(log), Ok(ticks)) =
                        (queen.cat("/log/queen.log").await, queen.cat(TELEMETRY).await)
                {
                    break (log, ticks);
                }
                peer = console(&ctx).await;
            };
            let log: Vec<&str> = log.lines().collect();
            let seen = |number: usize| {
                log.iter()
                    .any(|line| line.starts_with(&format!("line {number}. ")))
            };
            let first = (0..100).find(|number| seen(*number)).unwrap();
            assert!(
                (first..100).all(seen) && first < 99,
                "crash at write {nth}: {log:?}"
            );
            assert!(
                ticks.contains(&format!("tick {:03};", written - 1)),
                "crash at write {nth}: {ticks}"
            );
        });
        let page = house.sim.supervision();
        crashes += page.child(1).unwrap().restarts;
    }
    assert!(crashes > 60, "only {crashes} of the planned crashes came");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let trace = |seed| {
        let mut house = House::new(seed);
        house.run(|ctx| async move {
            let queen = console(&ctx).await.queen().await;
            for i in 0..20 {
                queen.echo("/log/queen.log", &i.to_string()).await.unwrap();
                queen.ls("/proc").await.unwrap();
            }
        });
        assert_ne!(house.sim.run_for(Duration::from_millis(1)), Outcome::Reached);
        house.sim.trace_hash()
    };
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
}
