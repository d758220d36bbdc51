//! The PL011 (Arm DDI 0183).
//!
//! Answers for: its registers. The baud rate stays as the firmware left it.
//! Never: waits for anything but room to send.

use alloc::rc::Rc;
use core::ptr;
use core::task::{Context, Poll};

use sel4_host::Bell;

/// Registers, in words.
const DATA: usize = 0x00 / 4;
const FLAGS: usize = 0x18 / 4;
const LINE_CONTROL: usize = 0x2c / 4;
const CONTROL: usize = 0x30 / 4;
const INTERRUPT_MASK: usize = 0x38 / 4;
const INTERRUPT_CLEAR: usize = 0x44 / 4;

/// Flags: nothing has come; the transmit queue is full.
const EMPTY: u32 = 1 << 4;
const FULL: u32 = 1 << 5;
/// Eight bits, no parity, queues.
const EIGHT_BITS: u32 = 3 << 5;
const QUEUES: u32 = 1 << 4;
/// The device, its transmitter, its receiver.
const ENABLED: u32 = 1 | 1 << 8 | 1 << 9;
/// Interrupts: bytes have come; bytes came and no more for a while.
const RECEIVED: u32 = 1 << 4 | 1 << 6;
const ALL: u32 = 0x7ff;

/// The device.
pub struct Pl011 {
    registers: *mut u32,
    /// Rung at its interrupt, and when there is news in a log.
    bell: Rc<Bell>,
}

impl Pl011 {
    /// The device at that address, made ready, without interrupts.
    ///
    /// # Safety
    /// The registers are mapped there, uncached, for good, and for nobody else.
    pub unsafe fn at(address: u64, bell: Rc<Bell>) -> Self {
        let device = Self {
            registers: ptr::with_exposed_provenance_mut(address as usize),
            bell,
        };
        device.write(INTERRUPT_MASK, 0);
        device.write(INTERRUPT_CLEAR, ALL);
        device.write(LINE_CONTROL, EIGHT_BITS | QUEUES);
        device.write(CONTROL, ENABLED);
        device
    }

    fn read(&self, register: usize) -> u32 {
        // SAFETY: mapped, as the constructor was promised; the constants are registers of the device.
        unsafe { self.registers.add(register).read_volatile() }
    }

    fn write(&self, register: usize, value: u32) {
        // SAFETY: as in `read`.
        unsafe { self.registers.add(register).write_volatile(value) }
    }
}

impl serial::Uart for Pl011 {
    fn receive(&mut self) -> Option<u8> {
        if self.read(FLAGS) & EMPTY != 0 {
            return None;
        }
        // The bits above say what went wrong on the wire; the byte then looks wrong enough.
        Some(self.read(DATA) as u8)
    }

    fn send(&mut self, byte: u8) {
        while self.read(FLAGS) & FULL != 0 {
            core::hint::spin_loop();
        }
        self.write(DATA, byte.into());
    }

    fn listen(&mut self, on: bool) {
        self.write(INTERRUPT_MASK, if on { RECEIVED } else { 0 });
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.bell.poll_rung(cx)
    }
}
