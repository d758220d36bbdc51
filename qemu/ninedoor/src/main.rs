//! NineDoor's protection domain.
//!
//! Answers for: the boot blob becoming `ninedoor::Config`.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::ToString;
use alloc::vec::Vec;

use hive_boot::{Actor, DoorLimits, NineDoor};
use protocol::role::Role;
use protocol::ticket::{ClaimLimits, Key, Quotas};
use sel4_host::{Host, domain, start};

/// The link that the console comes in by.
const CONSOLE_LINK: &str = "console-ninedoor";

domain!(init);

fn init() -> Host {
    start(|context, boot, id, _| match &boot.actor {
        Actor::NineDoor(told) => {
            let mut config = config(told, id, boot.fault_injection);
            let root = ninedoor::Door::serial();
            // The manifest may be one without a root console.
            if context.link(&root.link).is_some() {
                config.doors.push(root);
            }
            ninedoor::spawn(context, config)
        }
        _ => panic!("the boot blob is another domain's"),
    })
}

fn config(told: &NineDoor, boot_id: &str, fault_injection: bool) -> ninedoor::Config {
    let defaults = ninedoor::Config::default();
    let keys = told.keys.iter();
    let claims = &told.ticket_limits;
    ninedoor::Config {
        boot: ninedoor::Boot {
            id: boot_id.to_string(),
            schema: told.schema.clone(),
            profile: told.profile.clone(),
            sha256: told.sha256.clone(),
            host: told.host.clone(),
        },
        mounts: told
            .mounts
            .iter()
            .cloned()
            .map(|(prefix, link)| ninedoor::Mount { prefix, link })
            .collect(),
        keys: keys
            .filter_map(|(role, secret)| Some((Role::from_label(role)?, Key::from_secret(secret))))
            .collect(),
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
        limits: limits(&told.limits, defaults.limits),
        doors: doors(told, &defaults),
        fault_injection,
        ..defaults
    }
}

/// The console's door has as many fids as the console may need.
fn doors(told: &NineDoor, defaults: &ninedoor::Config) -> Vec<ninedoor::Door> {
    let mut doors = defaults.doors.clone();
    for door in doors.iter_mut().filter(|door| door.link == CONSOLE_LINK) {
        door.fids = door.fids.max(told.console_fids as usize);
    }
    doors
}

fn limits(told: &DoorLimits, defaults: ninedoor::Limits) -> ninedoor::Limits {
    ninedoor::Limits {
        sessions: told.sessions as usize,
        log_lines: told.log_lines as usize,
        log_bytes: told.log_bytes as usize,
        ring_bytes: told.ring_bytes as usize,
        workers: told.workers as usize,
        binds: told.binds as usize,
        ..defaults
    }
}
