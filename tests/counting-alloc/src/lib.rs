//! An allocator that counts what each thread allocates.
//!
//! Answers for one number a thread, that the thread itself or any other may read. Counting allocates nothing, takes no
//! lock, and changes no block.
//!
//! Never part of a program: tests depend on it, nothing else does.
#![doc = include_str!("../README.md")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// Threads are told apart by the kernel's id for them, which on no machine reaches this (`PID_MAX_LIMIT`). 32 MiB, of
/// which only the pages of threads that there were are ever touched.
const THREADS: usize = 1 << 22;

static COUNTS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];

/// The system's allocator, counted. To be declared as the `#[global_allocator]` of a test.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAlloc;

// SAFETY: every call goes to `System` as it came, and `System` keeps the contract. Counting before it neither allocates
// nor unwinds: `count` touches a static array within its bounds and a thread-local that needs no initialisation at run
// time and has no destructor.
unsafe impl GlobalAlloc for CountingAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller promises that `layout` has a size other than zero, which is all that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that this allocator gave `block` for `layout`; all its blocks are `System`'s.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the block as for `dealloc`; the caller promises that `size` is not zero and, rounded up to the
        // layout's alignment, no more than `isize::MAX`, as `System` asks for.
        unsafe { System.realloc(block, layout, size) }
    }
}

fn count() {
    count_of(this_thread()).fetch_add(1, Ordering::Relaxed);
}

fn count_of(thread: usize) -> &'static AtomicU64 {
    // No thread's id is as large; the remainder is here so that an allocator has nothing to panic about.
    &COUNTS[thread % THREADS]
}

/// The kernel's id of this thread, asked for once.
fn this_thread() -> usize {
    thread_local! {
        static ID: Cell<usize> = const { Cell::new(0) };
    }
    if ID.get() == 0 {
        ID.set(rustix::thread::gettid().as_raw_nonzero().get() as usize);
    }
    ID.get()
}

/// What this thread has allocated so far.
pub fn allocations() -> u64 {
    count_of(this_thread()).load(Ordering::Relaxed)
}

/// What the threads that there are now have allocated so far, by name; threads of one name are taken together.
///
/// # Panics
/// Without a `/proc`.
pub fn allocations_by_thread() -> BTreeMap<String, u64> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("a /proc with this process in it") {
        let task = task.expect("an entry");
        let thread: usize = task
            .file_name()
            .to_str()
            .and_then(|id| id.parse().ok())
            .expect("a thread's id");
        // One that has ended since has no name any more.
        if let Ok(name) = fs::read_to_string(task.path().join("comm")) {
            *by_name.entry(name.trim_end().to_owned()).or_default() +=
                count_of(thread).load(Ordering::Relaxed);
        }
    }
    by_name
}
