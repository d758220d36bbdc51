//! `gpu-bridge-host` against a real hive: what a person types, following, and what is refused.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::{Console, Hive, Options, programs};

/// How long anything may take to happen.
const LIMIT: Duration = Duration::from_secs(30);

fn command(program: &str, hive: &Hive) -> Command {
    let addr = hive.addr();
    let mut command = Command::new(programs::program(program));
    command
        .args(["--tcp-host", &addr.ip().to_string()])
        .args(["--tcp-port", &addr.port().to_string()])
        .args(["--auth-token", hive.token()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end: status, standard output, standard error.
fn bridge(hive: &Hive, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command("gpu-bridge-host", hive).args(arguments).output();
    read(output.expect("gpu-bridge-host runs"))
}

fn read(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The program, following.
struct Follower(Option<Child>);

impl Follower {
    fn start(hive: &Hive, arguments: &[&str]) -> Self {
        let child = command("gpu-bridge-host", hive)
            .args(["--publish", "--mock", "--interval-ms", "50"])
            .args(arguments)
            .spawn();
        Self(Some(child.expect("gpu-bridge-host runs")))
    }

    /// Asks it to end: status, standard output, standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let child = self.0.take().expect("it runs");
        let killed = Command::new("kill").arg(child.id().to_string()).status();
        assert!(killed.expect("kill runs").success());
        read(child.wait_with_output().expect("it ends"))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Already gone is as good as killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that nobody listens on: a hive that is to come back where it was needs one of its own.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

fn until(what: &str, mut good: impl FnMut() -> bool) {
    let since = Instant::now();
    while !good() {
        assert!(since.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn status(queen: &mut Console) -> String {
    queen.cat("/gpu/bridge/status").concat()
}

/// A registry with these models.
fn registry(models: &[&str], active: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    models.iter().for_each(|model| add_model(dir.path(), model));
    std::fs::write(dir.path().join("active"), format!("{active}\n")).expect("active");
    dir
}

fn add_model(root: &Path, model: &str) {
    let dir = root.join("available").join(model);
    std::fs::create_dir_all(&dir).expect("the model's directory");
    std::fs::write(dir.join("manifest.toml"), format!("[model]\nid = \"{model}\"\n")).expect("its manifest");
}

fn path(dir: &TempDir) -> &str {
    dir.path().to_str().expect("UTF-8")
}

#[test]
fn the_documented_quick_check() {
    let hive = Hive::any();
    let (code, out, err) = bridge(&hive, &["--publish", "--mock"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let told = out
        .trim_end()
        .strip_prefix("OK PUBLISH ")
        .expect("what was published");
    let (installed, counts) = told.split_once(" gpus=").expect("bytes and sha256 first");
    assert_eq!(counts, "2 models=2 active=vision-lora-edge");

    let mut shell = command("cohsh", &hive)
        .stdin(Stdio::piped())
        .spawn()
        .expect("cohsh runs");
    let script = b"ls /gpu\ncat /gpu/bridge/status\n";
    shell
        .stdin
        .take()
        .expect("piped")
        .write_all(script)
        .expect("cohsh reads");
    let (code, out, err) = read(shell.wait_with_output().expect("cohsh ends"));
    assert_eq!(code, Some(0), "{out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    for name in ["GPU-0", "GPU-1", "bridge", "models", "telemetry"] {
        assert!(lines.contains(&name), "{out}");
    }
    assert!(lines.contains(&format!("state=ok {installed}").as_str()), "{out}");

    let mut queen = hive.queen();
    let info = queen.cat("/gpu/GPU-0/info").concat();
    assert!(
        info.contains("\"name\": \"Mock 4090\"") && info.contains("\"memory_mb\": 24576"),
        "{info}"
    );
    assert_eq!(
        queen.ls("/gpu/models/available"),
        ["vision-base-v1", "vision-lora-edge"]
    );
    let manifest = queen.cat("/gpu/models/available/vision-lora-edge/manifest.toml");
    assert!(
        manifest.contains(&"base = \"vision-base-v1\"".to_owned()),
        "{manifest:?}"
    );
    let schema = queen.cat("/gpu/telemetry/schema.json").concat();
    assert!(schema.contains("\"max_record_bytes\":4096"), "{schema}");
}

#[test]
fn without_a_driver_nothing_is_published_and_the_way_on_is_told() {
    let hive = Hive::any();
    let before = status(&mut hive.queen());
    let nothing = tempfile::tempdir().expect("a directory");
    for name in ["libnvidia-ml.so.1", "libnvidia-ml.so"] {
        std::fs::write(nothing.path().join(name), "no library").expect("hides a real driver");
    }
    let output = command("gpu-bridge-host", &hive)
        .arg("--publish")
        .env("LD_LIBRARY_PATH", nothing.path())
        .output();
    let (code, out, err) = read(output.expect("gpu-bridge-host runs"));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.contains("no NVIDIA driver on this machine") && err.contains("add --mock"),
        "{err}"
    );
    assert_eq!(status(&mut hive.queen()), before);
}

#[test]
fn what_the_hive_refuses_is_told() {
    let hive = Hive::fresh();
    let mut queen = hive.queen();
    let cordon = queen.ask("ECHO /queen/lifecycle/ctl cordon");
    assert!(cordon.starts_with("OK ECHO"), "{cordon}");
    let (code, out, err) = bridge(&hive, &["--publish", "--mock"]);
    assert_eq!((code, out.as_str()), (Some(5), ""), "{err}");
    assert!(err.contains("reason=policy detail=denied"), "{err}");
    let resume = queen.ask("ECHO /queen/lifecycle/ctl resume");
    assert!(resume.starts_with("OK ECHO"), "{resume}");
    assert_eq!(bridge(&hive, &["--publish", "--mock"]).0, Some(0));
    let (code, _, err) = bridge(
        &hive,
        &["--publish", "--mock", "--ticket", "cohesix-ticket-00.00"],
    );
    assert_eq!(code, Some(4), "{err}");
}

#[test]
fn another_publishers_turn_is_waited_for() {
    let hive = Hive::fresh();
    let mut other = hive.queen();
    let begun = other.ask(&format!(
        "ECHO /gpu/bridge/ctl begin bytes=100 sha256={}",
        "0".repeat(64)
    ));
    assert!(begun.starts_with("OK ECHO"), "{begun}");
    let waiting = command("gpu-bridge-host", &hive)
        .args(["--publish", "--mock"])
        .spawn()
        .expect("gpu-bridge-host runs");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(status(&mut other), "state=receiving bytes=100");
    drop(other);
    let (code, out, err) = read(waiting.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("OK PUBLISH "), "{out}");
}

#[test]
fn more_models_than_a_hive_takes() {
    let models: Vec<String> = (0..70).map(|n| format!("m-{n:02}")).collect();
    let registry = registry(&models.iter().map(String::as_str).collect::<Vec<_>>(), "m-69");
    let hive = Hive::fresh();
    let (code, out, err) = bridge(&hive, &["--publish", "--mock", "--registry", path(&registry)]);
    assert_eq!(code, Some(6), "{err}");
    assert!(
        out.contains("models=64 active=m-69") && err.contains("model m-68 left out"),
        "{out}{err}"
    );
    let mut queen = hive.queen();
    assert_eq!(queen.ls("/gpu/models/available").len(), 64);
    assert_eq!(
        queen.cat("/gpu/models/active").last().map(String::as_str),
        Some("m-69")
    );
}

#[test]
fn it_follows_a_registry_and_a_hive_that_is_killed() {
    let registry = registry(&["a"], "a");
    let root = registry.path();
    let ran = root.join("ran");
    let on_activate = format!("printf '%s\\n' \"$COHESIX_MODEL_ID\" >> '{}'; :", ran.display());
    let mut hive = Hive::with(Options {
        arguments: vec!["--console".into(), format!("127.0.0.1:{}", free_port())],
        ..Options::default()
    });
    let follower = Follower::start(
        &hive,
        &["--registry", path(&registry), "--on-activate", &on_activate],
    );
    let activated = |models: &str| std::fs::read_to_string(&ran).is_ok_and(|text| text == models);
    until("the first snapshot and its model", || activated("a\n"));

    add_model(root, "b");
    let mut queen = hive.queen();
    until("the new model", || {
        queen.ls("/gpu/models/available") == ["a", "b"]
    });
    let echoed = queen.ask("ECHO /gpu/models/active b");
    assert!(echoed.starts_with("OK ECHO"), "{echoed}");
    until("the command for b", || activated("a\nb\n"));
    let told = |queen: &mut Console, part: &str| {
        queen
            .cat("/gpu/GPU-0/status")
            .iter()
            .filter(|line| line.contains(part))
            .count()
    };
    let done = r#""event":"ACTIVATE","state":"OK","model_id":"b","seq":2"#;
    until("the status line", || told(&mut queen, done) == 1);
    drop(queen);

    hive.kill_and_restart();
    add_model(root, "c");
    let mut queen = hive.queen();
    until("a model that came after the restart", || {
        queen.ls("/gpu/models/available") == ["a", "b", "c"]
    });
    assert_eq!(
        (told(&mut queen, "ACTIVATE"), told(&mut queen, done)),
        (2, 1),
        "not told again"
    );
    let (code, out, err) = follower.end();
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.matches("OK PUBLISH ").count() >= 3, "{out}");
    assert!(activated("a\nb\n"));
}
