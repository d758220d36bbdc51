//! Names of models.
//!
//! Answers for a name that can be a directory, a component of a path in the namespace, and a TOML string as it is.

use core::fmt;

use protocol::gpu::{MODEL_ID_BYTES, is_model_id};

/// The id of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelId(String);

impl ModelId {
    /// Checks an id.
    pub fn new(text: &str) -> Result<Self, IdError> {
        // A hidden directory is none of the registry's.
        let good = is_model_id(text) && !text.starts_with('.');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError(text.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::str::FromStr for ModelId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError(String);

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} cannot be an id; use 1 to {MODEL_ID_BYTES} printable ASCII characters without space, / \" \\, and no leading dot",
            self.0
        )
    }
}

impl std::error::Error for IdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_names() {
        for id in ["M", "llama3-edge-v7", "a.b:c", &"x".repeat(128)] {
            assert_eq!(ModelId::new(id).unwrap().as_str(), id);
        }
        for id in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\0",
            "a b",
            "a\n",
            "é",
            "a\"",
            "a\\",
            &"x".repeat(129),
        ] {
            assert!(ModelId::new(id).is_err(), "{id:?}");
        }
    }
}
