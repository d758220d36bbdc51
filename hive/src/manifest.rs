//! The manifest `hive.toml`: limits, tickets, topology, policy.
//!
//! Answers for reading it and for refusing what cannot be built: unknown keys, names that do not exist, values out
//! of bounds. Every host (Linux, simulator, seL4 image) is made from the [`Manifest`] this module returns.
//!
//! Never opens a socket, never starts a domain, never holds a secret other than those written in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use protocol::hex::Hex;
use serde::Deserialize;
use sha2::{Digest, Sha256};

mod telemetry;

pub use telemetry::{Gate, Gates, Telemetry};

/// The manifest of this repository, which `hive` uses when none is named.
pub const DEFAULT: &str = include_str!("../../hive.toml");

/// The domains this build knows how to make, in the order of the request path.
pub const KNOWN_DOMAINS: [&str; 8] = [
    "net",
    "console-tcp",
    "ninedoor",
    "queen",
    "worker-heart",
    "worker-gpu",
    "serial",
    "console-serial",
];
/// Those of them that only seL4 has: Linux has no serial line. A hive can do without them.
pub const SEL4_DOMAINS: [&str; 2] = ["serial", "console-serial"];

/// Name of the region that `journal_bytes` asks for.
const JOURNAL: &str = "journal";
/// Bytes of the longest name of a region.
const REGION_NAME_BYTES: usize = 16;
/// Bytes of a page: a region is whole pages on every host, so that its file and its memory have one size.
const PAGE_BYTES: usize = 4096;
/// Bytes of the largest region.
const REGION_BYTES: usize = 64 << 20;

/// A checked manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's format; 1.
    pub schema: u32,
    /// `dev` (mock devices and well-known secrets on loopback) or a name of the operator's.
    pub profile: String,
    /// The console listener.
    #[serde(default)]
    pub console: Console,
    /// The listener for 9P clients; none without its section.
    pub ninep: Option<Ninep>,
    /// Sizes of the tables inside the hive.
    #[serde(default)]
    pub limits: Limits,
    /// Upper bounds of what a ticket may claim.
    #[serde(default)]
    pub ticket_limits: TicketLimits,
    /// Shared secrets by role.
    #[serde(default)]
    pub tickets: Vec<TicketSecret>,
    /// Heartbeat workers' defaults.
    #[serde(default)]
    pub workers: Workers,
    /// GPUs and who publishes them.
    #[serde(default)]
    pub gpu: Gpu,
    /// How much of devices' telemetry is kept.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// When it is enough for a job.
    #[serde(default)]
    pub gates: Gates,
    /// The same for single models.
    #[serde(default)]
    pub gate: Vec<Gate>,
    /// The supervisor's policy.
    #[serde(default)]
    pub supervision: Supervision,
    /// Protection domains.
    pub domain: Vec<Domain>,
    /// Links between them.
    pub link: Vec<Link>,
    /// Subtrees that NineDoor forwards.
    #[serde(default)]
    pub mount: Vec<Mount>,
    /// SHA-256 of the manifest's text, lower-case hex; filled in by [`Manifest::parse`].
    #[serde(skip)]
    pub sha256: String,
}

/// The console listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Address the Linux host listens on.
    pub address: SocketAddr,
    /// Port inside the hive's own network.
    pub guest_port: u16,
    /// Authenticated sessions at once, 16..=64.
    pub sessions: usize,
    /// Connections that have not authenticated, 1..=64.
    pub unauthenticated: usize,
    /// Milliseconds from connect to a right AUTH.
    pub auth_timeout_ms: u64,
    /// Seconds without traffic after which a session is closed.
    pub idle_timeout_s: u64,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 31337)),
            guest_port: 31337,
            sessions: 24,
            unauthenticated: 16,
            auth_timeout_ms: 5000,
            idle_timeout_s: 300,
        }
    }
}

/// The listener for 9P clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ninep {
    /// Address the Linux host listens on.
    pub address: SocketAddr,
    /// Port inside the hive's own network.
    pub guest_port: u16,
    /// Connections with an attach at once, 1..=32.
    pub connections: usize,
}

impl Default for Ninep {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 31338)),
            guest_port: 31338,
            connections: 8,
        }
    }
}

/// Sizes of the tables inside the hive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions at the door, of every kind.
    pub sessions: usize,
    /// Retained lines of `/log/queen.log`.
    pub log_lines: usize,
    /// Retained bytes of `/log/queen.log`.
    pub log_bytes: usize,
    /// Bytes of one worker's telemetry ring.
    pub telemetry_ring_bytes: usize,
    /// Live workers at once.
    pub workers: usize,
    /// Binds and mounts of one session.
    pub binds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 64,
            log_lines: 128,
            log_bytes: 65536,
            telemetry_ring_bytes: 1024,
            workers: 8,
            binds: 8,
        }
    }
}

/// Upper bounds of a ticket's claims; 0 means no limit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TicketLimits {
    /// Scopes in one ticket.
    pub scopes: u8,
    /// Bytes of one scope's path.
    pub scope_path_bytes: u16,
    /// Requests per second of one scope.
    pub scope_rate_per_s: u32,
    /// Bytes over a session's life.
    pub bandwidth_bytes: u64,
    /// Telemetry reads that go back.
    pub cursor_resumes: u32,
    /// Telemetry reads.
    pub cursor_advances: u32,
}

impl Default for TicketLimits {
    fn default() -> Self {
        Self {
            scopes: 8,
            scope_path_bytes: 128,
            scope_rate_per_s: 64,
            bandwidth_bytes: 131_072,
            cursor_resumes: 16,
            cursor_advances: 256,
        }
    }
}

/// One role's shared secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketSecret {
    /// Canonical role label.
    pub role: String,
    /// The secret; none: generated into the state directory.
    pub secret: Option<String>,
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSecret")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Heartbeat workers' defaults.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// Milliseconds between two ticks.
    pub tick_ms: u64,
    /// Ticks of a worker whose spawn names none.
    pub default_ticks: u64,
    /// Operations of a worker whose spawn names none.
    pub default_ops: u64,
    /// Life in seconds of a worker whose spawn names none.
    pub default_ttl_s: u64,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            tick_ms: 1000,
            default_ticks: 1000,
            default_ops: 10_000,
            default_ttl_s: 300,
        }
    }
}

/// GPUs and who publishes them.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// Streams of a GPU whose `info` states no `max_streams`; at least 1.
    pub streams: u32,
    /// Milliseconds after which a publisher that sends nothing loses its turn.
    pub bridge_timeout_ms: u64,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            streams: 16,
            bridge_timeout_ms: 10_000,
        }
    }
}

/// The supervisor's policy.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supervision {
    /// Restarts of one domain within the window that are still ordinary.
    pub intensity: u32,
    /// The window in seconds.
    pub window_s: u64,
    /// Whether `/proc/actors/<name>/fault` exists.
    pub fault_injection: bool,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            intensity: 60,
            window_s: 60,
            fault_injection: false,
        }
    }
}

/// One protection domain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// One of [`KNOWN_DOMAINS`].
    pub name: String,
    /// Thread of the Linux host that runs it.
    pub thread: String,
    /// seL4 priority, 0..=254.
    pub priority: u8,
    /// Bytes of memory that survive a restart; 0: none.
    #[serde(default)]
    pub journal_bytes: usize,
    /// Further memory that survives a restart: bytes by name.
    #[serde(default)]
    pub regions: BTreeMap<String, usize>,
}

impl Domain {
    /// Whether the Linux host has it.
    pub fn is_on_linux(&self) -> bool {
        is_on_linux(&self.name)
    }

    /// All memory that survives a restart: name and bytes, the journal first.
    pub fn kept(&self) -> impl Iterator<Item = (&str, usize)> {
        let journal = (self.journal_bytes > 0).then_some((JOURNAL, self.journal_bytes));
        let others = self.regions.iter().map(|(name, bytes)| (name.as_str(), *bytes));
        journal.into_iter().chain(others)
    }
}

fn is_on_linux(domain: &str) -> bool {
    !SEL4_DOMAINS.contains(&domain)
}

/// One link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Unique name.
    pub name: String,
    /// The two domains; the first is the client.
    pub between: [String; 2],
    /// Frames in flight each way, 1..=511.
    pub frames: u16,
    /// Bytes of one frame, at most 8192.
    pub frame_bytes: u32,
}

impl Link {
    /// Whether the Linux host has it.
    pub fn is_on_linux(&self) -> bool {
        self.between.iter().all(|end| is_on_linux(end))
    }
}

/// One forwarded subtree.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Absolute path of the subtree.
    pub prefix: String,
    /// Link of NineDoor to its owner.
    pub link: String,
}

/// Why a manifest cannot be used.
#[derive(Debug)]
pub enum ManifestError {
    /// The file could not be read.
    Read(std::path::PathBuf, std::io::Error),
    /// Not TOML, or a key that does not exist.
    Syntax(toml::de::Error),
    /// Well-formed but impossible; says what would be right.
    Invalid(String),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "manifest {}: {error}", path.display()),
            Self::Syntax(error) => write!(f, "manifest: {error}"),
            Self::Invalid(why) => write!(f, "manifest: {why}"),
        }
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Reads and checks the manifest at `path`.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|e| ManifestError::Read(path.to_owned(), e))?;
        Self::parse(&text)
    }

    /// Parses and checks a manifest's text.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut manifest: Self = toml::from_str(text).map_err(ManifestError::Syntax)?;
        manifest.sha256 = Hex(&Sha256::digest(text.as_bytes())).to_string();
        manifest.check().map_err(ManifestError::Invalid)?;
        Ok(manifest)
    }

    /// Whether mock devices stand in for what nobody has published yet: in the profile `dev`.
    pub fn has_mocks(&self) -> bool {
        self.profile == "dev"
    }

    /// What the queen is told of telemetry and gates.
    pub(crate) fn ingest(&self) -> queen::IngestConfig {
        telemetry::ingest(&self.telemetry, &self.gates, &self.gate)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != 1 {
            return Err(format!(
                "schema = {} is not known; this hive reads schema = 1",
                self.schema
            ));
        }
        within("console.sessions", self.console.sessions, 16..=64)?;
        within("console.unauthenticated", self.console.unauthenticated, 1..=64)?;
        within(
            "console.auth_timeout_ms",
            self.console.auth_timeout_ms,
            100..=60_000,
        )?;
        within("console.idle_timeout_s", self.console.idle_timeout_s, 1..=86_400)?;
        if let Some(ninep) = &self.ninep {
            within("ninep.connections", ninep.connections, 1..=32)?;
            if ninep.guest_port == self.console.guest_port {
                let port = ninep.guest_port;
                return Err(format!(
                    "ninep.guest_port = {port} is the console's; give the two different ports"
                ));
            }
        }
        within("limits.sessions", self.limits.sessions, 1..=64)?;
        within("limits.log_lines", self.limits.log_lines, 16..=1024)?;
        within("limits.log_bytes", self.limits.log_bytes, 8192..=1 << 20)?;
        within(
            "limits.telemetry_ring_bytes",
            self.limits.telemetry_ring_bytes,
            256..=65_536,
        )?;
        within("limits.workers", self.limits.workers, 1..=8)?;
        within("limits.binds", self.limits.binds, 1..=8)?;
        within("workers.tick_ms", self.workers.tick_ms, 1..=3_600_000)?;
        within("gpu.streams", self.gpu.streams, 1..=4096)?;
        within("gpu.bridge_timeout_ms", self.gpu.bridge_timeout_ms, 100..=600_000)?;
        within("supervision.intensity", self.supervision.intensity, 0..=10_000)?;
        within("supervision.window_s", self.supervision.window_s, 1..=86_400)?;
        self.check_domains()?;
        telemetry::check(&self.telemetry, &self.gates, &self.gate, &self.domain)?;
        self.check_links()?;
        self.check_mounts()
    }

    fn check_domains(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for domain in &self.domain {
            if !KNOWN_DOMAINS.contains(&domain.name.as_str()) {
                return Err(format!(
                    "[[domain]] name = {:?} is not known; the domains are {}",
                    domain.name,
                    KNOWN_DOMAINS.join(", ")
                ));
            }
            if !seen.insert(domain.name.as_str()) {
                return Err(format!("[[domain]] {:?} is named twice", domain.name));
            }
            check_regions(domain)?;
        }
        for name in KNOWN_DOMAINS {
            if is_on_linux(name) && !seen.contains(name) {
                return Err(format!("[[domain]] {name:?} is missing; a hive needs it"));
            }
        }
        Ok(())
    }

    fn check_links(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for link in &self.link {
            if !seen.insert(link.name.as_str()) {
                return Err(format!("[[link]] {:?} is named twice", link.name));
            }
            for end in &link.between {
                if !self.domain.iter().any(|domain| domain.name == *end) {
                    return Err(format!(
                        "[[link]] {:?} joins {end:?}, which is no domain",
                        link.name
                    ));
                }
            }
            if link.between[0] == link.between[1] {
                return Err(format!("[[link]] {:?} joins a domain with itself", link.name));
            }
            within(&format!("[[link]] {:?} frames", link.name), link.frames, 1..=511)?;
            within(
                &format!("[[link]] {:?} frame_bytes", link.name),
                link.frame_bytes,
                256..=8192,
            )?;
        }
        Ok(())
    }

    fn check_mounts(&self) -> Result<(), String> {
        for mount in &self.mount {
            protocol::path::Path::parse(&mount.prefix)
                .map_err(|error| format!("[[mount]] prefix = {:?}: {error}", mount.prefix))?;
            let known = self
                .link
                .iter()
                .any(|link| link.name == mount.link && link.between[0] == "ninedoor");
            if !known {
                return Err(format!(
                    "[[mount]] {:?} names link {:?}; it must be a [[link]] whose `between` begins with \"ninedoor\"",
                    mount.prefix, mount.link
                ));
            }
        }
        Ok(())
    }
}

fn check_regions(domain: &Domain) -> Result<(), String> {
    for (name, bytes) in &domain.regions {
        let what = format!("[[domain]] {:?} regions.{name}", domain.name);
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > REGION_NAME_BYTES || !name.bytes().all(letters) {
            return Err(format!(
                "{what}: a region's name is 1 to {REGION_NAME_BYTES} lower-case letters, digits or `-`"
            ));
        }
        if name == JOURNAL {
            return Err(format!("{what}: the journal's size is journal_bytes"));
        }
        within(&what, *bytes, PAGE_BYTES..=REGION_BYTES)?;
        if !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(format!("{what} = {bytes} is not a multiple of {PAGE_BYTES}"));
        }
    }
    Ok(())
}

fn within<T: PartialOrd + fmt::Display>(
    what: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{what} = {value} is out of bounds; allowed are {} to {}",
        range.start(),
        range.end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_manifest_is_valid() {
        let manifest = Manifest::parse(DEFAULT).unwrap();
        assert_eq!(manifest.domain.len(), KNOWN_DOMAINS.len());
        assert_eq!(manifest.sha256.len(), 64);
    }

    #[test]
    fn what_a_domain_keeps_is_its_journal_and_its_regions() {
        let manifest = Manifest::parse(DEFAULT).unwrap();
        let queen = manifest
            .domain
            .iter()
            .find(|domain| domain.name == "queen")
            .unwrap();
        let kept: Vec<(&str, usize)> = queen.kept().collect();
        assert_eq!(kept.first(), Some(&("journal", 65_536)));
        assert!(kept.contains(&("gpu", 2_097_152)));
        let net = manifest
            .domain
            .iter()
            .find(|domain| domain.name == "net")
            .unwrap();
        assert_eq!(net.kept().count(), 0);
    }

    #[test]
    fn without_its_section_there_is_no_listener_for_9p() {
        let ninep = Manifest::parse(DEFAULT).unwrap().ninep.unwrap();
        assert_eq!(
            (ninep.address.port(), ninep.guest_port, ninep.connections),
            (31338, 31338, 8)
        );
        let (head, rest) = DEFAULT.split_once("[ninep]").unwrap();
        let (_, tail) = rest.split_once("[limits]").unwrap();
        let manifest = Manifest::parse(&format!("{head}[limits]{tail}")).unwrap();
        assert!(manifest.ninep.is_none());
    }

    #[test]
    fn each_impossible_manifest_says_what_would_be_right() {
        let cases = [
            ("schema = 1", "schema = 2", "schema = 1"),
            ("sessions = 24", "sessions = 3", "16 to 64"),
            (
                "name = \"queen\"\nthread",
                "name = \"quen\"\nthread",
                "the domains are",
            ),
            (
                "between = [\"net\", \"console-tcp\"]",
                "between = [\"net\", \"nat\"]",
                "no domain",
            ),
            ("connections = 8", "connections = 33", "1 to 32"),
            ("guest_port = 31338", "guest_port = 31337", "different ports"),
            ("intensity = 60", "intensity = 10001", "0 to 10000"),
            ("window_s = 60", "window_s = 0", "1 to 86400"),
            ("frames = 128", "frames = 512", "1 to 511"),
            ("[workers]", "[workers]\ntock_ms = 1", "tock_ms"),
            (
                "link = \"ninedoor-queen\"",
                "link = \"queen-ninedoor\"",
                "begins with \"ninedoor\"",
            ),
            ("prefix = \"/queen\"", "prefix = \"queen\"", "prefix"),
            ("gpu = 2097152", "GPU = 2097152", "lower-case"),
            ("gpu = 2097152", "journal = 2097152", "journal_bytes"),
            ("gpu = 2097152", "gpu = 2097151", "multiple of 4096"),
            ("gpu = 2097152", "gpu = 1024", "4096 to"),
            ("bridge_timeout_ms = 10000", "bridge_timeout_ms = 1", "100 to"),
        ];
        for (from, to, expected) in cases {
            assert!(DEFAULT.contains(from), "{from:?} is gone from hive.toml");
            let error = Manifest::parse(&DEFAULT.replacen(from, to, 1))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(expected),
                "{to:?} gave {error:?}, which does not say {expected:?}"
            );
        }
    }
}
