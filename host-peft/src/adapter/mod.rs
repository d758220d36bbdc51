//! LoRA adapters as training leaves them: a directory with weights, their configuration, perhaps metrics.
//!
//! Answers for both namings (PEFT's `adapter_model.safetensors` and `adapter_config.json`, and the public tools'
//! `adapter.safetensors` and `lora.json`), for their bounds, and for everything being checked before anybody keeps it:
//! what is returned are the very bytes that were checked.
//!
//! Never loads a pickle, never changes a byte.

mod config;
mod json;
mod weights;

use core::fmt;
use std::path::{Path, PathBuf};

pub use self::config::{Config, ConfigError};
pub use self::json::JsonError;
pub use self::weights::{Weights, WeightsError};

use crate::disk::{ReadError, read_bounded};

/// Bytes of the weights (WIRE 6.2).
pub const MAX_ADAPTER_BYTES: usize = 64 << 20;
/// Bytes of the configuration (WIRE 6.2).
pub const MAX_LORA_BYTES: usize = 64 << 10;
/// Bytes of the metrics (WIRE 6.2).
pub const MAX_METRICS_BYTES: usize = 64 << 10;

/// Weights and configuration, by the names that belong together.
const NAMINGS: [(&str, &str); 2] = [
    ("adapter_model.safetensors", "adapter_config.json"),
    ("adapter.safetensors", "lora.json"),
];
const METRICS: &str = "metrics.json";
/// Endings of files that Python unpickles, which runs what is in them.
const PICKLES: [&str; 4] = ["bin", "pt", "pth", "pkl"];

/// An adapter, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// The weights' file.
    pub weights: Vec<u8>,
    /// What is in it.
    pub tensors: Weights,
    /// The configuration's file.
    pub config: Vec<u8>,
    /// What it says, where its naming makes it PEFT's; a `lora.json` may say anything.
    pub peft: Option<Config>,
    /// The metrics' file.
    pub metrics: Option<Vec<u8>>,
}

impl Adapter {
    /// Reads and checks the adapter in `dir`.
    pub fn read(dir: &Path) -> Result<Adapter, AdapterError> {
        let (weights_path, config_path) = find(dir)?;
        let weights = read_bounded(&weights_path, MAX_ADAPTER_BYTES)?;
        let tensors = Weights::parse(&weights).map_err(|why| AdapterError::Weights {
            path: weights_path,
            why,
        })?;
        let config = read_bounded(&config_path, MAX_LORA_BYTES)?;
        let object = json::object(&config).map_err(|why| AdapterError::Json {
            path: config_path.clone(),
            why,
        })?;
        let peft = config_path
            .ends_with(NAMINGS[0].1)
            .then(|| Config::of(&object).and_then(|config| config.fits(&tensors).map(|()| config)))
            .transpose()
            .map_err(|why| AdapterError::Config {
                path: config_path,
                why,
            })?;
        let metrics_path = dir.join(METRICS);
        let metrics = match metrics_path.exists() {
            false => None,
            true => Some(read_bounded(&metrics_path, MAX_METRICS_BYTES)?),
        };
        if let Some(metrics) = &metrics {
            json::object(metrics).map_err(|why| AdapterError::Json {
                path: metrics_path,
                why,
            })?;
        }
        Ok(Adapter {
            weights,
            tensors,
            config,
            peft,
            metrics,
        })
    }
}

/// The weights and the configuration in `dir`.
fn find(dir: &Path) -> Result<(PathBuf, PathBuf), AdapterError> {
    if !dir.is_dir() {
        return Err(AdapterError::NoDirectory(dir.to_owned()));
    }
    let mut found = NAMINGS
        .iter()
        .filter(|(weights, _)| dir.join(weights).exists())
        .map(|(weights, config)| (dir.join(weights), dir.join(config)));
    match (found.next(), found.next()) {
        (Some((_, config)), None) if !config.exists() => Err(AdapterError::Missing(config)),
        (Some(pair), None) => Ok(pair),
        (Some(_), Some(_)) => Err(AdapterError::Ambiguous(dir.to_owned())),
        (None, _) => Err(match pickle(dir) {
            Some(path) => AdapterError::Pickle(path),
            None => AdapterError::Missing(dir.join(NAMINGS[0].0)),
        }),
    }
}

fn pickle(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut pickles: Vec<_> = paths
        .filter(|path| {
            let extension = path
                .extension()
                .unwrap_or_default()
                .to_string_lossy()
                .to_lowercase();
            PICKLES.contains(&extension.as_str())
        })
        .collect();
    pickles.sort();
    pickles.into_iter().next()
}

/// Why a directory holds no adapter that may be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterError {
    /// It is no directory.
    NoDirectory(PathBuf),
    /// A file is not there.
    Missing(PathBuf),
    /// Both namings are there.
    Ambiguous(PathBuf),
    /// The weights are a pickle.
    Pickle(PathBuf),
    /// A file cannot be read, is empty or too long.
    File(ReadError),
    /// The weights are no safetensors file.
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: WeightsError,
    },
    /// A JSON file is none.
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: JsonError,
    },
    /// The configuration is not that of a LoRA adapter with these weights.
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: ConfigError,
    },
}

impl From<ReadError> for AdapterError {
    fn from(why: ReadError) -> Self {
        Self::File(why)
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(path) => write!(f, "adapter directory {} does not exist", path.display()),
            Self::Missing(path) => write!(
                f,
                "missing {}; an adapter is adapter_model.safetensors with adapter_config.json, or adapter.safetensors with \
                 lora.json",
                path.display()
            ),
            Self::Ambiguous(path) => write!(
                f,
                "{} has both adapter_model.safetensors and adapter.safetensors; keep the one that is meant",
                path.display()
            ),
            Self::Pickle(path) => write!(
                f,
                "{} is a pickle, which runs whatever is in it when it is loaded, and is refused; convert it where it was \
                 made: model.save_pretrained(dir, safe_serialization=True)",
                path.display()
            ),
            Self::File(why) => write!(f, "{why}"),
            Self::Weights { path, why } => {
                write!(f, "{} is no sound safetensors file: {why}", path.display())
            }
            Self::Json { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Config { path, why } => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for AdapterError {}

#[cfg(test)]
mod tests;
