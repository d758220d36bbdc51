//! What a host tells the door: its links, its owners, its secrets, its bounds.
//!
//! Answers for the data that decides who may come in where, and for refusing, before anything is served, what cannot
//! work. Trust is configured here and nowhere else: which link may carry which identity is not the peer's to say.
//!
//! Never reads a file or an environment; the host builds it from the manifest.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use protocol::path::Path;
use protocol::role::{CONSOLE_ACTOR, QUEEN_ACTOR, Role};
use protocol::ticket::{ClaimLimits, Key, Quotas};

use crate::binds::MAX_BINDS;
use crate::log::MAX_LINE_BYTES;

/// Everything the door is told at boot.
#[derive(Clone, Debug)]
pub struct Config {
    /// What `/proc/boot` says.
    pub boot: Boot,
    /// The links that clients come in by, each with what it may carry.
    pub doors: Vec<Door>,
    /// The subtrees that others own; the longest prefix wins.
    pub mounts: Vec<Mount>,
    /// What the `mount` control request can name: service and the path it stands for.
    pub services: Vec<(String, String)>,
    /// The key of each role's tickets; a role without one takes no ticket.
    pub keys: Vec<(Role, Key)>,
    /// Upper bounds of a ticket's claims, and the quotas of a ticket that states none.
    pub ticket_limits: ClaimLimits,
    /// Sizes of the tables.
    pub limits: Limits,
    /// Path of the control file whose accepted binds and mounts take effect in the session that wrote them.
    pub control: String,
    /// Path of the lifecycle state that decides whether workers may attach; `None`: they always may.
    pub lifecycle: Option<String>,
    /// Whether `/proc/actors/<name>/fault` exists.
    pub fault_injection: bool,
}

/// What booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Identity of this boot, new with each start of the hive.
    pub id: String,
    /// Version of the manifest's format.
    pub schema: String,
    /// The manifest's profile.
    pub profile: String,
    /// SHA-256 of the manifest, lower-case hex.
    pub sha256: String,
    /// What the host tells of itself, each a line `name=value` of `/proc/boot`.
    pub host: Vec<String>,
}

/// One link that clients come in by.
#[derive(Clone, Debug)]
pub struct Door {
    /// The link's name.
    pub link: String,
    /// The roles that may attach here.
    pub roles: Vec<Role>,
    /// Whether a queen needs no ticket here.
    pub open_queen: bool,
    /// Whether strangers stand behind this link. Their sessions are subject to the root cut, the lifecycle gate and
    /// the manifest's quotas, and they never take the last places in the session table.
    pub outside: bool,
    /// The actors that may attach here without a ticket.
    pub identities: Vec<Identity>,
    /// Fids of this link.
    pub fids: usize,
    /// Requests of this link in progress at once: the bound that keeps a flood here from starving the other doors.
    pub handlers: usize,
}

/// An actor's own identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The `uname` it attaches with; no role's label.
    pub uname: String,
    /// The files it may append to. It may read what everybody may read.
    pub append: Vec<String>,
}

/// A subtree that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The subtree's path, which the owner serves under the same path.
    pub prefix: String,
    /// The door's link to the owner. Several mounts may name one link.
    pub link: String,
}

/// Sizes of the tables; all memory is taken at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions on all links together; for each there is memory for one half-read file (8 KiB).
    pub sessions: usize,
    /// Retained lines of the log.
    pub log_lines: usize,
    /// Retained bytes of the log.
    pub log_bytes: usize,
    /// Bytes of a worker's telemetry ring.
    pub ring_bytes: usize,
    /// Live workers.
    pub workers: usize,
    /// Binds and mounts of a session, at most [`MAX_BINDS`].
    pub binds: usize,
    /// Fids held at owners for sessions' walks.
    pub remote_fids: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 64,
            log_lines: 128,
            log_bytes: 65_536,
            ring_bytes: 1024,
            workers: 8,
            binds: MAX_BINDS,
            remote_fids: 256,
        }
    }
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            id: "0".to_string(),
            schema: "1".to_string(),
            profile: "dev".to_string(),
            sha256: "0".repeat(64),
            host: Vec::new(),
        }
    }
}

impl Default for Config {
    /// The hive of this repository without its secrets: the four doors, the queen's two mounts, WIRE 2.6's limits.
    fn default() -> Self {
        let mount = |prefix: &str| Mount {
            prefix: prefix.to_string(),
            link: "ninedoor-queen".to_string(),
        };
        Self {
            boot: Boot::default(),
            doors: vec![
                Door::console(),
                Door::workers("worker-heart-ninedoor", Role::WorkerHeartbeat),
                Door::queen(),
                Door::workers("worker-gpu-ninedoor", Role::WorkerGpu),
            ],
            mounts: vec![mount("/queen"), mount("/proc/lifecycle")],
            services: vec![("logs".to_string(), "/log".to_string())],
            keys: Vec::new(),
            ticket_limits: ClaimLimits {
                scopes: 8,
                scope_path_bytes: 128,
                scope_rate_per_s: 64,
                quotas: Quotas {
                    bandwidth_bytes: 131_072,
                    cursor_resumes: 16,
                    cursor_advances: 256,
                },
            },
            limits: Limits::default(),
            control: "/queen/ctl".to_string(),
            lifecycle: Some("/proc/lifecycle/state".to_string()),
            fault_injection: false,
        }
    }
}

impl Door {
    /// The front door: sessions of every role, and the console's own.
    pub fn console() -> Self {
        Self {
            link: "console-ninedoor".to_string(),
            roles: Role::ALL.to_vec(),
            open_queen: true,
            outside: true,
            identities: vec![Identity {
                uname: CONSOLE_ACTOR.to_string(),
                append: vec!["/log/queen.log".to_string()],
            }],
            fids: 512,
            handlers: 16,
        }
    }

    /// The root console's door. Who sits at the machine is no stranger: the gates of the front door are not here, so that
    /// the operator comes in when nobody else does.
    pub fn serial() -> Self {
        Self {
            link: "console-serial-ninedoor".to_string(),
            outside: false,
            fids: 32,
            handlers: 4,
            ..Self::console()
        }
    }

    /// The door of a domain that runs workers of one role, each under its own ticket.
    pub fn workers(link: &str, role: Role) -> Self {
        Self {
            link: link.to_string(),
            roles: vec![role],
            open_queen: false,
            outside: false,
            identities: Vec::new(),
            fids: 64,
            handlers: 8,
        }
    }

    /// The queen's own door.
    pub fn queen() -> Self {
        Self {
            link: "queen-ninedoor".to_string(),
            roles: Vec::new(),
            open_queen: false,
            outside: false,
            identities: vec![Identity {
                uname: QUEEN_ACTOR.to_string(),
                append: vec!["/log/queen.log".to_string(), "/worker/ctl".to_string()],
            }],
            fids: 32,
            handlers: 4,
        }
    }
}

/// Why the door cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// A door or a mount names a link that the domain does not have.
    NoLink(String),
    /// A path in the configuration is none.
    Path(String),
    /// A table's size is out of bounds.
    Size {
        /// Which.
        what: &'static str,
        /// What it was.
        value: usize,
        /// What it must be at least.
        least: usize,
        /// And at most.
        most: usize,
    },
    /// The journal's region cannot hold what has to survive.
    Journal {
        /// Its bytes.
        bytes: usize,
        /// What it must have.
        least: usize,
    },
    /// The domain takes no more tasks.
    Tasks,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLink(link) => write!(f, "ninedoor has no link {link:?}; add a [[link]] that ends there"),
            Self::Path(path) => write!(f, "{path:?} is no absolute path of at most 8 components"),
            Self::Size {
                what,
                value,
                least,
                most,
            } => {
                write!(
                    f,
                    "{what} = {value} is out of bounds; allowed are {least} to {most}"
                )
            }
            Self::Journal { bytes, least } => {
                write!(
                    f,
                    "the journal region has {bytes} bytes; the log and the telemetry rings need {least}"
                )
            }
            Self::Tasks => f.write_str("the domain takes no more tasks; raise its limit in the topology"),
        }
    }
}

impl core::error::Error for BootError {}

impl Config {
    /// Checks what can be checked without the domain.
    pub(crate) fn check(&self) -> Result<(), BootError> {
        let Limits {
            sessions,
            log_lines,
            log_bytes,
            ring_bytes,
            workers,
            binds,
            remote_fids,
        } = self.limits;
        within("sessions", sessions, 1, 1024)?;
        within("log_lines", log_lines, 1, 4096)?;
        within("log_bytes", log_bytes, MAX_LINE_BYTES + 1, 1 << 20)?;
        within("ring_bytes", ring_bytes, 64, 1 << 16)?;
        within("workers", workers, 1, 256)?;
        within("binds", binds, 0, MAX_BINDS)?;
        within("remote_fids", remote_fids, 1, 4096)?;
        within("doors", self.doors.len(), 1, 16)?;
        within("mounts", self.mounts.len(), 0, 32)?;
        let paths = self
            .mounts
            .iter()
            .map(|mount| &mount.prefix)
            .chain([&self.control])
            .chain(&self.lifecycle);
        for path in paths.chain(self.services.iter().map(|(_, path)| path)) {
            if Path::parse(path).is_err() || path == "/" {
                return Err(BootError::Path(path.clone()));
            }
        }
        Ok(())
    }

    /// The key of a role's tickets.
    pub(crate) fn key(&self, role: Role) -> Option<&Key> {
        self.keys.iter().find(|(of, _)| *of == role).map(|(_, key)| key)
    }

    /// Places in the session table that strangers never take: one for each worker, each actor, and a queen who is inside.
    pub(crate) fn reserved_sessions(&self) -> usize {
        let actors: usize = self.doors.iter().map(|door| door.identities.len()).sum();
        let queens = self
            .doors
            .iter()
            .filter(|door| door.open_queen && !door.outside)
            .count();
        (self.limits.workers + actors + queens).min(self.limits.sessions.saturating_sub(1))
    }

    /// Fids on all links together.
    pub(crate) fn fids(&self) -> usize {
        self.doors.iter().map(|door| door.fids).sum()
    }

    /// Requests in progress at once on all links together.
    pub(crate) fn handlers(&self) -> usize {
        self.doors.iter().map(|door| door.handlers).sum()
    }
}

fn within(what: &'static str, value: usize, least: usize, most: usize) -> Result<(), BootError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(BootError::Size {
            what,
            value,
            least,
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound() {
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(Config::default().reserved_sessions(), 10);
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_would() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            std::string::ToString::to_string(&config.check().unwrap_err())
        };
        assert!(with(|c| c.limits.binds = 9).contains("0 to 8"));
        assert!(with(|c| c.limits.log_bytes = 100).contains("log_bytes"));
        assert!(with(|c| c.mounts[0].prefix = "queen".into()).contains("absolute"));
        assert!(with(|c| c.services[0].1 = "/".into()).contains("absolute"));
        assert!(with(|c| c.doors.clear()).contains("doors"));
    }
}
