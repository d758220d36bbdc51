//! `coh gpu`, `coh telemetry` and `coh doctor` against an in-process console.

#[path = "../../client/tests/support/mod.rs"]
mod hive;
mod places;
mod program;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hive::{Act, Fake, TOKEN, say};
use places::{Place, Seen};
use program::{Lines, cat, coh, command, finish, lease_line};
use serde_json::Value;

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
