//! The program against an in-process console.

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use support::{Act, Fake, TOKEN, say};

/// What a run of the program left behind.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program with nothing in its environment but where to find nothing.
async fn cohsh(fake: Option<&Fake>, arguments: &[&str], input: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohsh"));
    command.env_clear().env("HOME", "/nonexistent");
    if let Some(fake) = fake {
        command.args(["--tcp-port", &fake.addr.port().to_string(), "--auth-token", TOKEN]);
    }
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || -> Output {
        let mut child = command.spawn().unwrap();
        // A shell that refused its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

struct Script {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Script {
    fn new(name: &str, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Self { _dir: dir, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

#[tokio::test]
async fn commands_from_standard_input() {
    let fake = Fake::start().await;
    let input = "# comment\nping\nls /proc # too\necho 'hello there' > /log/queen.log\nlog\ncat /proc/boot\nquit\nls /\n";
    let run = cohsh(Some(&fake), &["--role", "queen"], input).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let expected = "[console] OK PING reply=pong\n\
                    [console] OK LS path=/proc entries=3\nboot\nlifecycle\ntests\n\
                    [console] OK ECHO path=/log/queen.log bytes=11\n\
                    [console] OK TAIL path=/log/queen.log\nhello there\n\
                    [console] OK CAT path=/proc/boot data=Cohesix boot: root-task online|manifest.schema=1.5\n\
                    Cohesix boot: root-task online\nmanifest.schema=1.5\n\
                    [console] OK QUIT\n";
    assert_eq!(run.out, expected);
    assert_eq!(run.err, "");
    let lines = fake.lines_of(0);
    assert_eq!(
        lines[..3],
        [format!("AUTH {TOKEN}"), "ATTACH queen ".into(), "PING".into()]
    );
    assert_eq!(
        lines.last().unwrap(),
        "quit",
        "nothing behind quit was carried out"
    );
    assert_eq!(fake.count("ATTACH"), 1);
}

#[tokio::test]
async fn an_attach_that_comes_first_is_the_only_one() {
    let fake = Fake::start().await;
    let run = cohsh(
        Some(&fake),
        &[],
        "attach queen\nEXPECT OK\nping\ndetach\nEXPECT OK\nlogin queen\nping\n",
    )
    .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.out
            .contains("[console] OK QUIT\nOK DETACH\n[console] OK ATTACH role=queen\n"),
        "{run:?}"
    );
    assert_eq!((fake.count("ATTACH"), fake.count("quit")), (2, 2));
    // Detached is detached.
    let run = cohsh(Some(&fake), &[], "ping\ndetach\nping\n").await;
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(
        run.err
            .contains("<stdin>:3: ping: not attached; type attach <role>"),
        "{run:?}"
    );
}

#[tokio::test]
async fn control_commands_on_the_wire() {
    let fake = Fake::start().await;
    let input = "spawn heartbeat ticks=100 ttl_s=60 ops=5\n\
                 spawn gpu gpu_id=GPU-0 mem_mb=4096 streams=1 ttl_s=120 priority=3 budget_ops=500\n\
                 kill worker-1\nbind /a /b\nmount logs /logs\nlifecycle cordon\nraw HELP\ntail /proc/boot 1\n";
    let run = cohsh(Some(&fake), &[], input).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let expected = [
        r#"{"spawn":"heartbeat","ticks":100,"budget":{"ttl_s":60,"ops":5}}"#,
        r#"{"spawn":"gpu","lease":{"gpu_id":"GPU-0","mem_mb":4096,"streams":1,"ttl_s":120,"priority":3},"budget":{"ops":500}}"#,
        r#"{"kill":"worker-1"}"#,
        r#"{"bind":{"from":"/a","to":"/b"}}"#,
        r#"{"mount":{"service":"logs","at":"/logs"}}"#,
    ];
    assert_eq!(fake.file("/queen/ctl"), expected);
    assert_eq!(fake.file("/queen/lifecycle/ctl"), ["cordon"]);
    assert!(run.out.contains("  help  - Show this help\n"), "{run:?}");
    assert!(
        run.out
            .ends_with("[console] OK TAIL path=/proc/boot\nmanifest.schema=1.5\n"),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_transition_that_cannot_be_is_not_sent() {
    let fake = Fake::start().await;
    let run = cohsh(Some(&fake), &["lifecycle", "resume"], "").await;
    assert_eq!(run.code, Some(5));
    assert_eq!(
        run.out,
        "ERR LIFECYCLE action=resume state=ONLINE reason=invalid-transition\n".to_owned()
    );
    fake.set_file("/proc/lifecycle/state", &["state=DRAINING"]);
    assert_eq!(
        cohsh(Some(&fake), &["lifecycle", "resume"], "").await.code,
        Some(0)
    );
    assert_eq!(fake.file("/queen/lifecycle/ctl"), ["resume"]);
}

#[tokio::test]
async fn a_script_whose_expectations_hold() {
    let fake = Fake::start().await;
    let script = Script::new(
        "good.coh",
        "attach queen\nEXPECT OK\ncat /nope\nEXPECT ERR\nEXPECT SUBSTR invalid-path\nEXPECT NOT quota\n\
         ls relative\nEXPECT ERR\nfrobnicate\nEXPECT SUBSTR unsupported\nWAIT 10\n\
         echo {{msize_overflow}} > /queen/ctl\nEXPECT ERR\nping\nEXPECT OK\nquit\nls /\n",
    );
    let run = cohsh(Some(&fake), &["--script", script.path()], "").await;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    assert!(
        run.out.contains("[console] ERR FRAME reason=invalid-length\n"),
        "{run:?}"
    );
    assert_eq!((fake.count("LS"), fake.file("/queen/ctl").len()), (0, 0));
}

#[tokio::test]
async fn what_ends_a_script_names_file_and_line() {
    let fake = Fake::start().await;
    for (text, code, message) in [
        (
            "attach queen\n# x\ncat /nope\nEXPECT OK\nping\n",
            6,
            "s.coh:4: EXPECT OK failed; the last response was `ERR CAT",
        ),
        ("ping\nEXPECT NOT pong\n", 6, "s.coh:2: EXPECT NOT pong failed"),
        (
            "cat /nope\nping\n",
            5,
            "s.coh:1: cat /nope: ERR CAT reason=policy detail=invalid-path",
        ),
        ("ping\ncat /nope\n", 5, "s.coh:2: cat /nope"),
        ("cat /nope\nWAIT 1\nEXPECT ERR\n", 5, "s.coh:1: cat /nope"),
        (
            "ping\nls\n",
            2,
            "s.coh:2: missing required argument: path; usage: ls <path>",
        ),
        ("ping\nEXPECT MAYBE\n", 2, "s.coh:2: `EXPECT MAYBE` is none of"),
        ("ping\nWAIT 2001\n", 2, "s.coh:2: `WAIT 2001` needs milliseconds"),
    ] {
        let script = Script::new("s.coh", text);
        let run = cohsh(Some(&fake), &["--script", script.path()], "").await;
        assert_eq!(run.code, Some(code), "{text}: {run:?}");
        assert!(run.err.contains(message), "{text}: {run:?}");
    }
    // A script with a mistake in it does nothing at all; a failed one does not go on.
    assert_eq!(fake.count("PING"), 2);
    let run = cohsh(Some(&fake), &["--script", "/nonexistent.coh"], "").await;
    assert_eq!(run.code, Some(1), "{run:?}");
}

#[tokio::test]
async fn standard_input_follows_the_rules_of_scripts() {
    let fake = Fake::start().await;
    for (input, code, pings) in [
        ("cat /nope\nEXPECT ERR\nping\n", 0, 1),
        ("cat /nope\nping\n", 5, 0),
        ("cat /nope\n", 5, 0),
        ("ping\nEXPECT ERR\nping\n", 6, 1),
        ("ping\nWAIT x\nping\n", 2, 1),
        ("frobnicate\nping\n", 2, 0),
    ] {
        let before = fake.count("PING");
        let run = cohsh(Some(&fake), &[], input).await;
        assert_eq!(
            (run.code, fake.count("PING") - before),
            (Some(code), pings),
            "{input}: {run:?}"
        );
        assert!(code == 0 || run.err.contains("cohsh: <stdin>:"), "{run:?}");
    }
}

#[tokio::test]
async fn checking_runs_nothing() {
    let good = Script::new("good.coh", "attach queen\nEXPECT OK\nls /a/../b\nEXPECT ERR\n");
    let run = cohsh(None, &["--check", good.path()], "").await;
    assert_eq!(
        (run.code, run.out.as_str()),
        (
            Some(0),
            format!("OK CHECK {} statements=4\n", good.path()).as_str()
        )
    );
    let bad = Script::new("bad.coh", "ping\n\nspawn heartbeat\n");
    let run = cohsh(None, &["--check", bad.path()], "").await;
    assert_eq!(run.code, Some(2));
    assert!(
        run.err.contains("bad.coh:3: missing required argument: ticks"),
        "{run:?}"
    );
}

#[tokio::test]
async fn statuses_tell_failures_apart() {
    let fake = Fake::start().await;
    let port = fake.addr.port().to_string();
    let refusing = Fake::with(|_, line| {
        line.starts_with("ATTACH")
            .then(|| vec![say("ERR ATTACH reason=quota detail=expired")])
    })
    .await;
    for (arguments, code, message) in [
        (
            vec!["--tcp-port", &port, "--auth-token", "wrong", "--role", "queen"],
            4,
            "authentication rejected",
        ),
        (
            vec!["--tcp-port", &port, "--role", "queen"],
            4,
            "no auth token: give --auth-token",
        ),
        (
            vec!["--tcp-port", "1", "--auth-token", "any", "--role", "queen"],
            3,
            "no connection to 127.0.0.1:1",
        ),
        (
            vec!["--tcp-host", "192.0.2.1", "--auth-token", "changeme", "ping"],
            4,
            "well-known placeholder",
        ),
        (
            vec![
                "--tcp-port",
                &port,
                "--auth-token",
                TOKEN,
                "--role",
                "worker",
                "ping",
            ],
            4,
            "needs a ticket",
        ),
        (vec!["--no-such-flag"], 2, "--no-such-flag"),
    ] {
        let run = cohsh(None, &arguments, "").await;
        assert_eq!(run.code, Some(code), "{arguments:?}: {run:?}");
        assert!(run.err.contains(message), "{arguments:?}: {run:?}");
    }
    let run = cohsh(
        Some(&refusing),
        &[],
        "attach queen\nEXPECT ERR\nEXPECT SUBSTR expired\n",
    )
    .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = cohsh(Some(&refusing), &["ls", "/"], "").await;
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(4), "[console] ERR ATTACH reason=quota detail=expired\n")
    );
    assert_eq!(cohsh(Some(&fake), &["cat", "/nope"], "").await.code, Some(5));
    assert_eq!(cohsh(Some(&fake), &["help"], "").await.code, Some(0));
}

#[tokio::test]
async fn a_connection_lost_on_the_way_is_a_remark() {
    let fake = Fake::with(|c, line| (c == 0 && line.starts_with("CAT")).then(|| vec![Act::Close])).await;
    let run = cohsh(Some(&fake), &["cat", "/proc/lifecycle/state"], "").await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.ends_with("\nstate=ONLINE\n"), "{run:?}");
    assert_eq!(run.err, "cohsh: the connection was lost and made anew\n");
}

#[tokio::test]
async fn the_self_test_reports_every_statement() {
    let fake = Fake::start().await;
    let run = cohsh(Some(&fake), &["test", "--json"], "").await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (&report["ok"], &report["mode"], &report["version"]),
        (&true.into(), &"quick".into(), &"1".into())
    );
    let names: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    let expected = [
        "preflight ping",
        "selftest_negative.coh:1 cat /a/b/c/d/e/f/g/h/i/j",
        "selftest_negative.coh:2 EXPECT ERR",
        "selftest_negative.coh:3 echo {{msize_overflow}} > /queen/ctl",
        "selftest_negative.coh:4 EXPECT ERR",
        "selftest_quick.coh:2 ping",
        "selftest_quick.coh:3 EXPECT OK",
        "selftest_quick.coh:4 cat /proc/boot",
        "selftest_quick.coh:5 EXPECT OK",
        "selftest_quick.coh:6 tail /log/queen.log",
        "selftest_quick.coh:7 EXPECT OK",
        "selftest_quick.coh:8 WAIT 1",
        "selftest_quick.coh:9 quit",
    ];
    assert_eq!(names, expected);
    // In a script the session survives it.
    let run = cohsh(
        Some(&fake),
        &[],
        "test --mode quick\nEXPECT OK\nEXPECT SUBSTR checks=13 failed=0\nping\n",
    )
    .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fake.count("ATTACH"), 2);
}

#[tokio::test]
async fn a_failed_check_is_told_with_what_was_seen() {
    let fake = Fake::start().await;
    fake.set_file(
        "/proc/tests/selftest_quick.coh",
        &["ping", "EXPECT OK", "cat /nope", "EXPECT OK", "ping"],
    );
    let run = cohsh(Some(&fake), &["test"], "").await;
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(
        run.out.contains("FAIL selftest_quick.coh:4 EXPECT OK\n"),
        "{run:?}"
    );
    assert!(
        run.out.contains("ERR TEST mode=quick checks=9 failed=1"),
        "{run:?}"
    );

    fake.set_file("/proc/tests/selftest_quick.coh", &["cat /nope", "ping"]);
    let run = cohsh(Some(&fake), &["test", "--json"], "").await;
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let last = report["checks"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["ok"], &last["name"]),
        (&false.into(), &"selftest_quick.coh:1 cat /nope".into())
    );
    assert!(
        last["transcript_excerpt"][0]
            .as_str()
            .unwrap()
            .starts_with("[console] ERR CAT"),
        "{last}"
    );

    fake.set_file("/proc/tests/selftest_quick.coh", &["test", "ping"]);
    let run = cohsh(Some(&fake), &["test"], "").await;
    assert!(run.out.contains("a test script cannot run test"), "{run:?}");

    // Served by a hive that lacks it.
    let run = cohsh(Some(&fake), &["test", "--mode", "full"], "").await;
    assert!(
        run.code == Some(6) && run.out.contains("FAIL selftest_full.coh\n"),
        "{run:?}"
    );

    fake.set_file("/proc/tests/selftest_quick.coh", &["WAIT 2000", "quit"]);
    let run = cohsh(Some(&fake), &["test", "--timeout", "1"], "").await;
    assert!(run.code == Some(6) && run.out.contains("FAIL timeout"), "{run:?}");
}

#[tokio::test]
async fn the_public_pool_script() {
    let fake = Fake::start().await;
    let script = Script::new(
        "session_pool.coh",
        "attach queen\nEXPECT OK\n\
         pool bench path=/log/queen.log ops=64 batch=8 payload=pool inject_failures=1 inject_bytes=8 exhaust=1 kind=telemetry\n\
         EXPECT SUBSTR pool bench result OK\nEXPECT SUBSTR expected=64 observed=64\n\
         EXPECT SUBSTR workers=4\nEXPECT SUBSTR retries=1\nEXPECT SUBSTR pool_exhausted=1\nquit\n",
    );
    let run = cohsh(Some(&fake), &["--script", script.path()], "").await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let mut pooled: Vec<String> = fake.file("/log/queen.log");
    assert_eq!(pooled.len(), 128, "64 of the baseline, 64 of the pool");
    pooled.retain(|line| !line.starts_with("pool-base-"));
    pooled.sort();
    pooled.dedup();
    assert_eq!(pooled.len(), 64);
}

#[tokio::test]
async fn a_console_for_one_client_makes_a_pool_of_one() {
    let fake = Fake::with(|connection, _| (connection > 0).then(|| vec![Act::Close])).await;
    let run = cohsh(
        Some(&fake),
        &["pool bench path=/log/queen.log ops=5 batch=2 payload_bytes=40"],
        "",
    )
    .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.out.contains("workers=1 batch=2 expected=5 observed=5"),
        "{run:?}"
    );
    assert!(fake.file("/log/queen.log").iter().all(|line| line.len() == 40));
    let run = cohsh(Some(&fake), &["pool bench path=/proc/boot ops=5"], "").await;
    assert_eq!(run.code, Some(3), "the one client is taken: {run:?}");
}

#[tokio::test]
async fn the_pools_sessions_may_do_no_more_than_the_shells() {
    let fake = Fake::start().await;
    let mint = [
        "--mint-ticket",
        "--ticket-secret",
        "s",
        "--ticket-scope",
        "/log:write",
    ];
    let ticket = cohsh(None, &mint, "").await.out.trim().to_owned();
    let input = format!("attach queen {ticket}\npool bench path=/log/queen.log ops=4 kind=control\n");
    let run = cohsh(Some(&fake), &[], &input).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        (
            fake.count("ATTACH"),
            fake.count(&format!("ATTACH queen {ticket}"))
        ),
        (2, 2)
    );
}

#[tokio::test]
async fn pushing_telemetry() {
    let fake = Fake::start().await;
    let file = Script::new("fixture.txt", &"line of telemetry\n".repeat(200));
    let run = cohsh(
        Some(&fake),
        &["telemetry", "push", file.path(), "--device", "dev-1"],
        "",
    )
    .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.out
            .starts_with("OK TELEMETRY device=dev-1 seg_id=seg-000001 records=2 bytes="),
        "{run:?}"
    );
    assert_eq!(
        fake.file("/queen/telemetry/dev-1/ctl"),
        [r#"{"new":"segment","mime":"text/plain"}"#]
    );
    assert_eq!(fake.file("/queen/telemetry/dev-1/seg/seg-000001").len(), 2);

    let big = Script::new("big.log", &"x".repeat(32_769));
    let run = cohsh(
        Some(&fake),
        &["telemetry", "push", big.path(), "--device=dev-1"],
        "",
    )
    .await;
    assert_eq!(run.code, Some(5));
    assert!(
        run.out
            .contains("ERR TELEMETRY device=dev-1 reason=quota bytes=32769 max_bytes_per_segment=32768"),
        "{run:?}"
    );
    let run = cohsh(
        Some(&fake),
        &["telemetry", "push", "x.bin", "--device", "dev-1"],
        "",
    )
    .await;
    assert!(
        run.code == Some(2) && run.out.starts_with("ERR TELEMETRY"),
        "{run:?}"
    );
}

#[tokio::test]
async fn saving_a_file_decodes_what_is_binary() {
    let fake = Fake::start().await;
    fake.set_file("/updates/1/manifest.cbor", &["b64:AP+A", "b64:/w=="]);
    let out = Script::new("out", "");
    let run = cohsh(
        Some(&fake),
        &["cat", "/updates/1/manifest.cbor", "--out", out.path()],
        "",
    )
    .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(std::fs::read(out.path()).unwrap(), [0, 255, 128, 255]);
    cohsh(Some(&fake), &["cat", "/proc/boot", "--out", out.path()], "").await;
    assert_eq!(
        std::fs::read_to_string(out.path()).unwrap(),
        "Cohesix boot: root-task online\nmanifest.schema=1.5\n"
    );
    let run = cohsh(Some(&fake), &["cat", "/proc/boot", "--out", "/nonexistent/x"], "").await;
    assert_eq!(run.code, Some(1), "{run:?}");
}

#[tokio::test]
async fn a_bare_connection() {
    let fake = Fake::start().await;
    let run = cohsh(Some(&fake), &["tcp-diag"], "").await;
    assert_eq!(run.code, Some(0));
    assert!(run.out.ends_with("tcp-diag: connect succeeded\n"), "{run:?}");
    assert_eq!(fake.received(), []);
    let run = cohsh(Some(&fake), &[], "tcp-diag 1\n").await;
    assert_eq!(run.code, Some(3), "{run:?}");
}

#[tokio::test]
async fn the_token_of_the_users_hive_is_found() {
    let fake = Fake::start().await;
    let state = tempfile::tempdir().unwrap();
    let dir = client::state::StateDir::at(state.path());
    dir.write_auth_token(&client::state::Secret::new(TOKEN).unwrap())
        .unwrap();
    let port = fake.addr.port().to_string();
    let run = cohsh(
        None,
        &[
            "--tcp-port",
            &port,
            "--state",
            state.path().to_str().unwrap(),
            "ping",
        ],
        "",
    )
    .await;
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(0), "[console] OK PING reply=pong\n"),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_minted_ticket_attaches() {
    let fake = Fake::start().await;
    let arguments = [
        "--mint-ticket",
        "--role",
        "worker",
        "--ticket-subject",
        "worker-1",
        "--ticket-secret",
        "s",
    ];
    let ticket = cohsh(None, &arguments, "").await.out.trim().to_owned();
    let run = cohsh(
        Some(&fake),
        &["--role", "worker", "--ticket", &ticket, "ping"],
        "",
    )
    .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fake.lines_of(0)[1], format!("ATTACH worker-heartbeat {ticket}"));
    let input = format!("attach queen {ticket}\nEXPECT ERR\nEXPECT SUBSTR not queen\n");
    let run = cohsh(Some(&fake), &[], &input).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        cohsh(None, &["--mint-ticket", "--role", "worker"], "").await.code,
        Some(2)
    );
}
