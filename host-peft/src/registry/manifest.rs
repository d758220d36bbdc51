//! A model's `manifest.toml`: where it comes from, and the hashes of its files (WIRE 6.2).
//!
//! Answers for writing what the public Python client writes, with `lora_id` besides, for reading what it wrote, and for
//! holding a directory against it. Never changes a file.

use core::fmt;
use std::path::Path;

use protocol::hex::Hex;
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
        sha256: Hex(&digest).to_string(),
        bytes: content.len() as u64,
    }
}

/// What a manifest says. Models that others put into a registry (a base model, say) may say less than an import does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// `[model]`
    pub model: Model,
    /// `[provenance]`
    pub provenance: Provenance,
    /// `[hashes]`
    pub hashes: Hashes,
}

/// The model and the names of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Its id.
    pub id: Option<String>,
    /// The base model that the adapter is for.
    pub base: Option<String>,
    /// Name of the adapter's file.
    pub adapter: Option<String>,
    /// Name of the adapter's configuration.
    pub lora: Option<String>,
    /// Name of the metrics' file.
    pub metrics: Option<String>,
    /// What records of workers name the adapter; Python's client writes none.
    pub lora_id: Option<String>,
}

/// Where the model comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The exported job whose records it was trained on.
    pub job_id: Option<String>,
    /// `pending` until somebody decides.
    pub approval: Option<String>,
}

/// The hashes of the model's files, and of the job's that are not in the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the names are the file's
pub struct Hashes {
    pub adapter_sha256: Option<String>,
    pub adapter_bytes: Option<u64>,
    pub lora_sha256: Option<String>,
    pub lora_bytes: Option<u64>,
    pub metrics_sha256: Option<String>,
    pub metrics_bytes: Option<u64>,
    pub policy_sha256: Option<String>,
    pub policy_bytes: Option<u64>,
    pub telemetry_sha256: Option<String>,
    pub telemetry_bytes: Option<u64>,
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
        let mut table = |name: &str, lines: &[(&str, Option<String>)]| {
            text.push_str(&format!("{}[{name}]\n", if text.is_empty() { "" } else { "\n" }));
            for (key, value) in lines {
                if let Some(value) = value {
                    text.push_str(&format!("{key} = {value}\n"));
                }
            }
        };
        let quoted = |text: &Option<String>| text.as_deref().map(quoted);
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        table(
            "model",
            &[
                ("id", quoted(&model.id)),
                ("base", quoted(&model.base)),
                ("adapter", quoted(&model.adapter)),
                ("lora", quoted(&model.lora)),
                ("metrics", quoted(&model.metrics)),
                ("lora_id", quoted(&model.lora_id)),
            ],
        );
        table(
            "provenance",
            &[
                ("job_id", quoted(&provenance.job_id)),
                ("approval", quoted(&provenance.approval)),
            ],
        );
        table(
            "hashes",
            &[
                ("adapter_sha256", quoted(&hashes.adapter_sha256)),
                ("adapter_bytes", number(hashes.adapter_bytes)),
                ("lora_sha256", quoted(&hashes.lora_sha256)),
                ("lora_bytes", number(hashes.lora_bytes)),
                ("metrics_sha256", quoted(&hashes.metrics_sha256)),
                ("metrics_bytes", number(hashes.metrics_bytes)),
                ("policy_sha256", quoted(&hashes.policy_sha256)),
                ("policy_bytes", number(hashes.policy_bytes)),
                ("telemetry_sha256", quoted(&hashes.telemetry_sha256)),
                ("telemetry_bytes", number(hashes.telemetry_bytes)),
            ],
        );
        text
    }

    /// Whether the files in `dir` are what this says of `model`. A file that it names has to be there; length and hash
    /// count where it states them.
    pub(super) fn check(&self, model: &ModelId, dir: &Path) -> Result<(), ManifestError> {
        let Manifest {
            model: named, hashes, ..
        } = self;
        if let Some(id) = named.id.as_ref().filter(|id| *id != model.as_str()) {
            return Err(ManifestError::OtherModel(id.clone()));
        }
        let files = [
            (
                &named.adapter,
                MAX_ADAPTER_BYTES,
                &hashes.adapter_sha256,
                hashes.adapter_bytes,
            ),
            (
                &named.lora,
                MAX_LORA_BYTES,
                &hashes.lora_sha256,
                hashes.lora_bytes,
            ),
            (
                &named.metrics,
                MAX_METRICS_BYTES,
                &hashes.metrics_sha256,
                hashes.metrics_bytes,
            ),
        ];
        for (name, max, sha256, bytes) in files {
            if let Some(name) = name {
                check_file(dir, name, max, sha256.as_deref(), bytes)?;
            }
        }
        Ok(())
    }
}

fn check_file(
    dir: &Path,
    name: &str,
    max: usize,
    sha256: Option<&str>,
    bytes: Option<u64>,
) -> Result<(), ManifestError> {
    if name.is_empty() || name.contains(['/', '\0']) || name == ".." || name == "." {
        return Err(ManifestError::BadName(name.to_owned()));
    }
    let found = hash(&read_bounded(&dir.join(name), max).map_err(ManifestError::File)?);
    let said = FileHash {
        sha256: sha256.unwrap_or(&found.sha256).to_owned(),
        bytes: bytes.unwrap_or(found.bytes),
    };
    if found == said {
        Ok(())
    } else {
        Err(ManifestError::Changed {
            name: name.to_owned(),
            said,
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
