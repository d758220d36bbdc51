//! Typed references to the memory that Microkit mapped.
//!
//! Answers for: the one place where an address from the boot blob becomes a reference.
//! Never: checks that an address is mapped; the generator of the system file and of the blob is one program
//! (`hive::image`), and a wrong address faults at once.

use core::ptr;

use runtime::counters::RawCounters;
use runtime::link::Line;
use runtime::supervision::RawStatus;
use runtime::sync::AtomicU64;

use crate::symbols;

/// Types of which any bytes are valid, and that are safe to share with other domains: they are made of atomics only.
///
/// # Safety
/// The type must be so.
pub unsafe trait Shared: 'static {}

// SAFETY: an atomic word.
unsafe impl Shared for AtomicU64 {}
// SAFETY: a structure of atomics.
unsafe impl Shared for RawCounters {}
// SAFETY: a structure of atomics.
unsafe impl Shared for RawStatus {}
// SAFETY: an array of atomics.
unsafe impl Shared for Line {}

/// The `T` at `address`.
///
/// # Safety
/// At `address` a region is mapped for good that is large enough, and aligned for a `T`. It may be mapped read-only if
/// the reference is only loaded from.
pub unsafe fn shared<T: Shared>(address: u64) -> &'static T {
    // SAFETY: mapped, large enough and aligned as the caller promises; any bytes are a valid `T`; shared access is
    // through atomics.
    unsafe { &*ptr::with_exposed_provenance(address as usize) }
}

/// `count` of `T` at `address`.
///
/// # Safety
/// As for [`shared`], for all of them.
pub unsafe fn shared_slice<T: Shared>(address: u64, count: usize) -> &'static [T] {
    // SAFETY: as in `shared`.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(address as usize), count) }
}

/// The domain's boot blob, with what follows it in its region.
pub fn blob() -> &'static [u8] {
    let (address, bytes) = (symbols::boot_vaddr.get(), symbols::boot_size.get());
    // SAFETY: Microkit maps the region read-only at that address, of that size, and filled it before the domain ran.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(address), bytes) }
}
