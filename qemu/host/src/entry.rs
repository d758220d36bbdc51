//! A domain's entry points.
//!
//! Answers for: the first start and every restart beginning on Microkit's guarded stack, with the log and the heap ready
//! before the domain's own code runs.
//! Never: runs after that.

/// Declares the program: `domain!(init)`, where `init: fn() -> impl sel4_microkit::Handler`.
#[macro_export]
macro_rules! domain {
    ($init:expr) => {
        use $crate::private::sel4_reset as _;

        $crate::private::declare_entrypoint_with_stack_init!();
        $crate::private::declare_init!(|| {
            $crate::log::hook();
            $init()
        });

        /// Where the start code begins the stack.
        // SAFETY: the start code reads one word of this name, the address above the stack; Microkit maps the stack
        // there, and nothing else defines the name.
        #[unsafe(no_mangle)]
        static __sel4_runtime_common__stack_bottom: usize = $crate::private::STACK_TOP;
    };
}
