//! The timer's protection domain: everybody's deadlines on the ARM physical timer, and the wall clock at boot.
//!
//! Answers for: each domain being woken at the deadline in its word, once for each value of the word; and for the offset
//! of the wall clock, read from the PL031 before any other domain runs (this one has the highest priority below the
//! supervisor's).
//! Never: reads anything of a domain but its word. A domain that writes nonsense there wakes itself at odd times.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::arch::asm;
use core::convert::Infallible;
use core::ptr;

use hive_boot::{TimerBoot, boot_id, channel};
use runtime::sync::{AtomicU64, Ordering};
use runtime::time::Instant;
use sel4_host::{domain, log, memory, time};
use sel4_microkit::{Channel, ChannelSet, Handler};

const IRQ: Channel = Channel::new(channel::TIMER_IRQ as usize);

struct Timer {
    sleepers: Vec<Sleeper>,
}

struct Sleeper {
    word: &'static AtomicU64,
    channel: Channel,
    /// The value of the word for which the domain was woken last.
    woken_for: u64,
}

domain!(init);

fn init() -> Timer {
    let boot: TimerBoot = match hive_boot::decode(memory::blob()) {
        Ok(boot) => boot,
        Err(error) => panic!("{error}"),
    };
    // SAFETY: the system file maps the clock's page there.
    let clock = unsafe { memory::shared::<AtomicU64>(boot.clock) };
    let offset = rtc_us(boot.rtc).saturating_sub(time::now().as_micros());
    clock.store(offset, Ordering::Release);
    let sleeper = |(index, address): (usize, &u64)| Sleeper {
        // SAFETY: the system file maps the domain's deadline page there, read-only; it is only loaded from.
        word: unsafe { memory::shared(*address) },
        channel: Channel::new(index),
        // A page that nobody has written yet holds zero, which is no deadline.
        woken_for: 0,
    };
    let mut timer = Timer {
        sleepers: boot.sleepers.iter().enumerate().map(sleeper).collect(),
    };
    log!("boot={}", boot_id(boot.seed, offset));
    timer.look();
    timer
}

impl Timer {
    /// Wakes whose time has come, and sets the timer for the next.
    fn look(&mut self) {
        let now = time::now().as_micros();
        let mut next = time::NEVER;
        for sleeper in &mut self.sleepers {
            let at = sleeper.word.load(Ordering::Acquire);
            if at > now {
                next = next.min(at);
            } else if at != sleeper.woken_for {
                sleeper.woken_for = at;
                sleeper.channel.notify();
            }
        }
        // One that passes meanwhile raises the interrupt at once.
        set(next);
    }
}

impl Handler for Timer {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        self.look();
        if channels.contains(IRQ) {
            // Fails only without the capability, which the system file gives.
            let _ = IRQ.irq_ack();
        }
        Ok(())
    }
}

/// Sets the physical timer, or stops it.
fn set(at_us: u64) {
    if at_us == time::NEVER {
        // SAFETY: stops this core's physical timer, which is this domain's alone.
        unsafe { asm!("msr cntp_ctl_el0, xzr", "isb", options(nomem, nostack)) };
        return;
    }
    let ticks = time::ticks_at(Instant::from_micros(at_us));
    // SAFETY: sets and starts it: enabled, not masked.
    unsafe {
        asm!("msr cntp_cval_el0, {}", "msr cntp_ctl_el0, {}", "isb", in(reg) ticks, in(reg) 1_u64, options(nomem, nostack));
    }
}

/// The PL031's data register, in microseconds since the Unix epoch. It counts whole seconds, so the wall clock of a boot
/// is up to one second behind.
fn rtc_us(address: u64) -> u64 {
    // SAFETY: the system file maps the PL031's page there, uncached; its data register is its first word.
    let seconds = unsafe { ptr::with_exposed_provenance::<u32>(address as usize).read_volatile() };
    u64::from(seconds) * 1_000_000
}
