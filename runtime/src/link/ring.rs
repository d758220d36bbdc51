//! One descriptor ring in shared memory, and the two checked ways to use it.
//!
//! Answers for: the memory layout and index discipline of rust-sel4's `sel4-shared-ring-buffer` (`RawRingBuffer` of
//! `Descriptor`: free-running `u32` indices, 512 descriptors, at most 511 filled), and for every index read from the
//! peer being checked before it is used.
//! Never: trusts what it wrote itself to be still there: each side keeps its own index in private memory. Each word has
//! one writer, also when a ring is reset.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use super::Violation;

/// Descriptors in a ring. One stays empty, so that a full ring differs from an empty one.
pub const RING_SIZE: usize = 512;

/// A ring as it lies in memory. `N` is [`RING_SIZE`] wherever memory is shared; models use smaller ones. It must be a
/// power of two, so that free-running indices wrap without a jump.
#[repr(C)]
pub struct RawRing<const N: usize = RING_SIZE> {
    write_index: AtomicU32,
    read_index: AtomicU32,
    descriptors: [RawDescriptor; N],
}

/// A descriptor as it lies in memory.
#[repr(C)]
struct RawDescriptor {
    address: AtomicU64,
    length: AtomicU32,
    padding: AtomicU32,
    cookie: AtomicU64,
}

/// Where a frame is: a copy of a descriptor, unchecked.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Byte offset of the slot in the direction's data.
    pub address: u64,
    /// Bytes of the frame.
    pub length: u32,
    /// Whatever the provider of the slot likes; returned as it came.
    pub cookie: u64,
}

/// The side that fills a ring.
#[derive(Debug, Default)]
pub struct Writer {
    write: u32,
    seen_read: u32,
}

/// The side that empties a ring.
#[derive(Debug, Default)]
pub struct Reader {
    read: u32,
    seen_write: u32,
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<RawDescriptor>() == 24);
    assert!(size_of::<RawRing>() == 8 + 24 * RING_SIZE);
};

impl<const N: usize> RawRing<N> {
    /// How many entries a full ring holds.
    pub const CAPACITY: u32 = {
        assert!(N.is_power_of_two() && N <= 1 << 16);
        N as u32 - 1
    };

    /// A ring of zeros, for models; shared memory starts as zeros anyway.
    #[cfg(any(test, loom))]
    pub fn zeroed() -> Self {
        Self {
            write_index: AtomicU32::new(0),
            read_index: AtomicU32::new(0),
            descriptors: core::array::from_fn(|_| RawDescriptor {
                address: AtomicU64::new(0),
                length: AtomicU32::new(0),
                padding: AtomicU32::new(0),
                cookie: AtomicU64::new(0),
            }),
        }
    }

    fn descriptor(&self, index: u32) -> Option<&RawDescriptor> {
        self.descriptors.get(index as usize % N)
    }
}

impl Writer {
    /// Starts over with an empty ring. Only the index that this side writes is touched.
    pub fn reset<const N: usize>(&mut self, ring: &RawRing<N>) {
        *self = Self::default();
        ring.write_index.store(0, Ordering::Release);
    }

    /// As [`Writer::reset`], with indices that begin at `index`; the other side's must, too.
    #[cfg(any(fuzzing, feature = "sim"))]
    pub fn reset_to<const N: usize>(&mut self, ring: &RawRing<N>, index: u32) {
        *self = Self {
            write: index,
            seen_read: index,
        };
        ring.write_index.store(index, Ordering::Release);
    }

    /// Appends `entry`; false if the ring is full.
    ///
    /// # Errors
    /// [`Violation::Index`] if the reader's index is not where a reader could be.
    pub fn push<const N: usize>(&mut self, ring: &RawRing<N>, entry: Descriptor) -> Result<bool, Violation> {
        if self.is_full(ring) {
            self.refresh(ring)?;
            if self.is_full(ring) {
                return Ok(false);
            }
        }
        let Some(raw) = ring.descriptor(self.write) else {
            return Ok(false);
        };
        raw.address.store(entry.address, Ordering::Relaxed);
        raw.length.store(entry.length, Ordering::Relaxed);
        raw.padding.store(0, Ordering::Relaxed);
        raw.cookie.store(entry.cookie, Ordering::Relaxed);
        self.write = self.write.wrapping_add(1);
        ring.write_index.store(self.write, Ordering::Release);
        Ok(true)
    }

    /// Looks how far the reader has come; how many entries it took since the last look.
    ///
    /// # Errors
    /// [`Violation::Index`] if the reader moved backwards or past what was written.
    pub fn refresh<const N: usize>(&mut self, ring: &RawRing<N>) -> Result<u32, Violation> {
        let read = ring.read_index.load(Ordering::Acquire);
        let taken = read.wrapping_sub(self.seen_read);
        if taken > self.filled() {
            return Err(Violation::Index);
        }
        self.seen_read = read;
        Ok(taken)
    }

    /// Whether the ring was full at the last look.
    pub fn is_full<const N: usize>(&self, _ring: &RawRing<N>) -> bool {
        self.filled() >= RawRing::<N>::CAPACITY
    }

    /// The index of the oldest entry that the reader had not taken at the last look.
    pub fn oldest(&self) -> u32 {
        self.seen_read
    }

    /// The index that the next entry will have.
    pub fn next(&self) -> u32 {
        self.write
    }

    fn filled(&self) -> u32 {
        self.write.wrapping_sub(self.seen_read)
    }
}

impl Reader {
    /// Starts over with an empty ring. Only the index that this side writes is touched.
    pub fn reset<const N: usize>(&mut self, ring: &RawRing<N>) {
        *self = Self::default();
        ring.read_index.store(0, Ordering::Release);
    }

    /// As [`Reader::reset`], with indices that begin at `index`; the other side's must, too.
    #[cfg(any(fuzzing, feature = "sim"))]
    pub fn reset_to<const N: usize>(&mut self, ring: &RawRing<N>, index: u32) {
        *self = Self {
            read: index,
            seen_write: index,
        };
        ring.read_index.store(index, Ordering::Release);
    }

    /// Takes the oldest entry, if there is one. The slot it names is not given back by this; the entry in the ring is.
    ///
    /// # Errors
    /// [`Violation::Index`] if the writer's index is not where a writer could be.
    pub fn pop<const N: usize>(&mut self, ring: &RawRing<N>) -> Result<Option<Descriptor>, Violation> {
        if !self.has_entry(ring)? {
            return Ok(None);
        }
        let Some(raw) = ring.descriptor(self.read) else {
            return Ok(None);
        };
        let entry = Descriptor {
            address: raw.address.load(Ordering::Relaxed),
            length: raw.length.load(Ordering::Relaxed),
            cookie: raw.cookie.load(Ordering::Relaxed),
        };
        self.read = self.read.wrapping_add(1);
        ring.read_index.store(self.read, Ordering::Release);
        Ok(Some(entry))
    }

    /// Whether there is an entry to take.
    ///
    /// # Errors
    /// [`Violation::Index`] if the writer moved backwards or overran the ring.
    pub fn has_entry<const N: usize>(&mut self, ring: &RawRing<N>) -> Result<bool, Violation> {
        if self.seen_write == self.read {
            let write = ring.write_index.load(Ordering::Acquire);
            if write.wrapping_sub(self.read) > RawRing::<N>::CAPACITY {
                return Err(Violation::Index);
            }
            self.seen_write = write;
        }
        Ok(self.seen_write != self.read)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn entry(tag: u32) -> Descriptor {
        Descriptor {
            address: u64::from(tag) * 64,
            length: tag,
            cookie: !u64::from(tag),
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_bounded_queue(start in any::<u32>(), ops in prop::collection::vec(any::<bool>(), 1..200)) {
            // Free-running indices may start anywhere, also just before they wrap.
            let ring = RawRing::<8>::zeroed();
            ring.write_index.store(start, Ordering::Relaxed);
            ring.read_index.store(start, Ordering::Relaxed);
            let mut writer = Writer { write: start, seen_read: start };
            let mut reader = Reader { read: start, seen_write: start };
            let mut model = VecDeque::new();
            for (tag, push) in (0..).zip(ops) {
                if push {
                    let pushed = writer.push(&ring, entry(tag)).expect("the reader is honest");
                    prop_assert_eq!(pushed, model.len() < 7);
                    if pushed {
                        model.push_back(entry(tag));
                    }
                } else {
                    prop_assert_eq!(reader.pop(&ring).expect("the writer is honest"), model.pop_front());
                }
            }
        }

        #[test]
        fn a_reader_takes_no_more_than_a_ring_holds(read in any::<u32>(), claimed in any::<u32>()) {
            let ring = RawRing::<8>::zeroed();
            ring.write_index.store(claimed, Ordering::Relaxed);
            let mut reader = Reader { read, seen_write: read };
            let ahead = claimed.wrapping_sub(read);
            prop_assert_eq!(reader.has_entry(&ring), if ahead > 7 { Err(Violation::Index) } else { Ok(ahead > 0) });
        }

        #[test]
        fn a_writer_believes_only_a_reader_in_the_filled_part(
            seen_read in any::<u32>(), filled in 0_u32..8, claimed in any::<u32>(),
        ) {
            let ring = RawRing::<8>::zeroed();
            ring.read_index.store(claimed, Ordering::Relaxed);
            let mut writer = Writer { write: seen_read.wrapping_add(filled), seen_read };
            let taken = claimed.wrapping_sub(seen_read);
            prop_assert_eq!(writer.refresh(&ring), if taken > filled { Err(Violation::Index) } else { Ok(taken) });
        }
    }
}
