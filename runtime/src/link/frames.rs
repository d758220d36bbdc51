//! Frames one way over a link: slots, and the two rings that pass them to and fro.
//!
//! Answers for: the free/used discipline between two parties that do not trust each other. The transmitter *provides*
//! slots: it offers filled ones through the `free` ring and gets them back through the `used` ring, as the providing
//! side of `sel4-shared-ring-buffer` does. A frame is copied out of shared memory once, and the copy is what is used.
//! Never: follows an address, a length or a cookie from the peer before it is checked; never waits.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Violation;
use super::ring::{Descriptor, RawRing, Reader, Writer};
use crate::sync::AtomicU64;
use crate::words;

/// The two rings of a direction as they lie in memory.
#[repr(C)]
pub struct RawDirection<const N: usize> {
    /// Filled slots, from the transmitter.
    pub free: RawRing<N>,
    /// The same slots on their way back.
    pub used: RawRing<N>,
}

/// The shape of a direction's data.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many slots there are.
    pub slots: u16,
    /// From one slot to the next, in bytes.
    pub stride: u32,
    /// Longest frame, in bytes; at most `stride`.
    pub frame_bytes: u32,
}

/// A direction in memory: rings and slots.
#[derive(Copy, Clone)]
pub struct Direction<'a, const N: usize> {
    /// The rings.
    pub rings: &'a RawDirection<N>,
    /// The slots, one after the other.
    pub data: &'a [AtomicU64],
    /// How the slots lie.
    pub shape: Shape,
}

/// What became of a frame that was to be received.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// There is none.
    Nothing,
    /// So many bytes were copied.
    Frame(usize),
    /// It was longer than the buffer, by its length; it is gone.
    TooLong(usize),
}

/// The side that provides slots and fills them.
#[derive(Debug)]
pub struct Transmitter {
    free: Writer,
    used: Reader,
    /// Slots that are here.
    idle: Vec<u16>,
    /// Slots that the peer has.
    out: SlotSet,
}

/// The side that takes frames and returns their slots.
#[derive(Debug)]
pub struct Receiver {
    free: Reader,
    used: Writer,
    /// Slots in the used ring that the transmitter has not taken back.
    returned: SlotSet,
    /// Which slot lies where in the used ring.
    order: Box<[u16]>,
}

impl Transmitter {
    /// A transmitter with all slots at hand.
    pub fn new(shape: Shape) -> Self {
        let mut this = Self {
            free: Writer::default(),
            used: Reader::default(),
            idle: Vec::with_capacity(usize::from(shape.slots)),
            out: SlotSet::default(),
        };
        this.gather(shape);
        this
    }

    /// Takes all slots back, whoever has them, and starts over with empty rings.
    pub fn reset<const N: usize>(&mut self, to: Direction<'_, N>) {
        self.free.reset(&to.rings.free);
        self.used.reset(&to.rings.used);
        self.gather(to.shape);
    }

    /// As [`Transmitter::reset`], with indices that begin at `index`.
    #[cfg(any(fuzzing, feature = "sim"))]
    pub fn reset_to<const N: usize>(&mut self, to: Direction<'_, N>, index: u32) {
        self.reset(to);
        self.free.reset_to(&to.rings.free, index);
        self.used.reset_to(&to.rings.used, index);
    }

    /// Sends `frame`, which must be no longer than the shape allows; false if the peer has all slots.
    ///
    /// # Errors
    /// The [`Violation`] that the peer committed.
    pub fn send<const N: usize>(&mut self, to: Direction<'_, N>, frame: &[u8]) -> Result<bool, Violation> {
        if !self.has_space(to)? {
            return Ok(false);
        }
        let (Some(&slot), Ok(length)) = (self.idle.last(), u32::try_from(frame.len())) else {
            return Ok(false);
        };
        let address = u64::from(slot) * u64::from(to.shape.stride);
        // A frame of allowed length fits any slot; `Length` is the honest name should a caller not keep to it.
        let offset = usize::from(slot) * to.shape.stride as usize;
        words::copy_in(to.data, offset, frame).ok_or(Violation::Length)?;
        if !self.free.push(
            &to.rings.free,
            Descriptor {
                address,
                length,
                cookie: u64::from(slot),
            },
        )? {
            // The peer returned slots whose descriptors it had not even taken.
            return Err(Violation::Overflow);
        }
        self.idle.pop();
        self.out.insert(slot);
        Ok(true)
    }

    /// Whether a slot is at hand without looking at the rings.
    pub fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Whether a frame could be sent now; takes returned slots back if none is at hand.
    ///
    /// # Errors
    /// The [`Violation`] that the peer committed.
    pub fn has_space<const N: usize>(&mut self, to: Direction<'_, N>) -> Result<bool, Violation> {
        if self.idle.is_empty() {
            self.reclaim(to)?;
        }
        Ok(!self.idle.is_empty())
    }

    /// Whether every slot is either here or with the peer, and none is in two places.
    #[cfg(any(test, fuzzing, feature = "sim"))]
    pub fn is_consistent(&self, shape: Shape) -> bool {
        (0..shape.slots).all(|slot| {
            let here = self.idle.iter().filter(|&&idle| idle == slot).count();
            here + usize::from(self.out.contains(slot)) == 1
        })
    }

    fn reclaim<const N: usize>(&mut self, to: Direction<'_, N>) -> Result<(), Violation> {
        while let Some(entry) = self.used.pop(&to.rings.used)? {
            let slot = to.shape.slot_at(entry.address)?;
            if entry.cookie != u64::from(slot) || !self.out.remove(slot) {
                return Err(Violation::Slot);
            }
            self.idle.push(slot);
        }
        Ok(())
    }

    fn gather(&mut self, shape: Shape) {
        self.idle.clear();
        self.idle.extend((0..shape.slots).rev());
        self.out = SlotSet::default();
    }
}

impl Receiver {
    /// A receiver that has seen nothing.
    pub fn new<const N: usize>(_from: Direction<'_, N>) -> Self {
        Self {
            free: Reader::default(),
            used: Writer::default(),
            returned: SlotSet::default(),
            order: (0..N).map(|_| 0).collect(),
        }
    }

    /// Starts over with empty rings.
    pub fn reset<const N: usize>(&mut self, from: Direction<'_, N>) {
        self.free.reset(&from.rings.free);
        self.used.reset(&from.rings.used);
        self.returned = SlotSet::default();
    }

    /// As [`Receiver::reset`], with indices that begin at `index`.
    #[cfg(any(fuzzing, feature = "sim"))]
    pub fn reset_to<const N: usize>(&mut self, from: Direction<'_, N>, index: u32) {
        self.reset(from);
        self.free.reset_to(&from.rings.free, index);
        self.used.reset_to(&from.rings.used, index);
    }

    /// Whether a frame is there.
    ///
    /// # Errors
    /// The [`Violation`] that the peer committed.
    pub fn has_frame<const N: usize>(&mut self, from: Direction<'_, N>) -> Result<bool, Violation> {
        self.free.has_entry(&from.rings.free)
    }

    /// Copies the next frame into `buf` and returns its slot.
    ///
    /// # Errors
    /// The [`Violation`] that the peer committed; `buf` is then as it was.
    pub fn receive<const N: usize>(
        &mut self,
        from: Direction<'_, N>,
        buf: &mut [u8],
    ) -> Result<Received, Violation> {
        let Some(entry) = self.free.pop(&from.rings.free)? else {
            return Ok(Received::Nothing);
        };
        let slot = from.shape.slot_at(entry.address)?;
        if entry.length > from.shape.frame_bytes {
            return Err(Violation::Length);
        }
        if self.returned.contains(slot) {
            self.forget_reclaimed(from)?;
            if self.returned.contains(slot) {
                return Err(Violation::Slot);
            }
        }
        let len = entry.length as usize;
        let received = match buf.get_mut(..len) {
            Some(buf) => {
                let offset = usize::from(slot) * from.shape.stride as usize;
                words::copy_out(from.data, offset, buf).ok_or(Violation::Address)?;
                Received::Frame(len)
            }
            None => Received::TooLong(len),
        };
        self.give_back(from, slot, entry)?;
        Ok(received)
    }

    fn give_back<const N: usize>(
        &mut self,
        from: Direction<'_, N>,
        slot: u16,
        entry: Descriptor,
    ) -> Result<(), Violation> {
        let place = self.used.next();
        // Reclaimed places are forgotten before the ring overwrites them. An honest transmitter has taken this slot's
        // last return out of the ring before it offered the slot again, so there is room for it.
        if self.used.is_full(&from.rings.used) {
            self.forget_reclaimed(from)?;
        }
        if self.used.is_full(&from.rings.used) || !self.used.push(&from.rings.used, entry)? {
            return Err(Violation::Overflow);
        }
        if let Some(at) = self.order.get_mut(place as usize % N) {
            *at = slot;
        }
        self.returned.insert(slot);
        Ok(())
    }

    fn forget_reclaimed<const N: usize>(&mut self, from: Direction<'_, N>) -> Result<(), Violation> {
        let oldest = self.used.oldest();
        for step in 0..self.used.refresh(&from.rings.used)? {
            if let Some(&slot) = self.order.get(oldest.wrapping_add(step) as usize % N) {
                self.returned.remove(slot);
            }
        }
        Ok(())
    }
}

impl Shape {
    /// The slot that begins at `address`.
    fn slot_at(self, address: u64) -> Result<u16, Violation> {
        let stride = u64::from(self.stride);
        let slot = address / stride;
        if !address.is_multiple_of(stride) || slot >= u64::from(self.slots) {
            return Err(Violation::Address);
        }
        u16::try_from(slot).map_err(|_| Violation::Address)
    }
}

/// A set of slots, of which there are fewer than 512.
#[derive(Debug, Default)]
struct SlotSet([u64; super::ring::RING_SIZE / 64]);

impl SlotSet {
    fn contains(&self, slot: u16) -> bool {
        self.0
            .get(usize::from(slot) / 64)
            .is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    fn insert(&mut self, slot: u16) {
        if let Some(word) = self.0.get_mut(usize::from(slot) / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Whether it was there.
    fn remove(&mut self, slot: u16) -> bool {
        let had = self.contains(slot);
        if let Some(word) = self.0.get_mut(usize::from(slot) / 64) {
            *word &= !(1 << (slot % 64));
        }
        had
    }
}
