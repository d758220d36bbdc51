//! A Python of the tests' own, with what it needs from PyPI.
//!
//! Answers for one virtual environment per target directory, and for packages being installed once however many tests
//! ask at the same time. Never touches the machine's own Python packages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs;

/// The release of the public client that `../shared/spec/CONTROL.md` describes.
pub const COHESIX: &str = "cohesix==1.2.0";

/// A Python that has these packages.
pub fn with(packages: &[&str]) -> PathBuf {
    let target = programs::program("hive");
    let target = target.parent().expect("target/<profile>");
    let lock = File::create(target.join("pypi-venv.lock")).expect("a lock file");
    lock.lock().expect("nobody else installs packages now");
    let venv = target.join("pypi-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    }
    for package in packages {
        let mark = venv.join(format!("installed-{package}"));
        if !mark.exists() {
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .arg(package));
            fs::write(mark, "").expect("a mark beside the package");
        }
    }
    python
}

/// A script of `tests/py`.
pub fn script(name: &str) -> PathBuf {
    Path::new(programs::repository()).join("tests/py").join(name)
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
