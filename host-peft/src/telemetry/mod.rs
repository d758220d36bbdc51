//! `coh telemetry`: files of this machine into a device's segments, and segments into files.
//!
//! Answers for nothing being left out: what does not fit is refused before anything is sent. The records are
//! [`client::telemetry`]'s.

mod pull;
mod push;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::connection::Connection;
use crate::disk::Disk;
use crate::report::{Failure, Report};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Telemetry {
    /// Append a file to a device's telemetry, in a new segment.
    Push(Push),
    /// Save all segments: D/<device>/seg/<segment>. Files that are there are kept.
    Pull(Pull),
}

/// `coh telemetry push`
#[derive(Debug, Args)]
pub struct Push {
    /// The file. A text that fits a segment goes into it in cohsh-telemetry-push/v1 records; of any other file a
    /// manifest of its hashes (coh-ref-c/v1), and the file stays where it is.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Id of the device.
    #[arg(long, value_name = "D")]
    pub device: String,
    /// Type of the content; else by the file's name.
    #[arg(long)]
    pub mime: Option<String>,
    /// Each line of the file is a record as it is (NDJSON, such as gpu-telemetry/v1). Takes further segments as needed.
    #[arg(long)]
    pub raw_lines: bool,
}

/// `coh telemetry pull`
#[derive(Debug, Args)]
pub struct Pull {
    /// The directory; made if it is not there.
    #[arg(long, value_name = "D")]
    pub out: PathBuf,
}

/// Does it.
pub async fn run(telemetry: &Telemetry, connection: &Connection, disk: Disk<'_>) -> Result<Report, Failure> {
    match telemetry {
        Telemetry::Push(push) => push::push(push, connection).await,
        Telemetry::Pull(pull) => pull::pull(pull, connection, disk).await,
    }
}
