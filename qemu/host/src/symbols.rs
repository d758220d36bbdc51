//! The variables that Microkit's tool fills in, in a section that a restart leaves alone.
//!
//! Answers for: their values being read as the tool wrote them, at the first start and after every reset.
//! Never: writes one.

use core::cell::UnsafeCell;

/// A variable that the tool writes into the program's file.
#[repr(transparent)]
pub struct Patched<T>(UnsafeCell<T>);

// SAFETY: nobody writes it while the program runs, and a read copies: threads would have nothing to race for.
unsafe impl<T> Sync for Patched<T> {}

impl<T: Copy> Patched<T> {
    /// A variable to be filled in.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// What the tool wrote.
    pub fn get(&self) -> T {
        // SAFETY: the pointer is valid, being `self`'s, and nobody writes. Volatile, because the compiler knows only the
        // first value.
        unsafe { self.0.get().read_volatile() }
    }
}

/// Declares a variable that the tool fills in under that name.
#[macro_export]
macro_rules! patched {
    ($(#[$meta:meta])* $vis:vis $symbol:ident: $type:ty = $value:expr) => {
        $(#[$meta])*
        #[used(linker)]
        // SAFETY: the names are Microkit's, or those that the system file gives to `setvar`; each is defined once.
        // `.persistent` holds such variables and nothing that runs.
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".persistent")]
        #[allow(non_upper_case_globals)]
        $vis static $symbol: $crate::symbols::Patched<$type> = $crate::symbols::Patched::new($value);
    };
}

patched!(microkit_passive: bool = false);
patched!(
    /// The channels that are interrupts, a bit each.
    pub microkit_irqs: usize = 0
);
patched!(
    /// The channels on which it may signal, a bit each.
    pub microkit_notifications: usize = 0
);
patched!(microkit_pps: usize = 0);
patched!(microkit_ioports: usize = 0);
patched!(microkit_name: [u8; 64] = [0; 64]);

patched!(
    /// Address of the boot blob.
    pub boot_vaddr: usize = 0
);
patched!(
    /// Size of the blob's region in bytes.
    pub boot_size: usize = 0
);
patched!(
    /// Address of the heap.
    pub heap_vaddr: usize = 0
);
patched!(
    /// Size of the heap in bytes.
    pub heap_size: usize = 0
);
patched!(
    /// Address of the log ring, 0 if there is none.
    pub log_vaddr: usize = 0
);
