//! The program with `--interval-ms`: what it publishes, reports and runs while a hive and a registry change.

#[path = "support/double.rs"]
mod double;
#[path = "support/run.rs"]
mod run;
#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use double::Double;
use run::{command, driver};
use support::{Act, Fake, say};
use tempfile::TempDir;

/// How long anything may take to happen.
const LIMIT: Duration = Duration::from_secs(20);

const ACTIVE: &str = r#"{"schema":"gpu-lease/v1","state":"ACTIVE","gpu_id":"GPU-0","worker_id":"worker-1","mem_mb":1024,"streams":1,"ttl_s":60,"priority":1}"#;
const RELEASED: &str = r#"{"schema":"gpu-lease/v1","state":"RELEASED","gpu_id":"GPU-0","worker_id":"worker-1","mem_mb":1024,"streams":1,"ttl_s":60,"priority":1,"reason":"killed"}"#;

/// The program, running.
struct Follower(Child);

impl Follower {
    fn start(fake: &Fake, arguments: &[&str]) -> Self {
        let mut all = vec!["--publish", "--interval-ms", "20"];
        all.extend(arguments);
        Self(command(Some(fake), &all).spawn().unwrap())
    }

    /// Sends a signal and waits for the end: the status, standard output and standard error.
    async fn end(mut self, signal: &str) -> (Option<i32>, String, String) {
        let pid = self.0.id().to_string();
        let killed = std::process::Command::new("kill").args([signal, &pid]).status();
        assert!(killed.unwrap().success());
        self.wait().await
    }

    async fn wait(&mut self) -> (Option<i32>, String, String) {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < LIMIT, "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let (mut out, mut err) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        // A command that outlives the program holds standard error; what is there by now is enough.
        let mut stream = self.0.stderr.take().unwrap();
        let (sender, text) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buf) {
                let _ = sender.send(String::from_utf8_lossy(&buf[..n]).into_owned());
            }
        });
        while let Ok(part) = text.recv_timeout(Duration::from_millis(300)) {
            err += &part;
        }
        (status.code(), out, err)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, mut good: impl FnMut() -> bool) {
    let since = Instant::now();
    while !good() {
        assert!(since.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Some looks later.
async fn looks(double: &Double) {
    let leases = double.fake.count("CAT /gpu/GPU-0/lease");
    until("three looks", || {
        double.fake.count("CAT /gpu/GPU-0/lease") >= leases + 3
    })
    .await;
}

/// The lines of a status file that hold all of these parts.
fn status(double: &Double, gpu: &str, parts: &[&str]) -> usize {
    let lines = double.fake.file(&format!("/gpu/{gpu}/status"));
    lines
        .iter()
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .count()
}

fn registry(models: &[&str], active: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    models.iter().for_each(|model| add_model(dir.path(), model));
    std::fs::write(dir.path().join("active"), format!("{active}\n")).unwrap();
    dir
}

fn add_model(root: &Path, model: &str) {
    let dir = root.join("available").join(model);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("manifest.toml"), format!("[model]\nid = \"{model}\"\n")).unwrap();
}

fn receipts(root: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(root.join("receipts.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Events and states, for example `intent m` and `result m ok`.
fn history(root: &Path) -> Vec<String> {
    let of = |receipt: serde_json::Value| {
        let text = |key: &str| receipt[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("event"), text("model_id"), text("state"))
            .trim_end()
            .to_owned()
    };
    receipts(root).into_iter().map(of).collect()
}

#[tokio::test]
async fn it_publishes_what_has_changed_and_nothing_else() {
    let registry = registry(&["a"], "a");
    let double = Double::start().await;
    let path = registry.path().to_str().unwrap();
    let follower = Follower::start(&double.fake, &["--mock", "--registry", path]);
    until("the first snapshot", || double.installed().len() == 1).await;
    looks(&double).await;
    assert_eq!(double.installed().len(), 1, "the hive has it already");

    add_model(registry.path(), "b");
    until("the new model", || double.installed().len() == 2).await;
    std::fs::write(registry.path().join("active"), "b\n").unwrap();
    until("the active model", || double.installed().len() == 3).await;
    assert!(double.installed()[2].contains("model id=b ") && double.installed()[2].contains("active id=b\n"));

    // The hive was restarted and has forgotten.
    double.now(|bridge| {
        bridge.status = "state=idle".into();
        bridge.hang_up = true;
    });
    until("the snapshot again", || double.installed().len() == 4).await;
    assert_eq!(double.installed()[3], double.installed()[2]);

    std::fs::rename(
        registry.path().join("available"),
        registry.path().join("elsewhere"),
    )
    .unwrap();
    until("no model", || double.installed().len() == 5).await;
    looks(&double).await;
    let (code, out, err) = follower.end("-TERM").await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        out.lines().filter(|line| line.starts_with("OK PUBLISH ")).count(),
        5,
        "{out}"
    );
    // `active` names a model that is not there; said once, however often it was looked at.
    assert_eq!(err.matches("names \"b\"").count(), 1, "{err}");
    assert_eq!(double.fake.received().last().unwrap().line, "quit");
}

#[tokio::test]
async fn leases_are_reported_once_also_over_a_new_connection() {
    let double = Double::start().await;
    let follower = Follower::start(&double.fake, &["--mock"]);
    looks(&double).await;
    assert_eq!(status(&double, "GPU-0", &[]), 0);
    double.fake.set_file("/gpu/GPU-0/lease", &[ACTIVE]);
    let active = [r#""event":"LEASE","state":"ACTIVE","worker_id":"worker-1""#];
    until("ACTIVE", || status(&double, "GPU-0", &active) == 1).await;

    double.now(|bridge| bridge.hang_up = true);
    looks(&double).await;
    assert_eq!(double.fake.received().last().unwrap().connection, 1);
    assert_eq!(status(&double, "GPU-0", &["LEASE"]), 1, "reported before");

    // While the hive takes nothing, nothing is lost.
    double.now(|bridge| bridge.drained = true);
    double.fake.set_file("/gpu/GPU-0/lease", &[ACTIVE, RELEASED]);
    looks(&double).await;
    assert_eq!(status(&double, "GPU-0", &["LEASE"]), 1);
    double.now(|bridge| bridge.drained = false);
    let released = [r#""state":"RELEASED","worker_id":"worker-1""#];
    until("RELEASED", || status(&double, "GPU-0", &released) == 1).await;
    looks(&double).await;
    assert_eq!(
        (
            status(&double, "GPU-0", &["LEASE"]),
            status(&double, "GPU-1", &[])
        ),
        (2, 0)
    );
    let (code, _, err) = follower.end("-INT").await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("detail=denied").count(), 1, "told once: {err}");

    // Another program goes on where this one ended.
    let follower = Follower::start(&double.fake, &["--mock"]);
    looks(&double).await;
    assert_eq!(status(&double, "GPU-0", &["LEASE"]), 2);
    drop(follower);
}

#[tokio::test]
async fn a_real_gpu_is_sampled() {
    let driver = driver();
    let double = Double::start().await;
    let follower = Follower::start(&double.fake, &["--library-path", driver.path().to_str().unwrap()]);
    let first = [
        r#""event":"SAMPLE""#,
        r#""util_pct":97,"mem_used_mb":1024,"mem_total_mb":24564,"temp_c":71,"power_w":421"#,
    ];
    until("a sample", || status(&double, "GPU-0", &first) == 1).await;
    until("the other's", || {
        status(&double, "GPU-1", &[r#""util_pct":0"#]) == 1
    })
    .await;
    assert_eq!(status(&double, "GPU-1", &["power_w"]), 0, "it does not say");
    looks(&double).await;
    assert_eq!(status(&double, "GPU-0", &["SAMPLE"]), 1, "each 10 s");
    drop(follower);
}

#[tokio::test]
async fn a_command_runs_once_for_each_activation() {
    let registry = registry(&["m", "n"], "m");
    let root = registry.path();
    let double = Double::start().await;
    let command = format!("echo out; >>'{}/ran' echo $COHESIX_MODEL_ID ", root.display());
    let arguments = [
        "--mock",
        "--registry",
        root.to_str().unwrap(),
        "--on-activate",
        &command,
    ];
    let ran = || std::fs::read_to_string(root.join("ran")).unwrap_or_default();
    let follower = Follower::start(&double.fake, &arguments);
    looks(&double).await;
    assert_eq!(ran(), "", "nothing is active in the hive yet");

    let line = |model: &str| {
        format!(
            "{model} {}\n",
            root.canonicalize()
                .unwrap()
                .join("available")
                .join(model)
                .display()
        )
    };
    double.fake.set_file("/gpu/models/active", &["n", "m"]);
    until("the result", || history(root) == ["intent m", "result m ok"]).await;
    for gpu in ["GPU-0", "GPU-1"] {
        let told = [r#""event":"ACTIVATE","state":"OK","model_id":"m","seq":1,"exit_code":0"#];
        until("the status line", || status(&double, gpu, &told) == 1).await;
    }
    looks(&double).await;
    assert_eq!(ran(), line("m"));

    // A model that is not there yet is waited for.
    double.fake.set_file("/gpu/models/active", &["m", "later"]);
    looks(&double).await;
    assert_eq!(receipts(root).len(), 2);
    add_model(root, "later");
    until("the third", || history(root).last().unwrap() == "result later ok").await;
    let (code, out, err) = follower.end("-TERM").await;
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("OK ACTIVATE model=m seq=1 state=ok exit_code=0\n"),
        "{out}"
    );
    assert!(
        !out.lines().any(|line| line == "out") && err.lines().any(|line| line == "out"),
        "{out}{err}"
    );
    assert_eq!(
        err.matches("is active in the hive and not in the registry")
            .count(),
        1,
        "{err}"
    );

    // Not again after a restart; but what became active meanwhile.
    let follower = Follower::start(&double.fake, &arguments);
    looks(&double).await;
    assert_eq!(ran(), line("m") + &line("later"));
    drop(follower);
    double.fake.set_file("/gpu/models/active", &["m", "later", "n"]);
    let follower = Follower::start(&double.fake, &arguments);
    until("n", || history(root).last().unwrap() == "result n ok").await;
    assert_eq!(receipts(root).last().unwrap()["seq"], 3);
    drop(follower);
    assert_eq!(ran(), line("m") + &line("later") + &line("n"));
}

#[tokio::test]
async fn a_command_that_fails_is_told_and_not_repeated() {
    let registry = registry(&["m"], "m");
    let root = registry.path();
    let double = Double::start().await;
    double.fake.set_file("/gpu/models/active", &["m"]);
    let arguments = [
        "--mock",
        "--registry",
        root.to_str().unwrap(),
        "--on-activate",
        "exit 3 #",
    ];
    let follower = Follower::start(&double.fake, &arguments);
    let told = [r#""event":"ACTIVATE","state":"FAILED","model_id":"m","seq":1,"exit_code":3"#];
    until("the status line", || status(&double, "GPU-0", &told) == 1).await;
    looks(&double).await;
    let (code, out, _) = follower.end("-TERM").await;
    assert_eq!(code, Some(0));
    assert!(
        out.contains("ERR ACTIVATE model=m seq=1 state=failed exit_code=3\n"),
        "{out}"
    );
    assert_eq!(history(root), ["intent m", "result m failed"]);
}

#[tokio::test]
async fn a_command_cut_off_by_a_crash_is_unknown_and_not_run_again_unless_asked() {
    let registry = registry(&["m"], "m");
    let root = registry.path();
    let double = Double::start().await;
    double.fake.set_file("/gpu/models/active", &["m"]);
    let command = format!("echo $$ >>'{}/ran'; exec sleep 600 #", root.display());
    let arguments = [
        "--mock",
        "--registry",
        root.to_str().unwrap(),
        "--on-activate",
        &command,
    ];
    let ran = || std::fs::read_to_string(root.join("ran")).unwrap_or_default();
    let follower = Follower::start(&double.fake, &arguments);
    until("the command", || ran().lines().count() == 1).await;
    let (code, ..) = follower.end("-KILL").await;
    assert_eq!(code, None);
    let orphan = std::process::Command::new("kill")
        .args(["-KILL", ran().trim()])
        .status();
    assert!(orphan.unwrap().success(), "it outlived the program");
    assert_eq!(history(root), ["intent m"]);

    let follower = Follower::start(&double.fake, &arguments);
    let told = [r#""event":"ACTIVATE","state":"UNKNOWN","model_id":"m","seq":1"#];
    until("the status line", || status(&double, "GPU-0", &told) == 1).await;
    looks(&double).await;
    let (_, _, err) = follower.end("-TERM").await;
    assert!(
        err.contains("nobody knows how the command for model m ended"),
        "{err}"
    );
    assert_eq!(
        (ran().lines().count(), history(root)),
        (1, vec!["intent m".into(), "result m unknown".into()])
    );

    // Asked for, it runs again, once; and this time the program is stopped in the middle.
    let again = [&arguments[..], &["--retry-unknown"]].concat();
    let follower = Follower::start(&double.fake, &again);
    until("the command again", || ran().lines().count() == 2).await;
    let (code, _, err) = follower.end("-TERM").await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(history(root)[2..], ["intent m", "result m stopped"]);
    let pid = ran().lines().last().unwrap().to_owned();
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "the command has ended with the program"
    );
}

#[tokio::test]
async fn two_programs_do_not_share_a_registry() {
    let registry = registry(&["m"], "m");
    let root = registry.path();
    let double = Double::start().await;
    let arguments = [
        "--mock",
        "--registry",
        root.to_str().unwrap(),
        "--on-activate",
        "true",
    ];
    let _first = Follower::start(&double.fake, &arguments);
    looks(&double).await;
    let (code, _, err) = Follower::start(&double.fake, &arguments).wait().await;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("end it first"), "{err}");
}

#[tokio::test]
async fn a_hive_that_will_not_have_it_ends_it() {
    let fake = Fake::with(|_, line| {
        line.starts_with("AUTH")
            .then(|| vec![say("ERR AUTH reason=invalid-token"), Act::Close])
    })
    .await;
    let (code, _, err) = Follower::start(&fake, &["--mock"]).wait().await;
    assert_eq!(code, Some(4), "{err}");
}
