//! The queen's protection domain.
//!
//! Answers for: the boot blob becoming `queen::Config`.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use core::time::Duration;

use hive_boot::{Actor, GateRule, Ingest, Queen};
use protocol::ticket::Key;
use sel4_host::{Host, domain, log, start};

domain!(init);

fn init() -> Host {
    start(|context, boot, _, _| match &boot.actor {
        Actor::Queen(told) => {
            queen::spawn(context, config(told)).map(|recovery| log!("journal: {recovery:?}"))
        }
        _ => panic!("the boot blob is another domain's"),
    })
}

fn config(told: &Queen) -> queen::Config {
    let mut config = queen::Config::new(
        Key::from_secret(&told.heartbeat_secret),
        Key::from_secret(&told.gpu_secret),
    );
    config.max_live_workers = told.workers as usize;
    config.tick = Duration::from_millis(told.tick_ms);
    config.default_ttl_s = told.default_ttl_s;
    config.default_ops = told.default_ops;
    config.gpu.streams = told.gpu_streams;
    config.gpu.bridge_timeout = Duration::from_millis(told.bridge_timeout_ms);
    config.gpu.seeded = told.mocks;
    config.ingest = ingest(&told.ingest);
    config
}

fn ingest(told: &Ingest) -> queen::IngestConfig {
    let rule = |told: &GateRule| queen::GateRule {
        min_samples: told.min_samples,
        drift_threshold: f64::from_bits(told.drift_threshold_bits),
    };
    // The manifest's check has seen the ids.
    let own = |(model, own): &(_, GateRule)| Some((String::as_str(model).try_into().ok()?, rule(own)));
    queen::IngestConfig {
        limits: queen::IngestLimits {
            devices: told.devices as usize,
            segments: told.segments as usize,
            segment_bytes: told.segment_bytes as usize,
            segment_records: told.segment_records as usize,
            device_bytes: told.device_bytes as usize,
            reference_entries: told.reference_entries as usize,
            reference_manifest_bytes: told.reference_manifest_bytes as usize,
            reference_bytes: told.reference_bytes,
            models: told.models as usize,
            jobs: told.jobs as usize,
        },
        gate: rule(&told.gate),
        gates: told.gates.iter().filter_map(own).collect(),
    }
}
