use super::*;
use protocol::path::PathError;

fn path(text: &str) -> String {
    text.to_owned()
}

#[test]
fn every_verb() {
    let heartbeat = |ticks, ttl_s, ops| {
        Command::Spawn(Spawn::Heartbeat {
            ticks,
            budget: Budget { ttl_s, ops },
        })
    };
    for (line, expected) in [
        ("help", Command::Help),
        ("quit", Command::Quit),
        ("exit", Command::Quit),
        ("detach", Command::Detach),
        ("  ping  ", Command::Ping),
        ("log", Command::Log),
        (
            "attach queen",
            Command::Attach {
                role: Role::Queen,
                ticket: None,
            },
        ),
        (
            "login Worker T",
            Command::Attach {
                role: Role::WorkerHeartbeat,
                ticket: Some("T".into()),
            },
        ),
        ("ls /", Command::Ls { path: path("/") }),
        ("ls\t/proc", Command::Ls { path: path("/proc") }),
        (
            "cat /proc/boot",
            Command::Cat {
                path: path("/proc/boot"),
                out: None,
            },
        ),
        (
            "cat /x --out y.bin",
            Command::Cat {
                path: path("/x"),
                out: Some("y.bin".into()),
            },
        ),
        (
            "tail /log/queen.log",
            Command::Tail {
                path: path("/log/queen.log"),
                lines: None,
            },
        ),
        (
            "tail /log/queen.log 32",
            Command::Tail {
                path: path("/log/queen.log"),
                lines: Some(32),
            },
        ),
        (
            "echo a b > /f",
            Command::Echo {
                text: path("a b"),
                path: path("/f"),
            },
        ),
        (
            "echo > /f",
            Command::Echo {
                text: path(""),
                path: path("/f"),
            },
        ),
        ("spawn heartbeat ticks=5", heartbeat(5, None, None)),
        (
            "spawn worker ticks=5 ops=7 ttl_s=6",
            heartbeat(5, Some(6), Some(7)),
        ),
        (
            "spawn gpu gpu_id=GPU-0 mem_mb=4096 streams=1 ttl_s=120 budget_ops=5",
            Command::Spawn(Spawn::Gpu {
                gpu_id: "GPU-0".into(),
                mem_mb: 4096,
                streams: 1,
                ttl_s: 120,
                priority: 0,
                budget: Budget {
                    ttl_s: None,
                    ops: Some(5),
                },
            }),
        ),
        (
            "kill worker-1",
            Command::Kill {
                id: "worker-1".into(),
            },
        ),
        (
            "bind /a \"/b\"",
            Command::Bind {
                from: path("/a"),
                to: path("/b"),
            },
        ),
        (
            "mount logs /logs",
            Command::Mount {
                service: "logs".into(),
                at: path("/logs"),
            },
        ),
        ("lifecycle cordon", Command::Lifecycle(lifecycle::Command::Cordon)),
        (
            "test",
            Command::Test {
                mode: Mode::Quick,
                json: false,
                timeout: Duration::from_secs(30),
            },
        ),
        (
            "test --json --mode=full --timeout 120",
            Command::Test {
                mode: Mode::Full,
                json: true,
                timeout: Duration::from_secs(120),
            },
        ),
        ("tcp-diag", Command::TcpDiag { port: None }),
        ("tcp-diag 31338", Command::TcpDiag { port: Some(31338) }),
        (
            "telemetry push a.txt --device d-1",
            Command::TelemetryPush {
                file: "a.txt".into(),
                device: "d-1".into(),
            },
        ),
        (
            "telemetry push a.txt --device=d-1",
            Command::TelemetryPush {
                file: "a.txt".into(),
                device: "d-1".into(),
            },
        ),
        ("raw BI  x", Command::Raw { line: "BI  x".into() }),
    ] {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

#[test]
fn the_public_scripts_pool_bench() {
    let line = "pool bench path=/log/queen.log ops=64 batch=8 payload=pool inject_failures=1 inject_bytes=8 \
                exhaust=1 kind=telemetry";
    let Ok(Command::PoolBench(bench)) = parse(line) else {
        panic!("{:?}", parse(line))
    };
    assert_eq!(
        (bench.ops, bench.batch, bench.inject_failures, bench.exhaust),
        (64, 8, 1, 1)
    );
    assert_eq!(
        (bench.kind, bench.payload_bytes, bench.delay),
        (PoolKind::Telemetry, None, Duration::ZERO)
    );
}

#[test]
fn control_commands_become_the_wires_json() {
    for (line, json) in [
        (
            "spawn heartbeat ticks=100",
            r#"{"spawn":"heartbeat","ticks":100}"#,
        ),
        (
            "spawn heartbeat ticks=2 ttl_s=30 ops=9",
            r#"{"spawn":"heartbeat","ticks":2,"budget":{"ttl_s":30,"ops":9}}"#,
        ),
        (
            "spawn gpu gpu_id=GPU-0 mem_mb=1024 streams=1 ttl_s=60 priority=1",
            r#"{"spawn":"gpu","lease":{"gpu_id":"GPU-0","mem_mb":1024,"streams":1,"ttl_s":60,"priority":1}}"#,
        ),
    ] {
        let Ok(Command::Spawn(spawn)) = parse(line) else {
            panic!("{line}")
        };
        assert_eq!(spawn.request().render(&mut [0; 256]).unwrap(), json);
    }
}

#[test]
fn mistakes_name_what_was_expected() {
    for (line, expected) in [
        ("", "no command ``"),
        ("LS /", "no command `LS`"),
        ("lss /", "no command `lss`"),
        ("ls", "missing required argument: path"),
        ("ls /a /b", "unexpected argument `/b`"),
        ("ping now", "takes no arguments"),
        ("attach", "missing required argument: role"),
        ("attach king", "`king`"),
        ("attach queen t x", "`x`"),
        ("tail /f 0", "1 to 256"),
        ("tail /f 257", "1 to 256"),
        ("cat /f --out", "--out"),
        ("echo hello", "> <path>"),
        ("echo hello >", "missing required argument: path"),
        ("spawn", "role"),
        ("spawn heartbeat", "ticks"),
        ("spawn heartbeat ticks=0", "ticks must not be 0"),
        ("spawn heartbeat ticks=x", "invalid value for argument ticks: `x`"),
        ("spawn heartbeat ticks=1 ticks=2", "twice"),
        ("spawn heartbeat ticks=1 mem_mb=2", "unknown option mem_mb"),
        ("spawn heartbeat 5", "`5` is no key=value"),
        ("spawn gpu mem_mb=1 streams=1 ttl_s=1", "gpu_id"),
        ("bind /a", "missing"),
        ("lifecycle stop", "`stop`"),
        ("test --mode smp", "`smp`"),
        ("test --timeout 121", "`121`"),
        ("test --timeout", "--timeout"),
        ("test --json=1", "unexpected"),
        ("tcp-diag x", "`x` is no port"),
        ("telemetry push f --device a/b", "`a/b` is no device id"),
        ("telemetry pull f", "a file and a device"),
        ("pool", "bench"),
        ("pool bench path=/f ops=0", "ops must not be 0"),
        ("pool bench path=/f ops=1 kind=x", "`x`"),
        ("raw", "line"),
    ] {
        let err = parse(line).unwrap_err();
        assert!(err.to_string().contains(expected), "{line}: {err}");
        assert!(
            err.response().starts_with("ERR PARSE reason=policy detail="),
            "{line}: {}",
            err.response()
        );
    }
}

#[test]
fn paths_are_checked_before_anything_is_sent() {
    for (line, verb, why) in [
        ("ls relative", "LS", PathError::Relative),
        ("ls /proc/", "LS", PathError::EmptyComponent),
        ("cat /a/b/c/d/e/f/g/h/i/j", "CAT", PathError::TooDeep),
        ("tail /a//b", "TAIL", PathError::EmptyComponent),
        ("echo x > /a/../b", "ECHO", PathError::DotComponent),
        ("bind \"/proc/../boot\" \"/tmp\"", "ECHO", PathError::DotComponent),
        ("mount logs x", "ECHO", PathError::Relative),
        ("pool bench path=x ops=1", "ECHO", PathError::Relative),
    ] {
        match parse(line).unwrap_err() {
            CommandError::Path { verb: v, why: w, .. } => assert_eq!((v, w), (verb, why), "{line}"),
            other => panic!("{line}: {other}"),
        }
        assert!(
            parse(line)
                .unwrap_err()
                .response()
                .starts_with(&format!("ERR {verb} reason=policy detail=invalid-path"))
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_line_is_a_command_or_an_error(line in "(echo|spawn|test|pool bench|tail|bind|telemetry push)?\\PC{0,40}") {
        let _ = parse(&line);
    }

    #[test]
    fn what_is_echoed_is_what_was_typed(text in "[a-z0-9{}\",: ]{0,40}", path in "(/[a-z.]{3,8}){1,8}") {
        // Blanks and one pair of quotes around the text are the shell's.
        let trimmed = text.trim();
        proptest::prop_assume!(!trimmed.starts_with('"'));
        let echoed = parse(&format!("echo {text} > {path}"));
        proptest::prop_assert_eq!(echoed, Ok(Command::Echo { text: trimmed.to_owned(), path }));
    }
}
