//! A model's `manifest.toml`: where it comes from, and the hashes of its files (WIRE 6.2).
//!
//! Answers for writing what the public Python client writes, with `lora_id` besides, for reading what it wrote, and for
//! holding a directory against it. Never changes a file.

use core::fmt;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::id::ModelId;
use crate::adapter::{MAX_ADAPTER_BYTES, MAX_LORA_BYTES, MAX_METRICS_BYTES};
use crate::disk::{ReadError, read_bounded};

/// Bytes of a manifest (WIRE 6.2).
pub(super) const MAX_BYTES: usize = 8192;

/// A file's content, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHash {
    /// SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// The hash of a content.
pub fn hash(content: &[u8]) -> FileHash {
    let digest = Sha256::digest(content);
    FileHash {
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        bytes: content.len() as u64,
    }
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// `[model]`
    pub model: Model,
    /// `[provenance]`
    pub provenance: Provenance,
    /// `[hashes]`
    pub hashes: Hashes,
}

/// The model and the names of its files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Model {
    /// Its id.
    pub id: String,
    /// The base model that the adapter is for.
    pub base: String,
    /// Name of the adapter's file.
    pub adapter: String,
    /// Name of the adapter's configuration.
    pub lora: String,
    /// Name of the metrics' file, if there is one.
    pub metrics: Option<String>,
    /// What records of workers name the adapter; Python's client writes none.
    pub lora_id: Option<String>,
}

/// Where the model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Provenance {
    /// The exported job whose records it was trained on.
    pub job_id: String,
    /// `pending` until somebody decides.
    pub approval: String,
}

/// The hashes of the model's files, and of the job's that are not in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)] // the names are the file's
pub struct Hashes {
    pub adapter_sha256: String,
    pub adapter_bytes: u64,
    pub lora_sha256: String,
    pub lora_bytes: u64,
    pub metrics_sha256: Option<String>,
    pub metrics_bytes: Option<u64>,
    pub policy_sha256: String,
    pub policy_bytes: u64,
    pub telemetry_sha256: String,
    pub telemetry_bytes: u64,
}

impl Manifest {
    /// Reads a manifest.
    pub fn read(path: &Path) -> Result<Manifest, ManifestError> {
        let text = read_bounded(path, MAX_BYTES).map_err(ManifestError::File)?;
        let text = String::from_utf8(text).map_err(|_| ManifestError::Toml("not UTF-8".to_owned()))?;
        toml::from_str(&text).map_err(|why| ManifestError::Toml(why.to_string().trim_end().to_owned()))
    }

    /// The text.
    pub fn render(&self) -> String {
        let Manifest {
            model,
            provenance,
            hashes,
        } = self;
        let mut text = String::new();
        let mut line = |key: &str, value: String| text.push_str(&format!("{key} = {value}\n"));
        line("[model]\nid", quoted(&model.id));
        line("base", quoted(&model.base));
        line("adapter", quoted(&model.adapter));
        line("lora", quoted(&model.lora));
        if let Some(metrics) = &model.metrics {
            line("metrics", quoted(metrics));
        }
        if let Some(lora_id) = &model.lora_id {
            line("lora_id", quoted(lora_id));
        }
        line("\n[provenance]\njob_id", quoted(&provenance.job_id));
        line("approval", quoted(&provenance.approval));
        line("\n[hashes]\nadapter_sha256", quoted(&hashes.adapter_sha256));
        line("adapter_bytes", hashes.adapter_bytes.to_string());
        line("lora_sha256", quoted(&hashes.lora_sha256));
        line("lora_bytes", hashes.lora_bytes.to_string());
        if let (Some(sha256), Some(bytes)) = (&hashes.metrics_sha256, hashes.metrics_bytes) {
            line("metrics_sha256", quoted(sha256));
            line("metrics_bytes", bytes.to_string());
        }
        line("policy_sha256", quoted(&hashes.policy_sha256));
        line("policy_bytes", hashes.policy_bytes.to_string());
        line("telemetry_sha256", quoted(&hashes.telemetry_sha256));
        line("telemetry_bytes", hashes.telemetry_bytes.to_string());
        text
    }

    /// Whether the files in `dir` are what this says of `model`.
    pub(super) fn check(&self, model: &ModelId, dir: &Path) -> Result<(), ManifestError> {
        if self.model.id != model.as_str() {
            return Err(ManifestError::OtherModel(self.model.id.clone()));
        }
        let hashes = &self.hashes;
        let said = |sha256: &str, bytes| FileHash {
            sha256: sha256.to_owned(),
            bytes,
        };
        let adapter = said(&hashes.adapter_sha256, hashes.adapter_bytes);
        check_file(dir, &self.model.adapter, MAX_ADAPTER_BYTES, &adapter)?;
        let lora = said(&hashes.lora_sha256, hashes.lora_bytes);
        check_file(dir, &self.model.lora, MAX_LORA_BYTES, &lora)?;
        match (&self.model.metrics, &hashes.metrics_sha256, hashes.metrics_bytes) {
            (None, _, _) => Ok(()),
            (Some(name), Some(sha256), Some(bytes)) => {
                check_file(dir, name, MAX_METRICS_BYTES, &said(sha256, bytes))
            }
            (Some(_), _, _) => Err(ManifestError::Toml(
                "metrics without metrics_sha256 and metrics_bytes".to_owned(),
            )),
        }
    }
}

fn check_file(dir: &Path, name: &str, max: usize, said: &FileHash) -> Result<(), ManifestError> {
    if name.is_empty() || name.contains(['/', '\0']) || name == ".." || name == "." {
        return Err(ManifestError::BadName(name.to_owned()));
    }
    let found = hash(&read_bounded(&dir.join(name), max).map_err(ManifestError::File)?);
    if found == *said {
        Ok(())
    } else {
        Err(ManifestError::Changed {
            name: name.to_owned(),
            said: said.clone(),
            found,
        })
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Why a model does not hold against its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestError {
    /// A file cannot be read, is empty or too long.
    File(ReadError),
    /// Not a manifest.
    Toml(String),
    /// Another model's manifest.
    OtherModel(String),
    /// The name of a file is no name of a file beside the manifest.
    BadName(String),
    /// A file is not the one that was imported.
    Changed {
        /// Its name.
        name: String,
        /// What the manifest says.
        said: FileHash,
        /// What is there.
        found: FileHash,
    },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(why) => write!(f, "{why}"),
            Self::Toml(why) => write!(f, "manifest.toml is no manifest: {why}"),
            Self::OtherModel(id) => write!(f, "manifest.toml is for model {id}"),
            Self::BadName(name) => write!(f, "manifest.toml names {name:?}, which is no file beside it"),
            Self::Changed { name, said, found } => write!(
                f,
                "{name} has changed since it was imported: {} bytes with SHA-256 {}, not {} bytes with {}; import it anew \
                 under another id",
                found.bytes, found.sha256, said.bytes, said.sha256
            ),
        }
    }
}

impl std::error::Error for ManifestError {}
