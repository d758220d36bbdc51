//! Those who have not authenticated, and those who leave without a word.

mod support;

use std::time::Duration;

use support::{Net, Setting, TOKEN, play};

const SECOND: Duration = Duration::from_secs(1);

async fn closes(net: &Net, bytes: &[u8]) -> (Vec<String>, Duration) {
    let mut client = net.connect().await;
    client.raw(bytes).await;
    let begun = net.ctx.now();
    (client.rest().await, net.ctx.now().since(begun))
}

#[test]
fn a_wrong_first_line_is_told_later_and_later_and_a_right_one_never_waits() {
    let (world, counters) = play(Setting::default(), |net| async move {
        let mut waited = Vec::new();
        let long = format!("AUTH {TOKEN}x");
        let wrong = "AUTH ".to_owned() + &"?".repeat(TOKEN.len());
        for (line, reason) in [
            ("PING", "expected-token"),
            ("ATTACH queen ", "expected-token"),
            ("auth x", "expected-token"),
            ("AUTH", "invalid-length"),
            (&long, "invalid-length"),
            (&wrong, "invalid-token"),
            (&wrong, "invalid-token"),
            ("", "expected-token"),
        ] {
            let (words, time) = closes(&net, &support::client::frame(line.as_bytes())).await;
            assert_eq!(words, [format!("ERR AUTH reason={reason}")], "{line:?}");
            waited.push(time);
        }
        assert!(waited[0] < SECOND / 5 && waited.is_sorted(), "{waited:?}");
        assert!(
            waited[7] > SECOND * 3 / 2 && waited[7] < SECOND * 9 / 4,
            "{waited:?}"
        );
        let begun = net.ctx.now();
        net.queen().await;
        assert!(net.ctx.now().since(begun) < SECOND / 10);
        // The log has the first at once and the others in a few lines.
        net.sleep(130 * SECOND).await;
    });
    assert_eq!(counters.custom[1], 8);
    assert_eq!(counters.refusals, [0, 0, 0, 8]);
    let log = world.content("/log/queen.log");
    let failures = |line: &str| -> u32 {
        let rest = line
            .strip_prefix("console-auth outcome=deny reason=")
            .expect(line);
        rest.split("failures=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(log.lines().map(failures).sum::<u32>(), 8, "{log}");
    assert!((2..=6).contains(&log.lines().count()), "{log}");
    assert!(log.contains(" total=8\n"), "{log}");
    assert!(!log.contains(TOKEN));
}

#[test]
fn a_guesser_does_not_wash_the_log_away() {
    let (world, _) = play(Setting::default(), |net| async move {
        let end = net.ctx.now() + 600 * SECOND;
        let mut guesses = 0_u64;
        while net.ctx.now() < end {
            closes(&net, &support::client::frame(b"AUTH x")).await;
            guesses += 1;
        }
        assert!(
            (250..=320).contains(&guesses),
            "{guesses} in ten minutes from one guesser"
        );
    });
    let log = world.content("/log/queen.log");
    assert!((8..=20).contains(&log.lines().count()), "{}", log.lines().count());
}

#[test]
fn what_is_no_frame_closes_at_once() {
    let (_, counters) = play(Setting::default(), |net| async move {
        for total in [0_u32, 1, 2, 3, 261, 8192, 8193, u32::MAX] {
            let bytes: Vec<u8> = total.to_le_bytes().into_iter().chain([b'x'; 300]).collect();
            let (words, time) = closes(&net, &bytes).await;
            assert_eq!(words, ["ERR AUTH reason=invalid-length"], "{total}");
            assert!(time < SECOND / 10, "{time:?}");
        }
        // Half of a megabyte that nobody reads does not keep the last word from arriving.
        let (words, _) = closes(&net, &vec![0xa5; 1 << 19]).await;
        assert!(
            words.is_empty() || words == ["ERR AUTH reason=invalid-length"],
            "{words:?}"
        );
        net.queen().await;
    });
    assert_eq!(counters.custom[1], 9);
}

#[test]
fn silence_is_closed_after_five_seconds() {
    let (_, counters) = play(Setting::default(), |net| async move {
        for bytes in [&[][..], &[30, 0, 0, 0, b'A', b'U']] {
            let (words, time) = closes(&net, bytes).await;
            assert!(words.is_empty());
            assert!((SECOND * 9 / 2..SECOND * 11 / 2).contains(&time), "{time:?}");
        }
    });
    assert_eq!(counters.custom[2], 2);
}

#[test]
fn a_flood_evicts_the_oldest_and_keeps_nobody_out() {
    let (_, counters) = play(Setting::default(), |net| async move {
        let mut settled = net.queen().await;
        let mut flood = Vec::new();
        for _ in 0..50 {
            flood.push(net.connect().await);
        }
        assert_eq!(settled.ask("PING").await, "OK PING reply=pong");
        settled.line().await;
        let begun = net.ctx.now();
        net.queen().await;
        assert!(net.ctx.now().since(begun) < SECOND / 10);
        // The last fifteen are still there, the others are not.
        for (number, mut client) in flood.into_iter().enumerate() {
            client.send(&format!("AUTH {TOKEN}")).await;
            let answer = client.next().await;
            assert_eq!(answer.is_some(), number >= 35, "{number}");
            assert_eq!(answer.as_deref(), (number >= 35).then_some("OK AUTH"));
        }
    });
    assert_eq!(counters.custom[3], 35);
}

#[test]
fn a_flood_of_guesses_pushes_out_guesses_and_not_who_has_yet_to_speak() {
    let (_, counters) = play(Setting::default(), |net| async move {
        let mut slow = net.connect().await;
        let mut guesses = Vec::new();
        for _ in 0..60 {
            let mut guess = net.connect().await;
            guess.send(&("AUTH ".to_owned() + &"?".repeat(TOKEN.len()))).await;
            guesses.push(guess);
        }
        assert_eq!(slow.ask(&format!("AUTH {TOKEN}")).await, "OK AUTH");
    });
    // One place was the slow one's, the others' guests went as new ones came.
    assert!(
        (40..=45).contains(&counters.custom[3]),
        "{} evicted",
        counters.custom[3]
    );
}

#[test]
fn when_all_sessions_are_taken_a_right_token_is_told_so() {
    let setting = Setting::with(|config| config.sessions = 16);
    let (world, counters) = play(setting, |net| async move {
        let mut clients = Vec::new();
        for _ in 0..16 {
            clients.push(net.queen().await);
        }
        let (words, _) = closes(&net, &support::client::frame(format!("AUTH {TOKEN}").as_bytes())).await;
        assert_eq!(
            words,
            ["ERR AUTH reason=busy detail=sessions error=too many sessions"]
        );
        for client in &mut clients {
            assert_eq!(client.ask("PING").await, "OK PING reply=pong");
        }
        clients.truncate(15);
        net.sleep(SECOND / 10).await;
        net.queen().await;
        drop(clients);
        net.sleep(SECOND).await;
    });
    assert_eq!(counters.refusals, [1, 0, 0, 0]);
    assert_eq!((world.clients(), world.state().lost.len()), (0, 17));
}

#[test]
fn a_broken_connection_is_reported_and_a_quit_is_not() {
    let (world, counters) = play(Setting::default(), |net| async move {
        let mut polite = net.queen().await;
        assert_eq!(polite.ask("QUIT").await, "OK QUIT");
        let rude = net.queen().await;
        drop(rude);
        let mut worker = net.authenticated().await;
        worker.ask("ATTACH worker-gpu good").await;
        // Half a frame, then the end of the stream.
        worker.raw(&[50, 0, 0, 0, b'L']).await;
        worker.stream.shutdown();
        assert_eq!(worker.next().await, None);
        let mut garbled = net.queen().await;
        garbled.send_frame(b"\xff").await;
        assert_eq!(garbled.next().await, None);
        drop(net.authenticated().await);
        net.sleep(SECOND).await;
    });
    assert_eq!(world.state().lost, ["queen", "worker-gpu", "queen"]);
    assert_eq!(world.clients(), 0);
    assert_eq!(
        counters.custom[4], 4,
        "the one that had not attached is lost as well"
    );
}

#[test]
fn what_was_sent_before_the_end_is_still_done() {
    let (world, _) = play(Setting::default(), |net| async move {
        let mut client = net.queen().await;
        for n in 0..100 {
            client.send(&format!("ECHO /log/queen.log {n}")).await;
        }
        client.stream.shutdown();
        let answers = client.rest().await;
        assert_eq!(answers.len(), 100);
    });
    assert_eq!(world.content("/log/queen.log").lines().count(), 100);
}

#[test]
fn an_idle_session_ends_and_one_that_is_used_does_not() {
    let setting = Setting::with(|config| config.idle_timeout = 60 * SECOND);
    let (world, _) = play(setting, |net| async move {
        let mut used = net.queen().await;
        let mut idle = net.queen().await;
        for _ in 0..4 {
            used.sleep(25 * SECOND).await;
            used.ask("PING").await;
            used.line().await;
        }
        assert_eq!(idle.next().await, None);
        // A byte now and then is traffic as well.
        for byte in support::client::frame(b"PING") {
            used.sleep(25 * SECOND).await;
            used.raw(&[byte]).await;
        }
        assert_eq!(used.line().await, "OK PING reply=pong");
        assert_eq!(used.line().await, "PONG");
        assert_eq!(used.ask("QUIT").await, "OK QUIT");
    });
    assert_eq!(world.state().lost, ["queen"]);
}

#[test]
fn a_reader_that_never_reads_does_not_hold_its_place_for_ever() {
    let setting = Setting::with(|config| config.idle_timeout = 30 * SECOND);
    let (world, _) = play(setting, |net| async move {
        net.world.set("/big", "line\n".repeat(100_000).as_bytes());
        let mut client = net.queen().await;
        client.send("CAT /big").await;
        net.sleep(120 * SECOND).await;
        assert_eq!(net.world.clients(), 0, "given up");
        net.queen().await;
    });
    assert_eq!(world.state().lost[0], "queen");
}

/// Bytes that are sometimes a frame, sometimes nearly one.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let words = [
        "ECHO ",
        "CAT ",
        "LS ",
        "TAIL ",
        "ATTACH ",
        "SPAWN ",
        "KILL ",
        "LOG",
        "HELP",
        "NETSTATS",
        "MEM",
        "BI",
        "/",
        "queen",
        "/log/queen.log",
        "/proc",
        "{\"spawn\":",
        "\n",
        "\0",
        "\u{e4}",
        " ",
        "good",
        "\u{1f980}",
    ];
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let mut line = String::new();
        for _ in 0..next(6) {
            line.push_str(words[next(words.len() as u64) as usize]);
        }
        let mut frame = support::client::frame(line.as_bytes());
        match next(600) {
            0 => frame[0] ^= next(255) as u8,
            1 => frame[1] = next(64) as u8,
            2 => frame.extend((0..next(9)).map(|_| b'~')),
            3 => frame = support::client::frame(&[0xff; 3]),
            _ => {}
        }
        bytes.extend(frame);
    }
    bytes
}

#[test]
fn no_bytes_do_any_harm() {
    let (_, counters) = play(Setting::default(), |net| async move {
        for seed in 0..120 {
            let client = if seed % 3 == 0 {
                net.connect().await
            } else {
                net.queen().await
            };
            let bytes = noise(seed);
            futures::future::join(
                async {
                    let _ = client.stream.write_all(&bytes).await;
                    client.stream.shutdown();
                },
                async {
                    // What comes back is left to the stack; the client only waits for the end.
                    let mut piece = [0; 4096];
                    while let Ok(1..) = client.stream.read(&mut piece).await {}
                },
            )
            .await;
        }
        net.sleep(30 * SECOND).await;
        assert_eq!(net.world.clients(), 0, "no session is left over");
        net.queen().await;
    });
    // Not all of it was refused before it was looked at.
    assert!(counters.custom[5] > 5_000, "{} commands", counters.custom[5]);
}
