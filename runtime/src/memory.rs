//! Link memory.
use core::fmt;

/// How a peer broke the ring discipline.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An index is further ahead than the ring is long, or moved backwards.
    Index,
    /// A descriptor's address is no slot.
    Address,
    /// A slot was given back that was not out, or offered twice.
    Slot,
    /// A descriptor's length is more than a slot holds.
    Length,
    /// More descriptors than slots.
    Overflow,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "an index must move forward and stay within the ring",
            Self::Address => "a descriptor's address must be that of a slot",
            Self::Slot => "a slot can be offered once, and returned only when it is out",
            Self::Length => "a descriptor's length must not exceed its slot",
            Self::Overflow => "a ring must have room for every slot there is",
        })
    }
}
