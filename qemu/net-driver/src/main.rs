//! The virtio network driver's protection domain.
//!
//! Answers for: the card behind `netstack::drive`, which carries frames between it and the link `net`.
//! Never: has logic of its own beyond the card's; that is the library's.

#![no_std]
#![no_main]
#![feature(used_with_arg)]

extern crate alloc;

mod card;
mod dma;

use hive_boot::Actor;
use sel4_host::{Host, domain, log, start};

use crate::card::Card;

/// The link to the console.
const LINK: &str = "net";

domain!(init);

fn init() -> Host {
    start(|context, boot, _, bell| {
        let Actor::Net(told) = &boot.actor else {
            panic!("the boot blob is another domain's")
        };
        let card = Card::new(bell).map_err(|_| "the network card does not answer as virtio says")?;
        let [a, b, c, d, e, f] = card.mac();
        log!("virtio-net, {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        let link = context.link(LINK).ok_or("the manifest has no link `net`")?;
        let task = netstack::drive(context.clone(), link, card, told.connections);
        context.spawn(task).map_err(|_| "no room for the driver's task")
    })
}
