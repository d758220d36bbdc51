//! What the strict JSON lines of this crate have in common.
//!
//! Answers for `null` not being a value and for strings that need no escapes. It never buffers.

use serde::{Deserialize, Deserializer};

/// Reads a field that may be absent, not `null`.
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Whether `text` reads the same with and without JSON escapes. Names and paths do.
pub(crate) fn plain(text: &str) -> bool {
    !text.bytes().any(|b| b == b'"' || b == b'\\' || b < 0x20)
}
