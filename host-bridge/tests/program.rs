//! The program once: `--list` and `--publish`, with and without a driver.

#[path = "support/double.rs"]
mod double;
#[path = "support/run.rs"]
mod run;
#[path = "../../client/tests/support/mod.rs"]
mod support;

use double::Double;
use run::{bridge, driver, no_driver};
use support::{Act, Fake, say};

#[tokio::test]
async fn the_mock_is_published_and_told() {
    let double = Double::start().await;
    let run = bridge(Some(&double.fake), &["--publish", "--mock"]).await;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let installed = double.installed();
    assert_eq!(installed.len(), 1);
    let told = format!("OK PUBLISH bytes={} sha256=", installed[0].len());
    assert!(run.out.starts_with(&told), "{run:?}");
    assert!(
        run.out.ends_with(" gpus=2 models=2 active=vision-lora-edge\n"),
        "{run:?}"
    );
    assert_eq!(double.fake.received().last().unwrap().line, "quit");
}

#[tokio::test]
async fn without_a_driver_the_way_on_is_told() {
    let double = Double::start().await;
    let hidden = no_driver();
    for what in ["--publish", "--list"] {
        let run = bridge(
            Some(&double.fake),
            &[what, "--library-path", hidden.path().to_str().unwrap()],
        )
        .await;
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.err.contains("no NVIDIA driver on this machine"), "{run:?}");
        assert!(run.err.contains("add --mock"), "{run:?}");
        assert_eq!(run.err.lines().count(), 1, "{run:?}");
    }
    assert_eq!(double.fake.received(), [], "nothing was sent");
}

#[tokio::test]
async fn a_drivers_gpus_are_listed_and_published() {
    let driver = driver();
    let library = driver.path().to_str().unwrap();
    let run = bridge(None, &["--list", "--library-path", library]).await;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let list: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let expected = serde_json::json!([
        {"id": "GPU-0", "name": "NVIDIA GeForce RTX 4090", "memory_mb": 24564, "sm_count": 128,
         "driver_version": "560.35.03", "runtime_version": "12.6"},
        {"id": "GPU-1", "name": "Tesla \"K\"", "memory_mb": 11441, "sm_count": 0,
         "driver_version": "560.35.03", "runtime_version": "12.6"},
    ]);
    assert_eq!(list["gpus"], expected);
    assert_eq!(
        (&list["models"], &list["active"]),
        (&serde_json::json!([]), &serde_json::Value::Null)
    );

    let double = Double::start().await;
    let run = bridge(Some(&double.fake), &["--publish", "--library-path", library]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.contains("gpus=2 models=0 active=none"), "{run:?}");
    let info = double.installed()[0]
        .lines()
        .find_map(|line| line.strip_prefix("node id=GPU-1 info=")?.split(' ').next())
        .map(double::decode)
        .unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info["name"], "Tesla _K_");
}

#[tokio::test]
async fn a_registry_that_is_not_whole_is_published_and_told() {
    let registry = tempfile::tempdir().unwrap();
    for (model, manifest) in [("a", "[model]\n".to_owned()), ("long", "x".repeat(8193))] {
        let dir = registry.path().join("available").join(model);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("manifest.toml"), manifest).unwrap();
    }
    std::fs::write(registry.path().join("active"), "a\n").unwrap();
    let double = Double::start().await;
    let path = registry.path().to_str().unwrap();
    let run = bridge(Some(&double.fake), &["--publish", "--mock", "--registry", path]).await;
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(
        run.err.contains("model long left out") && run.err.contains("8192"),
        "{run:?}"
    );
    assert!(run.out.contains("gpus=2 models=1 active=a"), "{run:?}");
    let installed = double.installed().concat();
    assert!(installed.contains("model id=a manifest=") && !installed.contains("long"));

    let run = bridge(None, &["--list", "--mock", "--registry", "/nonexistent"]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("no registry at /nonexistent"), "{run:?}");
}

#[tokio::test]
async fn what_fails_has_its_status() {
    let refusing = Double::with(|_, line, _| {
        line.starts_with("begin").then(|| {
            vec![say(
                "ERR ECHO reason=policy detail=denied path=/gpu/bridge/ctl error=EPERM",
            )]
        })
    })
    .await;
    let run = bridge(Some(&refusing.fake), &["--publish", "--mock"]).await;
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.err.contains("reason=policy detail=denied"), "{run:?}");

    let wrong_token = Fake::with(|_, line| {
        line.starts_with("AUTH")
            .then(|| vec![say("ERR AUTH reason=invalid-token"), Act::Close])
    })
    .await;
    let run = bridge(Some(&wrong_token), &["--publish", "--mock"]).await;
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(run.err.contains("authentication rejected"), "{run:?}");

    let run = bridge(
        None,
        &["--publish", "--mock", "--tcp-port", "1", "--auth-token", "t"],
    )
    .await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.err.contains("is a hive running there?"), "{run:?}");

    let run = bridge(None, &["--publish", "--mock"]).await;
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(run.err.contains("no auth token: give --auth-token"), "{run:?}");
}
