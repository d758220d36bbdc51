//! The console as a client sees it: transcripts, refusals, hostile input.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::{Console, Hive};

#[test]
fn attach_write_read_quit() {
    let hive = Hive::any();
    let mut console = Console::authenticated(hive.addr(), hive.token());
    assert_eq!(console.ask("ATTACH queen "), "OK ATTACH role=queen");
    assert_eq!(
        console.ask("ECHO /log/queen.log hello-one"),
        "OK ECHO path=/log/queen.log bytes=9"
    );
    let (ack, lines) = console.stream("CAT /log/queen.log");
    assert!(ack.starts_with("OK CAT path=/log/queen.log data="), "{ack}");
    assert!(
        ack.contains("hello-one"),
        "the newest line is in the summary: {ack}"
    );
    assert!(lines.iter().any(|line| line == "hello-one"));
    let (ack, lines) = console.stream("CAT /proc/lifecycle/state");
    assert_eq!(ack, "OK CAT path=/proc/lifecycle/state data=state=ONLINE");
    assert_eq!(lines, ["state=ONLINE"]);
    assert_eq!(console.ask("quit"), "OK QUIT");
    assert_eq!(console.closed_by_server(), (vec![], true));
}

#[test]
fn ping_answers_before_and_after_attach() {
    let hive = Hive::any();
    let mut console = Console::authenticated(hive.addr(), hive.token());
    for _ in 0..2 {
        assert_eq!(console.ask("PING"), "OK PING reply=pong");
        assert_eq!(console.receive(), "PONG");
        console.ask("ATTACH queen ");
    }
}

#[test]
fn several_frames_in_one_segment_and_one_frame_in_many() {
    let hive = Hive::any();
    let mut console = Console::connect(hive.addr()).unwrap();
    let mut bytes = Vec::new();
    for line in [&format!("AUTH {}", hive.token()), "ATTACH queen ", "PING"] {
        bytes.extend_from_slice(&(line.len() as u32 + 4).to_le_bytes());
        bytes.extend_from_slice(line.as_bytes());
    }
    console.send_raw(&bytes).unwrap();
    for expected in ["OK AUTH", "OK ATTACH role=queen", "OK PING reply=pong", "PONG"] {
        assert_eq!(console.receive(), expected);
    }
    for byte in [8_u8, 0, 0, 0, b'P', b'I', b'N', b'G'] {
        console.send_raw(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(console.receive(), "OK PING reply=pong");
}

#[test]
fn two_hundred_pipelined_commands_are_all_answered_in_order() {
    let hive = Hive::any();
    let mut console = hive.queen();
    for n in 0..200 {
        console.send(&format!("ECHO /log/queen.log pipelined-{}", "x".repeat(n % 10)));
    }
    for n in 0..200 {
        assert_eq!(
            console.receive(),
            format!("OK ECHO path=/log/queen.log bytes={}", 10 + n % 10)
        );
    }
}

#[test]
fn listings_are_sorted_and_name_what_exists() {
    let hive = Hive::any();
    let mut console = hive.queen();
    for (path, names) in [
        ("/", &["log", "proc", "queen", "shard", "worker"][..]),
        ("/proc", &["9p", "boot", "lifecycle", "pressure", "root", "tests"]),
        (
            "/proc/tests",
            &["selftest_full.coh", "selftest_negative.coh", "selftest_quick.coh"],
        ),
        ("/queen", &["ctl", "lifecycle"]),
    ] {
        let listed = console.ls(path);
        assert!(listed.is_sorted(), "LS {path}: {listed:?}");
        for name in names {
            assert!(
                listed.iter().any(|listed| listed == name),
                "LS {path} lacks {name}: {listed:?}"
            );
        }
    }
    let (ack, lines) = console.stream("LS /proc/tests");
    assert_eq!(ack, format!("OK LS path=/proc/tests entries={}", lines.len()));
}

#[test]
fn refusals_say_what_was_wrong() {
    let hive = Hive::any();
    let mut console = hive.queen();
    for (line, answer) in [
        (
            "CAT /nope",
            "ERR CAT reason=policy detail=invalid-path path=/nope error=invalid path",
        ),
        (
            "LS /nope",
            "ERR LS reason=policy detail=invalid-path path=/nope error=invalid path",
        ),
        (
            "ECHO /queen/ctl {\"spawn\":\"unicorn\"}",
            "ERR ECHO reason=policy detail=invalid-payload path=/queen/ctl error=invalid payload",
        ),
        (
            "ECHO /queen/ctl {}",
            "ERR ECHO reason=policy detail=invalid-payload path=/queen/ctl error=invalid payload",
        ),
        (
            "ECHO /queen/lifecycle/ctl levitate",
            "ERR ECHO reason=policy detail=invalid-payload path=/queen/lifecycle/ctl error=invalid payload",
        ),
        (
            "FROB",
            "ERR PARSE reason=policy detail=unsupported console command",
        ),
        ("", "ERR PARSE reason=policy detail=empty command"),
        (
            "CAT",
            "ERR PARSE reason=policy detail=missing required argument: path",
        ),
        (
            "ECHO /log/queen.log",
            "ERR PARSE reason=policy detail=missing required argument: payload",
        ),
        (
            "KILL",
            "ERR PARSE reason=policy detail=missing required argument: worker",
        ),
        ("TEST", "ERR TEST reason=policy detail=host-only"),
    ] {
        assert_eq!(console.ask(line), answer, "after {line:?}");
    }
    assert!(
        console
            .ask("TAIL /nope")
            .starts_with("ERR TAIL reason=policy detail=invalid-path path=/nope")
    );
    assert!(
        console
            .ask("KILL worker-999")
            .starts_with("ERR KILL reason=policy detail=invalid-path")
    );
    let deep = format!("CAT /{}", ["a"; 9].join("/"));
    assert!(
        console
            .ask(&deep)
            .starts_with("ERR CAT reason=policy detail=invalid-path")
    );
    let long = format!("CAT /{}", "a".repeat(96));
    assert_eq!(
        console.ask(&long),
        "ERR PARSE reason=policy detail=argument path exceeds allowed length"
    );
    for path in ["/proc/../boot", "/./proc", "proc/boot", "/proc//boot"] {
        let answer = console.ask(&format!("CAT {path}"));
        assert!(
            answer.starts_with("ERR CAT reason=policy detail=invalid-path"),
            "CAT {path}: {answer}"
        );
    }
    assert!(
        console
            .ask("ECHO /proc/boot x")
            .starts_with("ERR ECHO reason=policy")
    );
    assert!(
        console
            .ask("ECHO /proc/tests/selftest_quick.coh x")
            .starts_with("ERR ECHO reason=policy")
    );
    assert_eq!(console.ask("PING"), "OK PING reply=pong");
}

#[test]
fn nothing_but_the_free_verbs_works_before_attach() {
    let hive = Hive::any();
    let mut console = Console::authenticated(hive.addr(), hive.token());
    for verb in ["LS", "CAT", "TAIL"] {
        let answer = console.ask(&format!("{verb} /proc/boot"));
        assert_eq!(answer, format!("ERR {verb} reason=policy detail=unauthenticated"));
    }
    let answer = console.ask("ECHO /log/queen.log x");
    assert_eq!(answer, "ERR ECHO reason=policy detail=unauthenticated");
    assert_eq!(
        console.ask("ATTACH drone x"),
        "ERR ATTACH reason=policy detail=invalid-role"
    );
    assert_eq!(
        console.ask("ATTACH worker-heartbeat "),
        "ERR ATTACH reason=policy detail=denied"
    );
}

#[test]
fn a_failed_reattach_leaves_no_authority_behind() {
    let hive = Hive::any();
    let mut console = hive.queen();
    assert!(console.ask("ATTACH worker-gpu forged").starts_with("ERR ATTACH "));
    assert_eq!(
        console.ask("CAT /proc/boot"),
        "ERR CAT reason=policy detail=unauthenticated"
    );
}

#[test]
fn a_wrong_token_is_told_and_closed_and_a_right_one_still_gets_in() {
    let hive = Hive::any();
    for wrong in [
        "AUTH wrong",
        "AUTH",
        "PING",
        "ATTACH queen ",
        &format!("AUTH {}x", hive.token()),
    ] {
        let mut console = Console::connect(hive.addr()).unwrap();
        console.send(wrong);
        let (words, closed) = console.closed_by_server();
        assert!(closed, "{wrong:?} did not close the connection");
        assert!(
            words.len() == 1 && words[0].starts_with("ERR AUTH reason="),
            "{wrong:?} was answered {words:?}"
        );
    }
    let begun = Instant::now();
    drop(hive.queen());
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "a right token waited {:?}",
        begun.elapsed()
    );
}

#[test]
fn every_wrong_length_before_authentication_closes() {
    let hive = Hive::any();
    for total in [0_u32, 1, 2, 3, 261, 8192, 8193, u32::MAX] {
        let mut console = Console::connect(hive.addr()).unwrap();
        console.send_raw(&total.to_le_bytes()).unwrap();
        // The server may close while these bytes are still on their way.
        let _ = console.send_raw(&[b'x'; 64]);
        let (words, closed) = console.closed_by_server();
        assert!(
            closed,
            "a frame of {total} bytes before AUTH left the connection open"
        );
        assert!(words.iter().all(|word| word.starts_with("ERR ")), "{words:?}");
    }
}

#[test]
fn an_oversized_frame_is_refused_and_the_session_goes_on() {
    let hive = Hive::any();
    let mut console = hive.queen();
    for size in [2305_usize, 8188, 8189, 8256 + 32, 100_000] {
        console.send_frame(&vec![b'x'; size]);
        assert_eq!(
            console.receive(),
            "ERR FRAME reason=invalid-length",
            "a payload of {size} bytes"
        );
        assert_eq!(console.ask("PING"), "OK PING reply=pong");
        assert_eq!(console.receive(), "PONG");
    }
    for total in [0_u32, 1, 2, 3] {
        let mut console = hive.queen();
        console.send_raw(&total.to_le_bytes()).unwrap();
        assert!(
            console.closed_by_server().1,
            "a declared length of {total} left the connection open"
        );
    }
}

#[test]
fn the_longest_line_and_the_longest_payload_are_accepted() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let payload = "p".repeat(2048);
    let answer = console.ask(&format!("ECHO /log/queen.log {payload}"));
    assert_eq!(answer, "OK ECHO path=/log/queen.log bytes=2048");
    assert!(console.cat("/log/queen.log").contains(&payload));
    let answer = console.ask(&format!("ECHO /log/queen.log {payload}p"));
    assert_eq!(
        answer,
        "ERR PARSE reason=policy detail=argument payload exceeds allowed length"
    );
}

#[test]
fn ambiguous_lines_arrive_as_groups_that_a_client_can_verify() {
    let hive = Hive::any();
    let mut console = hive.queen();
    for line in ["OK LIAR detail", "ERR LIAR", "END", "C1:0000:0001:x:y"] {
        console.ask(&format!("ECHO /log/queen.log {line}"));
    }
    let lines = console.cat("/log/queen.log");
    assert!(
        lines
            .iter()
            .all(|line| !line.starts_with("OK LIAR") && !line.starts_with("ERR LIAR"))
    );
    let groups: Vec<_> = lines.iter().filter(|line| line.starts_with("C1:0000:")).collect();
    assert!(groups.len() >= 4, "{groups:?}");
}

#[test]
fn bytes_that_are_no_text_close_the_connection() {
    let hive = Hive::any();
    let mut console = hive.queen();
    console.send_frame(&[b'P', 0xff, 0xfe]);
    assert!(console.closed_by_server().1);
}

#[test]
fn an_embedded_newline_executes_nothing() {
    let hive = Hive::any();
    let mut console = hive.queen();
    for line in [
        "PING\nPING",
        "PING\n",
        "ECHO /log/queen.log smuggled\nPING",
        "PING\r\nPING",
    ] {
        let answer = console.ask(line);
        assert!(
            answer.starts_with("ERR PARSE reason=policy"),
            "{line:?} gave {answer:?}"
        );
    }
    assert!(
        !console
            .cat("/log/queen.log")
            .iter()
            .any(|line| line.contains("smuggled"))
    );
}

#[test]
fn eight_mebibytes_of_garbage_do_no_harm() {
    let hive = Hive::any();
    let mut garbage = Vec::with_capacity(8 << 20);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while garbage.len() < 8 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        garbage.extend_from_slice(&state.to_le_bytes());
    }
    let mut stranger = Console::connect(hive.addr()).unwrap();
    // The server closes at the first impossible frame; the rest cannot be sent.
    let _ = stranger.send_raw(&garbage);
    let mut insider = hive.queen();
    let _ = insider.send_raw(&garbage);
    insider.finish();
    assert!(insider.closed_by_server().1);
    assert_eq!(hive.queen().ask("PING"), "OK PING reply=pong");
}

#[test]
fn half_a_frame_then_silence_is_cut_off_by_the_authentication_timeout() {
    let hive = Hive::any();
    let mut console = Console::connect(hive.addr()).unwrap();
    console.send_raw(&[30, 0, 0, 0, b'A', b'U']).unwrap();
    let begun = Instant::now();
    assert!(console.closed_by_server().1);
    let waited = begun.elapsed();
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(10)).contains(&waited),
        "closed after {waited:?}"
    );
}

#[test]
fn a_flood_of_silent_connections_keeps_nobody_out() {
    let hive = Hive::any();
    let mut settled = hive.queen();
    let flood: Vec<_> = (0..200)
        .filter_map(|_| Console::connect(hive.addr()).ok())
        .collect();
    assert_eq!(settled.ask("PING"), "OK PING reply=pong");
    let begun = Instant::now();
    let mut newcomer = hive.queen();
    assert_eq!(newcomer.ask("PING"), "OK PING reply=pong");
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "a newcomer waited {:?}",
        begun.elapsed()
    );
    drop(flood);
}

#[test]
fn a_client_that_never_pauses_does_not_keep_others_waiting() {
    let hive = Hive::any();
    let mut patient = hive.queen();
    let (answered, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // NineDoor answers this one by itself.
        scope.spawn(|| {
            let mut restless = hive.queen();
            while !over.load(Ordering::Relaxed) {
                restless.cat("/proc/boot");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        while answered.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        let meanwhile: Vec<u64> = (0..20)
            .map(|_| {
                let before = answered.load(Ordering::Relaxed);
                // This is the queen's, one domain further.
                patient.cat("/proc/lifecycle/state");
                answered.load(Ordering::Relaxed) - before
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        assert!(
            meanwhile.iter().sum::<u64>() < 20 * 20,
            "answers to the one for each answer to the other: {meanwhile:?}"
        );
    });
}

#[test]
fn sessions_that_vanish_leave_nothing_behind() {
    let hive = Hive::any();
    let mut watcher = hive.queen();
    let active = |watcher: &mut Console| -> String { watcher.cat("/proc/9p/session/active").join("") };
    let before = active(&mut watcher);
    for round in 0..100 {
        let mut console = hive.queen();
        if round % 2 == 0 {
            console.send("CAT /log/queen.log");
        }
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while active(&mut watcher) != before {
        assert!(
            Instant::now() < deadline,
            "before: {before}; after: {}",
            active(&mut watcher)
        );
        thread::sleep(Duration::from_millis(50));
    }
}
