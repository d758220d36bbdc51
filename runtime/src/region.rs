//! Preserved memory: bytes of one domain that outlive its restarts.
//!
//! Answers for: bounds-checked reads and writes over whatever the host set aside (a file mapped into memory on Linux,
//! plain memory on seL4 and in the simulator), in program order, and for crashes at chosen writes in tests.
//! Never: gives meaning to the bytes. What survives a half-done update is the journal's business.
//!
//! A region belongs to one domain. Two handles to it see the same bytes; nothing but the owner's discipline keeps two
//! writers apart, and a mix of their bytes is the worst that comes of it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{Ordering, compiler_fence};

use crate::sync::AtomicU64;
use crate::words::{self, WORD_BYTES};

#[cfg(any(test, feature = "sim"))]
mod crash;
#[cfg(feature = "hosted")]
mod file;

#[cfg(any(test, feature = "sim"))]
pub use crash::Crash;
#[cfg(feature = "hosted")]
pub use file::OpenError;

/// A handle to preserved memory; clones share it.
#[derive(Clone)]
pub struct Region {
    inner: Arc<Inner>,
}

/// Why a region did not do what it was asked.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// The bytes asked for are not all inside the region.
    OutOfBounds {
        /// First byte asked for.
        offset: usize,
        /// How many bytes.
        len: usize,
        /// The region's size in bytes.
        size: usize,
    },
    /// A test's crash plan refuses this write and all later ones.
    Refused,
}

struct Inner {
    memory: Memory,
    len: usize,
    #[cfg(any(test, feature = "sim"))]
    plan: crash::Plan,
}

enum Memory {
    Heap(Box<[AtomicU64]>),
    Static(&'static [AtomicU64]),
    #[cfg(feature = "hosted")]
    File(file::Mapping),
}

impl Region {
    /// `len` zero bytes in ordinary memory: they outlive a domain that holds a clone, not the process.
    pub fn in_memory(len: usize) -> Self {
        let words = (0..len.div_ceil(WORD_BYTES)).map(|_| AtomicU64::new(0)).collect();
        Self::over(Memory::Heap(words), len)
    }

    /// Ordinary memory with these bytes in it.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let region = Self::in_memory(bytes.len());
        // The region was made to measure.
        let copied = words::copy_in(region.inner.memory.words(), 0, bytes);
        debug_assert!(copied.is_some());
        region
    }

    /// Memory that a host on bare metal mapped for good, such as a Microkit memory region.
    pub fn from_static(words: &'static [AtomicU64]) -> Self {
        Self::over(Memory::Static(words), words.len() * WORD_BYTES)
    }

    /// The region's size in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.inner.len
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`RegionError::OutOfBounds`] unless all of them are inside; `into` is then untouched.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<(), RegionError> {
        self.check(offset, into.len())?;
        words::copy_out(self.inner.memory.words(), offset, into).ok_or(self.outside(offset, into.len()))
    }

    /// Writes `from` at `offset`. Writes reach the region in the order they are made, each from its first byte to its
    /// last; a process that dies leaves a prefix of them.
    ///
    /// # Errors
    /// [`RegionError::OutOfBounds`] unless all bytes are inside; nothing is then written. [`RegionError::Refused`] by a
    /// test's crash plan only.
    pub fn write_at(&self, offset: usize, from: &[u8]) -> Result<(), RegionError> {
        self.check(offset, from.len())?;
        #[cfg(any(test, feature = "sim"))]
        let (from, crash) = self.inner.plan.next_write(from);
        compiler_fence(Ordering::SeqCst);
        words::copy_in(self.inner.memory.words(), offset, from).ok_or(self.outside(offset, from.len()))?;
        compiler_fence(Ordering::SeqCst);
        #[cfg(any(test, feature = "sim"))]
        if let Some(crash) = crash {
            return crash.happen();
        }
        Ok(())
    }

    /// A barrier: what was written before survives if anything written after does.
    ///
    /// It survives the domain, and on Linux the process (the kernel owns the pages). It costs no system call; against
    /// loss of power, hosts with a disk write it there when they stop.
    pub fn flush(&self) {
        crate::sync::fence(Ordering::SeqCst);
    }

    /// Asks the kernel to put a file-backed region on its disk, and waits. Slow; hosts do it when they stop. Memory
    /// that has no disk has nothing to do.
    ///
    /// # Errors
    /// The disk's.
    #[cfg(feature = "hosted")]
    pub fn sync(&self) -> std::io::Result<()> {
        match &self.inner.memory {
            Memory::File(mapping) => mapping.sync(),
            _ => Ok(()),
        }
    }

    /// A copy of all bytes.
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; self.len()];
        // The buffer was made to measure.
        let copied = words::copy_out(self.inner.memory.words(), 0, &mut bytes);
        debug_assert!(copied.is_some());
        bytes
    }

    fn over(memory: Memory, len: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                memory,
                len,
                #[cfg(any(test, feature = "sim"))]
                plan: crash::Plan::new(),
            }),
        }
    }

    fn check(&self, offset: usize, len: usize) -> Result<(), RegionError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.inner.len => Ok(()),
            _ => Err(self.outside(offset, len)),
        }
    }

    fn outside(&self, offset: usize, len: usize) -> RegionError {
        RegionError::OutOfBounds {
            offset,
            len,
            size: self.inner.len,
        }
    }
}

impl Memory {
    fn words(&self) -> &[AtomicU64] {
        match self {
            Self::Heap(words) => words,
            Self::Static(words) => words,
            #[cfg(feature = "hosted")]
            Self::File(mapping) => mapping.words(),
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { offset, len, size } => {
                write!(
                    f,
                    "{len} bytes at offset {offset} are not inside a region of {size} bytes"
                )
            }
            Self::Refused => f.write_str("the crash plan of this test refuses the write"),
        }
    }
}

impl core::error::Error for RegionError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn reads_what_was_written_and_nothing_outside() {
        let region = Region::in_memory(21);
        region
            .write_at(13, b"12345678")
            .expect("it fits to the last byte");
        let mut back = [0; 8];
        region.read_at(13, &mut back).expect("it fits");
        assert_eq!(&back, b"12345678");
        for (offset, len) in [(14, 8), (22, 0), (usize::MAX, 2)] {
            let error = RegionError::OutOfBounds {
                offset,
                len,
                size: 21,
            };
            assert_eq!(region.write_at(offset, &back[..len]), Err(error));
            assert_eq!(region.read_at(offset, &mut [0; 8][..len]), Err(error));
        }
        assert_eq!(region.write_at(21, &[]), Ok(()));
    }

    #[test]
    fn clones_share_and_copies_do_not() {
        let region = Region::from_bytes(b"abc");
        let copy = Region::from_bytes(&region.to_vec());
        region.clone().write_at(1, b"X").expect("inside");
        assert_eq!(
            (region.to_vec().as_slice(), copy.to_vec().as_slice()),
            (&b"aXc"[..], &b"abc"[..])
        );
    }

    #[test]
    fn a_refusal_lasts_until_it_is_lifted() {
        let region = Region::in_memory(8);
        region.crash_at(2, Crash::Refuse);
        assert_eq!(region.write_at(0, b"a"), Ok(()));
        assert_eq!(region.write_at(1, b"b"), Err(RegionError::Refused));
        assert_eq!(region.write_at(2, b"c"), Err(RegionError::Refused));
        region.crash_never();
        assert_eq!(region.write_at(3, b"d"), Ok(()));
        assert_eq!(region.to_vec(), b"a\0\0d\0\0\0\0");
        assert_eq!(region.writes(), 4);
    }

    #[test]
    fn a_torn_write_leaves_its_prefix_then_panics_once() {
        let region = Region::in_memory(8);
        region.crash_at(1, Crash::Torn { prefix: 3 });
        let died = catch_unwind(AssertUnwindSafe(|| region.write_at(1, b"12345")));
        assert!(died.is_err());
        assert_eq!(region.to_vec(), b"\x00123\0\0\0\0");
        assert_eq!(region.write_at(7, b"z"), Ok(()));
        region.crash_at(1, Crash::Panic);
        assert!(catch_unwind(AssertUnwindSafe(|| region.write_at(0, b"q"))).is_err());
        assert_eq!(region.to_vec(), b"\x00123\0\0\0z");
        region.crash_at(1, Crash::TornRefuse { prefix: 1 });
        assert_eq!(region.write_at(4, b"tu"), Err(RegionError::Refused));
        assert_eq!(region.to_vec(), b"\x00123t\0\0z");
    }
}
