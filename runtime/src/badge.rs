//! Channels of a domain and sets of them.
//!
//! Answers for: what a notification says (which channels fired) in one word, as on seL4 with Microkit.
//! Never: says what happened on a channel. A badge is a hint to look, and looking is always allowed.

use core::fmt;

/// One of a domain's 62 channels, numbered as Microkit numbers them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(u8);

impl Channel {
    /// The highest channel number: the two bits above are Microkit's own.
    pub const MAX: u8 = 61;

    /// The channel of that number, or `None` above [`Channel::MAX`].
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The channel's number, `0..=61`.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A set of channels of one domain: what fired, or what to fire.
#[derive(Copy, Clone, Default, PartialEq, Eq, Hash)]
pub struct Badges(u64);

impl Badges {
    /// No channel.
    pub const EMPTY: Self = Self(0);

    /// The set a host's notification word stands for; bits that are no channel are dropped.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << (Channel::MAX + 1)) - 1))
    }

    /// One bit per channel.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of just `channel`.
    pub const fn of(channel: Channel) -> Self {
        Self(1 << channel.0)
    }

    /// Whether no channel is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many channels are in the set.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether `channel` is in the set.
    pub const fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel.0) != 0
    }

    /// Adds `channel`; whether it was new.
    pub const fn insert(&mut self, channel: Channel) -> bool {
        let new = !self.contains(channel);
        self.0 |= 1 << channel.0;
        new
    }

    /// The channels of both sets.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The channels, lowest number first.
    pub fn iter(self) -> impl Iterator<Item = Channel> {
        let mut bits = self.0;
        core::iter::from_fn(move || {
            let number = bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
            u8::try_from(number).ok().and_then(Channel::new)
        })
    }
}

impl fmt::Debug for Badges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Channel::number)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_channel_is_at_most_61() {
        assert_eq!(Channel::new(61).map(Channel::number), Some(61));
        assert_eq!(Channel::new(62), None);
    }

    #[test]
    fn foreign_bits_are_dropped() {
        assert_eq!(Badges::from_bits(u64::MAX).len(), 62);
    }

    #[test]
    fn iterates_in_order() {
        let mut set = Badges::EMPTY;
        for number in [61, 0, 7, 7] {
            set.insert(Channel::new(number).expect("a channel"));
        }
        let numbers: Vec<u8> = set.iter().map(Channel::number).collect();
        assert_eq!(numbers, [0, 7, 61]);
        assert!(!set.insert(Channel::new(7).expect("a channel")));
        assert_eq!(Badges::EMPTY.iter().count(), 0);
    }
}
