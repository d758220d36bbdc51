//! The program: reads the command line, and ends with the status of what was asked for.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cohsh::run(&cohsh::cli::Cli::parse()).into()
}
