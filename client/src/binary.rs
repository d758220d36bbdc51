//! Binary files over a console of text lines.
//!
//! Answers for the `b64:` lines that the console makes of a binary file. Never guesses about a line without the mark.

use core::fmt;

use protocol::b64::{self, B64Error};

/// Whether these lines are a binary file: there are some, and all are marked.
pub fn is_binary(lines: &[String]) -> bool {
    !lines.is_empty() && lines.iter().all(|line| line.starts_with(b64::PREFIX))
}

/// The bytes that `lines` carry. No line gives no bytes.
///
/// The digits of all lines are joined before they are decoded, since a server may cut them anywhere. Where every line
/// is padded by itself, the padding ends one part and the next line begins another.
pub fn decode(lines: &[String]) -> Result<Vec<u8>, BinaryError> {
    let mut bytes = Vec::new();
    let mut digits = String::new();
    for (i, line) in lines.iter().enumerate() {
        let number = i + 1;
        let part = line
            .strip_prefix(b64::PREFIX)
            .ok_or(BinaryError::NotMarked { line: number })?;
        digits.push_str(part);
        if part.ends_with('=') || number == lines.len() {
            let start = bytes.len();
            bytes.resize(start + digits.len(), 0);
            let decoded = b64::decode(&digits, &mut bytes[start..]).map(<[u8]>::len);
            let len = decoded.map_err(|why| BinaryError::NotBase64 { line: number, why })?;
            bytes.truncate(start + len);
            digits.clear();
        }
    }
    Ok(bytes)
}

/// Why lines are no binary file. Lines are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryError {
    /// A line without `b64:`.
    NotMarked {
        /// The line.
        line: usize,
    },
    /// The digits up to this line are no base64.
    NotBase64 {
        /// The line.
        line: usize,
        /// What is wrong with them.
        why: B64Error,
    },
}

impl fmt::Display for BinaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMarked { line } => {
                write!(
                    f,
                    "line {line} does not begin with {}; read the file as text",
                    b64::PREFIX
                )
            }
            Self::NotBase64 { line, why } => write!(f, "up to line {line}: {why}"),
        }
    }
}

impl std::error::Error for BinaryError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn lines_are_joined_and_padding_ends_a_part() {
        assert_eq!(decode(&lines(&["b64:aGVs", "b64:bG8="])).unwrap(), b"hello");
        assert_eq!(decode(&lines(&["b64:aG", "b64:VsbG8="])).unwrap(), b"hello");
        assert_eq!(decode(&lines(&["b64:aGVsbG8=", "b64:IQ=="])).unwrap(), b"hello!");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn mistakes_name_their_line() {
        let malformed = BinaryError::NotBase64 {
            line: 2,
            why: B64Error::Malformed,
        };
        assert_eq!(
            decode(&lines(&["b64:aGVs", "bG8="])),
            Err(BinaryError::NotMarked { line: 2 })
        );
        assert_eq!(decode(&lines(&["b64:aGVs", "b64:b*8="])), Err(malformed));
        assert!(!is_binary(&lines(&["b64:aGVs", "text"])));
        assert!(!is_binary(&[]));
    }

    proptest! {
        #[test]
        fn digits_may_be_cut_anywhere_but_in_the_padding(bytes: Vec<u8>, width in 1usize..300) {
            let text = b64::Digits(&bytes).to_string();
            let (digits, padding) = text.split_at(text.trim_end_matches('=').len());
            let cut = digits.as_bytes().chunks(width);
            let mut cut: Vec<_> = cut.map(|c| format!("{}{}", b64::PREFIX, String::from_utf8_lossy(c))).collect();
            if let Some(last) = cut.last_mut() {
                last.push_str(padding);
            }
            prop_assert_eq!(decode(&cut).unwrap(), bytes);
        }
    }
}
