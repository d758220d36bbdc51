//! Bytes as hex digits.
//!
//! Answers for the one way in which digests, MACs and generated secrets are written: two lower-case digits a byte.
//! Never reads any: which digits a record takes is for its own grammar to say.

use core::fmt;

/// Bytes that are shown as hex digits.
///
/// ```
/// # use protocol::hex::Hex;
/// assert_eq!(Hex(&[0x0f, 0xa0]).to_string(), "0fa0");
/// ```
#[derive(Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
