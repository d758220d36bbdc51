//! A secret in memory: what it may look like, and how it is not printed.
//!
//! Answers for the form of auth tokens and ticket secrets, and for the references `env:NAME` and `file:/abs/path` that
//! stand for them. Never prints a secret, never writes one to disk (`dir` does, with the right mode), and never falls
//! back: a reference that cannot be read is an error, not an empty token.

use core::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use protocol::secret::{TokenError, check_auth_token, is_placeholder};

use super::env::Environment;

/// Longest secret, bytes: an `AUTH` line with a longer one is not read by a hive.
pub const MAX_SECRET_BYTES: usize = protocol::limits::AUTH_TOKEN_BYTES;

/// Longest environment variable name in a reference, bytes; longer ones are typing errors.
const MAX_NAME_BYTES: usize = 128;

/// An auth token or a ticket secret. `Debug` hides it; [`Secret::expose`] is the one way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Checks `text`: 1 to [`MAX_SECRET_BYTES`] visible ASCII characters, which is what the console's `AUTH <token>`
    /// line can carry.
    pub fn new(text: impl Into<String>) -> Result<Self, SecretError> {
        let text = text.into();
        match check_auth_token(&text) {
            Ok(()) => Ok(Self(text)),
            Err(TokenError::Empty) => Err(SecretError::Empty),
            Err(TokenError::TooLong) => Err(SecretError::TooLong { len: text.len() }),
            Err(TokenError::Malformed) => {
                let at = text.bytes().position(|b| !b.is_ascii_graphic()).unwrap_or(0);
                Err(SecretError::BadByte { at })
            }
        }
    }

    /// Whether it is one that everybody knows from examples and defaults.
    pub fn is_placeholder(&self) -> bool {
        is_placeholder(&self.0)
    }

    /// Takes a value as an operator gives it: the secret itself, `env:NAME` or `file:/abs/path`.
    ///
    /// One trailing line break is dropped from a file's content. References do not nest.
    pub fn resolve(value: &str, env: &Environment) -> Result<Self, SecretError> {
        if let Some(name) = value.strip_prefix("env:") {
            if !is_variable_name(name) {
                return Err(SecretError::BadReference {
                    reference: value.to_owned(),
                });
            }
            let found = env.var(name).ok_or_else(|| SecretError::Unset {
                name: name.to_owned(),
            })?;
            return Self::new(found);
        }
        if let Some(path) = value.strip_prefix("file:") {
            let path = Path::new(path);
            if !path.is_absolute() {
                return Err(SecretError::BadReference {
                    reference: value.to_owned(),
                });
            }
            return Self::read_from(path);
        }
        Self::new(value)
    }

    /// Reads a file that holds nothing but the secret and perhaps a trailing line break.
    pub(super) fn read_from(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |what: String| SecretError::Unreadable {
            path: path.display().to_string(),
            what,
        };
        let file = File::open(path).map_err(|e| unreadable(e.to_string()))?;
        let mut text = String::new();
        // Two bytes more than can be right: a line break, and one that shows that the file is too long.
        file.take(MAX_SECRET_BYTES as u64 + 3)
            .read_to_string(&mut text)
            .map_err(|e| unreadable(e.to_string()))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Self::new(text.strip_suffix('\r').unwrap_or(text))
    }

    /// The secret's text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn is_variable_name(name: &str) -> bool {
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    starts_well
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Why a value is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretError {
    /// Nothing was given.
    Empty,
    /// Longer than [`MAX_SECRET_BYTES`].
    TooLong {
        /// Its length, bytes.
        len: usize,
    },
    /// A byte that is no printable ASCII character.
    BadByte {
        /// Its position, bytes from the start.
        at: usize,
    },
    /// `env:` or `file:` followed by something that names no variable or absolute path.
    BadReference {
        /// The reference as given.
        reference: String,
    },
    /// The referenced environment variable is not set.
    Unset {
        /// The variable's name.
        name: String,
    },
    /// The referenced file cannot be read.
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        what: String,
    },
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(
                f,
                "the secret is empty; give 1 to {MAX_SECRET_BYTES} printable characters"
            ),
            Self::TooLong { len } => {
                write!(
                    f,
                    "the secret has {len} bytes; at most {MAX_SECRET_BYTES} fit an AUTH line"
                )
            }
            Self::BadByte { at } => {
                write!(
                    f,
                    "byte {at} of the secret is a space, a control or a non-ASCII character; use printable ASCII"
                )
            }
            Self::BadReference { reference } => {
                write!(
                    f,
                    "`{reference}` is no reference; write env:NAME or file:/absolute/path"
                )
            }
            Self::Unset { name } => write!(
                f,
                "the environment variable {name} is not set; set it to the secret"
            ),
            Self::Unreadable { path, what } => write!(f, "cannot read the secret from {path}: {what}"),
        }
    }
}

impl std::error::Error for SecretError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_auth_line_can_carry_is_a_secret() {
        assert_eq!(Secret::new("").unwrap_err(), SecretError::Empty);
        assert_eq!(Secret::new("a b").unwrap_err(), SecretError::BadByte { at: 1 });
        assert_eq!(Secret::new("a\n").unwrap_err(), SecretError::BadByte { at: 1 });
        assert_eq!(Secret::new("ü").unwrap_err(), SecretError::BadByte { at: 0 });
        assert_eq!(
            Secret::new("x".repeat(252)).unwrap_err(),
            SecretError::TooLong { len: 252 }
        );
        assert_eq!(Secret::new("x".repeat(251)).unwrap().expose().len(), 251);
    }

    #[test]
    fn debug_output_hides_it() {
        assert_eq!(format!("{:?}", Secret::new("hush").unwrap()), "Secret(..)");
    }

    #[test]
    fn references_are_followed_once_and_never_fall_back() {
        let env = Environment::of([("TOKEN", "from-env"), ("NESTED", "env:TOKEN")]);
        assert_eq!(Secret::resolve("plain", &env).unwrap().expose(), "plain");
        assert_eq!(Secret::resolve("env:TOKEN", &env).unwrap().expose(), "from-env");
        assert_eq!(Secret::resolve("env:NESTED", &env).unwrap().expose(), "env:TOKEN");
        assert_eq!(
            Secret::resolve("env:NONE", &env).unwrap_err(),
            SecretError::Unset { name: "NONE".into() }
        );
        for bad in ["env:", "env:1A", "env:A-B", "file:", "file:relative/path"] {
            let err = Secret::resolve(bad, &env).unwrap_err();
            assert_eq!(
                err,
                SecretError::BadReference {
                    reference: bad.into()
                },
                "{bad}"
            );
        }
    }

    #[test]
    fn a_file_may_end_in_one_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let reference = format!("file:{}", path.display());
        let env = Environment::empty();
        for (content, expected) in [("tok", Ok("tok")), ("tok\n", Ok("tok")), ("tok\r\n", Ok("tok"))] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(
                Secret::resolve(&reference, &env).as_ref().map(Secret::expose),
                expected.as_ref().copied()
            );
        }
        std::fs::write(&path, "tok\n\n").unwrap();
        assert_eq!(
            Secret::resolve(&reference, &env).unwrap_err(),
            SecretError::BadByte { at: 3 }
        );
        std::fs::write(&path, "x".repeat(300)).unwrap();
        assert!(matches!(
            Secret::resolve(&reference, &env).unwrap_err(),
            SecretError::TooLong { .. }
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            Secret::resolve(&reference, &env).unwrap_err(),
            SecretError::Unreadable { .. }
        ));
    }
}
