//! The root console's protection domain.
//!
//! Answers for: the console that its actor is.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

use console_serial::Config;
use hive_boot::Actor;
use sel4_host::{Host, domain, start};

domain!(init);

fn init() -> Host {
    start(|context, boot, _, _| match &boot.actor {
        Actor::ConsoleSerial => console_serial::spawn(context, Config::default()),
        _ => panic!("the boot blob is another domain's"),
    })
}
