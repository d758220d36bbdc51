//! Faults that a test asks for.
//!
//! Answers for: a domain doing to itself what a mistake in it could do: panic, touch memory that is not there, write
//! anything over the memory that it shares.
//! Never: happens unless the topology allows faults, and never reaches another domain's own memory.

use core::fmt;

/// What a domain can be made to do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It panics.
    Panic,
    /// It reads an address at which nothing is mapped. Only where a domain has an address space of its own, so that its
    /// supervisor outlives it.
    BadPointer,
    /// It writes random numbers over all the memory of its links, what the peers say there included, and goes on.
    Scribble,
}

/// Why a fault was not asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// The topology allows no faults.
    NotAllowed,
    /// There is no such domain.
    UnknownDomain,
    /// The host's supervisor would not outlive it.
    Unsupported(Fault),
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 3] = [Self::Panic, Self::BadPointer, Self::Scribble];

    /// Its name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::BadPointer => "bad-pointer",
            Self::Scribble => "scribble",
        }
    }

    /// The fault of that name.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.label() == label)
    }

    pub(crate) const fn to_word(self) -> u64 {
        self as u64
    }

    pub(crate) fn from_word(word: u64) -> Self {
        Self::ALL
            .into_iter()
            .find(|fault| fault.to_word() == word)
            .unwrap_or(Self::Panic)
    }
}

/// The panic that was asked for. Where there is a panic hook, it is not told.
pub(crate) fn panic() -> ! {
    #[cfg(any(test, feature = "hosted", feature = "sim"))]
    std::panic::resume_unwind(alloc::boxed::Box::new("injected fault"));
    #[cfg(not(any(test, feature = "hosted", feature = "sim")))]
    panic!("injected fault");
}

/// The access that was asked for. Where the processor is none that this is written for, a panic.
pub(crate) fn touch_nothing() -> ! {
    #[cfg(all(target_arch = "aarch64", not(any(feature = "hosted", feature = "sim"))))]
    // SAFETY: a load by the processor, which the compiler takes for no access of the program's. The host said that
    // nothing is mapped in the first page (`DomainSetup::address_faults`), so nothing is read: the domain faults.
    unsafe {
        core::arch::asm!("ldr {0}, [{0}]", inout(reg) 8_u64 => _, options(nostack, readonly));
    }
    panic()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("faults are not allowed: set supervision.fault_injection"),
            Self::UnknownDomain => f.write_str("there is no domain of that name"),
            Self::Unsupported(fault) => write!(
                f,
                "this host does not outlive the fault {fault}; seL4 does, where each domain has its own address space"
            ),
        }
    }
}

impl core::error::Error for FaultError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_lead_back() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_label(fault.label()), Some(fault));
            assert_eq!(Fault::from_word(fault.to_word()), fault);
        }
        assert_eq!(Fault::from_label("Panic"), None);
        // A word that nobody wrote here still ends the domain and nothing else.
        assert_eq!(Fault::from_word(u64::MAX), Fault::Panic);
    }
}
