//! The GPU workers' protection domain.
//!
//! Answers for: the boot blob becoming `worker_gpu::Config`.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

use hive_boot::Actor;
use sel4_host::{Host, domain, start};

domain!(init);

fn init() -> Host {
    start(|context, boot, _, _| match &boot.actor {
        Actor::WorkerGpu(told) => {
            let config = worker_gpu::Config {
                slots: told.slots as usize,
                ..worker_gpu::Config::default()
            };
            worker_gpu::spawn(context, config)
        }
        _ => panic!("the boot blob is another domain's"),
    })
}
