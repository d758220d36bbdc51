//! A disk without room: a hive that cannot reserve its memory says so, and one that has reserved it goes on.
//!
//! The disk is a small one in memory, in a mount namespace of its own. Skipped, with a line that says why, where there is
//! no right to make such a namespace.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use tests::hive::TOKEN;
use tests::{Hive, programs};

/// Set for the copy of this program that runs in the namespace.
const INSIDE: &str = "TESTS_FULL_DISK";

/// Runs the test of that name on a disk of so many bytes; whether this is the copy that is to go on.
fn on_a_disk_of(bytes: &str, test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    // Built here, where there is room.
    programs::program("hive");
    let disk = tempfile::tempdir().expect("a directory to mount on");
    let program = std::env::current_exe().expect("the test program");
    let run = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@""#)
        .args(["sh", bytes])
        .arg(disk.path())
        .arg(program)
        .args(["--exact", "--nocapture", test])
        .env(INSIDE, "1")
        .env("TMPDIR", disk.path())
        .output();
    let output = match run {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: no `unshare` to make a mount namespace with ({error})");
            return false;
        }
    };
    let failed = String::from_utf8_lossy(&output.stderr);
    if failed.contains("unshare: ") || failed.contains("mount: ") {
        println!("skipped: no right to mount a disk ({})", failed.trim());
        return false;
    }
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{failed}");
    false
}

/// Takes all the room that there is.
fn fill(directory: &Path) {
    let mut file = fs::File::create(directory.join("filler")).expect("room for a name");
    // Byte by byte in the end, so that none is left.
    for piece in [vec![1; 1 << 16], vec![1]] {
        let error = loop {
            if let Err(error) = file.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_hive_without_room_says_which_file_it_cannot_have() {
    if !on_a_disk_of("4m", "a_hive_without_room_says_which_file_it_cannot_have") {
        return;
    }
    let state = tempfile::tempdir().expect("a directory");
    let output = Command::new(programs::program("hive"))
        .args([
            "--console",
            "127.0.0.1:0",
            "--ninep",
            "off",
            "--auth-token",
            TOKEN,
        ])
        .arg("--state")
        .arg(state.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(
        said.contains("cannot use the region file") && said.contains("No space left on device"),
        "{said}"
    );
}

#[test]
fn a_hive_whose_disk_fills_up_keeps_what_it_acknowledges() {
    if !on_a_disk_of("32m", "a_hive_whose_disk_fills_up_keeps_what_it_acknowledges") {
        return;
    }
    let mut hive = Hive::fresh();
    fill(hive.state().expect("a hive of our own"));
    let mut console = hive.queen();
    let root = "/queen/telemetry/full";
    let asked = [
        format!(r#"ECHO {root}/ctl {{"new":"segment","mime":"text/plain"}}"#),
        format!("ECHO {root}/seg/seg-000001 a record"),
        r#"ECHO /queen/ctl {"spawn":"heartbeat","ticks":100000}"#.to_owned(),
        "ECHO /log/queen.log a line".to_owned(),
    ];
    for line in &asked {
        let ack = console.ask(line);
        assert!(ack.starts_with("OK ECHO "), "{line}: {ack}");
    }
    hive.kill_and_restart();
    let mut console = hive.queen();
    assert_eq!(console.cat(&format!("{root}/seg/seg-000001")), ["a record"]);
    assert!(console.ls("/worker").contains(&"worker-1".to_owned()));
    assert!(console.cat("/log/queen.log").contains(&"a line".to_owned()));
}
