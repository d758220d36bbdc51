//! `key=value` options of a command.
//!
//! Answers for each key being known, given once, and its value of the right type. Never knows what a value means.

use core::str::FromStr;

use super::error::CommandError;

/// Options of one command, taken out one by one.
pub(super) struct Options<'a> {
    left: Vec<(&'a str, &'a str)>,
    usage: &'static str,
}

impl<'a> Options<'a> {
    /// Reads `words`.
    pub(super) fn new(words: &[&'a str], usage: &'static str) -> Result<Self, CommandError> {
        let mut left: Vec<(&str, &str)> = Vec::new();
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return Err(CommandError::Usage {
                    what: format!("`{word}` is no key=value"),
                    usage,
                });
            };
            if left.iter().any(|(k, _)| *k == key) {
                return Err(CommandError::Usage {
                    what: format!("{key} is given twice"),
                    usage,
                });
            }
            left.push((key, value));
        }
        Ok(Self { left, usage })
    }

    /// The value of `key`, if it is given.
    pub(super) fn take<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, CommandError> {
        let Some(at) = self.left.iter().position(|(k, _)| *k == key) else {
            return Ok(None);
        };
        let (_, value) = self.left.remove(at);
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.wrong(format!("invalid value for argument {key}: `{value}`"))),
        }
    }

    /// The value of `key`, which must be given.
    pub(super) fn need<T: FromStr>(&mut self, key: &str) -> Result<T, CommandError> {
        self.take(key)?
            .ok_or_else(|| self.wrong(format!("missing required argument: {key}")))
    }

    /// The value of `key`, which must be given and not be zero.
    pub(super) fn need_some<T: FromStr + PartialEq + From<u8>>(
        &mut self,
        key: &str,
    ) -> Result<T, CommandError> {
        let value = self.need(key)?;
        if value == T::from(0) {
            Err(self.wrong(format!("{key} must not be 0")))
        } else {
            Ok(value)
        }
    }

    /// Ends the reading: nothing may be left.
    pub(super) fn finish(self) -> Result<(), CommandError> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.wrong(format!("unknown option {key}"))),
        }
    }

    pub(super) fn wrong(&self, what: String) -> CommandError {
        CommandError::Usage {
            what,
            usage: self.usage,
        }
    }
}
