//! The registry of models: a directory that this program, the public Python client and `gpu-bridge-host` share.
//!
//! ```text
//! R/available/<model>/{adapter.safetensors,lora.json,metrics.json,manifest.toml}
//! R/active                "<model>\n"
//! R/active_state.toml     current = "<model>", previous = "<model before>"
//! R/active.intent         only while an activation is under way
//! R/.staging/             what is being written; nothing in there counts
//! R/.lock                 locked by the one `coh` that changes the registry
//! ```
//!
//! Answers for one `coh` at a time, for every change being there whole or not at all whenever this program dies, and
//! for repairing what one that died (of ours, or of Python's) left behind, each time the registry is opened.
//!
//! Never talks to a hive, and never reads an adapter: what it is given has been checked.

mod activation;
mod id;
mod import;
pub mod manifest;
mod state;

use core::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use self::activation::Pending;
pub use self::id::{IdError, ModelId};
pub use self::import::{ADAPTER, LORA, METRICS, NewModel};
pub use self::manifest::{FileHash, Hashes, Manifest, ManifestError, hash};
pub use self::state::Active;

use crate::disk::{Disk, DiskError, ReadError};

/// How long to wait for another `coh`. One that waits for its hive holds the registry for as long as the hive may take.
const PATIENCE: Duration = Duration::from_secs(60);

const AVAILABLE: &str = "available";
const STAGING: &str = ".staging";
const LOCK: &str = ".lock";
const MANIFEST: &str = "manifest.toml";

/// An opened registry: locked and whole.
#[derive(Debug)]
pub struct Registry<'w> {
    root: PathBuf,
    disk: Disk<'w>,
    repairs: Vec<String>,
    // Unlocked when it is closed, by whatever way.
    _lock: File,
}

impl<'w> Registry<'w> {
    /// Opens the registry at `root`, or makes one there. Waits for another `coh` that has it open, and repairs what one
    /// that died left behind.
    pub fn open_or_make(root: &Path, disk: Disk<'w>) -> Result<Self, RegistryError> {
        disk.make_dir(root)?;
        Self::open_within(root, disk, PATIENCE)
    }

    /// Opens the registry at `root`; `None` if there is none.
    pub fn open(root: &Path, disk: Disk<'w>) -> Result<Option<Self>, RegistryError> {
        if !root.is_dir() {
            return Ok(None);
        }
        Self::open_within(root, disk, PATIENCE).map(Some)
    }

    fn open_within(root: &Path, disk: Disk<'w>, patience: Duration) -> Result<Self, RegistryError> {
        let lock = lock(&root.join(LOCK), patience)?;
        let mut registry = Self {
            root: root.to_owned(),
            disk,
            repairs: Vec::new(),
            _lock: lock,
        };
        registry.repair_activation()?;
        registry.clear_staging()?;
        Ok(registry)
    }

    /// What was repaired when it was opened, for people.
    pub fn repairs(&self) -> &[String] {
        &self.repairs
    }

    /// Which models are there: directories with a manifest. Sorted.
    pub fn models(&self) -> Result<Vec<String>, RegistryError> {
        let available = self.root.join(AVAILABLE);
        if !available.is_dir() {
            return Ok(Vec::new());
        }
        let unreadable = |why: std::io::Error| RegistryError::Unreadable {
            path: available.clone(),
            why: why.to_string(),
        };
        let mut models = Vec::new();
        for entry in std::fs::read_dir(&available).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.path().join(MANIFEST).is_file() {
                models.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        models.sort();
        Ok(models)
    }

    /// Whether the model has been imported.
    pub fn has(&self, model: &ModelId) -> bool {
        self.model_dir(model).join(MANIFEST).is_file()
    }

    /// The model's manifest, after checking that its files are still what the manifest says.
    pub fn verify(&self, model: &ModelId) -> Result<Manifest, RegistryError> {
        if !self.has(model) {
            return Err(RegistryError::NotAvailable(model.clone()));
        }
        let wrong = |why| RegistryError::Manifest {
            model: model.clone(),
            why,
        };
        let dir = self.model_dir(model);
        let manifest = Manifest::read(&dir.join(MANIFEST)).map_err(wrong)?;
        manifest.check(model, &dir).map_err(wrong)?;
        Ok(manifest)
    }

    fn model_dir(&self, model: &ModelId) -> PathBuf {
        self.root.join(AVAILABLE).join(model.as_str())
    }

    fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    fn clear_staging(&mut self) -> Result<(), RegistryError> {
        let staging = self.staging();
        let Ok(entries) = std::fs::read_dir(&staging) else {
            return Ok(());
        };
        for entry in entries.filter_map(Result::ok) {
            self.disk.remove_all(&entry.path())?;
            let name = entry.file_name();
            self.repairs
                .push(format!("removed {}, which was never finished", name.display()));
        }
        Ok(())
    }
}

fn lock(path: &Path, patience: Duration) -> Result<File, RegistryError> {
    let unusable = |why: String| RegistryError::Unreadable {
        path: path.to_owned(),
        why,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|why| unusable(why.to_string()))?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if since.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(RegistryError::InUse {
                    lock: path.to_owned(),
                });
            }
            Err(TryLockError::Error(why)) => return Err(unusable(why.to_string())),
        }
    }
}

/// Why the registry cannot be used as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryError {
    /// Another `coh` has it open and does not come to an end.
    InUse {
        /// What it has locked.
        lock: PathBuf,
    },
    /// A directory or file of it cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// A change failed.
    Disk(DiskError),
    /// A file of it is not what it has to be.
    File(ReadError),
    /// `active` or `active_state.toml` does not say what it should.
    State {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// `active` and `active_state.toml` disagree, in no way that an interrupted commit leaves behind.
    Diverged {
        /// What `active` says.
        active: String,
        /// What `active_state.toml` says.
        state: String,
    },
    /// There is no such model.
    NotAvailable(ModelId),
    /// There is such a model.
    AlreadyImported(ModelId),
    /// `available/<model>` has no manifest, and something in it that no interrupted import leaves behind.
    Occupied(PathBuf),
    /// A model's files are not what its manifest says.
    Manifest {
        /// The model.
        model: ModelId,
        /// What is wrong.
        why: ManifestError,
    },
    /// There is nothing to go back to.
    NoPrevious,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { lock } => write!(
                f,
                "another coh has the registry open ({}); wait for it and try again",
                lock.display()
            ),
            Self::Unreadable { path, why } => write!(f, "cannot use {}: {why}", path.display()),
            Self::Disk(why) => write!(f, "{why}"),
            Self::File(why) => write!(f, "{why}"),
            Self::State { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Diverged { active, state } => write!(
                f,
                "registry state differs from active pointer: active says `{active}`, active_state.toml says `{state}`; \
                 write into active the one that is meant, and remove active_state.toml"
            ),
            Self::NotAvailable(model) => write!(f, "model {model} is not available"),
            Self::AlreadyImported(model) => write!(f, "model {model} already imported"),
            Self::Occupied(path) => write!(
                f,
                "{} has no manifest.toml and files that are no model's; move it away and import again",
                path.display()
            ),
            Self::Manifest { model, why } => write!(f, "model {model}: {why}"),
            Self::NoPrevious => f.write_str("no previous model available for rollback"),
        }
    }
}

impl std::error::Error for RegistryError {}

impl From<DiskError> for RegistryError {
    fn from(why: DiskError) -> Self {
        Self::Disk(why)
    }
}

impl From<ReadError> for RegistryError {
    fn from(why: ReadError) -> Self {
        Self::File(why)
    }
}

#[cfg(test)]
mod tests;
