//! What each domain of a seL4 image is told: manifest, secrets and addresses in, boot blobs out.
//!
//! Answers for every domain getting its own configuration and nobody else's: the auth token goes to the console, ticket
//! secrets to the door, the workers' secret to the queen.
//!
//! Never writes a file; who does keeps the blobs in the state directory, for they hold secrets.

use std::collections::BTreeMap;

use hive_boot::{
    Actor, Boot, Child, ConsoleTcp, DoorLimits, GateRule, Ingest, Limits, Net, NineDoor, Probe, Queen,
    Serial, SupervisorBoot, TicketLimits, TimerBoot, Workers, encode,
};
use protocol::role::Role;

use crate::assemble::{
    CONSOLE_ADDRESS, CONSOLE_MAC, NET_ADDRESS, NET_MAC, PREFIX, TIMERS_PER_TASK, console_config,
    console_connections, guest_ninep,
};
use crate::manifest::{Domain, Link, Manifest};
use crate::microkit::{NetDomain, ProtectionDomain, System, kept_region, link_channel, log_sources};
use crate::secrets::Secrets;

/// How long connections outlive a restart of the network driver, in milliseconds. It moves frames and keeps no
/// connections, so they go on where they were; TCP sends again what was lost.
const LINK_GRACE_MS: u64 = 5_000;

/// Tasks of a benchmark's domain: its own, and one to spare.
const BENCH_TASKS: u32 = 2;

/// What a build of an image brought about that its domains are told.
pub struct Built<'a> {
    /// The address at which each child is restarted.
    pub resets: &'a BTreeMap<String, u64>,
    /// What `/proc/boot` says of kernel, image and domains, a line each.
    pub host: &'a [String],
    /// This image's random number.
    pub seed: u64,
}

/// The blob of each domain, by the domain's name.
pub fn blobs(
    manifest: &Manifest,
    secrets: &Secrets,
    net: &NetDomain,
    system: &System,
    built: &Built<'_>,
) -> BTreeMap<String, Vec<u8>> {
    let builder = Builder {
        manifest,
        secrets,
        net,
        system,
        host: built.host,
        seed: built.seed,
    };
    let of = |domain: &ProtectionDomain| match domain.name.as_str() {
        "supervisor" => encode(&builder.supervisor(domain, built.resets)),
        "timer" => encode(&builder.timer(domain)),
        _ => encode(&builder.boot(domain)),
    };
    system
        .domains
        .iter()
        .map(|domain| (domain.name.clone(), of(domain)))
        .collect()
}

struct Builder<'a> {
    manifest: &'a Manifest,
    secrets: &'a Secrets,
    net: &'a NetDomain,
    system: &'a System,
    host: &'a [String],
    seed: u64,
}

impl Builder<'_> {
    fn boot(&self, domain: &ProtectionDomain) -> Boot {
        let at = |region: &str| domain.address(region).unwrap_or_default();
        let name = domain.name.as_str();
        let domains = &self.manifest.domain;
        let (actor, tasks) = self.actor(domain);
        let told = domains.iter().find(|domain| domain.name == name);
        let region = |(kept, _)| {
            let region = kept_region(name, kept);
            Some(hive_boot::Region {
                name: kept.to_owned(),
                address: domain.address(&region)?,
                bytes: self.system.bytes_of(&region),
            })
        };
        Boot {
            domains: domains.iter().map(|domain| domain.name.clone()).collect(),
            index: domain
                .child
                .and_then(|child| u16::try_from(child).ok())
                .unwrap_or_default(),
            counters: domains
                .iter()
                .map(|other| at(&format!("{}-counters", other.name)))
                .collect(),
            status: at("status"),
            clock: at("clock"),
            deadline: at(&format!("{name}-deadline")),
            links: self.links(name).map(|link| self.link(domain, link)).collect(),
            regions: told
                .into_iter()
                .flat_map(Domain::kept)
                .filter_map(region)
                .collect(),
            limits: Limits {
                tasks,
                timers: tasks * TIMERS_PER_TASK as u32,
            },
            seed: self.seed,
            fault_injection: self.manifest.supervision.fault_injection,
            actor,
        }
    }

    fn links(&self, name: &str) -> impl Iterator<Item = &Link> {
        self.manifest
            .link
            .iter()
            .filter(move |link| link.between.iter().any(|end| end == name))
    }

    fn link(&self, domain: &ProtectionDomain, link: &Link) -> hive_boot::Link {
        let side_b = link.between[1] == domain.name;
        hive_boot::Link {
            name: link.name.clone(),
            peer: link.between[usize::from(!side_b)].clone(),
            side_b,
            channel: link_channel(self.manifest, &domain.name, link),
            slots: link.frames,
            frame_bytes: link.frame_bytes,
            address: domain
                .address(&format!("link-{}-head", link.name))
                .unwrap_or_default(),
        }
    }

    /// What the actor is told, and how many tasks it has.
    fn actor(&self, domain: &ProtectionDomain) -> (Actor, u32) {
        match domain.name.as_str() {
            "console-tcp" => self.console(),
            "ninedoor" => (Actor::NineDoor(self.ninedoor()), 16),
            "queen" => (Actor::Queen(self.queen()), 16),
            "worker-heart" => self.workers(Actor::WorkerHeart),
            "worker-gpu" => self.workers(Actor::WorkerGpu),
            "net" => self.net(),
            "serial" => (Actor::Serial(self.serial(domain)), 1),
            "console-serial" => (Actor::ConsoleSerial, count(console_serial::TASKS)),
            // The manifest's check knows no other; a manifest made in code may.
            _ => (Actor::Bench, BENCH_TASKS),
        }
    }

    fn net(&self) -> (Actor, u32) {
        let NetDomain::Probe(script) = self.net else {
            let connections = console_connections(self.manifest);
            return (Actor::Net(Net { connections }), 1);
        };
        let probe = Probe {
            token: self.secrets.auth_token.expose().to_owned(),
            port: self.manifest.console.guest_port,
            server: CONSOLE_ADDRESS.octets(),
            mac: NET_MAC,
            ip: NET_ADDRESS.octets(),
            prefix: PREFIX,
            script: script.text().to_owned(),
        };
        // The script's own task and its stack's.
        (Actor::Probe(probe), 2)
    }

    fn workers(&self, actor: fn(Workers) -> Actor) -> (Actor, u32) {
        let slots = count(self.manifest.limits.workers);
        (actor(Workers { slots }), slots + 8)
    }

    fn console(&self) -> (Actor, u32) {
        let told = &self.manifest.console;
        let console = ConsoleTcp {
            token: self.secrets.auth_token.expose().to_owned(),
            port: told.guest_port,
            ninep: guest_ninep(self.manifest).map(|ninep| (ninep.port, count(ninep.connections) as u16)),
            mac: CONSOLE_MAC,
            ip: CONSOLE_ADDRESS.octets(),
            prefix: PREFIX,
            connections: console_connections(self.manifest),
            link_grace_ms: LINK_GRACE_MS,
            sessions: count(told.sessions) as u16,
            unauthenticated: count(told.unauthenticated) as u16,
            auth_timeout_ms: told.auth_timeout_ms,
            idle_timeout_s: told.idle_timeout_s,
        };
        let tasks = console_config(self.manifest).map_or(0, |config| config.tasks());
        (Actor::ConsoleTcp(console), count(tasks))
    }

    fn ninedoor(&self) -> NineDoor {
        let Manifest {
            limits,
            ticket_limits: claims,
            ..
        } = self.manifest;
        let tickets = &self.secrets.tickets;
        let key = |role: Role| Some((role.label().to_owned(), tickets.secret(role)?.expose().to_owned()));
        NineDoor {
            schema: self.manifest.schema.to_string(),
            profile: self.manifest.profile.clone(),
            sha256: self.manifest.sha256.clone(),
            host: self.host.to_vec(),
            mounts: self
                .manifest
                .mount
                .iter()
                .map(|mount| (mount.prefix.clone(), mount.link.clone()))
                .collect(),
            keys: tickets.roles().filter_map(key).collect(),
            ticket_limits: TicketLimits {
                scopes: claims.scopes,
                scope_path_bytes: claims.scope_path_bytes,
                scope_rate_per_s: claims.scope_rate_per_s,
                bandwidth_bytes: claims.bandwidth_bytes,
                cursor_resumes: claims.cursor_resumes,
                cursor_advances: claims.cursor_advances,
            },
            limits: DoorLimits {
                sessions: count(limits.sessions),
                log_lines: count(limits.log_lines),
                log_bytes: count(limits.log_bytes),
                ring_bytes: count(limits.telemetry_ring_bytes),
                workers: count(limits.workers),
                binds: count(limits.binds),
            },
            console_fids: count(console_config(self.manifest).map_or(0, |config| config.fids())),
        }
    }

    fn queen(&self) -> Queen {
        let workers = &self.manifest.workers;
        let secret = |role| {
            let secret = self.secrets.tickets.secret(role);
            secret
                .map(|secret| secret.expose().to_owned())
                .unwrap_or_default()
        };
        Queen {
            heartbeat_secret: secret(Role::WorkerHeartbeat),
            gpu_secret: secret(Role::WorkerGpu),
            workers: count(self.manifest.limits.workers),
            tick_ms: workers.tick_ms,
            default_ttl_s: workers.default_ttl_s,
            default_ops: workers.default_ops,
            gpu_streams: self.manifest.gpu.streams,
            bridge_timeout_ms: self.manifest.gpu.bridge_timeout_ms,
            mocks: self.manifest.has_mocks(),
            ingest: self.ingest(),
        }
    }

    fn ingest(&self) -> Ingest {
        let config = self.manifest.ingest();
        let limits = &config.limits;
        let rule = |rule: &queen::GateRule| GateRule {
            min_samples: rule.min_samples,
            drift_threshold_bits: rule.drift_threshold.to_bits(),
        };
        Ingest {
            devices: count(limits.devices),
            segments: count(limits.segments),
            segment_bytes: count(limits.segment_bytes),
            segment_records: count(limits.segment_records),
            device_bytes: count(limits.device_bytes),
            reference_entries: count(limits.reference_entries),
            reference_manifest_bytes: count(limits.reference_manifest_bytes),
            reference_bytes: limits.reference_bytes,
            models: count(limits.models),
            jobs: count(limits.jobs),
            gate: rule(&config.gate),
            gates: config
                .gates
                .iter()
                .map(|(model, own)| (model.as_str().to_owned(), rule(own)))
                .collect(),
        }
    }

    fn supervisor(&self, domain: &ProtectionDomain, resets: &BTreeMap<String, u64>) -> SupervisorBoot {
        let child = |name: &str| Child {
            name: name.to_owned(),
            reset: resets.get(name).copied().unwrap_or_default(),
            heads: self
                .links(name)
                .filter_map(|link| {
                    let head = domain.address(&format!("link-{}-head", link.name))?;
                    Some((head, link.between[1] == name))
                })
                .collect(),
        };
        SupervisorBoot {
            children: self
                .manifest
                .domain
                .iter()
                .map(|domain| child(&domain.name))
                .collect(),
            status: domain.address("status").unwrap_or_default(),
            intensity: self.manifest.supervision.intensity,
            window_s: self.manifest.supervision.window_s,
        }
    }

    fn timer(&self, domain: &ProtectionDomain) -> TimerBoot {
        let at = |region: &str| domain.address(region).unwrap_or_default();
        TimerBoot {
            clock: at("clock"),
            rtc: at("rtc"),
            seed: self.seed,
            sleepers: self
                .manifest
                .domain
                .iter()
                .map(|sleeper| at(&format!("{}-deadline", sleeper.name)))
                .collect(),
        }
    }

    fn serial(&self, domain: &ProtectionDomain) -> Serial {
        let log = |source: &str| {
            (
                source.to_owned(),
                domain.address(&format!("{source}-log")).unwrap_or_default(),
            )
        };
        Serial {
            uart: domain.address("uart").unwrap_or_default(),
            logs: log_sources(self.manifest).map(log).collect(),
        }
    }
}

/// The manifest's check bounds every number that comes here.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
