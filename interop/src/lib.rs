#![doc = include_str!("../README.md")]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::link::{Line, LinkMemory, Side};
use sel4_shared_memory::SharedMemoryRef;
use sel4_shared_ring_buffer::roles::{Provide, RingBuffersRole, Use};
use sel4_shared_ring_buffer::{
    Descriptor, InitialState, InitializationStrategy, RawRingBuffer, RingBuffer, RingBuffers,
};

/// Bytes of one ring, as `runtime::link` documents it.
pub const RING_BYTES: usize = 12_296;
/// Where the slots from side a to side b begin, as `runtime::link` documents it.
pub const DATA_OFFSET: usize = 49_344;

const SIDE_BYTES: usize = 64;
const RINGS_OFFSET: usize = 2 * SIDE_BYTES;
const LINE_BYTES: usize = 64;

/// One of a side's words, by its place in the side's line.
#[derive(Copy, Clone, Debug)]
pub enum Word {
    /// The side's epoch while it is up, else 0.
    Hello = 0,
    /// The other side's epoch that it has acknowledged.
    Ack = 1,
    /// It sleeps until a frame comes.
    WantsFrames = 3,
    /// It sleeps until a slot comes back.
    WantsSpace = 4,
}

/// A link's memory, as our side gets it from its host and as the other side finds its way about in it.
///
/// It is never freed: our side is given it for good, as on seL4.
pub struct SharedLink {
    base: NonNull<u8>,
    slots: u16,
    frame_bytes: u32,
}

/// rust-sel4's rings of one direction.
pub type Rings<R> = RingBuffers<'static, R, fn()>;

/// The other side's sending half: it provides slots through rust-sel4's rings.
pub struct Provider<'a> {
    link: &'a SharedLink,
    from: Side,
    /// The rings, for a test to look into.
    pub rings: Rings<Provide>,
    /// Slots at hand; the cookie with which each one is out is its own.
    idle: Vec<u16>,
}

/// The other side's receiving half: it uses what our side provides.
pub struct User<'a> {
    link: &'a SharedLink,
    from: Side,
    /// The rings, for a test to look into.
    pub rings: Rings<Use>,
}

impl SharedLink {
    /// Zeroed memory for a link of that shape.
    ///
    /// # Panics
    /// If there is no link of that shape.
    pub fn new(slots: u16, frame_bytes: u32) -> Self {
        let bytes = LinkMemory::bytes_needed(slots, frame_bytes).expect("a sound shape");
        let layout = Layout::from_size_align(bytes, LINE_BYTES).expect("a sound layout");
        // SAFETY: the layout's size is not zero.
        let base =
            NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        Self {
            base,
            slots,
            frame_bytes,
        }
    }

    /// The memory as our side wants it.
    ///
    /// # Panics
    /// Never: the memory was made for that shape.
    pub fn memory(&self) -> LinkMemory {
        let lines = self.bytes() / LINE_BYTES;
        // SAFETY: so many zeroed bytes, aligned for a line and never freed; a line is made of atomics only.
        let lines = unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast::<Line>(), lines) };
        LinkMemory::from_static(lines, self.slots, self.frame_bytes).expect("memory of that size")
    }

    /// One of a side's words.
    pub fn word(&self, side: Side, word: Word) -> &AtomicU32 {
        let offset = if side == Side::A { 0 } else { SIDE_BYTES } + 4 * word as usize;
        // SAFETY: within the memory, aligned, and accessed as an atomic by both sides.
        unsafe { self.base.byte_add(offset).cast::<AtomicU32>().as_ref() }
    }

    /// rust-sel4's rings over what `from` sends, their indices as `R` begins with by default.
    pub fn rings<R: RingBuffersRole>(&self, from: Side) -> Rings<R> {
        let [free, used] = self.ring_memory(from);
        Rings::from_ptrs_using_default_initialization_strategy_for_role(free, used, || {})
    }

    /// As [`SharedLink::rings`], with indices that begin at `index`.
    pub fn rings_at<R: RingBuffersRole>(&self, from: Side, index: u32) -> Rings<R> {
        let begin = InitializationStrategy::UseAndWriteState(InitialState::new(index, index));
        let [free, used] = self.ring_memory(from);
        Rings::new(RingBuffer::new(free, begin), RingBuffer::new(used, begin), || {})
    }

    /// A sending half at `from`.
    pub fn provider(&self, from: Side, rings: Rings<Provide>) -> Provider<'_> {
        Provider {
            link: self,
            from,
            rings,
            idle: (0..self.slots).collect(),
        }
    }

    /// A receiving half opposite `from`.
    pub fn user(&self, from: Side, rings: Rings<Use>) -> User<'_> {
        User {
            link: self,
            from,
            rings,
        }
    }

    /// The bytes of the descriptor at `index` of a ring of what `from` sends, as they lie in memory.
    pub fn descriptor_bytes(&self, from: Side, used: bool, index: u32) -> [u8; 24] {
        let offset = self.ring_offset(from, used) + 8 + 24 * (index as usize % 512);
        let mut bytes = [0; 24];
        // SAFETY: within the ring's memory; no other thread has it.
        unsafe {
            self.base
                .as_ptr()
                .add(offset)
                .copy_to(bytes.as_mut_ptr(), bytes.len())
        };
        bytes
    }

    /// From one slot to the next, in bytes.
    pub fn stride(&self) -> usize {
        (self.frame_bytes as usize).next_multiple_of(LINE_BYTES)
    }

    fn bytes(&self) -> usize {
        DATA_OFFSET + 2 * usize::from(self.slots) * self.stride()
    }

    fn ring_offset(&self, from: Side, used: bool) -> usize {
        let direction = if from == Side::A { 0 } else { 2 };
        RINGS_OFFSET + (direction + usize::from(used)) * RING_BYTES
    }

    fn ring_memory(&self, from: Side) -> [SharedMemoryRef<'static, RawRingBuffer<Descriptor>>; 2] {
        [false, true].map(|used| {
            let offset = self.ring_offset(from, used);
            // SAFETY: within the memory, aligned to 8, valid as any bytes are. Our side accesses it, too, on the same
            // thread, and never through a reference to anything but atomics.
            unsafe { SharedMemoryRef::new(self.base.byte_add(offset).cast()) }
        })
    }

    fn slot(&self, from: Side, address: usize, len: usize) -> *mut u8 {
        let data = usize::from(self.slots) * self.stride();
        assert!(address + len <= data, "{len} bytes at {address} of {data}");
        let offset = DATA_OFFSET + if from == Side::A { 0 } else { data };
        // SAFETY: within the memory (just checked).
        unsafe { self.base.as_ptr().add(offset + address) }
    }
}

impl Provider<'_> {
    /// Sends `frame`; false if our side has all slots.
    ///
    /// # Panics
    /// If our side broke the discipline.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        self.reclaim();
        let Some(slot) = self.idle.pop() else { return false };
        let address = usize::from(slot) * self.link.stride();
        let to = self.link.slot(self.from, address, frame.len());
        // SAFETY: the slot is this side's while it is not out, and holds the frame (`slot` checked).
        unsafe { frame.as_ptr().copy_to(to, frame.len()) };
        let descriptor = Descriptor::new(address, frame.len() as u32, cookie(slot));
        let sent = self
            .rings
            .free_mut()
            .enqueue_and_commit(descriptor)
            .expect("an honest user");
        assert!(sent.is_ok(), "a ring has room for every slot");
        true
    }

    /// Takes back what our side returned.
    ///
    /// # Panics
    /// If it returned anything but what it was offered.
    pub fn reclaim(&mut self) {
        while let Some(descriptor) = self.rings.used_mut().dequeue().expect("an honest user") {
            let slot = (descriptor.encoded_addr() / self.link.stride()) as u16;
            assert_eq!(descriptor.cookie(), cookie(slot));
            assert!(
                slot < self.link.slots && !self.idle.contains(&slot),
                "slot {slot} was not out"
            );
            self.idle.push(slot);
        }
    }
}

impl User<'_> {
    /// Takes the next frame, if there is one, and returns its slot.
    ///
    /// # Panics
    /// If our side broke the discipline.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let (descriptor, frame) = self.take()?;
        self.give_back(descriptor);
        Some(frame)
    }

    /// Takes the next frame, if there is one, and keeps its slot.
    ///
    /// # Panics
    /// If our side broke the discipline.
    pub fn take(&mut self) -> Option<(Descriptor, Vec<u8>)> {
        let descriptor = self.rings.free_mut().dequeue().expect("an honest provider")?;
        let mut frame = vec![0; descriptor.len() as usize];
        let slot = self.link.slot(self.from, descriptor.encoded_addr(), frame.len());
        // SAFETY: the slot is this side's until it is given back, and is as long (`slot` checked).
        unsafe { slot.copy_to(frame.as_mut_ptr(), frame.len()) };
        Some((descriptor, frame))
    }

    /// Returns a slot.
    ///
    /// # Panics
    /// If our side broke the discipline.
    pub fn give_back(&mut self, descriptor: Descriptor) {
        let given = self
            .rings
            .used_mut()
            .enqueue_and_commit(descriptor)
            .expect("an honest provider");
        assert!(given.is_ok(), "a ring has room for every slot");
    }
}

/// Takes down a flag with which our side asked to be woken; whether it was up.
pub fn take_flag(flag: &AtomicU32) -> bool {
    flag.swap(0, Ordering::SeqCst) != 0
}

/// A cookie that uses every byte.
fn cookie(slot: u16) -> usize {
    !(usize::from(slot) << 40)
}
