//! The program against an in-process console.

#[path = "../../client/tests/support/mod.rs"]
mod hive;
mod places;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hive::{Act, Fake, TOKEN, say};
use places::{Place, Seen, python_sees};
use serde_json::Value;

/// What a run of the program left behind.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coh"));
    // With nothing in its environment but where to find nothing.
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/usr/bin:/bin");
    command
        .args(["--tcp-port", &port.to_string(), "--auth-token", TOKEN])
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn finish(mut command: Command) -> Ran {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

async fn coh(fake: &Fake, arguments: &[&str]) -> Ran {
    finish(command(fake.addr.port(), arguments)).await
}

impl Ran {
    fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    fn says(&self, part: &str) -> &Self {
        assert!(self.err.contains(part), "{part:?} is not in {self:?}");
        self
    }

    fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

fn lease_line(state: &str, worker: &str) -> String {
    format!(
        r#"{{"schema":"gpu-lease/v1","state":"{state}","gpu_id":"GPU-0","worker_id":"{worker}","mem_mb":1024,"streams":1,"ttl_s":60,"priority":0}}"#
    )
}

/// Lines of a file that a test changes while a client looks.
type Lines = Arc<Mutex<Vec<String>>>;

fn cat(path: &str, lines: &Lines) -> Vec<Act> {
    let lines = lines.lock().unwrap();
    let mut acts = vec![say(format!("OK CAT path={path} data={}", lines.join("|")))];
    acts.extend(lines.iter().map(say));
    acts.push(say("END"));
    acts
}

#[tokio::test]
async fn gpus_and_their_status() {
    let fake = Fake::start().await;
    let refused = coh(&fake, &["gpu", "list"]).await;
    refused
        .ends(5)
        .says("ERR GPU reason=ERR LS reason=policy detail=invalid-path path=/gpu");
    fake.set_file("/gpu/bridge/status", &["state=idle"]);
    let none = coh(&fake, &["gpu", "list"]).await;
    assert_eq!(none.ends(0).out, "gpu: none\n");

    let info = [
        "{",
        "  \"id\": \"GPU-0\", \"name\": \"Mock \\u0034090\", \"memory_mb\": 24576,",
        "  \"sm_count\": 128, \"driver_version\": \"d\", \"runtime_version\": \"r\"",
        "}",
    ];
    fake.set_file("/gpu/GPU-0/info", &info);
    fake.set_file("/gpu/GPU-0/status", &[]);
    fake.set_file("/gpu/GPU-1/status", &["{\"a\":1}", "{\"b\":2}", ""]);
    fake.set_file("/gpu/models/active", &[]);
    let list = coh(&fake, &["gpu", "list"]).await;
    assert_eq!(
        list.ends(0).out,
        "gpu id=GPU-0 name=Mock 4090 mem_mb=24576 sm=128 driver=d runtime=r\ngpu skip id=GPU-1 reason=missing-info\n"
    );
    let json = coh(&fake, &["--json", "gpu", "list"]).await.json();
    assert_eq!(
        (&json["ok"], &json["gpus"][0]["mem_mb"]),
        (&Value::from(true), &Value::from(24576))
    );
    let empty = coh(&fake, &["gpu", "status", "--gpu", "GPU-0"]).await;
    assert_eq!(empty.ends(0).out, "gpu id=GPU-0 status=EMPTY\n");
    let last = coh(&fake, &["gpu", "status", "--gpu", "GPU-1"]).await;
    assert_eq!(last.ends(0).out, "gpu id=GPU-1 status={\"b\":2}\n");
    fake.set_file("/gpu/GPU-0/info", &["{}"]);
    coh(&fake, &["gpu", "list"])
        .await
        .ends(3)
        .says("invalid gpu info JSON in /gpu/GPU-0/info");
}

#[tokio::test]
async fn every_failure_has_its_status() {
    let fake = Fake::start().await;
    let failed = coh(&fake, &["--json", "gpu", "status", "--gpu", "GPU-9"]).await;
    assert_eq!(failed.ends(5).json()["exit"], Value::from(5));
    coh(&fake, &["gpu", "status", "--gpu", "a/b"])
        .await
        .ends(2)
        .says("is no id");
    let mut wrong = command(fake.addr.port(), &["gpu", "list", "--auth-token", "wrong"]);
    wrong.env("COH_AUTH_TOKEN", TOKEN);
    finish(wrong).await.ends(4).says("authentication rejected");
    let mut by_variable = Command::new(env!("CARGO_BIN_EXE_coh"));
    by_variable
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("COHSH_AUTH_TOKEN", TOKEN);
    by_variable.args(["--tcp-port", &fake.addr.port().to_string(), "gpu", "list"]);
    finish(by_variable).await.ends(5);
    let mut without = Command::new(env!("CARGO_BIN_EXE_coh"));
    without
        .env_clear()
        .env("HOME", "/nonexistent")
        .args(["gpu", "list"]);
    finish(without).await.ends(4).says("no auth token");
    finish(command(1, &["gpu", "list"]))
        .await
        .ends(3)
        .says("no connection");
    coh(&fake, &["--role", "worker-gpu", "gpu", "list"])
        .await
        .ends(4)
        .says("needs a ticket");
}

/// A hive that grants leases. What it does with a spawn is up to `on_spawn`, which is given the file.
async fn granting(on_spawn: impl Fn(&Lines) -> Vec<Act> + Send + Sync + 'static) -> Fake {
    let lines: Lines = Arc::default();
    lines.lock().unwrap().push(lease_line("ACTIVE", "worker-1"));
    Fake::with(move |_, line| match line {
        "CAT /gpu/GPU-0/lease" => Some(cat("/gpu/GPU-0/lease", &lines)),
        line if line.starts_with("ECHO /queen/ctl {\"spawn\"") => Some(on_spawn(&lines)),
        _ => None,
    })
    .await
}

const LEASE: [&str; 8] = [
    "gpu", "lease", "--gpu", "GPU-0", "--mem-mb", "1024", "--ttl-s", "60",
];
const GRANTED: &str =
    "lease gpu_id=GPU-0 worker_id=worker-2 state=ACTIVE mem_mb=1024 streams=1 ttl_s=60 priority=0\n";

#[tokio::test]
async fn a_lease_is_asked_for_once_and_its_worker_is_told() {
    let grant = |lines: &Lines| lines.lock().unwrap().push(lease_line("ACTIVE", "worker-2"));
    let granted = granting(move |lines| {
        grant(lines);
        vec![say("OK ECHO path=/queen/ctl bytes=92")]
    })
    .await;
    assert_eq!(coh(&granted, &LEASE).await.ends(0).out, GRANTED);
    let request =
        r#"ECHO /queen/ctl {"spawn":"gpu","lease":{"gpu_id":"GPU-0","mem_mb":1024,"streams":1,"ttl_s":60}}"#;
    assert_eq!(granted.count(request), 1);

    // The answer is lost on its way; the file tells.
    let lost = granting(move |lines| {
        grant(lines);
        vec![Act::Close]
    })
    .await;
    assert_eq!(coh(&lost, &LEASE).await.ends(0).out, GRANTED);
    assert_eq!(lost.count("ECHO /queen/ctl"), 1);
    let never = granting(|_| vec![Act::Close]).await;
    coh(&never, &LEASE)
        .await
        .ends(3)
        .says("no new active lease in /gpu/GPU-0/lease");
    assert_eq!(never.count("ECHO /queen/ctl"), 1);

    let busy = granting(|_| vec![say("ERR ECHO reason=busy detail=busy path=/queen/ctl error=busy")]).await;
    coh(&busy, &LEASE).await.ends(5).says("reason=busy");
    let fake = Fake::start().await;
    let released = coh(&fake, &["gpu", "release", "--worker", "worker-2"]).await;
    assert_eq!(released.ends(0).out, "released worker_id=worker-2\n");
    assert_eq!(fake.count("ECHO /queen/ctl {\"kill\":\"worker-2\"}"), 1);
}

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

const JOBS: &str = "/queen/export/lora_jobs";

fn job(fake: &Fake) {
    fake.set_file(&format!("{JOBS}/job-1/telemetry.cbor"), &["b64:gIE=", "b64:gg=="]);
    fake.set_file(&format!("{JOBS}/job-1/base_model.ref"), &["vision-base-v1"]);
    fake.set_file(
        &format!("{JOBS}/job-1/policy.toml"),
        &["min_samples = 1", "", "drift = 0.5"],
    );
}

#[tokio::test]
async fn a_job_is_exported_whole_and_once() {
    let fake = Fake::start().await;
    let place = Place::new();
    let out = place.path("out");
    let export = ["peft", "export", "--job", "job-1", "--out", out.to_str().unwrap()];
    coh(&fake, &export).await.ends(5).says("invalid-path");
    fake.set_file(&format!("{JOBS}/other/x"), &[]);
    coh(&fake, &export)
        .await
        .ends(5)
        .says("ERR PEFT reason=missing export job job-1");
    assert!(!out.exists());
    job(&fake);
    let saved = coh(&fake, &export).await;
    assert_eq!(saved.ends(0).out.lines().count(), 3, "{saved:?}");
    let file = |name: &str| fs::read(out.join("job-1").join(name)).unwrap();
    assert_eq!(file("telemetry.cbor"), [0x80, 0x81, 0x82]);
    assert_eq!(file("base_model.ref"), b"vision-base-v1\n");
    assert_eq!(file("policy.toml"), b"min_samples = 1\n\ndrift = 0.5\n");
    fs::write(out.join("job-1/policy.toml"), "mine").unwrap();
    let kept = coh(&fake, &export).await;
    assert!(
        kept.ends(0).out.contains("file=policy.toml bytes=4 kept="),
        "{kept:?}"
    );
    assert_eq!(file("policy.toml"), b"mine");

    fs::remove_dir_all(&out).unwrap();
    fake.set_file(
        &format!("{JOBS}/job-1/base_model.ref"),
        &["x".repeat(1024).as_str()],
    );
    coh(&fake, &export)
        .await
        .ends(5)
        .says("base_model.ref exceeds max bytes 1024");
    fake.set_file(&format!("{JOBS}/job-1/base_model.ref"), &[]);
    coh(&fake, &export).await.ends(5).says("base_model.ref is empty");
    fake.set_file(&format!("{JOBS}/job-1/telemetry.cbor"), &["b64:gIE=", "b64:*"]);
    fs::remove_dir_all(&out).unwrap();
    coh(&fake, &export)
        .await
        .ends(3)
        .says("telemetry.cbor: up to line 2");
    fake.set_file(&format!("{JOBS}/job-1/secret"), &["x"]);
    coh(&fake, &export)
        .await
        .ends(5)
        .says("has the files base_model.ref, policy.toml, secret, telemetry.cbor");
    assert_eq!(
        fs::read_dir(out.join("job-1")).unwrap().count(),
        0,
        "no half of a file"
    );
}

#[tokio::test]
async fn telemetry_goes_in_and_comes_out() {
    let fake = Fake::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("a.ndjson"), "{\"a\":1}\n{\"b\":2}\n").unwrap();
    let push = coh(
        &fake,
        &[
            "telemetry",
            "push",
            &path("a.ndjson"),
            "--device",
            "d1",
            "--raw-lines",
        ],
    )
    .await;
    assert_eq!(
        push.ends(0).out,
        "telemetry push device=d1 seg_id=seg-000001 records=2 bytes=16 source_bytes=16 mode=raw\n"
    );
    let ctl = fake.file("/queen/telemetry/d1/ctl");
    assert_eq!(ctl, [r#"{"new":"segment","mime":"application/x-ndjson"}"#]);
    let segment = "/queen/telemetry/d1/seg/seg-000001";
    assert_eq!(fake.file(segment), ["{\"a\":1}", "{\"b\":2}"]);
    let envelope = coh(
        &fake,
        &[
            "telemetry",
            "push",
            &path("a.ndjson"),
            "--device",
            "d2",
            "--mime",
            "a/b",
        ],
    )
    .await;
    assert!(envelope.ends(0).out.contains("mode=inline"));
    let json = coh(
        &fake,
        &["--json", "telemetry", "push", &path("a.ndjson"), "--device", "d2"],
    )
    .await
    .json();
    assert_eq!(
        (&json["mode"], &json["records"]),
        (&Value::from("inline"), &Value::from(1))
    );
    assert_eq!(
        fake.file("/queen/telemetry/d2/seg/seg-000001")[0],
        r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"a/b","payload":"{\"a\":1}\n{\"b\":2}\n"}"#
    );
    coh(&fake, &["telemetry", "push", &path("none"), "--device", "d"])
        .await
        .ends(1)
        .says("cannot read");
    coh(
        &fake,
        &["telemetry", "push", &path("a.ndjson"), "--device", "a/b"],
    )
    .await
    .ends(2);
    coh(
        &fake,
        &[
            "telemetry",
            "push",
            &path("a.ndjson"),
            "--device",
            "d",
            "--mime",
            "ä",
        ],
    )
    .await
    .ends(2);

    let out = path("out");
    let pull = coh(&fake, &["telemetry", "pull", "--out", &out]).await;
    assert!(
        pull.ends(0)
            .out
            .contains("telemetry device=d1 segment=seg-000001 bytes=16 saved=d1/seg/seg-000001\n")
    );
    let pulled = fs::read_to_string(Path::new(&out).join("d1/seg/seg-000001")).unwrap();
    assert_eq!(pulled, "{\"a\":1}\n{\"b\":2}\n");
    let again = coh(&fake, &["telemetry", "pull", "--out", &out]).await;
    assert!(again.ends(0).out.contains("kept=d1/seg/seg-000001"));
    for n in 2..6 {
        fake.set_file(&format!("/queen/telemetry/d1/seg/seg-00000{n}"), &["x"]);
    }
    coh(&fake, &["telemetry", "pull", "--out", &out])
        .await
        .ends(5)
        .says("exceeds max_segments_per_device 4");
}

#[tokio::test]
async fn an_adapter_of_another_base_or_a_broken_one_leaves_no_registry() {
    let fake = Fake::start().await;
    let place = Place::new();
    let registry = place.fresh();
    let adapter = place.path("peft");
    fs::create_dir(&adapter).unwrap();
    let import = |model: &'static str| {
        let paths = [adapter.clone(), place.export(), registry.clone()];
        let [adapter, export, registry] = paths.map(|path| path.to_str().unwrap().to_owned());
        let arguments = [
            "peft",
            "import",
            "--model",
            model,
            "--from",
            &adapter,
            "--job",
            "job-1",
            "--export",
            &export,
            "--registry",
            &registry,
        ];
        command(fake.addr.port(), &arguments)
    };
    fs::write(adapter.join("adapter_model.bin"), "PK").unwrap();
    finish(import("M")).await.ends(5).says("is a pickle");
    fs::write(
        adapter.join("adapter_model.safetensors"),
        &places::weights()[..40],
    )
    .unwrap();
    let config = |base: &str| {
        format!(
            r#"{{"r":2,"lora_alpha":4,"target_modules":["q"],"base_model_name_or_path":"{base}","kept":[1]}}"#
        )
    };
    fs::write(adapter.join("adapter_config.json"), config("vision-base-v2")).unwrap();
    finish(import("M"))
        .await
        .ends(5)
        .says("is no sound safetensors file");
    fs::write(adapter.join("adapter_model.safetensors"), places::weights()).unwrap();
    let other = finish(import("M")).await;
    other
        .ends(5)
        .says("the adapter is for vision-base-v2, but job job-1 is for vision-base-v1");
    assert!(!registry.exists());

    fs::write(
        adapter.join("adapter_config.json"),
        config("/models/vision-base-v1"),
    )
    .unwrap();
    let imported = finish(import("M")).await;
    assert!(
        imported
            .ends(0)
            .out
            .starts_with("peft import model=M base=vision-base-v1 lora_id=job-1 job=job-1 ")
    );
    let kept = fs::read_to_string(registry.join("available/M/lora.json")).unwrap();
    assert_eq!(kept, config("/models/vision-base-v1"));
    let manifest = fs::read_to_string(registry.join("available/M/manifest.toml")).unwrap();
    let head = "[model]\nid = \"M\"\nbase = \"vision-base-v1\"\nadapter = \"adapter.safetensors\"\nlora = \"lora.json\"\n\
                lora_id = \"job-1\"\n\n[provenance]\njob_id = \"job-1\"\napproval = \"pending\"\n\n[hashes]\nadapter_sha256 = ";
    assert!(manifest.starts_with(head), "{manifest}");
    finish(import("M"))
        .await
        .ends(5)
        .says("ERR PEFT reason=model M already imported");
    assert_eq!(fake.received(), [], "an import needs no hive");
}

#[tokio::test]
async fn what_is_active_is_the_same_here_and_there() {
    let fake = Fake::start().await;
    fake.set_file("/gpu/models/active", &[]);
    let place = Place::new();
    let before = Seen::new(Some("A"), Some("D"));
    let root = place.registry(&before);
    let registry = root.to_str().unwrap();
    let activate = |model: &'static str| ["peft", "activate", "--model", model, "--registry", registry];
    coh(&fake, &activate("none"))
        .await
        .ends(5)
        .says("ERR PEFT reason=model none is not available");
    finish(command(1, &activate("B"))).await.ends(3);
    assert_eq!(python_sees(&root), Ok(before), "without a hive nothing changes");

    let done = coh(&fake, &activate("B")).await;
    assert_eq!(done.ends(0).out, "peft activated model=B previous=A\n");
    assert_eq!(python_sees(&root), Ok(Seen::new(Some("B"), Some("A"))));
    let again = coh(&fake, &activate("B")).await;
    assert_eq!(again.ends(0).out, "peft activated model=B previous=A\n");
    let back = coh(&fake, &["peft", "rollback", "--registry", registry]).await;
    assert_eq!(back.ends(0).out, "peft rollback from=B to=A\n");
    assert_eq!(fake.file("/gpu/models/active"), ["B", "B", "A"]);
    assert_eq!(python_sees(&root), Ok(Seen::new(Some("A"), Some("B"))));

    fs::write(root.join("available/C/adapter.safetensors"), "changed").unwrap();
    coh(&fake, &activate("C"))
        .await
        .ends(5)
        .says("has changed since it was imported");
    let fresh = place.registry(&Seen::new(Some("A"), None));
    let rollback = ["peft", "rollback", "--registry", fresh.to_str().unwrap()];
    coh(&fake, &rollback)
        .await
        .ends(5)
        .says("no previous model available for rollback");
    coh(&fake, &["peft", "rollback", "--registry", "/nonexistent"])
        .await
        .ends(5);
}

#[tokio::test]
async fn an_activation_that_nobody_can_tell_of_is_settled_by_the_next() {
    // The hive takes the line or not, and breaks off before it says so, every time.
    for takes_it in [true, false] {
        let (lines, breaks): (Lines, _) = (Arc::default(), Arc::new(Mutex::new(true)));
        let (shared, flag) = (Arc::clone(&lines), Arc::clone(&breaks));
        let fake = Fake::with(move |_, line| match line {
            "CAT /gpu/models/active" => Some(cat("/gpu/models/active", &shared)),
            line if line.starts_with("ECHO /gpu/models/active ") => {
                let breaks = *flag.lock().unwrap();
                if takes_it || !breaks {
                    shared
                        .lock()
                        .unwrap()
                        .push(line.rsplit(' ').next().unwrap().to_owned());
                }
                Some(vec![if breaks {
                    Act::Close
                } else {
                    say("OK ECHO path=/gpu/models/active bytes=1")
                }])
            }
            _ => None,
        })
        .await;
        let place = Place::new();
        let root = place.registry(&Seen::new(Some("A"), None));
        let registry = root.to_str().unwrap();
        let first = coh(
            &fake,
            &["peft", "activate", "--model", "B", "--registry", registry],
        )
        .await;
        assert_eq!(python_sees(&root), Ok(Seen::new(Some("B"), Some("A"))));
        if takes_it {
            first.ends(0);
            assert_eq!(*lines.lock().unwrap(), ["B"], "it was told once");
            continue;
        }
        first
            .ends(3)
            .says("B is active in the registry, and the hive may not know");
        *breaks.lock().unwrap() = false;
        let next = coh(
            &fake,
            &["peft", "activate", "--model", "C", "--registry", registry],
        )
        .await;
        next.ends(0).says("told the hive that B is active");
        assert_eq!(*lines.lock().unwrap(), ["B", "C"]);
        assert_eq!(python_sees(&root), Ok(Seen::new(Some("C"), Some("B"))));
    }
}

#[tokio::test]
async fn the_doctor_looks_at_everything() {
    let fake = Fake::start().await;
    fake.set_file("/gpu/GPU-0/info", &["{}"]);
    let place = Place::new();
    let root = place.registry(&Seen::new(Some("A"), Some("D")));
    let doctor = ["doctor", "--registry", root.to_str().unwrap()];
    let well = coh(&fake, &doctor).await;
    for check in [
        "credentials",
        "attach",
        "boot",
        "lifecycle",
        "gpus",
        "registry",
        "model:A",
        "model:D",
    ] {
        assert!(
            well.ends(0).out.contains(&format!("OK DOCTOR check={check} (")),
            "{check}: {well:?}"
        );
    }
    fs::write(root.join("available/B/lora.json"), "changed").unwrap();
    fake.set_file("/proc/lifecycle/state", &["state=DEGRADED"]);
    let ill = coh(&fake, &doctor).await;
    ill.ends(6)
        .says("failed: lifecycle, model:B")
        .says("OK DOCTOR check=model:A");
    ill.says("ERR DOCTOR check=model:B reason=model B: lora.json has changed");
    finish(command(1, &doctor))
        .await
        .ends(6)
        .says("failed: attach, model:B");
}
