//! Where a worker lives in the namespace: `/shard/<label>/worker/<id>`.
//!
//! Answers for the label, the first byte of the SHA-256 of the worker id (WIRE 4.7). It never knows
//! which workers exist.

use core::fmt;

use sha2::{Digest, Sha256};

/// The shard of a worker: two lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u8);

impl Shard {
    /// The shard of the worker `id`.
    pub fn of(id: &str) -> Shard {
        let [first, ..] = <[u8; 32]>::from(Sha256::digest(id.as_bytes()));
        Shard(first)
    }

    /// Reads a label: exactly two lower-case hex digits.
    pub fn from_label(label: &str) -> Option<Shard> {
        let lower = label.len() == 2 && label.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u8::from_str_radix(label, 16).ok().filter(|_| lower).map(Shard)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_labels_of_wire_4_7() {
        for (id, label) in [("worker-1", "13"), ("worker-2", "1c"), ("worker-3", "1a")] {
            assert_eq!(Shard::of(id).to_string(), label);
        }
    }

    #[test]
    fn labels_are_read_back() {
        for byte in 0..=255 {
            assert_eq!(Shard::from_label(&Shard(byte).to_string()), Some(Shard(byte)));
        }
        for label in ["", "1", "1C", "+1", "013", "0x"] {
            assert_eq!(Shard::from_label(label), None);
        }
    }
}
