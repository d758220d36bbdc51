//! Binary files over a console of text lines.
//!
//! Answers for the `b64:` lines that the console makes of a binary file: each line is decoded by itself or all are
//! joined first, whichever the server meant. Never guesses about a line without the mark.

use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The mark of an encoded line.
pub const MARK: &str = "b64:";

/// Whether these lines are a binary file: there are some, and all have the mark.
pub fn is_binary(lines: &[String]) -> bool {
    !lines.is_empty() && lines.iter().all(|line| line.starts_with(MARK))
}

/// The bytes that `lines` carry. No line gives no bytes.
///
/// The digits of all lines are joined before they are decoded: a server may cut the text anywhere. Where every line is
/// padded by itself, the padding inside ends one part and the next digit begins another.
pub fn decode(lines: &[String]) -> Result<Vec<u8>, BinaryError> {
    let mut bytes = Vec::new();
    let mut digits = String::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(part) = line.strip_prefix(MARK) else {
            return Err(BinaryError::NotMarked { line: i + 1 });
        };
        digits.push_str(part);
        if part.ends_with('=') || i + 1 == lines.len() {
            let decoded = STANDARD
                .decode(&digits)
                .map_err(|_| BinaryError::NotBase64 { line: i + 1 })?;
            bytes.extend_from_slice(&decoded);
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
    /// The digits up to this line are no standard, padded base64.
    NotBase64 {
        /// The line.
        line: usize,
    },
}

impl fmt::Display for BinaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMarked { line } => {
                write!(f, "line {line} does not begin with {MARK}; read the file as text")
            }
            Self::NotBase64 { line } => {
                write!(
                    f,
                    "the text up to line {line} is not padded base64 of the standard alphabet; read it again"
                )
            }
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
        assert_eq!(
            decode(&lines(&["b64:aGVs", "bG8="])),
            Err(BinaryError::NotMarked { line: 2 })
        );
        assert_eq!(
            decode(&lines(&["b64:aGVs", "b64:b*8="])),
            Err(BinaryError::NotBase64 { line: 2 })
        );
        assert!(!is_binary(&lines(&["b64:aGVs", "text"])));
        assert!(!is_binary(&[]));
    }

    proptest! {
        #[test]
        fn any_cut_is_put_together(bytes: Vec<u8>, width in 1usize..300) {
            let text = STANDARD.encode(&bytes);
            let cut: Vec<String> = text
                .as_bytes()
                .chunks(width)
                // A cut between two padding characters is one that no server makes: it cuts at digits.
                .map(|c| format!("{MARK}{}", String::from_utf8_lossy(c)))
                .collect();
            prop_assume!(!cut.iter().any(|c| c == "b64:="));
            prop_assert_eq!(decode(&cut).unwrap(), bytes);
        }
    }
}
