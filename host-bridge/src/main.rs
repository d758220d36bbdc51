//! The program: reads the command line, and ends with the status of what was asked for.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    host_bridge::run(&host_bridge::cli::Cli::parse()).into()
}
