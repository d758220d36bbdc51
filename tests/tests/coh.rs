//! `coh` against a real hive.

use std::process::{Command, Output, Stdio};

use tests::{Hive, programs};

fn coh(hive: &Hive, arguments: &[&str]) -> Output {
    let addr = hive.addr();
    Command::new(programs::program("coh"))
        .args([
            "--tcp-host",
            &addr.ip().to_string(),
            "--tcp-port",
            &addr.port().to_string(),
        ])
        .args(["--auth-token", hive.token()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("coh runs")
}

/// What it printed; it has to end with that status.
fn prints(hive: &Hive, arguments: &[&str], status: i32) -> String {
    let output = coh(hive, arguments);
    assert_eq!(
        output.status.code(),
        Some(status),
        "coh {arguments:?}: {output:?}"
    );
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8(both).expect("UTF-8")
}

#[test]
fn the_gpus_of_a_fresh_hive_are_mocks_and_say_so() {
    let hive = Hive::fresh();
    let list = prints(&hive, &["gpu", "list"], 0);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].starts_with("gpu id=GPU-0 name=Mock 4090"), "{list}");
    assert!(
        lines[1].ends_with("mem_mb=8192 sm=24 driver=mock runtime=mock"),
        "{list}"
    );
    let status = ["gpu", "status", "--gpu", "GPU-0"];
    assert_eq!(prints(&hive, &status, 0), "gpu id=GPU-0 status=EMPTY\n");
    let unknown = prints(&hive, &["gpu", "status", "--gpu", "GPU-9"], 5);
    assert!(
        unknown.starts_with("ERR GPU reason=ERR CAT reason=policy detail=invalid-path"),
        "{unknown}"
    );
    let none = prints(&hive, &["run", "--gpu", "GPU-0", "--", "true"], 125);
    assert!(
        none.starts_with("ERR RUN reason=no active lease for gpu GPU-0"),
        "{none}"
    );
    let doctor = prints(&hive, &["doctor"], 0);
    assert!(
        doctor.contains("OK DOCTOR check=gpus (gpus=2 models="),
        "{doctor}"
    );
}
