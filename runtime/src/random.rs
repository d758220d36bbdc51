//! Numbers that look random and come from a seed.
//!
//! Answers for: spreading timers, choosing initial sequence numbers, and deciding a simulation. SplitMix64: a counter
//! in steps of an odd constant, each value mixed.
//! Never: secrets. Who knows one number knows the next.

use core::cell::Cell;

/// A stream of numbers.
#[derive(Debug)]
pub struct Random {
    state: Cell<u64>,
}

impl Random {
    /// The stream of that seed.
    pub const fn new(seed: u64) -> Self {
        Self {
            state: Cell::new(seed),
        }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        mix(state)
    }

    /// A number below `bound`; 0 if that is 0. The bias is below one in 2^32 for the small bounds used here.
    pub fn below(&self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// A number in which every bit depends on every bit of `value`.
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_below_their_bound_and_reach_all_of_it() {
        let random = Random::new(7);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[random.below(5)] += 1;
        }
        assert!(seen.iter().all(|&count| (100..300).contains(&count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
