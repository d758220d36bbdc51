//! The one thing asked of the debugger: to end the machine.
//!
//! Answers for: QEMU, started with `-semihosting-config enable=on,userspace=on`, ending with a status (Arm's
//! "Semihosting for AArch32 and AArch64", SYS_EXIT).
//! Never: used by a domain of a hive that serves; without semihosting the instruction is a fault.

use core::arch::asm;

const SYS_EXIT: u64 = 0x18;
/// ADP_Stopped_ApplicationExit: the program ended by itself.
const APPLICATION_EXIT: u64 = 0x2_0026;

/// Ends the machine.
pub fn exit(status: u32) -> ! {
    let block = [APPLICATION_EXIT, status.into()];
    // SAFETY: the debugger reads the two words of the block and does not come back.
    unsafe {
        asm!("hlt #0xf000", in("x0") SYS_EXIT, in("x1") block.as_ptr(), options(nostack));
    }
    panic!("the machine was started without semihosting");
}
