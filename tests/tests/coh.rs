//! `coh` against a real hive, and beside the public Python client on the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tests::{Hive, Options, programs, python};

const BASE: &str = "vision-base-v1";

/// A host: a hive to talk to and a directory for its files.
struct Host {
    hive: Hive,
    files: tempfile::TempDir,
}

impl Host {
    fn of(hive: Hive) -> Host {
        let files = tempfile::tempdir().expect("a directory");
        Host { hive, files }
    }

    fn path(&self, name: &str) -> String {
        self.files
            .path()
            .join(name)
            .to_str()
            .expect("a plain path")
            .to_owned()
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        let addr = self.hive.addr();
        Command::new(programs::program(name))
            .args([
                "--tcp-host",
                &addr.ip().to_string(),
                "--tcp-port",
                &addr.port().to_string(),
            ])
            .args(["--auth-token", self.hive.token()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("it runs")
    }

    /// What `coh` printed; it has to end with that status.
    fn coh(&self, arguments: &[&str], status: i32) -> String {
        said(arguments, self.tool("coh", arguments), status)
    }

    /// What the public client printed on this host's files; it has to end with that status.
    fn python(&self, arguments: &[&str], status: i32) -> String {
        let output = Command::new(python::with(&[python::COHESIX]))
            .arg(python::script("registry.py"))
            .arg(arguments[0])
            .arg(self.files.path())
            .args(&arguments[1..])
            .output()
            .expect("python runs");
        said(arguments, output, status)
    }
}

fn said(arguments: &[&str], output: Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8(both).expect("UTF-8")
}

#[test]
fn the_gpus_of_a_fresh_hive_are_mocks_and_say_so() {
    let host = Host::of(Hive::fresh());
    let list = host.coh(&["gpu", "list"], 0);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].starts_with("gpu id=GPU-0 name=Mock 4090"), "{list}");
    assert!(
        lines[1].ends_with("mem_mb=8192 sm=24 driver=mock runtime=mock"),
        "{list}"
    );
    let status = ["gpu", "status", "--gpu", "GPU-0"];
    assert_eq!(host.coh(&status, 0), "gpu id=GPU-0 status=EMPTY\n");
    let unknown = host.coh(&["gpu", "status", "--gpu", "GPU-9"], 5);
    assert!(
        unknown.starts_with("ERR GPU reason=ERR CAT reason=policy detail=invalid-path"),
        "{unknown}"
    );
    let none = host.coh(&["run", "--gpu", "GPU-0", "--", "true"], 125);
    assert!(
        none.starts_with("ERR RUN reason=no active lease for gpu GPU-0"),
        "{none}"
    );
    let doctor = host.coh(&["doctor"], 0);
    assert!(
        doctor.contains("OK DOCTOR check=gpus (gpus=2 models="),
        "{doctor}"
    );
}

/// A sample with drift.
fn sample(n: usize) -> String {
    format!(
        "{{\"schema_version\":\"gpu-telemetry/v1\",\"device_id\":\"d-1\",\"model_id\":\"{BASE}\",\
         \"time_window\":{{\"start_ms\":{n},\"end_ms\":{}}},\"token_count\":{n},\"latency_histogram\":[1,2,3],\
         \"drift\":0.5}}",
        n + 1
    )
}

/// The one job of a hive, once it is there.
fn job(hive: &Hive) -> String {
    let (mut console, begun) = (hive.queen(), Instant::now());
    loop {
        if let Some(job) = console.ls("/queen/export/lora_jobs").pop() {
            return job;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no job");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A hive whose gate opens early, with a job from records that `coh` has pushed.
fn with_a_job() -> (Host, String) {
    let host = Host::of(Hive::with(Options {
        manifest: vec![("min_samples = 500", "min_samples = 20")],
        ..Options::default()
    }));
    let file = host.path("records.ndjson");
    let lines: Vec<_> = (0..20).map(sample).collect();
    fs::write(&file, lines.join("\n")).expect("records");
    let pushed = host.coh(&["telemetry", "push", &file, "--device", "d-1", "--raw-lines"], 0);
    assert!(
        pushed.starts_with("telemetry push device=d-1 seg_id=seg-000001 records=20 "),
        "{pushed}"
    );
    let job = job(&host.hive);
    (host, job)
}

#[test]
fn telemetry_in_and_out_and_a_job_from_it() {
    let (host, job) = with_a_job();
    fs::write(host.path("big.bin"), vec![7; (16 << 20) + 5]).expect("a big file");
    let big = host.coh(
        &["telemetry", "push", &host.path("big.bin"), "--device", "d-2"],
        0,
    );
    assert!(
        big.contains("records=2 ") && big.contains("source_bytes=16777221 mode=reference"),
        "{big}"
    );
    fs::write(host.path("note.txt"), "two\nlines\n").expect("a note");
    let note = ["telemetry", "push", &host.path("note.txt"), "--device", "d-2"];
    assert!(host.coh(&note, 0).contains("seg_id=seg-000002 records=1 "));

    let pulled = host.coh(&["telemetry", "pull", "--out", &host.path("pulled")], 0);
    assert_eq!(pulled.lines().count(), 3, "{pulled}");
    let read = |name: &str| fs::read_to_string(host.path(name)).expect("it was pulled");
    let records = fs::read_to_string(host.path("records.ndjson")).expect("records");
    assert_eq!(read("pulled/d-1/seg/seg-000001").trim_end(), records);
    assert!(
        read("pulled/d-2/seg/seg-000001").starts_with("{\"schema\":\"coh-ref-c/v1\",\"seq\":1,\"off\":0,")
    );
    assert!(read("pulled/d-2/seg/seg-000002").contains("\"payload\":\"two\\nlines\\n\""));

    let export = ["peft", "export", "--job", &job, "--out", &host.path("out")];
    assert_eq!(host.coh(&export, 0).matches("saved=").count(), 3);
    assert_eq!(host.coh(&export, 0).matches("kept=").count(), 3);
    assert_eq!(read(&format!("out/{job}/base_model.ref")).trim(), BASE);
    let none = host.coh(
        &["peft", "export", "--job", "none", "--out", &host.path("out")],
        5,
    );
    assert!(
        none.starts_with("ERR PEFT reason=missing export job none"),
        "{none}"
    );
}

/// An adapter by the public names, and one as PEFT saves it.
fn adapters(directory: &Path) {
    let header =
        br#"{"base_model.model.m.lora_A.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend_from_slice(header);
    weights.extend_from_slice(&[0; 24]);
    let put = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    };
    put("adapter/adapter.safetensors", &weights);
    put("adapter/lora.json", b"{\"rank\": 2}\n");
    put("peft/adapter_model.safetensors", &weights);
    let config = format!(
        r#"{{"peft_type":"LORA","r":2,"lora_alpha":2,"target_modules":["m"],"base_model_name_or_path":"{BASE}"}}"#
    );
    put("peft/adapter_config.json", config.as_bytes());
    put("peft/metrics.json", b"{\"loss\": 0.5}\n");
}

fn import(host: &Host, model: &str, from: &str, job: &str, status: i32) -> String {
    let (from, out, registry) = (host.path(from), host.path("out"), host.path("registry"));
    let import = [
        "peft",
        "import",
        "--model",
        model,
        "--from",
        &from,
        "--job",
        job,
        "--export",
        &out,
        "--registry",
        &registry,
    ];
    host.coh(&import, status)
}

#[test]
fn bundles_of_either_client_are_imported_by_the_other() {
    let (host, job) = with_a_job();
    adapters(host.files.path());
    let addr = host.hive.addr();
    let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
    host.python(&["export", &job, &ip, &port, host.hive.token()], 0);
    let bundle = PathBuf::from(host.path("out")).join(&job);
    assert!(import(&host, "ours", "peft", &job, 0).contains(&format!("base={BASE} ")));
    fs::remove_dir_all(&bundle).expect("there was a bundle");

    host.coh(&["peft", "export", "--job", &job, "--out", &host.path("out")], 0);
    host.python(&["import", "theirs", &job], 0);
    // Either knows that the other's model is there.
    assert!(import(&host, "theirs", "adapter", &job, 5).contains("model theirs already imported"));
    assert!(
        host.python(&["import", "ours", &job], 1)
            .contains("model ours already imported")
    );
    let doctor = host.coh(&["doctor", "--registry", &host.path("registry")], 0);
    for model in ["ours", "theirs"] {
        let sound = format!("OK DOCTOR check=model:{model} (base={BASE} job={job})");
        assert!(doctor.contains(&sound), "{doctor}");
    }
}

#[test]
fn a_registry_is_shared_with_the_public_client_whoever_dies() {
    let (host, job) = with_a_job();
    adapters(host.files.path());
    let registry = host.path("registry");
    host.coh(&["peft", "export", "--job", &job, "--out", &host.path("out")], 0);
    import(&host, "ours", "peft", &job, 0);
    host.python(&["import", "theirs", &job], 0);
    let publish = || {
        let bridge = ["--publish", "--mock", "--registry", &registry];
        said(&bridge, host.tool("gpu-bridge-host", &bridge), 0);
    };
    let activate = |model| {
        host.coh(
            &["peft", "activate", "--model", model, "--registry", &registry],
            0,
        )
    };
    let rollback = || host.coh(&["peft", "rollback", "--registry", &registry], 0);
    let state = || host.python(&["state"], 0);
    let in_the_hive = || host.hive.queen().cat("/gpu/models/active").pop();

    // The hive knows no model yet: the registry stays as it was.
    let refused = host.coh(
        &["peft", "activate", "--model", "ours", "--registry", &registry],
        5,
    );
    assert!(
        refused.contains("the hive did not take ours") && refused.contains("gpu-bridge-host"),
        "{refused}"
    );
    assert_eq!(state(), "- -\n");
    publish();

    host.python(&["activate", "theirs"], 0);
    assert_eq!(activate("ours"), "peft activated model=ours previous=theirs\n");
    assert_eq!(state(), "ours theirs\n");
    assert_eq!(in_the_hive().as_deref(), Some("ours"));
    host.python(&["rollback"], 0);
    assert_eq!(state(), "theirs ours\n");
    assert_eq!(rollback(), "peft rollback from=theirs to=ours\n");
    assert_eq!(
        (state().as_str(), in_the_hive().as_deref()),
        ("ours theirs\n", Some("ours"))
    );

    // Python dies between its two files, and cannot go on by itself.
    let killed = Command::new(python::with(&[python::COHESIX]))
        .arg(python::script("registry.py"))
        .args([
            "die-activating",
            host.files.path().to_str().expect("UTF-8"),
            "theirs",
        ])
        .status()
        .expect("python runs");
    assert_eq!(killed.code(), None, "it was killed");
    assert!(
        host.python(&["state"], 1)
            .contains("reconcile the interrupted commit")
    );
    let repaired = rollback();
    assert!(
        repaired.contains("repaired the registry: finished making theirs active"),
        "{repaired}"
    );
    assert!(
        repaired.contains("peft rollback from=theirs to=ours"),
        "{repaired}"
    );
    assert_eq!(state(), "ours theirs\n");

    // What `coh` leaves at each of its steps, Python reads (`host-peft/tests/crash.rs` dies at all of them).
    let intent = "from_current = \"ours\"\nfrom_previous = \"theirs\"\nto_current = \"theirs\"\nto_previous = \"ours\"\n";
    fs::write(host.path("registry/active.intent"), intent).expect("an intent");
    assert_eq!(state(), "ours theirs\n");
    fs::remove_file(host.path("registry/active_state.toml")).expect("there was a state");
    assert_eq!(state(), "ours -\n");
    fs::write(host.path("registry/active"), "theirs\n").expect("a pointer");
    assert_eq!(state(), "theirs -\n");
    let finished = activate("theirs");
    assert!(finished.contains("finished making theirs active"), "{finished}");
    assert_eq!(
        (state().as_str(), in_the_hive().as_deref()),
        ("theirs ours\n", Some("theirs"))
    );
}

#[test]
fn a_command_ends_with_its_lease() {
    let host = Host::of(Hive::fresh());
    let lease = |ttl: &str| {
        let lease = [
            "gpu",
            "lease",
            "--gpu",
            "GPU-0",
            "--mem-mb",
            "1024",
            "--streams",
            "2",
            "--ttl-s",
            ttl,
            "--priority",
            "3",
        ];
        let line = host.coh(&lease, 0);
        assert!(
            line.ends_with(&format!(
                " state=ACTIVE mem_mb=1024 streams=2 ttl_s={ttl} priority=3\n"
            )),
            "{line}"
        );
        let worker = line.split(' ').find_map(|field| field.strip_prefix("worker_id="));
        worker.expect("a worker").to_owned()
    };
    let worker = lease("300");
    assert!(host.hive.queen().ls("/worker").contains(&worker));
    assert_eq!(
        host.coh(
            &["run", "--gpu", "GPU-0", "--", "sh", "-c", "echo ran; exit 4"],
            4
        ),
        "ran\n"
    );
    let status = host.coh(&["gpu", "status", "--gpu", "GPU-0"], 0);
    let end = r#""event":"EXIT","command":"sh -c echo ran; exit 4","status":"ERR","exit_code":4}"#;
    assert!(status.contains(end), "{status}");

    // Somebody ends the worker while the command runs.
    let long = ["run", "--gpu", "GPU-0", "--poll-ms", "100", "--", "sleep", "600"];
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.coh(&long, 143));
        let mut console = host.hive.queen();
        let started = |line: &String| line.contains(r#""event":"START","command":"sleep 600""#);
        while !console.cat("/gpu/GPU-0/status").iter().any(started) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let release = ["gpu", "release", "--worker", &worker];
        assert_eq!(host.coh(&release, 0), format!("released worker_id={worker}\n"));
        let said = running.join().expect("the command ends");
        assert!(
            said.contains(&format!(
                "the hive released the lease of {worker}; ending the command"
            )),
            "{said}"
        );
    });
    host.coh(&["run", "--gpu", "GPU-0", "--", "true"], 125);

    // Its time is over.
    let worker = lease("2");
    let said = host.coh(&long, 143);
    assert!(
        said.contains(&format!("the hive released the lease of {worker}")),
        "{said}"
    );
    let too_much = [
        "gpu", "lease", "--gpu", "GPU-0", "--mem-mb", "9999999", "--ttl-s", "9",
    ];
    assert!(host.coh(&too_much, 5).contains("reason=busy"));
}
