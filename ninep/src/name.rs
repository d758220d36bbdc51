//! Names of files: one component of a path, checked once.
//!
//! Answers for what a legal name is. A `Name` that exists is legal. Never
//! resolves anything: there is no `.` and no `..` in this system.

use core::fmt;

use crate::errno::Errno;

/// The longest name in bytes, as Linux `NAME_MAX`.
pub const MAX_NAME_BYTES: usize = 255;

/// One component of a path: 1 to 255 bytes of UTF-8 without `/` and NUL, and neither `.` nor `..`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// The name, if it is a legal one.
    pub fn new(name: &'a str) -> Result<Name<'a>, NameError> {
        if name.is_empty() {
            Err(NameError::Empty)
        } else if name.len() > MAX_NAME_BYTES {
            Err(NameError::TooLong)
        } else if name == "." || name == ".." {
            Err(NameError::Dots)
        } else if name.bytes().any(|byte| byte == b'/' || byte == 0) {
            Err(NameError::Separator)
        } else {
            Ok(Name(name))
        }
    }

    /// The name as text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a name is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// It has no bytes.
    Empty,
    /// It has more than [`MAX_NAME_BYTES`].
    TooLong,
    /// It is `.` or `..`.
    Dots,
    /// It has a `/` or a NUL in it.
    Separator,
    /// It is not UTF-8.
    Encoding,
}

impl NameError {
    /// What a server answers.
    pub const fn errno(self) -> Errno {
        match self {
            NameError::TooLong => Errno::ENAMETOOLONG,
            NameError::Encoding => Errno::EILSEQ,
            NameError::Empty | NameError::Dots | NameError::Separator => Errno::EINVAL,
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Empty => "a name is empty; it needs 1 to 255 bytes",
            NameError::TooLong => "a name is longer than 255 bytes",
            NameError::Dots => "a name is `.` or `..`; paths go down only",
            NameError::Separator => "a name has a `/` or a NUL in it; walk its parts one by one",
            NameError::Encoding => "a name is not UTF-8",
        })
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names() {
        let long = "x".repeat(255);
        for name in ["a", "...", "..a", "telemetry", "é", " ", long.as_str()] {
            assert_eq!(Name::new(name).map(Name::as_str), Ok(name));
        }
        let longer = "x".repeat(256);
        for (name, error) in [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a/b", NameError::Separator),
            ("/", NameError::Separator),
            ("a\0", NameError::Separator),
            (longer.as_str(), NameError::TooLong),
        ] {
            assert_eq!(Name::new(name), Err(error), "{name:?}");
        }
    }
}
