//! The memory of a link: where the words of its sides, its rings and its slots lie.
//!
//! Answers for: the layout, and for references into it being inside it and aligned.
//! Never: reads or writes it, but for marking a dead side down on its host's behalf.
//!
//! ```text
//! side a      64 bytes   hello, ack, epoch, two sleep flags
//! side b      64 bytes
//! a to b      free ring 12,296 bytes, used ring 12,296 bytes
//! b to a      the same
//!             32 bytes unused
//! data        slots from a to b, then slots from b to a; each starts on a cache line
//! ```

use alloc::sync::Arc;
use core::fmt;

use super::endpoint::View;
use super::frames::{Direction, RawDirection, Shape};
use super::handshake::RawSide;
use super::ring::RING_SIZE;
use crate::page::Page;
use crate::sync::AtomicU64;
use crate::words::WORD_BYTES;

/// Most slots each way: what a ring holds.
pub const MAX_SLOTS: u16 = RING_SIZE as u16 - 1;
/// Longest frame a link can be made for, in bytes: 64 KiB, eight times the largest 9P message inside the VM.
pub const MAX_FRAME_BYTES: u32 = 1 << 16;

const LINE_BYTES: usize = 64;

/// Which end of a link.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The domain that the link's specification names first.
    A,
    /// The other one.
    B,
}

/// Why memory cannot serve as a link's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// There must be 1 to [`MAX_SLOTS`] slots.
    Slots(u16),
    /// Frames must be 1 to [`MAX_FRAME_BYTES`] bytes long.
    FrameBytes(u32),
    /// The memory is too small.
    Memory {
        /// Its size, in bytes.
        size: usize,
        /// The size needed, in bytes.
        needed: usize,
    },
}

/// The unit in which link memory is allocated, so that it is aligned.
#[repr(C, align(64))]
pub struct Line([AtomicU64; LINE_BYTES / WORD_BYTES]);

/// A handle to a link's memory; both ends hold one.
#[derive(Clone)]
pub struct LinkMemory {
    lines: Page<[Line]>,
    shape: Shape,
}

#[repr(C)]
struct RawLink {
    sides: [RawSide; 2],
    directions: [RawDirection<RING_SIZE>; 2],
}

const HEADER_LINES: usize = size_of::<RawLink>().div_ceil(LINE_BYTES);

#[cfg(not(loom))]
const _: () = {
    assert!(align_of::<RawLink>() == align_of::<Line>());
    assert!(size_of::<Line>() == LINE_BYTES);
    assert!(size_of::<RawSide>() == LINE_BYTES && align_of::<RawSide>() == align_of::<Line>());
    assert!(size_of::<RawLink>() == (2_usize * 64 + 4 * (8 + 24 * RING_SIZE)).next_multiple_of(LINE_BYTES));
};

impl LinkMemory {
    /// Fresh memory, zeroed: neither side is up.
    ///
    /// # Errors
    /// See [`ShapeError`].
    pub fn new(slots: u16, frame_bytes: u32) -> Result<Self, ShapeError> {
        let shape = shape(slots, frame_bytes)?;
        let line = || Line(core::array::from_fn(|_| AtomicU64::new(0)));
        let lines = (0..lines_needed(shape)).map(|_| line()).collect::<Arc<[Line]>>();
        Ok(Self {
            lines: Page::Counted(lines),
            shape,
        })
    }

    /// Memory that a host on bare metal mapped into both domains, zeroed before either ran.
    ///
    /// # Errors
    /// See [`ShapeError`].
    pub fn from_static(lines: &'static [Line], slots: u16, frame_bytes: u32) -> Result<Self, ShapeError> {
        let shape = shape(slots, frame_bytes)?;
        let needed = lines_needed(shape);
        if lines.len() < needed {
            return Err(ShapeError::Memory {
                size: lines.len() * LINE_BYTES,
                needed: needed * LINE_BYTES,
            });
        }
        Ok(Self {
            lines: Page::Mapped(lines),
            shape,
        })
    }

    /// How many bytes a link of that shape needs.
    ///
    /// # Errors
    /// See [`ShapeError`].
    pub fn bytes_needed(slots: u16, frame_bytes: u32) -> Result<usize, ShapeError> {
        Ok(lines_needed(shape(slots, frame_bytes)?) * LINE_BYTES)
    }

    /// Longest frame, in bytes.
    pub fn frame_bytes(&self) -> usize {
        self.shape.frame_bytes as usize
    }

    /// Says that `side` is down, on behalf of a domain that died. Its host calls this when the domain runs no more and
    /// before it is started again, and then signals the other side.
    pub fn mark_down(&self, side: Side) {
        let [a, b] = &self.header().sides;
        match side {
            Side::A => a.mark_down(),
            Side::B => b.mark_down(),
        }
    }

    /// As [`LinkMemory::mark_down`], for a supervisor that maps no more of a link than its first page: `head` begins
    /// where the link's memory does. Nothing happens if it is too short to hold what the sides say.
    pub fn mark_down_in(head: &[Line], side: Side) {
        let line = match side {
            Side::A => head.first(),
            Side::B => head.get(1),
        };
        if let Some(line) = line {
            // SAFETY: a `RawSide` is as large and as aligned as a `Line` (asserted above) and made of atomics only, for
            // which any bytes are valid; the two begin the memory (`RawLink`).
            unsafe { &*core::ptr::from_ref(line).cast::<RawSide>() }.mark_down();
        }
    }

    /// The memory as `side` sees it.
    pub(crate) fn view(&self, side: Side) -> View<'_, RING_SIZE> {
        let RawLink {
            sides: [side_a, side_b],
            directions: [rings_ab, rings_ba],
        } = self.header();
        let (data_ab, data_ba) = self.data();
        let from_a = Direction {
            rings: rings_ab,
            data: data_ab,
            shape: self.shape,
        };
        let from_b = Direction {
            rings: rings_ba,
            data: data_ba,
            shape: self.shape,
        };
        match side {
            Side::A => View {
                mine: side_a,
                peer: side_b,
                out: from_a,
                inn: from_b,
            },
            Side::B => View {
                mine: side_b,
                peer: side_a,
                out: from_b,
                inn: from_a,
            },
        }
    }

    /// All of it as words, for a hostile side to scribble on.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        words_of(&self.lines)
    }

    fn header(&self) -> &RawLink {
        debug_assert!(self.lines.len() >= HEADER_LINES);
        // SAFETY: every constructor checked that there are at least `HEADER_LINES` lines, which are as large and as
        // aligned as `RawLink` (asserted above). `RawLink` is made of atomics only, for which any bytes are valid, and
        // the memory is never accessed but through atomics; it lives as long as `self.lines`.
        unsafe { &*self.lines.as_ptr().cast::<RawLink>() }
    }

    fn data(&self) -> (&[AtomicU64], &[AtomicU64]) {
        let data = words_of(self.lines.get(HEADER_LINES..).unwrap_or_default());
        let words = usize::from(self.shape.slots) * (self.shape.stride as usize / WORD_BYTES);
        let (ab, rest) = data.split_at_checked(words).unwrap_or_default();
        (ab, rest.get(..words).unwrap_or_default())
    }
}

fn words_of(lines: &[Line]) -> &[AtomicU64] {
    let words = size_of_val(lines) / size_of::<AtomicU64>();
    // SAFETY: a `Line` is nothing but an array of `AtomicU64` without padding (asserted above).
    unsafe { core::slice::from_raw_parts(lines.as_ptr().cast::<AtomicU64>(), words) }
}

fn shape(slots: u16, frame_bytes: u32) -> Result<Shape, ShapeError> {
    if slots == 0 || slots > MAX_SLOTS {
        return Err(ShapeError::Slots(slots));
    }
    if frame_bytes == 0 || frame_bytes > MAX_FRAME_BYTES {
        return Err(ShapeError::FrameBytes(frame_bytes));
    }
    Ok(Shape {
        slots,
        stride: frame_bytes.next_multiple_of(LINE_BYTES as u32),
        frame_bytes,
    })
}

fn lines_needed(shape: Shape) -> usize {
    HEADER_LINES + 2 * usize::from(shape.slots) * (shape.stride as usize / LINE_BYTES)
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Debug for LinkMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkMemory")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots(slots) => write!(f, "{slots} slots each way where 1 to {MAX_SLOTS} are possible"),
            Self::FrameBytes(bytes) => {
                write!(
                    f,
                    "frames of up to {bytes} bytes where 1 to {MAX_FRAME_BYTES} are possible"
                )
            }
            Self::Memory { size, needed } => write!(f, "{size} bytes of memory where {needed} are needed"),
        }
    }
}

impl core::error::Error for ShapeError {}
