//! The serial line's protection domain.
//!
//! Answers for: the PL011 and everybody's log rings behind `serial::drive`, which shares the line between the log and the
//! root console.
//! Never: has logic of its own beyond the device's; that is the actor's.

#![no_std]
#![no_main]

extern crate alloc;

mod pl011;

use alloc::string::String;
use alloc::vec::Vec;

use hive_boot::Actor;
use sel4_host::log::Ring;
use sel4_host::{Host, domain, start};

use crate::pl011::Pl011;

domain!(init);

fn init() -> Host {
    let mut host = start(|context, boot, _, bell| {
        let Actor::Serial(told) = &boot.actor else {
            return Err("the boot blob is another domain's");
        };
        let source = |(name, address): &(String, u64)| Source {
            name: name.clone(),
            // SAFETY: the system file maps the domain's log page there.
            ring: unsafe { Ring::at(*address) },
        };
        let logs = Rings(told.logs.iter().map(source).collect());
        // SAFETY: the system file maps the PL011's registers there, uncached, for this domain alone.
        let uart = unsafe { Pl011::at(told.uart, bell) };
        let task = serial::drive(context.clone(), uart, logs);
        context.spawn(task).map_err(|_| "no room for the driver's task")
    });
    // What it has just logged itself.
    host.ring();
    host
}

/// Everybody's log rings.
struct Rings(Vec<Source>);

struct Source {
    name: String,
    ring: Ring,
}

impl serial::Logs for Rings {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or("", |source| &source.name)
    }

    fn read(&mut self, index: usize, take: &mut dyn FnMut(u8)) {
        if let Some(source) = self.0.get_mut(index) {
            source.ring.read(take);
        }
    }
}
