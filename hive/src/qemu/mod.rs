//! The hive on seL4 in QEMU: tools found, image built, machine run.
//!
//! Answers for one message for each thing that is missing, with how to get it, and for a machine that ends with its
//! launcher.
//!
//! Never builds seL4 or Microkit: the SDK comes from its makers.

mod build;
pub mod elf;
mod machine;
mod serial;
mod tools;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use build::{Config, Image, build};
pub use machine::{Forward, Machine, Wiring};
pub use tools::{Missing, Sdk, Toolchain, qemu_version};

use crate::microkit::PlanError;

/// Why there is no hive on seL4.
#[derive(Debug)]
pub enum QemuError {
    /// A tool is not there.
    Missing(Missing),
    /// The manifest is no Microkit system.
    Plan(PlanError),
    /// A program failed; what it said is on standard error.
    Failed(String),
    /// A program could not be run, or a file not be read or written.
    Io(PathBuf, io::Error),
    /// What a domain is told is longer than its region, in bytes.
    Blob(String, usize, usize),
    /// A built domain has no `_reset`.
    NoReset(PathBuf),
    /// The operating system gave no random bytes.
    Entropy(getrandom::Error),
}

impl fmt::Display for QemuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(missing) => missing.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::Failed(program) => write!(f, "{program} failed; see its output above"),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Blob(domain, bytes, region) => write!(
                f,
                "the manifest tells {domain} {bytes} bytes, and its region has {region}; use fewer mounts and tickets"
            ),
            Self::NoReset(path) => {
                write!(
                    f,
                    "{} has no symbol `_reset`; remove qemu/target and build again",
                    path.display()
                )
            }
            Self::Entropy(error) => write!(f, "no random bytes from the operating system: {error}"),
        }
    }
}

impl std::error::Error for QemuError {}

impl From<Missing> for QemuError {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

/// Names the path in an error of the file system.
fn at(path: &Path) -> impl FnOnce(io::Error) -> QemuError {
    let path = path.to_owned();
    move |error| QemuError::Io(path, error)
}
