//! The memory that the device reads and writes.
//!
//! Answers for: one region, known to the device by its physical address: pages for the queues first, then the frames'
//! buffers. Buffers lie inside it, so that handing one to the device is arithmetic and no copy.
//! Never: hands out a page twice, or the address of anything outside the region.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

use hive_boot::DMA_BYTES;
use sel4_host::patched;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

patched!(dma_vaddr: usize = 0);
patched!(dma_paddr: usize = 0);

/// Bytes of a buffer: a frame of the longest kind, with the device's header before it.
pub const BUFFER_BYTES: usize = 2048;
/// Pages kept for the queues.
const QUEUE_PAGES: usize = 16;
/// Buffers of the region.
pub const BUFFERS: usize = (DMA_BYTES - QUEUE_PAGES * PAGE_SIZE) / BUFFER_BYTES;

static PAGES_USED: AtomicUsize = AtomicUsize::new(0);

/// The region, to the driver library.
pub struct Dma;

/// The buffer of that number, below [`BUFFERS`].
pub fn buffer(number: usize) -> NonNull<[u8]> {
    assert!(number < BUFFERS, "a buffer that is not there");
    at(QUEUE_PAGES * PAGE_SIZE + number * BUFFER_BYTES, BUFFER_BYTES)
}

fn at(offset: usize, bytes: usize) -> NonNull<[u8]> {
    let start = ptr::with_exposed_provenance_mut::<u8>(dma_vaddr.get() + offset);
    NonNull::new(ptr::slice_from_raw_parts_mut(start, bytes)).expect("the system file maps the region")
}

// SAFETY: pages are given out once and are mapped for good; `share` gives the physical address of the same bytes.
unsafe impl Hal for Dma {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = PAGES_USED.fetch_add(pages, Ordering::Relaxed);
        assert!(
            first + pages <= QUEUE_PAGES,
            "the queues need more than {QUEUE_PAGES} pages"
        );
        let offset = first * PAGE_SIZE;
        let memory = at(offset, pages * PAGE_SIZE);
        // SAFETY: the pages are in the region and nobody else's.
        unsafe { memory.cast::<u8>().write_bytes(0, pages * PAGE_SIZE) };
        ((dma_paddr.get() + offset) as PhysAddr, memory.cast())
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // The queues live as long as the domain.
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("only transports on PCI ask for this")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        let offset = buffer.cast::<u8>().addr().get().wrapping_sub(dma_vaddr.get());
        assert!(
            offset.saturating_add(buffer.len()) <= DMA_BYTES,
            "a buffer outside of the region"
        );
        (dma_paddr.get() + offset) as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
