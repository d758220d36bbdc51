//! Binary files on the console: `b64:` lines of at most 252 digits (CONTROL 1).
//!
//! Answers for the standard alphabet with padding, strictly. It never decides what is binary.

use core::fmt;

/// What every line begins with.
pub const PREFIX: &str = "b64:";
/// Bytes that one line carries at most.
pub const LINE_BYTES: usize = crate::limits::B64_DIGITS / 4 * 3;

const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The digits of some bytes; `Display` writes them without the prefix.
#[derive(Clone, Copy, Debug)]
pub struct Digits<'a>(pub &'a [u8]);

impl fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in self.0.chunks(3) {
            let word = group
                .iter()
                .chain([&0; 2])
                .take(3)
                .fold(0u32, |word, byte| word << 8 | u32::from(*byte));
            let mut digits = [b'='; 4];
            for (i, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
                let index = (word >> (18 - 6 * i)) & 63;
                *digit = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            }
            f.write_str(core::str::from_utf8(&digits).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Why digits are no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum B64Error {
    /// A character outside the alphabet, wrong padding, or bits that padding should have zeroed.
    Malformed,
    /// The bytes do not fit the buffer.
    NoSpace,
}

/// Writes the bytes of `digits` (without the prefix) into `out`.
pub fn decode<'o>(digits: &str, out: &'o mut [u8]) -> Result<&'o [u8], B64Error> {
    let mut len = 0;
    for_each_group(digits, |bytes| {
        out.get_mut(len..len + bytes.len())
            .ok_or(B64Error::NoSpace)?
            .copy_from_slice(bytes);
        len += bytes.len();
        Ok(())
    })?;
    Ok(out.get(..len).unwrap_or_default())
}

/// How many bytes `digits` (without the prefix) are; never `NoSpace`.
pub fn decoded_len(digits: &str) -> Result<usize, B64Error> {
    let mut len = 0;
    for_each_group(digits, |bytes| {
        len += bytes.len();
        Ok(())
    })?;
    Ok(len)
}

/// Hands over the one to three bytes of each group of four digits.
fn for_each_group(digits: &str, mut take: impl FnMut(&[u8]) -> Result<(), B64Error>) -> Result<(), B64Error> {
    let (groups, []) = digits.as_bytes().as_chunks::<4>() else {
        return Err(B64Error::Malformed);
    };
    for (i, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|b| **b == b'=').count();
        if padding > 2 || (padding > 0 && i + 1 < groups.len()) {
            return Err(B64Error::Malformed);
        }
        let mut word = 0u32;
        for digit in group.iter().take(4 - padding) {
            word = word << 6 | u32::from(value(*digit).ok_or(B64Error::Malformed)?);
        }
        word <<= 6 * padding;
        let [_, bytes @ ..] = word.to_be_bytes();
        let (kept, dropped) = bytes.split_at(3 - padding);
        if dropped.iter().any(|byte| *byte != 0) {
            return Err(B64Error::Malformed);
        }
        take(kept)?;
    }
    Ok(())
}

/// Where a digit stands in the alphabet.
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

impl fmt::Display for B64Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            B64Error::Malformed => "not base64; use the standard alphabet with = padding",
            B64Error::NoSpace => "the decoded bytes do not fit; send shorter lines",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{B64_DIGITS, CHUNK_LINE_BYTES};
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, digits) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(Digits(bytes.as_bytes()).to_string(), digits);
            assert_eq!(decode(digits, &mut [0; 6]), Ok(bytes.as_bytes()));
            assert_eq!(decoded_len(digits), Ok(bytes.len()));
        }
    }

    #[test]
    fn only_one_spelling() {
        for digits in [
            "Z", "Zg=", "Zg", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9-", "Zm 9",
        ] {
            assert_eq!(decode(digits, &mut [0; 6]), Err(B64Error::Malformed), "{digits}");
            assert_eq!(decoded_len(digits), Err(B64Error::Malformed), "{digits}");
        }
        assert_eq!(decode("Zm9v", &mut [0; 2]), Err(B64Error::NoSpace));
    }

    #[test]
    fn every_digit_has_its_place() {
        for (i, digit) in ALPHABET.into_iter().enumerate() {
            assert_eq!(value(digit).map(usize::from), Some(i));
        }
    }

    #[test]
    fn a_full_line_is_256_bytes() {
        assert_eq!(Digits(&[7; LINE_BYTES]).to_string().len(), B64_DIGITS);
        assert_eq!(PREFIX.len() + B64_DIGITS, CHUNK_LINE_BYTES);
    }

    proptest! {
        #[test]
        fn bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..=LINE_BYTES)) {
            let digits = Digits(&bytes).to_string();
            let mut out = [0; LINE_BYTES];
            prop_assert_eq!(decode(&digits, &mut out), Ok(&bytes[..]));
        }

        #[test]
        fn arbitrary_digits_have_one_meaning(digits in "[A-Za-z0-9+/=]{0,16}") {
            if let Ok(bytes) = decode(&digits, &mut [0; 16]) {
                prop_assert_eq!(decoded_len(&digits), Ok(bytes.len()));
                prop_assert_eq!(Digits(bytes).to_string(), digits);
            }
        }
    }
}
