//! `coh peft`: from an exported job to an active adapter.
//!
//! Answers for the order of things: what is checked before anything changes, what a failure leaves behind, and what is
//! told. The registry itself is [`registry`](crate::registry)'s.

mod activate;
mod export;
mod import;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use client::Exit;

pub(crate) use self::export::content;
use crate::connection::Connection;
use crate::disk::{Disk, ReadError, Unfit};
use crate::registry::{ModelId, Registry, RegistryError};
use crate::report::{Failure, Report};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Peft {
    /// Save an exported LoRA job: O/J/{telemetry.cbor,base_model.ref,policy.toml}. Files that are there are kept.
    Export(Export),
    /// Check an adapter and add it to a registry as a model, with where it comes from. Needs no hive.
    Import(Import),
    /// Make an imported model the active one, in the registry and in the hive; in both or in neither.
    Activate(Activate),
    /// Make the model active that was before, in the registry and in the hive.
    Rollback(Rollback),
}

/// `coh peft export`
#[derive(Debug, Args)]
pub struct Export {
    /// Id of the job, as /queen/export/lora_jobs lists it.
    #[arg(long, value_name = "J")]
    pub job: ModelId,
    /// Directory for jobs; made if it is not there.
    #[arg(long, value_name = "O")]
    pub out: PathBuf,
}

/// `coh peft import`
#[derive(Debug, Args)]
pub struct Import {
    /// Id of the new model.
    #[arg(long, value_name = "M")]
    pub model: ModelId,
    /// Directory with adapter_model.safetensors and adapter_config.json, or adapter.safetensors and lora.json; perhaps
    /// metrics.json.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Id of the job that the adapter was trained on.
    #[arg(long, value_name = "J")]
    pub job: ModelId,
    /// Directory that the job was exported to.
    #[arg(long, value_name = "O")]
    pub export: PathBuf,
    /// The registry; made if it is not there.
    #[arg(long, value_name = "R")]
    pub registry: PathBuf,
    /// What workers' records call the adapter; else the job's id.
    #[arg(long, value_name = "ID")]
    pub lora_id: Option<ModelId>,
}

/// `coh peft activate`
#[derive(Debug, Args)]
pub struct Activate {
    /// Id of the model.
    #[arg(long, value_name = "M")]
    pub model: ModelId,
    /// The registry.
    #[arg(long, value_name = "R")]
    pub registry: PathBuf,
}

/// `coh peft rollback`
#[derive(Debug, Args)]
pub struct Rollback {
    /// The registry.
    #[arg(long, value_name = "R")]
    pub registry: PathBuf,
}

/// Does it.
pub async fn run(peft: &Peft, connection: &Connection, disk: Disk<'_>) -> Result<Report, Failure> {
    match peft {
        Peft::Export(export) => export::export(export, connection, disk).await,
        Peft::Import(import) => import::import(import, disk),
        Peft::Activate(activate) => activate::activate(activate, connection, disk).await,
        Peft::Rollback(rollback) => activate::rollback(rollback, connection, disk).await,
    }
}

/// Tells what was repaired when the registry was opened.
fn tell_repairs(registry: &Registry<'_>, report: &mut Report) {
    for repair in registry.repairs() {
        report.note(format!("repaired the registry: {repair}"));
    }
}

impl From<RegistryError> for Failure {
    fn from(why: RegistryError) -> Self {
        match &why {
            RegistryError::File(why) => why.clone().into(),
            RegistryError::InUse { .. } | RegistryError::Unreadable { .. } | RegistryError::Disk(_) => {
                Failure::local(why)
            }
            _ => Failure::refused(why),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(why: ReadError) -> Self {
        let exit = match why.what {
            Unfit::Unreadable(_) => Exit::Local,
            Unfit::NoFile | Unfit::Empty | Unfit::TooLong { .. } => Exit::Refused,
        };
        Failure::new(exit, why)
    }
}
