//! `coh peft` against an in-process console; what a death leaves behind is `crash.rs`'s.

#[path = "../../client/tests/support/mod.rs"]
mod hive;
mod places;
mod program;

use std::fs;
use std::sync::{Arc, Mutex};

use hive::{Act, Fake, say};
use places::{Place, Seen, python_sees};
use program::{Lines, cat, coh, command, finish};

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
    done.says("the hive has not been shown B yet");
    fake.set_file("/gpu/models/available/B/manifest.toml", &[]);
    let again = coh(&fake, &activate("B")).await;
    assert_eq!(again.err, "");
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
