//! The programs under test, built once with the profile of the test itself.
//!
//! Never uses a program that is installed elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The packages whose programs are under test.
const PACKAGES: [&str; 4] = ["hive", "cohsh", "host-peft", "host-bridge"];

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
}

/// Path of one of this workspace's programs, for example `hive` or `cohsh`.
pub fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(build).join(name)
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    // target/<profile>/deps/<test>
    let directory = test
        .ancestors()
        .nth(2)
        .expect("a test lies in target/<profile>/deps")
        .to_owned();
    let target = directory.parent().expect("target/<profile>");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(repository())
        .args(["build", "--quiet", "--target-dir"])
        .arg(target)
        .args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the programs under test do not build");
    directory
}
