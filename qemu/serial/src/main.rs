//! The serial domain: everybody's log lines on the PL011.
//!
//! Answers for: lines leaving in the order in which their domains wrote them, each with its domain's name before it.
//! Never: reads anything else of a domain, and takes no input.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ptr;

use hive_boot::SerialBoot;
use sel4_host::log::Ring;
use sel4_host::{domain, memory};
use sel4_microkit::{ChannelSet, Handler};

/// Registers of the PL011, in words: data and flags.
const DATA: usize = 0;
const FLAGS: usize = 0x18 / 4;
/// Flag: the transmit queue is full.
const FULL: u32 = 1 << 5;

struct Serial {
    uart: *mut u32,
    sources: Vec<Source>,
}

struct Source {
    name: String,
    ring: Ring,
    in_line: bool,
}

domain!(init);

fn init() -> Serial {
    let boot: SerialBoot = match hive_boot::decode(memory::blob()) {
        Ok(boot) => boot,
        Err(error) => panic!("{error}"),
    };
    let source = |(name, address)| Source {
        name,
        // SAFETY: the system file maps the domain's log page there.
        ring: unsafe { Ring::at(address) },
        in_line: false,
    };
    let mut serial = Serial {
        uart: ptr::with_exposed_provenance_mut(boot.uart as usize),
        sources: boot.logs.into_iter().map(source).collect(),
    };
    serial.print();
    serial
}

impl Serial {
    fn print(&mut self) {
        let uart = self.uart;
        for source in &mut self.sources {
            let Source { name, ring, in_line } = source;
            ring.read(|byte| {
                if !core::mem::replace(in_line, byte != b'\n') {
                    name.bytes().chain(*b": ").for_each(|byte| put(uart, byte));
                }
                put(uart, byte);
            });
        }
    }
}

impl Handler for Serial {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        self.print();
        Ok(())
    }
}

fn put(uart: *mut u32, byte: u8) {
    // SAFETY: the system file maps the PL011's registers there, uncached, for this domain alone.
    unsafe {
        while uart.add(FLAGS).read_volatile() & FULL != 0 {
            core::hint::spin_loop();
        }
        uart.add(DATA).write_volatile(byte.into());
    }
}
