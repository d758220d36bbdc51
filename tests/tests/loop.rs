//! The mission, once around, seen from outside: publish, lease, run, telemetry with drift, gate, export, training, import,
//! activation, the worker's next record, rollback, expiry.
//!
//! Every step is done by the tools as an operator would call them, and checked through the hive's files. The training is
//! real: gradient steps on a LoRA adapter for the records that devices sent, with a held-out loss that has to fall.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::host::{Background, Host, eventually, field, lines, registry};
use tests::{Console, Hive, python};

/// The model that the devices run, and the one that is trained for them.
const BASE: &str = "vision-base-v1";
const ADAPTED: &str = "vision-field-v2";
const GPU: &str = "GPU-0";

/// Field values of the newest record of a worker.
fn newest(console: &mut Console, worker: &str) -> Option<String> {
    let (_, records) = console.stream(&format!("TAIL /worker/{worker}/telemetry"));
    records.into_iter().rfind(|record| record.ends_with('}'))
}

#[test]
fn the_mission_goes_once_around() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let directory = tempfile::tempdir().expect("a directory");
    let host = Host::new(&hive, directory.path());
    let registry = registry(&directory.path().join("registry"), BASE);

    let _bridge = publish(&host, &mut console, &registry);
    let worker = lease(&host, &mut console);
    run(&host, &mut console);
    let record = eventually("a record with the base model", || {
        newest(&mut console, &worker).filter(|record| field(record, "model_id") == Some(BASE))
    });
    assert_eq!(field(&record, "lora_id"), None, "{record}");

    let job = telemetry(&host, &mut console);
    let adapter = train(&host, &job);
    adopt(&host, &mut console, &job, &adapter, &worker);
    roll_back(&host, &mut console, &worker);

    assert_eq!(
        console.ask(&format!("KILL {worker}")),
        format!("OK KILL id={worker}")
    );
    let last = lines(&mut console, &format!("/gpu/{GPU}/lease"))
        .pop()
        .expect("a lease line");
    assert_eq!(field(&last, "state"), Some("RELEASED"), "{last}");
    expire(&mut console);
}

/// The bridge publishes the host's GPUs and models, and goes on following them.
fn publish(host: &Host<'_>, console: &mut Console, registry: &Path) -> Background {
    let activations = host.path("activations");
    let on_activate = format!("echo \"$COHESIX_MODEL_ID $COHESIX_MODEL_PATH\" >> {activations}");
    let script = host.files.join("on-activate.sh");
    fs::write(&script, format!("#!/bin/sh\n{on_activate}\n")).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("it can be run");
    let bridge = host
        .tool("gpu-bridge-host")
        .args(["--publish", "--mock", "--interval-ms", "500", "--registry"])
        .arg(registry)
        .arg("--on-activate")
        .arg(&script)
        .stdin(Stdio::null())
        .spawn()
        .expect("gpu-bridge-host runs");
    let bridge = Background(bridge);
    eventually("a snapshot in the hive", || {
        let (_, models) = console.stream("LS /gpu/models/available");
        (models == [BASE]).then_some(())
    });
    let status = lines(console, "/gpu/bridge/status");
    assert!(status[0].starts_with("state=ok bytes="), "{status:?}");
    assert!(console.ls("/gpu").contains(&GPU.to_owned()));
    let active = |console: &mut Console| lines(console, "/gpu/models/active").pop();
    if active(console).as_deref() != Some(BASE) {
        // A hive that has lived already: somebody activated another model since the host last said this one.
        let answer = console.ask(&format!("ECHO /gpu/models/active {BASE}"));
        assert!(answer.starts_with("OK ECHO"), "{answer}");
    }
    assert_eq!(active(console).as_deref(), Some(BASE));
    assert!(
        lines(console, &format!("/gpu/{GPU}/info"))
            .join("")
            .contains("Mock 4090")
    );
    bridge
}

/// A lease with a worker.
fn lease(host: &Host<'_>, console: &mut Console) -> String {
    let arguments = [
        "gpu",
        "lease",
        "--gpu",
        GPU,
        "--mem-mb",
        "1024",
        "--streams",
        "1",
        "--ttl-s",
        "600",
    ];
    host.coh(&arguments);
    let line = lines(console, &format!("/gpu/{GPU}/lease"))
        .pop()
        .expect("a lease line");
    assert_eq!(field(&line, "schema"), Some("gpu-lease/v1"), "{line}");
    assert_eq!(field(&line, "state"), Some("ACTIVE"), "{line}");
    let worker = field(&line, "worker_id").expect("a worker").to_owned();
    assert!(console.ls("/worker").contains(&worker));
    worker
}

/// A job's command under the lease.
fn run(host: &Host<'_>, console: &mut Console) {
    let mark = host.path("job-ran");
    host.coh(&["run", "--gpu", GPU, "--", "touch", &mark]);
    assert!(Path::new(&mark).exists());
    let crumbs: Vec<String> = lines(console, &format!("/gpu/{GPU}/status"))
        .into_iter()
        .filter(|line| field(line, "schema") == Some("gpu-breadcrumb/v1"))
        .collect();
    let told: Vec<_> = crumbs
        .iter()
        .map(|crumb| (field(crumb, "event"), field(crumb, "status")))
        .collect();
    assert_eq!(
        told,
        [(Some("START"), Some("RUNNING")), (Some("EXIT"), Some("OK"))]
    );
}

/// 500 records of 5 devices whose load has drifted open the model's gate; gives the job's id.
fn telemetry(host: &Host<'_>, console: &mut Console) -> String {
    let before = console.ls("/queen/export/lora_jobs");
    let records = host.path("records");
    python::run(
        Command::new(python::with(&["numpy", "safetensors", "cbor2"]))
            .arg(python::script("devices.py"))
            .args([&records, BASE]),
    );
    for device in (1..=5).map(|n| format!("jetson-{n}")) {
        let file = format!("{records}/{device}.ndjson");
        host.coh(&["telemetry", "push", &file, "--device", &device, "--raw-lines"]);
        let segment = lines(console, &format!("/queen/telemetry/{device}/latest"))
            .pop()
            .expect("a segment");
        let kept = lines(console, &format!("/queen/telemetry/{device}/seg/{segment}"));
        let sent = fs::read_to_string(&file).expect("records");
        assert_eq!(kept, sent.lines().collect::<Vec<_>>(), "{device}");
    }
    let job = eventually("a job for the records", || {
        console
            .ls("/queen/export/lora_jobs")
            .into_iter()
            .find(|job| !before.contains(job))
    });
    let gates = lines(console, "/queen/export/gates");
    assert!(
        gates
            .iter()
            .any(|line| line.starts_with(&format!("model={BASE} "))),
        "{gates:?}"
    );
    assert_eq!(
        console.ls(&format!("/queen/export/lora_jobs/{job}")),
        ["base_model.ref", "policy.toml", "telemetry.cbor"]
    );
    job
}

/// The job is pulled, and an adapter is trained on it; gives the adapter's directory.
fn train(host: &Host<'_>, job: &str) -> PathBuf {
    let (out, adapter) = (host.path("export"), host.files.join("adapter"));
    host.coh(&["peft", "export", "--job", job, "--out", &out]);
    python::run(
        Command::new(python::with(&["numpy", "safetensors", "cbor2"]))
            .arg(python::script("train.py"))
            .arg(Path::new(&out).join(job))
            .arg(&adapter),
    );
    adapter
}

/// The adapter becomes a model, and the model the active one: for the hive, the worker and the inference host.
fn adopt(host: &Host<'_>, console: &mut Console, job: &str, adapter: &Path, worker: &str) {
    let (out, registry) = (host.path("export"), host.path("registry"));
    let from = adapter.to_str().expect("a plain path");
    let import = [
        "peft", "import", "--model", ADAPTED, "--from", from, "--job", job, "--export", &out,
    ];
    host.coh(&[&import[..], &["--registry", &registry, "--lora-id", "field-lora"]].concat());
    eventually("the new model in the hive", || {
        console
            .ls("/gpu/models/available")
            .contains(&ADAPTED.to_owned())
            .then_some(())
    });
    let manifest = lines(console, &format!("/gpu/models/available/{ADAPTED}/manifest.toml")).join("\n");
    assert!(manifest.contains(&format!("job_id = \"{job}\"")), "{manifest}");

    host.coh(&["peft", "activate", "--model", ADAPTED, "--registry", &registry]);
    let record = eventually("a record with the new model", || {
        newest(console, worker).filter(|record| field(record, "model_id") == Some(ADAPTED))
    });
    assert_eq!(field(&record, "lora_id"), Some("field-lora"), "{record}");
    let activations = host.path("activations");
    eventually("the inference host's swap", || {
        let told = fs::read_to_string(&activations).ok()?;
        told.lines()
            .any(|line| line.starts_with(&format!("{ADAPTED} ")))
            .then_some(())
    });
}

/// The model that was active before is active again.
fn roll_back(host: &Host<'_>, console: &mut Console, worker: &str) {
    host.coh(&["peft", "rollback", "--registry", &host.path("registry")]);
    let record = eventually("a record with the old model", || {
        newest(console, worker).filter(|record| field(record, "model_id") == Some(BASE))
    });
    assert_eq!(field(&record, "lora_id"), None, "{record}");
    let told = fs::read_to_string(host.path("activations")).expect("activations");
    let adapted = told
        .lines()
        .filter(|line| line.starts_with(&format!("{ADAPTED} ")))
        .count();
    assert_eq!(adapted, 1, "one activation, one swap:\n{told}");
}

/// A lease that nobody ends is over at its time.
fn expire(console: &mut Console) {
    let request = format!(
        r#"{{"spawn":"gpu","lease":{{"gpu_id":"{GPU}","mem_mb":512,"streams":1,"ttl_s":3,"priority":1}}}}"#
    );
    let answer = console.ask(&format!("ECHO /queen/ctl {request}"));
    assert!(answer.starts_with("OK ECHO"), "{answer}");
    let path = format!("/gpu/{GPU}/lease");
    let active = lines(console, &path).pop().expect("a lease line");
    assert_eq!(field(&active, "state"), Some("ACTIVE"), "{active}");
    let worker = field(&active, "worker_id").expect("a worker").to_owned();
    let begun = Instant::now();
    eventually("the lease's end", || {
        let last = lines(console, &path).pop()?;
        (field(&last, "state") == Some("RELEASED") && field(&last, "worker_id") == Some(&worker))
            .then_some(())
    });
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "released after {:?}",
        begun.elapsed()
    );
    assert!(!console.ls("/worker").contains(&worker));
}
