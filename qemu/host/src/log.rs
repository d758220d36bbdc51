//! The log: lines of text in a ring of a domain's own, which the serial domain prints.
//!
//! Answers for: a line that fits being seen whole, also the last line of a domain that panics, and for a reader that
//! does not believe the writer.
//! Never: waits. A line that does not fit is cut.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

use hive_boot::channel;
use runtime::sync::{AtomicU64, Ordering};
use sel4_microkit::{Channel, panicking};

use crate::{memory, symbols};

/// Words of the page before the text: how much was written, how much was read, six unused.
const HEADER_WORDS: usize = 8;
const WORD_BYTES: usize = 8;
const TEXT_BYTES: usize = hive_boot::LOG_BYTES - HEADER_WORDS * WORD_BYTES;

/// Writes a line to this domain's log.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(format_args!($($argument)*)) };
}

/// Makes panics write to the log. They are faults afterwards, which the supervisor hears of.
pub fn hook() {
    panicking::set_hook(&on_panic);
}

fn on_panic(info: &PanicInfo<'_>) {
    line(format_args!("{info}"));
}

/// Writes a line and tells the serial domain.
pub fn line(text: fmt::Arguments<'_>) {
    let address = symbols::log_vaddr.get();
    if address == 0 {
        return;
    }
    // SAFETY: Microkit maps the domain's log page there.
    let mut ring = unsafe { Ring::at(address as u64) };
    let mut writer = Writer {
        at: ring.written(),
        ring: &mut ring,
    };
    // A line that is cut is what there is to say about its rest.
    let _ = writer.write_fmt(text);
    let end = writer.at;
    ring.finish_line(end);
    // The serial domain has no channel to itself.
    if symbols::microkit_notifications.get() & 1 << channel::LOG != 0 {
        Channel::new(channel::LOG.into()).notify();
    }
}

/// A log page, as its writer or its reader sees it.
pub struct Ring {
    words: &'static [AtomicU64],
}

struct Writer<'a> {
    ring: &'a mut Ring,
    at: u64,
}

impl Ring {
    /// The ring at that address.
    ///
    /// # Safety
    /// A log page is mapped there for good.
    pub unsafe fn at(address: u64) -> Self {
        Self {
            // SAFETY: the caller promises a log page, which is aligned and has this many bytes.
            words: unsafe { memory::shared_slice(address, hive_boot::LOG_BYTES / WORD_BYTES) },
        }
    }

    /// Passes the bytes that were written since the last call to `print`; at most a ring full.
    pub fn read(&mut self, mut print: impl FnMut(u8)) {
        let written = self.written();
        let read = self.words[1].load(Ordering::Relaxed);
        // More than a ring ahead, or backwards: whoever wrote that loses what was unread.
        if written.wrapping_sub(read) <= TEXT_BYTES as u64 {
            (read..written).for_each(|at| print(self.byte(at)));
        }
        self.words[1].store(written, Ordering::Release);
    }

    fn written(&self) -> u64 {
        self.words[0].load(Ordering::Acquire)
    }

    fn room(&self, at: u64) -> usize {
        let unread = at.wrapping_sub(self.words[1].load(Ordering::Acquire));
        TEXT_BYTES.saturating_sub(usize::try_from(unread).unwrap_or(usize::MAX))
    }

    /// A byte of room is always kept for the end of the line.
    fn put(&mut self, at: u64, byte: u8) -> bool {
        if self.room(at) <= 1 {
            return false;
        }
        self.store(at, byte);
        true
    }

    fn finish_line(&mut self, at: u64) {
        if self.room(at) > 0 {
            self.store(at, b'\n');
            self.words[0].store(at + 1, Ordering::Release);
        }
    }

    fn store(&self, at: u64, byte: u8) {
        let (word, shift) = Self::place(at);
        let old = self.words[word].load(Ordering::Relaxed);
        let new = (old & !(0xff << shift)) | (u64::from(byte) << shift);
        self.words[word].store(new, Ordering::Relaxed);
    }

    fn byte(&self, at: u64) -> u8 {
        let (word, shift) = Self::place(at);
        (self.words[word].load(Ordering::Relaxed) >> shift) as u8
    }

    fn place(at: u64) -> (usize, u32) {
        let byte = (at % TEXT_BYTES as u64) as usize;
        (HEADER_WORDS + byte / WORD_BYTES, (byte % WORD_BYTES) as u32 * 8)
    }
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if !self.ring.put(self.at, byte) {
                return Err(fmt::Error);
            }
            self.at += 1;
        }
        Ok(())
    }
}
