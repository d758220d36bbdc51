//! Which domains there are, on which thread each runs, and which links join them.
//!
//! Answers for: a description that every host reads, and for what is wrong with it being said before anything starts.
//! Never: starts anything.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::context::Context;
use crate::supervision::RestartPolicy;

/// A hive's domains and what joins them.
#[derive(Clone, Default)]
pub struct Topology {
    /// All domains; the order is that of `/proc/actors` and of the status page.
    pub domains: Vec<DomainSpec>,
    /// All links.
    pub links: Vec<LinkSpec>,
    /// Whether domains may be made to panic on request ([`Context::inject_fault`]): for tests.
    pub fault_injection: bool,
}

/// One domain.
#[derive(Clone)]
pub struct DomainSpec {
    /// Unique, non-empty.
    pub name: String,
    /// On Linux: the thread that runs it; domains that name the same thread share it.
    pub thread: String,
    /// Preserved memory.
    pub regions: Vec<RegionSpec>,
    /// What to do when it panics.
    pub restart: RestartPolicy,
    /// Its bounds.
    pub limits: DomainLimits,
    /// Spawns its tasks.
    pub build: Build,
}

/// Bounds of one domain.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct DomainLimits {
    /// Tasks alive at once.
    pub tasks: usize,
    /// Timers pending at once without allocating.
    pub timers: usize,
    /// Task polls in one turn.
    pub polls_per_turn: u32,
}

/// What spawns a domain's tasks, at boot and again at each restart.
#[derive(Clone)]
pub enum Build {
    /// For any host.
    Plain(Arc<dyn Fn(&Context) + Send + Sync>),
    /// For a domain that owns sockets of the operating system.
    #[cfg(feature = "hosted")]
    Io(Arc<dyn Fn(&Context, &crate::hosted::Io) + Send + Sync>),
}

/// A region of preserved memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSpec {
    /// Unique in its domain.
    pub name: String,
    /// Size in bytes.
    pub bytes: usize,
}

/// A link between two domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// Unique; what [`Context::link`] is asked for on both sides.
    pub name: String,
    /// The domain at side a.
    pub a: String,
    /// The domain at side b.
    pub b: String,
    /// Frames in flight each way, `1..=511`.
    pub slots: u16,
    /// Longest frame, in bytes.
    pub frame_bytes: u32,
}

impl Default for DomainLimits {
    fn default() -> Self {
        Self {
            tasks: 64,
            timers: 256,
            polls_per_turn: 128,
        }
    }
}

impl DomainSpec {
    /// A domain with default limits and restart policy, on the thread `main`, without regions.
    pub fn new(name: &str, build: impl Fn(&Context) + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_string(),
            thread: "main".to_string(),
            regions: Vec::new(),
            restart: RestartPolicy::default(),
            limits: DomainLimits::default(),
            build: Build::Plain(Arc::new(build)),
        }
    }

    /// As [`DomainSpec::new`], for a domain that owns sockets of the operating system.
    #[cfg(feature = "hosted")]
    pub fn with_io(name: &str, build: impl Fn(&Context, &crate::hosted::Io) + Send + Sync + 'static) -> Self {
        Self {
            build: Build::Io(Arc::new(build)),
            ..Self::new(name, |_| {})
        }
    }

    /// The same on another thread.
    #[must_use]
    pub fn on_thread(mut self, thread: &str) -> Self {
        self.thread = thread.to_string();
        self
    }

    /// The same with a region.
    #[must_use]
    pub fn with_region(mut self, name: &str, bytes: usize) -> Self {
        self.regions.push(RegionSpec {
            name: name.to_string(),
            bytes,
        });
        self
    }
}

impl LinkSpec {
    /// A link of that name between `a` and `b`.
    pub fn new(name: &str, a: &str, b: &str, slots: u16, frame_bytes: u32) -> Self {
        Self {
            name: name.to_string(),
            a: a.to_string(),
            b: b.to_string(),
            slots,
            frame_bytes,
        }
    }
}
