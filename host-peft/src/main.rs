//! The program: reads the command line, and ends with the status of what was asked for.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(host_peft::run(
        &host_peft::cli::Cli::parse(),
        &host_peft::disk::Unwatched,
    ))
}
