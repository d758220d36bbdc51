//! What every benchmark says first: the command, the machine, the versions.
//!
//! Answers for: numbers that can be told apart from those of another machine or another day.
//! Never: measures.

use std::process::Command;
use std::thread;

/// Prints the command and where it runs.
pub fn heading(command: &str) {
    println!("{command}");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores of {}, {}", processor(), system());
    println!("sources: {}", revision());
}

/// The processor's name.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": an unknown processor");
    name.trim_start_matches([' ', '\t', ':']).to_owned()
}

/// The kernel's name and version.
fn system() -> String {
    let version = std::fs::read_to_string("/proc/version").unwrap_or_default();
    let words: Vec<&str> = version.split_whitespace().take(3).collect();
    words.join(" ")
}

/// What git says of the sources.
fn revision() -> String {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let text = described.ok().map(|output| output.stdout).unwrap_or_default();
    match String::from_utf8_lossy(&text).trim() {
        "" => "not in git".to_owned(),
        revision => revision.to_owned(),
    }
}
