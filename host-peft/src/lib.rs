//! `coh`: what a host does with a hive's GPUs, telemetry, jobs and adapters.
//!
//! Answers for turning a command line into requests to a hive and changes of local files, and for an exit status that
//! says what failed. The program is `main.rs`; everything is here, so that it can be tested.
//!
//! Never speaks the console's protocol itself: `client` does.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// The comments on flags are also what `--help` prints, and `<model>` is a placeholder there.
#![allow(rustdoc::invalid_html_tags)]

pub mod adapter;
pub mod cli;
pub mod connection;
pub mod disk;
pub mod doctor;
pub mod exit;
pub mod gpu;
pub mod peft;
pub mod registry;
pub mod report;
pub mod run;
pub mod telemetry;

use client::Exit;

use crate::cli::{Cli, Command};
use crate::disk::{Disk, Watch};
use crate::report::{Area, Failure, show};

/// Does what the command line asks for, telling `watch` of every change of the file system, and says how to end.
pub fn run(cli: &Cli, watch: &dyn Watch) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            report::complain(&format!("cannot start: {why}"));
            return Exit::Local.code();
        }
    };
    runtime.block_on(dispatch(cli, Disk::new(watch)))
}

async fn dispatch(cli: &Cli, disk: Disk<'_>) -> u8 {
    let connection = &cli.connection;
    let (area, result): (Area, Result<_, Failure>) = match &cli.command {
        Command::Gpu(gpu) => (Area::Gpu, gpu::run(gpu, connection).await),
        Command::Telemetry(telemetry) => (Area::Telemetry, telemetry::run(telemetry, connection, disk).await),
        Command::Peft(peft) => (Area::Peft, peft::run(peft, connection, disk).await),
        Command::Doctor(doctor) => (Area::Doctor, doctor::run(doctor, connection, disk).await),
        Command::Run(run) => return run::run(run, connection).await,
    };
    show(area, cli.json, result).code()
}
