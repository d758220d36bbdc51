//! Running the program, and drivers for it to find.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::support::{Fake, TOKEN};

/// What a run of the program left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the program to its end, with nothing in its environment but where to find nothing. `--library-path DIR` among the
/// arguments is for the dynamic loader.
pub async fn bridge(fake: Option<&Fake>, arguments: &[&str]) -> Run {
    let mut command = command(fake, arguments);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The command that runs the program.
pub fn command(fake: Option<&Fake>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-bridge-host"));
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/usr/bin:/bin");
    if let Some(fake) = fake {
        command.args(["--tcp-port", &fake.addr.port().to_string(), "--auth-token", TOKEN]);
    }
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--library-path" => command.env("LD_LIBRARY_PATH", arguments.next().unwrap()),
            argument => command.arg(argument),
        };
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A directory whose libraries cannot be loaded: it hides a real driver.
pub fn no_driver() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["libnvidia-ml.so.1", "libnvidia-ml.so"] {
        std::fs::write(dir.path().join(name), "no library").unwrap();
    }
    dir
}

/// A directory with a driver's library that has two GPUs.
pub fn driver() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/nvml.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(dir.path().join("libnvidia-ml.so.1"))
        .arg(source)
        .status()
        .expect("cc, which Rust links with");
    assert!(built.success());
    dir
}
