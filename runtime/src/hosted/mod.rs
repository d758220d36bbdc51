//! The Linux host: threads that run domains.
//!
//! Answers for: each thread taking turns for its domains as badges and deadlines come, with a plain call between domains
//! of one thread and one eventfd write to a thread that sleeps; for a panic ending one domain and not its thread; and
//! for regions living in files when a state directory is given.
//! Never: decides a policy, and never lets one thread wait for another: what they share is words and, about faults
//! only, one lock held for a few instructions.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};

use crate::counters::{Counters, CountersView};
use crate::domain::WallClock;
use crate::fault::Fault;
use crate::random::mix;
use crate::region::Region;
use crate::supervision::StatusView;
use crate::time::Instant;
use crate::topology::{DomainSpec, Topology};
use crate::wiring::Wiring;

mod clock;
mod error;
mod io_source;
mod resident;
mod shared;
mod thread;

pub use error::{StartError, StopError};
pub use io_source::{Io, IoSource};

use clock::Clock;
use shared::Shared;
use thread::Thread;

/// What the host is told beside the topology.
#[derive(Clone, Debug, Default)]
pub struct HostedConfig {
    /// Where regions live as files `<domain>.<region>.region`; made, for its owner only, if it is not there. Regions
    /// are ordinary memory if this is `None`.
    pub state_dir: Option<PathBuf>,
    /// Seed of the domains' random numbers; from the system if `None`.
    pub seed: Option<u64>,
    /// How long a stop lets domains work off what is ready. Zero: they end with their next turn.
    pub stop_grace: Duration,
}

/// Domains as threads of this process.
pub struct Hosted;

/// A running hive. Dropping it stops it.
pub struct Handle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    regions: Vec<Region>,
}

/// Stops a hive from anywhere, such as a thread that waits for SIGTERM.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

type DomainRegions = Vec<(String, Region)>;

impl Hosted {
    /// Starts all threads. They build their domains themselves; a domain that panics while it is built is restarted by
    /// policy like any other.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing runs then.
    pub fn start(topology: Topology, config: HostedConfig) -> Result<Handle, StartError> {
        let clock = Clock::start();
        let wiring =
            Wiring::new(topology, WallClock::new(clock.unix_us_at_epoch())).map_err(StartError::Topology)?;
        let seed = match config.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|error| StartError::Io(io::Error::other(error)))?,
        };
        if let Some(dir) = &config.state_dir {
            make_private_dir(dir).map_err(StartError::Io)?;
        }
        let open = |spec| open_regions(spec, config.state_dir.as_deref());
        let regions: Vec<DomainRegions> = wiring.domains().iter().map(open).collect::<Result<_, _>>()?;
        let names = thread_names(wiring.domains());
        let polls: Vec<mio::Poll> = names
            .iter()
            .map(|_| mio::Poll::new())
            .collect::<io::Result<_>>()?;
        let shared = Arc::new(Shared::new(
            wiring,
            &names,
            &polls,
            clock,
            mix(seed),
            config.stop_grace,
        )?);
        let mut handle = Handle {
            shared: Arc::clone(&shared),
            threads: Vec::with_capacity(names.len()),
            regions: regions
                .iter()
                .flatten()
                .map(|(_, region)| region.clone())
                .collect(),
        };
        for (index, (name, poll)) in names.iter().zip(polls).enumerate() {
            let (shared, regions) = (Arc::clone(&shared), regions.clone());
            let run = move || Thread::new(shared, index, poll, &regions).run();
            // Dropping the handle on failure stops the threads that run already.
            handle.threads.push(Builder::new().name(name.clone()).spawn(run)?);
        }
        Ok(handle)
    }
}

impl Handle {
    /// Makes `domain` panic after so many more polls; with 0 at its next turn, which is at once. False unless there is
    /// such a domain and the topology allows faults.
    pub fn inject_panic(&self, domain: &str, after_polls: u64) -> bool {
        let index = self.domains().iter().position(|name| name == domain);
        let (true, Some(index)) = (self.shared.wiring.fault_injection(), index) else {
            return false;
        };
        let Some(counters) = self.shared.wiring.directory.counters(domain) else {
            return false;
        };
        counters.set_fault(Fault::Panic, after_polls);
        self.shared.kick(index);
        true
    }

    /// A domain's counters.
    pub fn counters_of(&self, domain: &str) -> Option<CountersView> {
        self.shared.wiring.directory.counters(domain).map(Counters::view)
    }

    /// The status page.
    pub fn supervision(&self) -> StatusView {
        self.shared.wiring.status.view()
    }

    /// The names of the domains, in the order of the topology.
    pub fn domains(&self) -> &[String] {
        self.shared.wiring.directory.names()
    }

    /// Time since the start, as the domains see it.
    pub fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// System calls that the host's threads made to sleep, to look for input or to wake each other. A request that
    /// stays on one thread adds none.
    pub fn system_calls(&self) -> u64 {
        self.shared.system_calls()
    }

    /// A handle that can stop the hive from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits until a [`Stopper`] has stopped all threads, then writes the regions to their disk.
    ///
    /// # Errors
    /// See [`StopError`].
    pub fn join(mut self) -> Result<(), StopError> {
        self.end()
    }

    /// Stops all threads and waits for them, then writes the regions to their disk.
    ///
    /// # Errors
    /// See [`StopError`].
    pub fn stop(mut self) -> Result<(), StopError> {
        self.shared.stop();
        self.end()
    }

    fn end(&mut self) -> Result<(), StopError> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().into();
            result = result.and(thread.join().map_err(|_| StopError::Thread(name)));
        }
        for region in self.regions.drain(..) {
            result = result.and(region.sync().map_err(StopError::Sync));
        }
        result
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
        // Who wants to know calls `stop`.
        let _ = self.end();
    }
}

impl Stopper {
    /// Asks all threads to end; does not wait.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

/// The threads that the domains name, each once, in the order of the topology.
fn thread_names(domains: &[DomainSpec]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for domain in domains {
        if !names.contains(&domain.thread) {
            names.push(domain.thread.clone());
        }
    }
    names
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn open_regions(domain: &DomainSpec, state_dir: Option<&Path>) -> Result<DomainRegions, StartError> {
    let open = |region: &crate::topology::RegionSpec| {
        let memory = match state_dir {
            Some(dir) => {
                let path = dir.join(alloc::format!("{}.{}.region", domain.name, region.name));
                Region::open_file(&path, region.bytes).map_err(StartError::Region)?
            }
            None => Region::in_memory(region.bytes),
        };
        Ok((region.name.clone(), memory))
    };
    domain.regions.iter().map(open).collect()
}
