//! The public Python client, installed from PyPI, operates the hive.

use std::path::PathBuf;
use std::process::Command;

use tests::{Hive, programs};

/// The release that `../shared/spec/CONTROL.md` describes.
const CLIENT: &str = "cohesix==1.2.0";

fn python() -> PathBuf {
    let venv = programs::program("hive")
        .parent()
        .expect("target/<profile>")
        .join("pypi-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    }
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        CLIENT,
    ]));
    python
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

#[test]
fn the_public_client_operates_the_hive() {
    let hive = Hive::any();
    run(Command::new(python())
        .arg(programs::repository().join("tests/py/foundation.py"))
        .args([
            hive.addr().ip().to_string(),
            hive.addr().port().to_string(),
            hive.token().to_owned(),
        ]));
}
