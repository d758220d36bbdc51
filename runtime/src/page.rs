//! Memory of a fixed shape that several domains map.
//!
//! Answers for: the same handle whether a host counts references (Linux, the simulator) or mapped the memory for good
//! (seL4).
//! Never: lets anybody have it to himself; what is in a page is atomics.

use alloc::sync::Arc;
use core::ops::Deref;

/// A handle to a page; clones share it.
pub enum Page<T: ?Sized + 'static> {
    /// Alive as long as there is a handle.
    Counted(Arc<T>),
    /// Mapped for good.
    Mapped(&'static T),
}

impl<T: ?Sized> Clone for Page<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Counted(page) => Self::Counted(Arc::clone(page)),
            Self::Mapped(page) => Self::Mapped(page),
        }
    }
}

impl<T: ?Sized> Deref for Page<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Counted(page) => page,
            Self::Mapped(page) => page,
        }
    }
}
