//! The atomics of this crate: the core library's, or loom's in a model.
//!
//! Answers for: every atomic of the crate coming from here, so that a loom test runs the code that ships.
//! Never: adds anything of its own.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
