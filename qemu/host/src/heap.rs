//! The domain's heap: a memory region of its own, which is not part of the image and has guard pages around it.
//!
//! Answers for: allocation at boot. After boot the request path allocates nothing.
//! Never: grows, and never hands out memory as zeroed that an earlier incarnation may have used.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr;

use dlmalloc::{Allocator, Dlmalloc};

use crate::symbols;

/// The global allocator of a protection domain, which has one thread.
struct Heap {
    blocks: UnsafeCell<Dlmalloc<Whole>>,
    /// Bytes of the blocks that are out, as they were asked for.
    live: Cell<usize>,
}

// SAFETY: a Microkit protection domain has one thread and no signal handlers, so no two calls overlap.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap {
    blocks: UnsafeCell::new(Dlmalloc::new_with_allocator(Whole { used: Cell::new(0) })),
    live: Cell::new(0),
};

/// Bytes of the heap region that were taken so far; they are never given back.
pub fn used_bytes() -> usize {
    // SAFETY: one thread (see `Sync`), and no call of the allocator is under way: none calls back here.
    unsafe { (*HEAP.blocks.get()).allocator().used.get() }
}

/// Bytes that are in use now.
pub fn live_bytes() -> usize {
    HEAP.live.get()
}

impl Heap {
    /// Notes that `bytes` more are out, if there is such a block.
    fn out(&self, block: *mut u8, bytes: usize) -> *mut u8 {
        if !block.is_null() {
            self.live.set(self.live.get().wrapping_add(bytes));
        }
        block
    }

    fn back(&self, bytes: usize) {
        self.live.set(self.live.get().wrapping_sub(bytes));
    }
}

// SAFETY: `Dlmalloc` gives blocks that fit the layout and do not overlap, and null when it has none; a block moves with
// its content.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the only reference to `blocks`: one thread (see `Sync`), and `Dlmalloc` calls `Whole` alone, which
        // does not come back here.
        let block = unsafe { (*self.blocks.get()).malloc(layout.size(), layout.align()) };
        self.out(block, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the only reference, as in `alloc`.
        let block = unsafe { (*self.blocks.get()).calloc(layout.size(), layout.align()) };
        self.out(block, layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the only reference, as in `alloc`; the caller gives a block of this allocator with its layout.
        unsafe { (*self.blocks.get()).free(block, layout.size(), layout.align()) };
        self.back(layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the only reference, as in `alloc`; the caller gives a block of this allocator with its layout, and a
        // size that is not zero.
        let moved = unsafe { (*self.blocks.get()).realloc(block, layout.size(), layout.align(), size) };
        if !moved.is_null() {
            self.back(layout.size());
        }
        self.out(moved, size)
    }
}

/// The region, from its beginning to its end, once.
struct Whole {
    used: Cell<usize>,
}

// SAFETY: `alloc` gives disjoint pieces of a region that the system file maps for good, for this domain's heap alone;
// `used` only grows, and never beyond the region. Nothing is remapped, freed or said to be zero.
unsafe impl Allocator for Whole {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let start = self.used.get();
        match start.checked_add(size) {
            Some(end) if end <= symbols::heap_size.get() => {
                self.used.set(end);
                (
                    ptr::with_exposed_provenance_mut(symbols::heap_vaddr.get() + start),
                    size,
                    0,
                )
            }
            _ => (ptr::null_mut(), 0, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    /// After a restart the region holds what the earlier incarnation left there.
    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        4096
    }
}
