//! The public Python client, installed from PyPI, operates the hive and plays the mission through it.

use std::process::Command;

use tests::host::{Host, lines, registry};
use tests::{Hive, python};

#[test]
fn the_public_client_operates_the_hive() {
    let hive = Hive::any();
    python::run(
        Command::new(python::with(&[python::COHESIX]))
            .arg(python::script("foundation.py"))
            .args([
                hive.addr().ip().to_string(),
                hive.addr().port().to_string(),
                hive.token().to_owned(),
            ]),
    );
}

#[test]
fn the_public_client_plays_the_mission() {
    const BASE: &str = "vision-base-v1";
    let hive = Hive::any();
    let mut console = hive.queen();
    let directory = tempfile::tempdir().expect("a directory");
    let host = Host::new(&hive, directory.path());
    let registry = registry(&directory.path().join("registry"), BASE);
    let publish = || {
        python::run(
            host.tool("gpu-bridge-host")
                .args(["--publish", "--mock", "--registry"])
                .arg(&registry),
        );
    };
    publish();
    let python = python::with(&["numpy", "safetensors", "cbor2", python::COHESIX]);
    python::run(
        Command::new(&python)
            .arg(python::script("devices.py"))
            .args([&host.path("records"), BASE]),
    );
    python::run(
        Command::new(&python)
            .arg(python::script("mission.py"))
            .args([hive.addr().ip().to_string(), hive.addr().port().to_string()])
            .arg(hive.token())
            .arg(directory.path()),
    );
    // What it wrote, our tools read: the bridge publishes its model, and coh takes it back.
    publish();
    let mut active = || lines(&mut console, "/gpu/models/active").pop();
    assert_eq!(active().as_deref(), Some("pypi-field-v1"));
    host.coh(&["peft", "rollback", "--registry", &host.path("registry")]);
    assert_eq!(active().as_deref(), Some(BASE));
}
