#![doc = include_str!("../README.md")]
#![no_std]
#![feature(used_with_arg)]

extern crate alloc;

mod entry;
mod handler;
pub mod heap;
pub mod log;
pub mod memory;
mod pool;
pub mod semihosting;
mod setup;
pub mod symbols;
pub mod time;

pub use handler::{Bell, Host};
pub use setup::start;

#[doc(hidden)]
pub mod private {
    pub use sel4_microkit::_private::{declare_entrypoint_with_stack_init, declare_init};
    // Links `_reset` in, and makes the program headers patchable.
    pub use sel4_reset;

    /// Top of the stack that Microkit maps with a guard page at either end, just below the IPC buffer. A stack among
    /// the statics would have no guard: an overflow would run over them, and over what a restart needs.
    pub const STACK_TOP: usize = (sel4::sys::seL4_UserVSpaceTop as usize & !0xfff) - 0x1000;
}
