//! The operator's shell against a real hive.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use tests::{Hive, programs};

fn cohsh(hive: &Hive, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(programs::program("cohsh"))
        .args([
            "--tcp-host",
            &hive.addr().ip().to_string(),
            "--tcp-port",
            &hive.addr().port().to_string(),
        ])
        .args(["--auth-token", hive.token()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start cohsh");
    let mut stdin = child.stdin.take().expect("piped");
    // A shell that refused its arguments reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("cohsh ends")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_full_self_test_passes_against_a_fresh_hive() {
    let hive = Hive::fresh();
    let output = cohsh(&hive, &["--role", "queen"], "test --mode full\nquit\n");
    assert!(output.status.success(), "{}", text(&output));
    let output = cohsh(&Hive::fresh(), &["--role", "queen"], "test --mode full --json\n");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("\"ok\":true"), "{}", text(&output));
}

#[test]
fn a_failing_expectation_ends_the_script_and_names_its_line() {
    let hive = Hive::any();
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("wrong.coh");
    std::fs::write(
        &script,
        "# wrong on purpose\nattach queen\nping\nEXPECT OK\ncat /nope\nEXPECT OK\nping\n",
    )
    .unwrap();
    let output = cohsh(&hive, &["--script", script.to_str().unwrap()], "");
    assert!(!output.status.success());
    assert!(text(&output).contains("wrong.coh:6"), "{}", text(&output));
    std::fs::write(
        &script,
        "attach queen\ncat /nope\nEXPECT ERR\nEXPECT SUBSTR invalid-path\nWAIT 10\nquit\n",
    )
    .unwrap();
    let output = cohsh(&hive, &["--script", script.to_str().unwrap()], "");
    assert!(output.status.success(), "{}", text(&output));
}

/// The public project's script about telemetry rings, as WIRE 2.8 and 4.7 tell of it: one ring that wraps, and a ticket
/// (of their test vectors) that may read the log once a second and write the rings.
#[test]
fn a_ring_wraps_and_a_ticket_is_held_to_its_scopes() {
    const RING: &str = "/shard/13/worker/worker-1/telemetry";
    const TICKET: &str = "cohesix-ticket-0100300000000000000000000000000304002f6c6f67000100000006002f717565656e0100000000\
                          06002f7368617264010000000000000000000000000000000001000000.0c714a86a89a2abc049395e486dbd2a8ce6ba\
                          7076ce508a02431a22319629672";
    let hive = Hive::fresh();
    let record = "r".repeat(90);
    let script = [
        "attach queen\nspawn heartbeat ticks=100 ttl_s=60\nEXPECT OK\n".to_owned(),
        format!("echo {record} > {RING}\nEXPECT OK\n").repeat(12),
        "cat /log/queen.log\nEXPECT SUBSTR telemetry ring wrap dropped_bytes=56 new_base=56\n".to_owned(),
        format!("tail {RING}\nEXPECT OK\ncat {RING}\nEXPECT SUBSTR detail=invalid-path\n"),
        format!("detach\nattach queen {TICKET}\nEXPECT OK\n"),
        "echo late > /log/queen.log\nEXPECT SUBSTR error=EPERM\n".to_owned(),
        "cat /log/queen.log\nEXPECT OK\ncat /log/queen.log\nEXPECT SUBSTR error=ELIMIT\n".to_owned(),
        format!("cat {RING}\nEXPECT SUBSTR error=EPERM\ntail {RING}\nEXPECT SUBSTR error=EPERM\n"),
        format!("echo {record} > {RING}\nEXPECT OK\nkill worker-1\nEXPECT OK\nquit\n"),
    ]
    .concat();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry_ring.coh");
    std::fs::write(&path, script).unwrap();
    let output = cohsh(&hive, &["--script", path.to_str().unwrap()], "");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn commands_from_standard_input() {
    let hive = Hive::any();
    let output = cohsh(
        &hive,
        &["--role", "queen"],
        "ls /\ncat /proc/boot\necho typed-by-hand > /log/queen.log\nlog\n",
    );
    assert!(output.status.success(), "{}", text(&output));
    for expected in [
        "queen",
        "Cohesix boot:",
        "[console] OK ECHO path=/log/queen.log bytes=13",
        "typed-by-hand",
    ] {
        assert!(
            text(&output).contains(expected),
            "{expected:?} is missing from {}",
            text(&output)
        );
    }
}

#[test]
fn a_minted_ticket_opens_the_door_for_its_role_only() {
    let hive = Hive::fresh();
    let mint = Command::new(programs::program("cohsh"))
        .args([
            "--mint-ticket",
            "--role",
            "worker-heartbeat",
            "--ticket-subject",
            "worker-1",
        ])
        .args(["--ticket-secret", "worker"])
        .output()
        .expect("cohsh mints");
    assert!(mint.status.success(), "{}", text(&mint));
    let ticket = String::from_utf8(mint.stdout).unwrap().trim().to_owned();
    assert!(ticket.starts_with("cohesix-ticket-"), "{ticket}");
    drop(hive.queen());
    let mut queen = hive.queen();
    let mut worker = tests::Console::authenticated(hive.addr(), hive.token());
    assert_eq!(
        worker.ask(&format!("ATTACH worker {ticket}")),
        "OK ATTACH role=worker-heartbeat"
    );
    assert_eq!(worker.cat("/proc/lifecycle/state"), ["state=ONLINE"]);
    assert!(
        worker
            .ask("ECHO /log/queen.log x")
            .starts_with("ERR ECHO reason=policy detail=denied")
    );
    assert!(
        worker
            .ask("ECHO /queen/ctl {}")
            .starts_with("ERR ECHO reason=policy detail=denied")
    );
    assert_eq!(
        worker.ask(&format!("ATTACH worker-gpu {ticket}")),
        "ERR ATTACH reason=policy detail=denied"
    );
    assert_eq!(queen.ask("PING"), "OK PING reply=pong");
}

#[test]
fn a_wrong_token_has_an_exit_status_of_its_own() {
    let hive = Hive::any();
    let wrong = Command::new(programs::program("cohsh"))
        .args([
            "--tcp-port",
            &hive.addr().port().to_string(),
            "--auth-token",
            "wrong",
            "--role",
            "queen",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let nobody = Command::new(programs::program("cohsh"))
        .args(["--tcp-port", "1", "--auth-token", "any", "--role", "queen"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (wrong, nobody) = (wrong.status.code(), nobody.status.code());
    assert!(
        wrong != Some(0) && nobody != Some(0) && wrong != nobody,
        "{wrong:?} {nobody:?}"
    );
}
