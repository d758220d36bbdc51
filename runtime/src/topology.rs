//! Which domains there are, on which thread each runs, and which links join them.
//!
//! Answers for: a description that every host reads, and for what is wrong with it being said before anything starts.
//! Never: starts anything.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::badge::Channel;
use crate::context::Context;
use crate::link::{LinkMemory, ShapeError};
use crate::supervision::{MAX_CHILDREN, RestartPolicy};

/// Longest name of a domain, region or link, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Most links of one domain: its channels but for the last, on which the supervisor signals.
pub const MAX_LINKS: usize = Channel::MAX as usize;

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
    Plain(Arc<BuildFn>),
    /// For a domain that owns sockets of the operating system.
    #[cfg(feature = "hosted")]
    Io(Arc<BuildIoFn>),
}

/// Spawns a domain's tasks. It is called on the thread that runs the domain.
pub type BuildFn = dyn Fn(&Context) + Send + Sync;
/// As [`BuildFn`], with access to the thread's poll.
#[cfg(feature = "hosted")]
pub type BuildIoFn = dyn Fn(&Context, &crate::hosted::Io) + Send + Sync;

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

/// What is wrong with a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopologyError {
    /// A name is empty, too long, or holds something else than letters, digits, `-` and `_`.
    Name(String),
    /// Two domains, two links, or two regions of one domain have the same name.
    Duplicate(String),
    /// There are more domains than [`MAX_CHILDREN`].
    Domains(usize),
    /// A domain has more links than [`MAX_LINKS`].
    Links {
        /// The domain.
        domain: String,
    },
    /// A link names a domain that is not there.
    UnknownDomain {
        /// The link.
        link: String,
        /// What it names.
        domain: String,
    },
    /// A link joins a domain with itself.
    Loop {
        /// The link.
        link: String,
    },
    /// A link cannot be made in that shape.
    Shape {
        /// The link.
        link: String,
        /// Why.
        error: ShapeError,
    },
}

impl Topology {
    /// Whether a host can build it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TopologyError> {
        if self.domains.len() > MAX_CHILDREN {
            return Err(TopologyError::Domains(self.domains.len()));
        }
        check_names(self.domains.iter().map(|domain| &domain.name))?;
        check_names(self.links.iter().map(|link| &link.name))?;
        for domain in &self.domains {
            check_names(domain.regions.iter().map(|region| &region.name))?;
            if self.links.iter().filter(|link| link.joins(&domain.name)).count() > MAX_LINKS {
                return Err(TopologyError::Links {
                    domain: domain.name.clone(),
                });
            }
        }
        for link in &self.links {
            self.check_link(link)?;
        }
        Ok(())
    }

    fn check_link(&self, link: &LinkSpec) -> Result<(), TopologyError> {
        for domain in [&link.a, &link.b] {
            if !self.domains.iter().any(|known| known.name == *domain) {
                return Err(TopologyError::UnknownDomain {
                    link: link.name.clone(),
                    domain: domain.clone(),
                });
            }
        }
        if link.a == link.b {
            return Err(TopologyError::Loop {
                link: link.name.clone(),
            });
        }
        let shape = LinkMemory::bytes_needed(link.slots, link.frame_bytes);
        shape.map_err(|error| TopologyError::Shape {
            link: link.name.clone(),
            error,
        })?;
        Ok(())
    }
}

/// Names become file names and path components of the namespace, so they are plain.
fn check_names<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Result<(), TopologyError> {
    for (index, name) in names.clone().enumerate() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
            return Err(TopologyError::Name(name.clone()));
        }
        if names.clone().take(index).any(|earlier| earlier == name) {
            return Err(TopologyError::Duplicate(name.clone()));
        }
    }
    Ok(())
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

    fn joins(&self, domain: &str) -> bool {
        self.a == domain || self.b == domain
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(
                    f,
                    "the name `{name}` must be 1 to {MAX_NAME_BYTES} letters, digits, `-` or `_`"
                )
            }
            Self::Duplicate(name) => write!(f, "the name `{name}` is given twice"),
            Self::Domains(count) => write!(f, "{count} domains where at most {MAX_CHILDREN} are possible"),
            Self::Links { domain } => write!(f, "the domain `{domain}` has more than {MAX_LINKS} links"),
            Self::UnknownDomain { link, domain } => {
                write!(
                    f,
                    "the link `{link}` names `{domain}`, which is no domain of this topology"
                )
            }
            Self::Loop { link } => write!(f, "the link `{link}` must join two different domains"),
            Self::Shape { link, error } => write!(f, "the link `{link}`: {error}"),
        }
    }
}

impl core::error::Error for TopologyError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn two() -> Topology {
        Topology {
            domains: ["a", "b"].map(|name| DomainSpec::new(name, |_| {})).into(),
            links: [LinkSpec::new("ab", "a", "b", 8, 512)].into(),
            fault_injection: false,
        }
    }

    #[test]
    fn says_what_is_wrong() {
        type Case = (fn(&mut Topology), TopologyError);
        let link = || String::from("ab");
        let cases: [Case; 8] = [
            (
                |t| t.domains[0].name = "a/b".into(),
                TopologyError::Name("a/b".into()),
            ),
            (
                |t| t.domains[1].name = "a".into(),
                TopologyError::Duplicate("a".into()),
            ),
            (
                |t| t.links.push(t.links[0].clone()),
                TopologyError::Duplicate("ab".into()),
            ),
            (
                |t| t.links[0].a = "c".into(),
                TopologyError::UnknownDomain {
                    link: link(),
                    domain: "c".into(),
                },
            ),
            (
                |t| t.links[0].a = "b".into(),
                TopologyError::Loop { link: link() },
            ),
            (
                |t| t.links[0].slots = 512,
                TopologyError::Shape {
                    link: link(),
                    error: ShapeError::Slots(512),
                },
            ),
            (
                |t| {
                    t.links
                        .extend((0..MAX_LINKS).map(|n| LinkSpec::new(&n.to_string(), "a", "b", 1, 1)))
                },
                TopologyError::Links { domain: "a".into() },
            ),
            (
                |t| {
                    t.domains
                        .extend((0..63).map(|n| DomainSpec::new(&n.to_string(), |_| {})))
                },
                TopologyError::Domains(65),
            ),
        ];
        assert_eq!(two().check(), Ok(()));
        for (spoil, error) in cases {
            let mut topology = two();
            spoil(&mut topology);
            assert_eq!(topology.check(), Err(error));
        }
    }
}
