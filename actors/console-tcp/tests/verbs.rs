//! What a client that has authenticated is told: verbs, refusals, frames, streams.

mod support;

use std::time::Duration;

use netstack::sim::Weather;
use ninep::Errno;
use protocol::b64;
use protocol::chunk::Reassembler;

use support::client::frame;
use support::{Net, Setting, play};

fn fair<F: Future<Output = ()> + 'static>(
    script: impl Fn(Net) -> F + Send + Sync + 'static,
) -> support::door::World {
    play(Setting::default(), script).0
}

#[test]
fn the_transcript_of_wire_9_1() {
    let world = fair(|net| async move {
        let mut client = net.queen().await;
        assert_eq!(
            client.ask("ECHO /log/queen.log hello-one").await,
            "OK ECHO path=/log/queen.log bytes=9"
        );
        let (ack, lines) = client.stream("CAT /log/queen.log").await;
        assert_eq!(
            (&ack[..], lines),
            (
                "OK CAT path=/log/queen.log data=hello-one",
                vec!["hello-one".to_owned()]
            )
        );
        let (ack, lines) = client.stream("cat /proc/lifecycle/state").await;
        assert_eq!(ack, "OK CAT path=/proc/lifecycle/state data=state=ONLINE");
        assert_eq!(lines, ["state=ONLINE"]);
        let (ack, lines) = client.stream("LS /proc").await;
        assert_eq!(
            (&ack[..], lines),
            (
                "OK LS path=/proc entries=3",
                ["9p", "boot", "lifecycle"].map(str::to_owned).to_vec()
            )
        );
        assert_eq!(client.ask("quit").await, "OK QUIT");
        assert_eq!(net.world.clients(), 0, "its session ended before it was told so");
        assert_eq!(client.next().await, None);
    });
    assert_eq!((world.clients(), world.state().lost.len()), (0, 0));
}

#[test]
fn every_verb_has_its_answer() {
    let world = fair(|net| async move {
        let mut client = net.queen().await;
        assert_eq!(client.ask("PING").await, "OK PING reply=pong");
        assert_eq!(client.line().await, "PONG");
        assert_eq!(client.ask("HELP").await, "OK HELP");
        assert_eq!(client.line().await, "Commands:");
        while !client.line().await.contains(" quit ") {}
        assert_eq!(
            client.ask("TEST").await,
            "ERR TEST reason=policy detail=host-only"
        );
        assert_eq!(client.ask("CACHELOG 4").await, "OK CACHELOG");
        for (line, ack, text) in [
            (
                "BI",
                "OK BOOTINFO",
                "[bi] domains=3 degraded=no restarts=0 host_uptime_ms=",
            ),
            (
                "CAPS",
                "OK CAPS",
                "[caps] domain=console-tcp links=net:net:2048,console-ninedoor:ninedoor:8192 port=31337",
            ),
            ("MEM", "OK MEM", "[mem] sessions=1/24 session_buffer_bytes="),
            ("NETTEST", "OK NETTEST", "[net-selftest] door=ok door_us="),
        ] {
            assert_eq!(client.ask(line).await, ack);
            let line = client.line().await;
            assert!(line.starts_with(text), "{line}");
        }
        assert_eq!(client.ask("NETSTATS").await, "OK NETSTATS");
        for beginning in [
            "netstats: frames_received=",
            "netstats: accepted=1 ",
            "netstats: held=1 ",
            "netstats: authenticated=1 ",
        ] {
            let line = client.line().await;
            assert!(line.starts_with(beginning), "{line}");
        }
        assert!(
            client
                .line()
                .await
                .starts_with("nettest: enabled=yes running=no last=ok door_us=")
        );
        let spawn = r#"{"spawn":"heartbeat","ticks":5}"#;
        assert_eq!(
            client.ask(&format!("SPAWN {spawn}")).await,
            format!("OK SPAWN payload={spawn}")
        );
        assert_eq!(client.ask("KILL worker-1").await, "OK KILL id=worker-1");
        client.ask("ECHO /log/queen.log one").await;
        let (ack, lines) = client.stream("LOG").await;
        assert_eq!((&ack[..], lines), ("OK LOG", vec!["one".to_owned()]));
        let (ack, lines) = client.stream("TAIL /worker/worker-1/telemetry").await;
        assert_eq!(ack, "OK TAIL path=/worker/worker-1/telemetry");
        assert_eq!(lines, ["{\"tick\":1}", "{\"tick\":2}"]);
        let (ack, lines) = client.stream("TAIL /log/queen.log").await;
        assert_eq!((&ack[..], lines.len()), ("OK TAIL path=/log/queen.log", 1));
    });
    let written: Vec<String> = world
        .state()
        .written
        .iter()
        .map(|(path, text)| format!("{path} {text}"))
        .collect();
    assert_eq!(
        written,
        [
            r#"/queen/ctl {"spawn":"heartbeat","ticks":5}"#,
            r#"/queen/ctl {"kill":"worker-1"}"#,
            "/log/queen.log one",
        ]
    );
}

#[test]
fn refusals_say_what_was_wrong() {
    let (world, counters) = play(Setting::default(), |net| async move {
        let mut client = net.queen().await;
        let long = "a".repeat(95);
        let deep = format!("/{}", ["a"; 9].join("/"));
        for (line, answer) in [
            (
                "CAT /nope",
                "ERR CAT reason=policy detail=invalid-path path=/nope error=invalid path",
            ),
            (
                "CAT /log",
                "ERR CAT reason=policy detail=invalid-path path=/log error=invalid path",
            ),
            (
                "LS /nope/x",
                "ERR LS reason=policy detail=invalid-path path=/nope/x error=invalid path",
            ),
            (
                "LS /proc/boot",
                "ERR LS reason=policy detail=invalid-path path=/proc/boot error=invalid path",
            ),
            (
                "LS /proc/",
                "ERR LS reason=policy detail=invalid-path path=/proc/ error=invalid path",
            ),
            (
                "CAT proc/boot",
                "ERR CAT reason=policy detail=invalid-path path=proc/boot error=invalid path",
            ),
            (
                "CAT /proc/../boot",
                "ERR CAT reason=policy detail=invalid-path path=/proc/../boot error=invalid path",
            ),
            (
                &format!("CAT {deep}"),
                &format!("ERR CAT reason=policy detail=invalid-path path={deep} error=invalid path"),
            ),
            (
                "CAT /worker/worker-1/telemetry",
                "ERR CAT reason=policy detail=invalid-path path=/worker/worker-1/telemetry error=invalid path",
            ),
            (
                "TAIL /nope",
                "ERR TAIL reason=policy detail=invalid-path path=/nope",
            ),
            (
                "TAIL /proc/boot",
                "ERR TAIL reason=policy detail=invalid-path path=/proc/boot",
            ),
            (
                "TAIL /worker/worker-2/telemetry",
                "ERR TAIL reason=policy detail=invalid-path path=/worker/worker-2/telemetry error=invalid path",
            ),
            (
                "ECHO /proc/boot x",
                "ERR ECHO reason=policy detail=denied path=/proc/boot error=EPERM",
            ),
            (
                r#"ECHO /queen/ctl {"spawn":"unicorn"}"#,
                "ERR ECHO reason=policy detail=invalid-payload path=/queen/ctl error=invalid payload",
            ),
            (
                r#"SPAWN {"kill":"worker-1"}"#,
                "ERR SPAWN reason=policy detail=invalid-payload error=invalid payload",
            ),
            (
                "KILL worker-999",
                "ERR KILL reason=policy detail=invalid-path error=invalid path",
            ),
            (
                r#"KILL "}"#,
                "ERR KILL reason=policy detail=invalid-path error=invalid path",
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
                &format!("CAT /{long}a"),
                "ERR PARSE reason=policy detail=argument path exceeds allowed length",
            ),
            ("PING\nPING", "ERR PARSE reason=policy detail=embedded newline"),
            (
                "ECHO /log/queen.log x\n",
                "ERR PARSE reason=policy detail=empty command",
            ),
        ] {
            assert_eq!(client.ask(line).await, answer, "after {line:?}");
        }
        let answer = client.ask(&format!("CAT /{long}")).await;
        assert_eq!(
            answer,
            format!("ERR CAT reason=policy detail=invalid-path path=/{long} error=invalid path")
        );
    });
    assert_eq!(world.state().written, []);
    // All but the seven that NineDoor has refused, and counted.
    assert_eq!(counters.refusals, [0, 0, 0, 17]);
}

#[test]
fn errors_of_ninedoor_keep_their_meaning() {
    fair(|net| async move {
        let mut client = net.authenticated().await;
        for (errno, answer) in [
            (127, "ERR ATTACH reason=quota detail=expired"),
            (52, "ERR ATTACH reason=quota detail=invalid-claims"),
            (53, "ERR ATTACH reason=policy detail=invalid-claims"),
            (
                108,
                "ERR ATTACH reason=policy detail=lifecycle-denied state=ONLINE",
            ),
            (
                87,
                "ERR ATTACH reason=busy detail=sessions error=too many sessions",
            ),
            (
                121,
                "ERR ATTACH reason=busy detail=unavailable error=owner restarting",
            ),
        ] {
            net.world.state().refuses = Some(Errno::from_raw(errno));
            assert_eq!(client.ask("ATTACH worker-gpu good").await, answer);
        }
        net.world.state().refuses = None;
        assert_eq!(
            client.ask("ATTACH WORKER good").await,
            "OK ATTACH role=worker-heartbeat"
        );
    });
}

#[test]
fn before_attach_only_the_free_verbs_work_and_a_worker_is_no_queen() {
    fair(|net| async move {
        let mut client = net.authenticated().await;
        for line in [
            "LS /",
            "CAT /proc/boot",
            "TAIL /x",
            "LOG",
            "ECHO /log/queen.log x",
            "SPAWN {}",
            "KILL worker-1",
        ] {
            let verb = line.split(' ').next().unwrap();
            assert_eq!(
                client.ask(line).await,
                format!("ERR {verb} reason=policy detail=unauthenticated")
            );
        }
        assert_eq!(client.ask("PING").await, "OK PING reply=pong");
        client.line().await;
        assert_eq!(
            client.ask("ATTACH drone x").await,
            "ERR ATTACH reason=policy detail=invalid-role"
        );
        assert_eq!(
            client.ask("ATTACH worker-heartbeat good").await,
            "OK ATTACH role=worker-heartbeat"
        );
        for verb in ["LOG", "SPAWN {}", "KILL worker-1"] {
            let answer = client.ask(verb).await;
            assert!(
                answer.ends_with(" reason=policy detail=unauthenticated"),
                "{answer}"
            );
        }
        // Its own telemetry is its own over 9P; here it may write to sidecars only.
        assert_eq!(
            client.ask("ECHO /worker/worker-1/telemetry x").await,
            "ERR ECHO reason=policy detail=denied path=/worker/worker-1/telemetry error=EPERM"
        );
        assert!(client.stream("CAT /proc/boot").await.0.starts_with("OK CAT"));
    });
}

#[test]
fn failed_attaches_are_limited_and_detach() {
    fair(|net| async move {
        let ms = Duration::from_millis;
        let mut client = net.queen().await;
        assert_eq!(
            client.ask("ATTACH queen forged").await,
            "ERR ATTACH reason=policy detail=denied"
        );
        assert_eq!(
            client.ask("CAT /proc/boot").await,
            "ERR CAT reason=policy detail=unauthenticated"
        );
        let throttled = client.ask("ATTACH queen ").await;
        assert!(
            throttled.starts_with("ERR ATTACH reason=quota detail=throttled delay_ms=2"),
            "{throttled}"
        );
        client.sleep(ms(250)).await;
        assert_eq!(
            client.ask("ATTACH queen forged").await,
            "ERR ATTACH reason=policy detail=denied"
        );
        client.sleep(ms(500)).await;
        let limited = client.ask("ATTACH queen forged").await;
        assert_eq!(
            limited,
            "ERR ATTACH reason=quota detail=rate-limited delay_ms=90000"
        );
        client.sleep(ms(1000)).await;
        assert_eq!(client.ask("ATTACH queen ").await, "OK ATTACH role=queen");
        assert_eq!(
            client.ask("ATTACH queen forged").await,
            "ERR ATTACH reason=policy detail=denied",
            "forgiven"
        );
        // Another session is not concerned.
        net.queen().await;
    });
}

#[test]
fn frames_of_every_wrong_length() {
    fair(|net| async move {
        let mut client = net.queen().await;
        for size in [2305, 8188, 8189, 8256 + 32, 100_000] {
            client.send_frame(&vec![b'x'; size]).await;
            assert_eq!(client.line().await, "ERR FRAME reason=invalid-length", "{size}");
            assert_eq!(client.ask("PING").await, "OK PING reply=pong");
            client.line().await;
        }
        let longest = format!("ECHO /log/queen.log {}", "p".repeat(2048));
        assert_eq!(
            client.ask(&longest).await,
            "OK ECHO path=/log/queen.log bytes=2048"
        );
        let over = client.ask(&(longest + "p")).await;
        assert_eq!(
            over,
            "ERR PARSE reason=policy detail=argument payload exceeds allowed length"
        );
        for total in 0..4_u32 {
            let mut client = net.queen().await;
            client.raw(&total.to_le_bytes()).await;
            assert_eq!(client.next().await, None, "{total}");
        }
        client.send_frame(b"PI\xffNG").await;
        assert_eq!(client.next().await, None);
    });
}

#[test]
fn frames_arrive_in_any_pieces_and_are_answered_in_order() {
    fair(|net| async move {
        let mut client = net.connect().await;
        let mut bytes = Vec::new();
        for line in [&format!("AUTH {}", support::TOKEN)[..], "ATTACH queen ", "PING"] {
            bytes.extend(frame(line.as_bytes()));
        }
        client.raw(&bytes).await;
        for answer in ["OK AUTH", "OK ATTACH role=queen", "OK PING reply=pong", "PONG"] {
            assert_eq!(client.line().await, answer);
        }
        for byte in frame(b"PING") {
            client.raw(&[byte]).await;
            client.sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(client.line().await, "OK PING reply=pong");
        client.line().await;
        let mut burst = Vec::new();
        for n in 0..500 {
            burst.extend(frame(
                format!("ECHO /log/queen.log {}", "x".repeat(1 + n % 90)).as_bytes(),
            ));
        }
        client.raw(&burst).await;
        for n in 0..500 {
            assert_eq!(
                client.line().await,
                format!("OK ECHO path=/log/queen.log bytes={}", 1 + n % 90)
            );
        }
    });
}

/// The bytes of a file as a client puts them together.
fn received(lines: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut records = Reassembler::new();
    for line in lines {
        match line.strip_prefix(b64::PREFIX) {
            Some(digits) => bytes.extend_from_slice(b64::decode(digits, &mut [0; 256]).unwrap()),
            None => {
                if let Some(record) = records.push(line).unwrap() {
                    bytes.extend_from_slice(record.as_bytes());
                    bytes.push(b'\n');
                }
            }
        }
    }
    bytes
}

#[test]
fn files_of_every_kind_arrive_whole_at_a_slow_reader() {
    let numbers: String = (0..20_000)
        .map(|n| format!("{n} {}\n", "x".repeat(n % 50)))
        .collect();
    let noise: Vec<u8> = (0..70_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let files: [(&str, Vec<u8>); 6] = [
        ("/f/numbers", numbers.into_bytes()),
        ("/f/noise", noise),
        ("/f/blank", b"a\n\n\nb\n".to_vec()),
        ("/f/ambiguous", b"OK CAT x\nEND\nERR y\nC1:z\nplain\n".to_vec()),
        (
            "/f/long",
            ["y".repeat(8188), "z".repeat(8192), "END".into(), String::new()]
                .join("\n")
                .into_bytes(),
        ),
        ("/f/empty", Vec::new()),
    ];
    fair(move |net| {
        let files = files.clone();
        async move {
            let mut client = net.queen().await;
            for (path, content) in &files {
                net.world.set(path, content);
                client.send(&format!("CAT {path}")).await;
                // Nothing is read for a while: the console has to wait, not to buffer.
                client.sleep(Duration::from_secs(5)).await;
                let ack = client.line().await;
                assert!(ack.starts_with(&format!("OK CAT path={path} data=")), "{ack}");
                assert!(ack.len() <= 128 + "OK CAT ".len(), "{ack}");
                let mut lines = Vec::new();
                while let Some(line) = client.next().await.filter(|line| line != "END") {
                    lines.push(line);
                }
                assert!(received(&lines) == *content, "{path}: {} lines", lines.len());
            }
            assert_eq!(client.stream("CAT /f/blank").await.1, ["a", "", "", "b"]);
        }
    });
}

#[test]
fn a_small_file_is_read_once() {
    let world = fair(|net| async move {
        let mut client = net.queen().await;
        let before = net.world.state().reads;
        client.stream("CAT /proc/boot").await;
        assert_eq!(net.world.state().reads - before, 2, "the content and the end");
    });
    assert_eq!(world.state().attached, ["queen"]);
}

#[test]
fn large_directories_are_listed_in_order() {
    fair(|net| async move {
        for n in 0..3000 {
            net.world.set(&format!("/many/{n:x}-{}", "n".repeat(n % 20)), b"");
        }
        net.world.set("/odd/END", b"");
        let mut client = net.queen().await;
        let (ack, lines) = client.stream("LS /many").await;
        assert_eq!(ack, "OK LS path=/many entries=3000");
        assert!(lines.len() == 3000 && lines.is_sorted(), "{}", lines.len());
        let (_, lines) = client.stream("LS /odd").await;
        assert_eq!(received(&lines), b"END\n");
    });
}

#[test]
fn many_clients_at_once_in_bad_weather() {
    for seed in 0..8 {
        let setting = Setting {
            seed,
            weather: Weather::foul(),
            ..Setting::default()
        };
        let (world, _) = play(setting, |net| async move {
            let clients = (0..16).map(|number| {
                let net = net.clone();
                async move {
                    let mut client = net.queen().await;
                    for step in 0..12 {
                        let bytes = 1 + number * 7 + step;
                        let answer = client
                            .ask(&format!("ECHO /log/queen.log {}", "s".repeat(bytes)))
                            .await;
                        assert_eq!(answer, format!("OK ECHO path=/log/queen.log bytes={bytes}"));
                        let (ack, lines) = client.stream("CAT /proc/lifecycle/state").await;
                        assert_eq!(ack, "OK CAT path=/proc/lifecycle/state data=state=ONLINE");
                        assert_eq!(lines, ["state=ONLINE"]);
                    }
                    assert_eq!(client.ask("QUIT").await, "OK QUIT");
                }
            });
            futures::future::join_all(clients).await;
        });
        assert_eq!(world.state().written.len(), 16 * 12);
        assert_eq!(world.clients(), 0);
    }
}
