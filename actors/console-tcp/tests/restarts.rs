//! NineDoor dies, hangs and comes back; sessions stay.

mod support;

use std::time::Duration;

use runtime::fault::Fault;
use support::{Setting, play};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_request_in_flight_is_answered_at_once_and_the_session_goes_on() {
    for seed in 0..20 {
        let setting = Setting {
            seed,
            ..Setting::default()
        };
        let (world, counters) = play(setting, |net| async move {
            let mut client = net.queen().await;
            let begun = net.ctx.now();
            let answer = client.ask("ECHO /log/queen.log die").await;
            assert_eq!(
                answer,
                "ERR ECHO reason=busy detail=unavailable path=/log/queen.log error=owner restarting"
            );
            assert!(net.ctx.now().since(begun) < SECOND / 20);
            let begun = net.ctx.now();
            loop {
                let answer = client.ask("ECHO /log/queen.log again").await;
                if answer == "OK ECHO path=/log/queen.log bytes=5" {
                    break;
                }
                assert!(answer.contains("reason=busy detail=unavailable"), "{answer}");
            }
            assert!(net.ctx.now().since(begun) < SECOND / 10);
            assert_eq!(net.world.content("/log/queen.log"), "again\n");
        });
        assert_eq!(world.state().attached, ["queen", "queen"], "seed {seed}");
        assert_eq!((counters.custom[6], counters.custom[7]), (2, 1));
    }
}

#[test]
fn idle_sessions_are_attached_again_by_themselves() {
    let (world, _) = play(Setting::default(), |net| async move {
        let mut queen = net.queen().await;
        let mut worker = net.authenticated().await;
        assert_eq!(
            worker.ask("ATTACH worker-gpu good").await,
            "OK ATTACH role=worker-gpu"
        );
        let mut nobody = net.authenticated().await;
        for _ in 0..3 {
            net.kill_door();
            net.sleep(SECOND / 10).await;
            assert_eq!(net.world.clients(), 2, "without a word from their clients");
        }
        assert_eq!(queen.stream("CAT /proc/boot").await.1.len(), 2);
        assert_eq!(worker.stream("CAT /proc/boot").await.1.len(), 2);
        assert_eq!(
            nobody.ask("LS /").await,
            "ERR LS reason=policy detail=unauthenticated"
        );
        drop((queen, worker, nobody));
        net.sleep(SECOND).await;
        assert_eq!(net.world.clients(), 0);
    });
    assert_eq!(world.state().lost.len(), 2);
}

#[test]
fn a_session_that_is_not_taken_back_is_detached() {
    play(Setting::default(), |net| async move {
        let mut client = net.queen().await;
        net.world.state().refuses = Some(ninep::Errno::EKEYEXPIRED);
        net.kill_door();
        net.sleep(SECOND).await;
        net.world.state().refuses = None;
        assert_eq!(
            client.ask("LS /").await,
            "ERR LS reason=policy detail=unauthenticated"
        );
        assert_eq!(client.ask("ATTACH queen ").await, "OK ATTACH role=queen");
    });
}

#[test]
fn a_session_that_is_not_taken_back_yet_is_tried_again() {
    play(Setting::default(), |net| async move {
        let mut client = net.queen().await;
        net.world.state().refuses = Some(ninep::Errno::EREMOTEIO);
        net.kill_door();
        net.sleep(SECOND).await;
        let answer = client.ask("LS /").await;
        assert_eq!(
            answer,
            "ERR LS reason=busy detail=unavailable path=/ error=owner restarting"
        );
        net.world.state().refuses = None;
        net.sleep(SECOND).await;
        assert_eq!(net.world.clients(), 1, "without a word from its client");
        assert!(client.stream("LS /").await.0.starts_with("OK LS"));
    });
}

#[test]
fn a_door_that_hangs_is_answered_for_in_time() {
    play(Setting::default(), |net| async move {
        net.world.set("/hang/file", b"x");
        net.world.state().hangs = Some("/hang".into());
        let mut client = net.queen().await;
        let mut other = net.queen().await;
        for _ in 0..3 {
            let begun = net.ctx.now();
            client.send("CAT /hang/file").await;
            // The others do not wait with it.
            assert_eq!(other.stream("CAT /proc/boot").await.1.len(), 2);
            assert!(net.ctx.now().since(begun) < SECOND / 10);
            let answer = client.line().await;
            assert_eq!(
                answer,
                "ERR CAT reason=busy detail=unavailable path=/hang/file error=owner restarting"
            );
            assert!(net.ctx.now().since(begun) < 2 * SECOND);
        }
        net.world.state().hangs = None;
        assert_eq!(client.stream("CAT /hang/file").await.1, ["x"]);
    });
}

#[test]
fn a_stream_that_breaks_off_says_so_and_does_not_pretend_to_end() {
    play(Setting::default(), |net| async move {
        net.world.set("/big", "0123456789\n".repeat(30_000).as_bytes());
        let mut client = net.queen().await;
        client.send("CAT /big").await;
        net.sleep(SECOND).await;
        net.kill_door();
        net.sleep(SECOND).await;
        assert!(client.line().await.starts_with("OK CAT path=/big data="));
        let mut last = client.line().await;
        while last == "0123456789" {
            last = client.line().await;
        }
        assert_eq!(
            last,
            "ERR CAT reason=busy detail=unavailable path=/big error=owner restarting"
        );
        assert_eq!(
            client.stream("CAT /proc/boot").await.1.len(),
            2,
            "and nothing of it is left over"
        );
    });
}

#[test]
fn attach_waits_a_little_for_a_door_that_is_away_and_nothing_else_does() {
    let setting = Setting {
        absence: SECOND / 2,
        ..Setting::default()
    };
    play(setting, |net| async move {
        let mut queen = net.queen().await;
        let mut client = net.authenticated().await;
        net.kill_door();
        net.sleep(SECOND / 10).await;
        let begun = net.ctx.now();
        let answer = queen.ask("LS /").await;
        assert_eq!(
            answer,
            "ERR LS reason=busy detail=unavailable path=/ error=owner restarting"
        );
        assert_eq!(queen.ask("NETTEST").await, "OK NETTEST");
        assert_eq!(queen.line().await, "[net-selftest] door=unavailable");
        assert!(net.ctx.now().since(begun) < SECOND / 20);
        assert_eq!(client.ask("ATTACH queen ").await, "OK ATTACH role=queen");
        let waited = net.ctx.now().since(begun);
        assert!((SECOND * 3 / 10..SECOND / 2).contains(&waited), "{waited:?}");
    });
}

#[test]
fn attach_does_not_wait_for_ever() {
    let setting = Setting {
        absence: 10 * SECOND,
        ..Setting::default()
    };
    play(setting, |net| async move {
        let mut client = net.authenticated().await;
        net.kill_door();
        net.sleep(SECOND / 10).await;
        let begun = net.ctx.now();
        let answer = client.ask("ATTACH queen ").await;
        assert_eq!(
            answer,
            "ERR ATTACH reason=busy detail=unavailable error=owner restarting"
        );
        let waited = net.ctx.now().since(begun);
        assert!((SECOND..SECOND * 3 / 2).contains(&waited), "{waited:?}");
        // It is no failure of the client's: it may try again at once.
        assert!(client.ask("ATTACH queen ").await.contains("unavailable"));
        net.sleep(10 * SECOND).await;
        assert_eq!(client.ask("ATTACH queen ").await, "OK ATTACH role=queen");
    });
}

#[test]
fn a_console_that_dies_lets_its_clients_know_and_serves_again() {
    play(Setting::default(), |net| async move {
        let mut client = net.queen().await;
        net.world.expect_restart("console-tcp");
        net.ctx.inject_fault("console-tcp", Fault::Panic).unwrap();
        assert_eq!(client.next().await, None);
        drop(client);
        net.sleep(SECOND / 10).await;
        net.queen().await;
        assert_eq!(net.world.clients(), 1, "the old session went with the console");
    });
}
