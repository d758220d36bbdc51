//! The queen's protection domain.
//!
//! Answers for: the boot blob becoming `queen::Config`.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

use core::time::Duration;

use hive_boot::{Actor, Queen};
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
    config
}
