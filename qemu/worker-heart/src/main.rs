//! The heartbeat workers' protection domain.
//!
//! Answers for: the boot blob becoming `worker_heart::Config`.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

use hive_boot::Actor;
use sel4_host::{Host, domain, start};

domain!(init);

fn init() -> Host {
    start(|context, boot, _, _| match &boot.actor {
        Actor::WorkerHeart(told) => {
            let config = worker_heart::Config {
                slots: told.slots as usize,
                ..worker_heart::Config::default()
            };
            worker_heart::spawn(context, config)
        }
        _ => panic!("the boot blob is another domain's"),
    })
}
