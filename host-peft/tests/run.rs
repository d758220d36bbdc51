//! `coh run` against an in-process console.

#[path = "../../client/tests/support/mod.rs"]
mod hive;
mod program;

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hive::{Act, Fake, say};
use program::{Lines, cat, coh, command, finish, lease_line};

const STATUS: &str = "/gpu/GPU-0/status";

/// A hive with one lease of GPU-0 whose lines may be changed.
async fn leased() -> (Fake, Lines) {
    let lines: Lines = Arc::default();
    lines.lock().unwrap().push(lease_line("ACTIVE", "worker-1"));
    let shared = Arc::clone(&lines);
    let fake =
        Fake::with(move |_, line| (line == "CAT /gpu/GPU-0/lease").then(|| cat("/gpu/GPU-0/lease", &shared)))
            .await;
    (fake, lines)
}

fn breadcrumb(event: &str, command: &str, rest: &str) -> String {
    format!(r#"{{"schema":"gpu-breadcrumb/v1","event":"{event}","command":"{command}",{rest}}}"#)
}

#[tokio::test]
async fn a_command_under_a_lease_leaves_breadcrumbs_and_its_status() {
    let (fake, lines) = leased().await;
    let ran = coh(
        &fake,
        &["run", "--gpu", "GPU-0", "--", "sh", "-c", "echo out; exit 7"],
    )
    .await;
    assert_eq!((ran.ends(7).out.as_str(), ran.err.as_str()), ("out\n", ""));
    let text = "sh -c echo out; exit 7";
    let told = [
        breadcrumb("START", text, r#""status":"RUNNING""#),
        breadcrumb("EXIT", text, r#""status":"ERR","exit_code":7"#),
    ];
    assert_eq!(fake.file(STATUS), told);
    coh(&fake, &["run", "--gpu", "GPU-0", "--", "true"]).await.ends(0);
    assert!(fake.file(STATUS)[3].contains(r#""status":"OK","exit_code":0"#));
    coh(
        &fake,
        &["run", "--gpu", "GPU-0", "--", "sh", "-c", "kill -KILL $$"],
    )
    .await
    .ends(137);

    let missing = coh(&fake, &["run", "--gpu", "GPU-0", "--", "/no/such/program"]).await;
    missing
        .ends(127)
        .says("ERR RUN reason=cannot run /no/such/program");
    let last = breadcrumb("EXIT", "/no/such/program", r#""status":"ERR""#);
    assert_eq!(fake.file(STATUS).last(), Some(&last));
    coh(&fake, &["run", "--gpu", "GPU-0", "--", "/"]).await.ends(126);

    let before = fake.file(STATUS).len();
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let touch = ["run", "--gpu", "GPU-0", "--", "touch", mark.to_str().unwrap()];
    lines.lock().unwrap().push(lease_line("RELEASED", "worker-1"));
    coh(&fake, &touch)
        .await
        .ends(125)
        .says("no active lease for gpu GPU-0");
    lines.lock().unwrap().clear();
    coh(&fake, &touch)
        .await
        .ends(125)
        .says("coh gpu lease --gpu GPU-0");
    finish(command(1, &touch)).await.ends(125).says("no connection");
    assert!(!mark.exists(), "nothing runs without a lease");
    assert_eq!(fake.file(STATUS).len(), before);
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn signals_reach_the_command() {
    let (fake, _) = leased().await;
    for (signal, status) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("USR1", 10)] {
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        // The shell tells which signal it got.
        let script = format!(
            "trap 'exit {status}' {signal}; touch {}; while :; do sleep 0.05; done",
            ready.display()
        );
        let child = command(
            fake.addr.port(),
            &["run", "--gpu", "GPU-0", "--", "sh", "-c", &script],
        )
        .spawn()
        .unwrap();
        until("the command", || ready.exists()).await;
        let kill = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{signal}");
        let code = format!(r#""exit_code":{status}"#);
        assert!(fake.file(STATUS).last().unwrap().contains(&code));
    }
}

#[tokio::test]
async fn a_released_lease_ends_the_command_and_what_it_started() {
    let (fake, lines) = leased().await;
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    // It does not mind SIGTERM, and neither does what it started.
    let script = format!(
        "trap '' TERM; sleep 60 & echo $! > {}; wait; sleep 60",
        pid_file.display()
    );
    let run = [
        "run",
        "--gpu",
        "GPU-0",
        "--poll-ms",
        "50",
        "--grace-s",
        "1",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let child = command(fake.addr.port(), &run).spawn().unwrap();
    let started = || fs::read_to_string(&pid_file).is_ok_and(|pid| pid.ends_with('\n'));
    until("the command", started).await;
    lines.lock().unwrap().push(lease_line("RELEASED", "worker-1"));
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(137), "{said}");
    assert!(
        said.contains("the hive released the lease of worker-1; ending the command"),
        "{said}"
    );
    assert!(said.contains("did not end within 1 s; killing it"), "{said}");
    let pid = fs::read_to_string(&pid_file).unwrap();
    until("the rest", || !is_running(pid.trim())).await;
    assert!(
        fake.file(STATUS)
            .last()
            .unwrap()
            .contains(r#""status":"ERR","exit_code":137"#)
    );
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_command_may_outlive_its_lease_if_it_is_told_so() {
    let (fake, lines) = leased().await;
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; exit 3", go.display());
    let run = [
        "run",
        "--gpu",
        "GPU-0",
        "--kill-on-release=false",
        "--poll-ms",
        "50",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let child = command(fake.addr.port(), &run).spawn().unwrap();
    until("the start", || !fake.file(STATUS).is_empty()).await;
    lines.lock().unwrap().push(lease_line("RELEASED", "worker-1"));
    let looks = fake.count("CAT /gpu/GPU-0/lease");
    until("a look", || fake.count("CAT /gpu/GPU-0/lease") > looks).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    fs::write(&go, "").unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.matches("the command goes on without it").count(),
        1,
        "{said}"
    );
}

#[tokio::test]
async fn a_hive_that_is_away_ends_nothing_and_is_told_when_it_is_back() {
    let away = Arc::new(Mutex::new(false));
    let (lines, flag): (Lines, _) = (Arc::default(), Arc::clone(&away));
    lines.lock().unwrap().push(lease_line("ACTIVE", "worker-1"));
    let fake = Fake::with(move |_, line| match line {
        _ if *flag.lock().unwrap() => Some(vec![Act::Close]),
        "CAT /gpu/GPU-0/lease" => Some(cat("/gpu/GPU-0/lease", &lines)),
        _ => None,
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; exit 4", go.display());
    let run = [
        "run",
        "--gpu",
        "GPU-0",
        "--poll-ms",
        "50",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let child = command(fake.addr.port(), &run).spawn().unwrap();
    until("the start", || !fake.file(STATUS).is_empty()).await;
    *away.lock().unwrap() = true;
    // Long enough for the session to give up once.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    fs::write(&go, "").unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    *away.lock().unwrap() = false;
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(
        fake.file(STATUS).last().unwrap().contains(r#""exit_code":4"#),
        "{:?}",
        fake.file(STATUS)
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("ending the command"), "{said}");
}

#[tokio::test]
async fn an_end_that_cannot_be_told_is_said_and_the_status_is_the_commands() {
    let lines: Lines = Arc::default();
    lines.lock().unwrap().push(lease_line("ACTIVE", "worker-1"));
    let fake = Fake::with(move |_, line| match line {
        "CAT /gpu/GPU-0/lease" => Some(cat("/gpu/GPU-0/lease", &lines)),
        line if line.contains("\"EXIT\"") => Some(vec![say(
            "ERR ECHO reason=policy detail=denied path=/gpu/GPU-0/status error=EPERM",
        )]),
        _ => None,
    })
    .await;
    let ran = coh(&fake, &["run", "--gpu", "GPU-0", "--", "sh", "-c", "exit 9"]).await;
    ran.ends(9)
        .says("the end of the command is not in /gpu/GPU-0/status: ERR ECHO");
}
