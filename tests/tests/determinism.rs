//! On seL4 the same image says the same twice, byte for byte, when time is counted in instructions.
//!
//! Needs a Microkit SDK; without `MICROKIT_SDK` it says that it was skipped.

use std::path::Path;
use std::process::Command;

use tests::{programs, python::run};

const TOKEN: &str = "determinism-5e1a04";

fn hive_qemu(state: &Path) -> Command {
    let mut command = Command::new(programs::program("hive-qemu"));
    command
        .args(["--auth-token", TOKEN, "--log", "off", "--state"])
        .arg(state);
    command
}

#[test]
fn two_runs_of_one_image_give_the_same_serial_log() {
    if std::env::var_os("MICROKIT_SDK").is_none() {
        eprintln!("skipped: MICROKIT_SDK does not name a Microkit SDK (see qemu/README.md)");
        return;
    }
    let state = tempfile::tempdir().expect("a state directory");
    let script = programs::repository().join("tests/probe/day.probe");
    run(hive_qemu(state.path())
        .arg("--build-only")
        .arg("--script")
        .arg(script));
    let image = state.path().join("qemu/release/hive.img");
    let log = |name: &str| {
        let file = state.path().join(name);
        run(hive_qemu(state.path())
            .args(["--offline", "--icount", "--image"])
            .arg(&image)
            .arg("--serial-log")
            .arg(&file));
        std::fs::read_to_string(file).expect("a serial log")
    };
    let (first, second) = (log("first.log"), log("second.log"));
    assert_eq!(first, second);
    for told in [
        "net: < OK PING reply=pong",
        "net: < {\"tick\":3,",
        "net: < written by the probe",
        "net: < OK KILL id=worker-1",
        "net: < ERR CAT reason=policy",
        "net: end ok",
    ] {
        assert!(first.contains(told), "{told} is not in\n{first}");
    }
}
