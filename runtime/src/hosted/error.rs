//! What can go wrong when a hive on Linux starts and stops.
//!
//! Answers for: saying it. Never: more than that.

use alloc::string::String;
use std::{fmt, io};

use crate::region::OpenError;
use crate::topology::TopologyError;

/// Why a hive did not start.
#[derive(Debug)]
pub enum StartError {
    /// The topology cannot be built.
    Topology(TopologyError),
    /// A region cannot be opened.
    Region(OpenError),
    /// The operating system gives no threads, descriptors, random numbers or state directory.
    Io(io::Error),
}

/// Why a hive did not stop cleanly.
#[derive(Debug)]
pub enum StopError {
    /// A thread of the host itself panicked; its name.
    Thread(String),
    /// A region could not be written to its disk.
    Sync(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topology(error) => write!(f, "the topology cannot be built: {error}"),
            Self::Region(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the operating system does not give what a hive needs: {error}"),
        }
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(name) => write!(
                f,
                "the thread `{name}` panicked in the host itself: please report it"
            ),
            Self::Sync(error) => write!(f, "a region could not be written to its disk: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
impl std::error::Error for StopError {}
