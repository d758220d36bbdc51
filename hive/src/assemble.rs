//! Manifest and secrets in, topology out: the one place where actors meet their links.
//!
//! Answers for giving every domain of the manifest its actor, its configuration and its bounds. The result runs on any
//! host of the runtime; only the `net` domain differs between them, so the caller brings it.
//!
//! Never decides what may be done: that is the actors' part. Never starts anything.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use netstack::StackConfig;
use protocol::role::Role;
use protocol::ticket::{ClaimLimits, Key, Quotas};
use runtime::Context;
use runtime::supervision::RestartPolicy;
use runtime::topology::{Build, DomainLimits, DomainSpec, LinkSpec, RegionSpec, Topology};

use crate::manifest::{Domain, Manifest};
use crate::secrets::Secrets;

/// Address of the `net` domain's stack on the link to the console.
pub const NET_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Address of the console's stack.
pub const CONSOLE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Prefix of the network that the two make up.
pub const PREFIX: u8 = 30;

/// Locally administered addresses, as RFC 7042 has them.
pub(crate) const NET_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const CONSOLE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Connections of the console's stack beyond its sessions: those that are closing.
const CLOSING_CONNECTIONS: usize = 24;

/// Timers of a domain: every task waits on a few at most.
pub(crate) const TIMERS_PER_TASK: usize = 4;

/// What stands at the far end of the console's network.
pub struct Net {
    /// Spawns its tasks.
    pub build: Build,
    /// How many they are.
    pub tasks: usize,
}

/// Builds the topology of a hive. `boot_id` is what `/proc/boot` shows.
pub fn assemble(manifest: &Manifest, secrets: &Secrets, boot_id: &str, net: Net) -> Topology {
    let domains = manifest.domain.iter().filter(|domain| domain.is_on_linux());
    let domains = domains.map(|domain| {
        let (build, tasks) = match domain.name.as_str() {
            "net" => (net.build.clone(), net.tasks),
            "console-tcp" => console(manifest, secrets),
            "ninedoor" => ninedoor(manifest, secrets, boot_id),
            "queen" => queen(manifest, secrets),
            "worker-heart" => worker_heart(manifest),
            "worker-gpu" => worker_gpu(manifest),
            name => unreachable!("the manifest's check lets no domain {name} through"),
        };
        spec(manifest, domain, build, tasks)
    });
    let links = manifest.link.iter().filter(|link| link.is_on_linux());
    let links = links.map(|link| LinkSpec {
        name: link.name.clone(),
        a: link.between[0].clone(),
        b: link.between[1].clone(),
        slots: link.frames,
        frame_bytes: link.frame_bytes,
    });
    Topology {
        domains: domains.collect(),
        links: links.collect(),
        fault_injection: manifest.supervision.fault_injection,
    }
}

/// The `net` side's end of the console's network.
pub fn net_stack(seed: u64) -> StackConfig {
    StackConfig::new(NET_MAC, NET_ADDRESS, PREFIX, seed)
}

/// Connections that the console takes at once, in whatever state.
pub fn console_connections(manifest: &Manifest) -> u16 {
    let console = &manifest.console;
    let ninep = guest_ninep(manifest).map_or(0, |ninep| ninep.places());
    let connections = console.sessions + console.unauthenticated + ninep + CLOSING_CONNECTIONS;
    u16::try_from(connections).expect("the manifest's check bounds all three")
}

/// The listener for 9P clients inside the hive.
pub(crate) fn guest_ninep(manifest: &Manifest) -> Option<console_tcp::Ninep> {
    manifest.ninep.as_ref().map(|ninep| console_tcp::Ninep {
        port: ninep.guest_port,
        connections: ninep.connections,
    })
}

fn spec(manifest: &Manifest, domain: &Domain, build: Build, tasks: usize) -> DomainSpec {
    let region = |(name, bytes): (&str, usize)| RegionSpec {
        name: name.to_owned(),
        bytes,
    };
    DomainSpec {
        name: domain.name.clone(),
        thread: domain.thread.clone(),
        regions: domain.kept().map(region).collect(),
        restart: RestartPolicy {
            intensity: manifest.supervision.intensity,
            window: Duration::from_secs(manifest.supervision.window_s),
            ..RestartPolicy::default()
        },
        limits: DomainLimits {
            tasks,
            timers: tasks * TIMERS_PER_TASK,
            ..DomainLimits::default()
        },
        build,
    }
}

/// A domain that cannot be built faults; the supervisor then shows why.
fn build<E: std::fmt::Display>(spawn: impl Fn(&Context) -> Result<(), E> + Send + Sync + 'static) -> Build {
    Build::Plain(Arc::new(move |ctx| {
        if let Err(error) = spawn(ctx) {
            panic!("{} cannot start: {error}", ctx.name());
        }
    }))
}

fn console(manifest: &Manifest, secrets: &Secrets) -> (Build, usize) {
    let mut stack = StackConfig::new(CONSOLE_MAC, CONSOLE_ADDRESS, PREFIX, 0);
    stack.limits.connections = console_connections(manifest);
    let console = manifest.console.clone();
    let ninep = guest_ninep(manifest);
    let token = secrets.auth_token.expose().to_owned();
    let configure = move || {
        let mut config = console_tcp::Config::new(token.as_bytes(), console.guest_port, stack.clone())?;
        config.ninep = ninep;
        config.sessions = console.sessions;
        config.unauthenticated = console.unauthenticated;
        config.auth_timeout = Duration::from_millis(console.auth_timeout_ms);
        config.idle_timeout = Duration::from_secs(console.idle_timeout_s);
        Ok::<_, console_tcp::ConfigError>(config)
    };
    let tasks = configure().map_or(0, |config| config.tasks());
    let spawn = move |ctx: &Context| {
        let config = configure().map_err(console_tcp::StartError::Config)?;
        console_tcp::spawn(ctx, config)
    };
    (build(spawn), tasks)
}

/// The console's configuration as far as its sizes go.
pub(crate) fn console_config(manifest: &Manifest) -> Result<console_tcp::Config, console_tcp::ConfigError> {
    let stack = StackConfig::new(CONSOLE_MAC, CONSOLE_ADDRESS, PREFIX, 0);
    let mut config = console_tcp::Config::new(b"any", manifest.console.guest_port, stack)?;
    config.ninep = guest_ninep(manifest);
    config.sessions = manifest.console.sessions;
    config.unauthenticated = manifest.console.unauthenticated;
    Ok(config)
}

/// NineDoor's doors, the console's with as many fids as it may need.
fn doors(manifest: &Manifest) -> Vec<ninedoor::Door> {
    let needed = console_config(manifest).map_or(0, |config| config.fids());
    let mut doors = ninedoor::Config::default().doors;
    for door in doors
        .iter_mut()
        .filter(|door| door.link == console_tcp::DOOR_LINK)
    {
        door.fids = door.fids.max(needed);
    }
    doors
}

fn ninedoor(manifest: &Manifest, secrets: &Secrets, boot_id: &str) -> (Build, usize) {
    let keys = secrets
        .tickets
        .roles()
        .filter_map(|role| key(secrets, role).map(|key| (role, key)));
    let claims = &manifest.ticket_limits;
    let limits = &manifest.limits;
    let defaults = ninedoor::Config::default();
    let config = ninedoor::Config {
        boot: ninedoor::Boot {
            id: boot_id.to_owned(),
            schema: manifest.schema.to_string(),
            profile: manifest.profile.clone(),
            sha256: manifest.sha256.clone(),
            host: vec!["host=linux".to_owned()],
        },
        doors: doors(manifest),
        mounts: manifest
            .mount
            .iter()
            .map(|mount| ninedoor::Mount {
                prefix: mount.prefix.clone(),
                link: mount.link.clone(),
            })
            .collect(),
        keys: keys.collect(),
        ticket_limits: ClaimLimits {
            scopes: claims.scopes.into(),
            scope_path_bytes: claims.scope_path_bytes.into(),
            scope_rate_per_s: claims.scope_rate_per_s,
            quotas: Quotas {
                bandwidth_bytes: claims.bandwidth_bytes,
                cursor_resumes: claims.cursor_resumes,
                cursor_advances: claims.cursor_advances,
            },
        },
        limits: ninedoor::Limits {
            sessions: limits.sessions,
            log_lines: limits.log_lines,
            log_bytes: limits.log_bytes,
            ring_bytes: limits.telemetry_ring_bytes,
            workers: limits.workers,
            binds: limits.binds,
            ..defaults.limits
        },
        fault_injection: manifest.supervision.fault_injection,
        ..defaults
    };
    (build(move |ctx| ninedoor::spawn(ctx, config.clone())), 16)
}

fn queen(manifest: &Manifest, secrets: &Secrets) -> (Build, usize) {
    // Without a secret for their role no worker's ticket could be sealed; the manifest's secrets always have one.
    let key = |role| key(secrets, role).unwrap_or_else(|| Key::from_secret(""));
    let mut config = queen::Config::new(key(Role::WorkerHeartbeat), key(Role::WorkerGpu));
    config.max_live_workers = manifest.limits.workers;
    config.tick = Duration::from_millis(manifest.workers.tick_ms);
    config.default_ttl_s = manifest.workers.default_ttl_s;
    config.default_ops = manifest.workers.default_ops;
    config.gpu.streams = manifest.gpu.streams;
    config.gpu.bridge_timeout = Duration::from_millis(manifest.gpu.bridge_timeout_ms);
    config.gpu.seeded = manifest.has_mocks();
    config.ingest = manifest.ingest();
    (
        build(move |ctx| queen::spawn(ctx, config.clone()).map(|_| ())),
        16,
    )
}

fn worker_heart(manifest: &Manifest) -> (Build, usize) {
    let config = worker_heart::Config {
        slots: manifest.limits.workers,
        ..worker_heart::Config::default()
    };
    (
        build(move |ctx| worker_heart::spawn(ctx, config.clone())),
        manifest.limits.workers + 8,
    )
}

fn worker_gpu(manifest: &Manifest) -> (Build, usize) {
    let config = worker_gpu::Config {
        slots: manifest.limits.workers,
        ..worker_gpu::Config::default()
    };
    (
        build(move |ctx| worker_gpu::spawn(ctx, config.clone())),
        manifest.limits.workers + 8,
    )
}

fn key(secrets: &Secrets, role: Role) -> Option<Key> {
    secrets
        .tickets
        .secret(role)
        .map(|secret| Key::from_secret(secret.expose()))
}
