//! `sel4-reset-cli` under a name and at a place that `hive-qemu` knows.
//!
//! Answers for: passing its arguments on.
//! Never: does anything else.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let tool = env!("CARGO_BIN_FILE_SEL4_RESET_CLI_sel4-reset-cli");
    let error = Command::new(tool).args(std::env::args_os().skip(1)).exec();
    eprintln!("{tool}: {error}");
    ExitCode::FAILURE
}
