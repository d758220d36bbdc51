//! Hosted.
use alloc::string::String;
use core::time::Duration;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::counters::CountersView;
use crate::supervision::StatusView as SupervisionView;
use crate::topology::Topology;

/// What the host is told beside the topology.
#[derive(Clone, Debug, Default)]
pub struct HostedConfig {
    /// Where regions live as files; in memory if `None`.
    pub state_dir: Option<PathBuf>,
    /// Seed of the domains' random numbers; from the system if `None`.
    pub seed: Option<u64>,
    /// How long `stop` lets domains work off what is ready.
    pub stop_grace: Duration,
}

/// Why a host did not start.
#[derive(Debug)]
pub enum StartError {
    /// The operating system's reason.
    Io(io::Error),
}

/// The host of this process.
pub struct Hosted {}

/// A running hive.
pub struct Handle {}

/// The operating system's sockets for one domain.
#[derive(Clone)]
pub struct Io {}

/// A registered source.
pub struct IoSource<S: mio::event::Source> {
    source: S,
}

impl Hosted {
    /// Starts all threads.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(_topology: Topology, _config: HostedConfig) -> Result<Handle, StartError> {
        unimplemented!()
    }
}

impl Handle {
    /// Makes `domain` panic after so many polls; false unless there is such a domain and the topology allows it.
    pub fn inject_panic(&self, _domain: &str, _after_polls: u64) -> bool {
        unimplemented!()
    }
    /// A domain's counters.
    pub fn counters_of(&self, _domain: &str) -> Option<CountersView> {
        unimplemented!()
    }
    /// The status page.
    pub fn supervision(&self) -> SupervisionView {
        unimplemented!()
    }
    /// The names of the domains.
    pub fn domains(&self) -> &[String] {
        unimplemented!()
    }
    /// Stops all threads and waits for them.
    ///
    /// # Errors
    /// A region that could not be written to its disk.
    pub fn stop(self) -> io::Result<()> {
        unimplemented!()
    }
}

impl Io {
    /// Registers a source with the thread's poll.
    ///
    /// # Errors
    /// The system's.
    pub fn register<S: mio::event::Source>(&self, _source: S) -> io::Result<IoSource<S>> {
        unimplemented!()
    }
}

impl<S: mio::event::Source> IoSource<S> {
    /// The source.
    pub fn get(&self) -> &S {
        &self.source
    }
    /// Waits until the source may be readable.
    pub async fn readable(&self) {
        unimplemented!()
    }
    /// Waits until the source may be writable.
    pub async fn writable(&self) {
        unimplemented!()
    }
    /// Runs `op` whenever the source may be readable until it gives something else than `WouldBlock`.
    ///
    /// # Errors
    /// `op`'s, but for `WouldBlock`.
    pub async fn read_with<R>(&self, _op: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        unimplemented!()
    }
    /// Runs `op` whenever the source may be writable until it gives something else than `WouldBlock`.
    ///
    /// # Errors
    /// `op`'s, but for `WouldBlock`.
    pub async fn write_with<R>(&self, _op: impl FnMut(&S) -> io::Result<R>) -> io::Result<R> {
        unimplemented!()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}
