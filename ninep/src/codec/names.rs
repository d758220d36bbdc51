//! The names of one `Twalk`: at most sixteen, each of them legal.
//!
//! Answers for the protocol's bound. The system's own walk depth is the server's.

use core::fmt;

use crate::errno::Errno;
use crate::name::{Name, NameError};

/// `P9_MAXWELEM`: the most names in one `Twalk`.
pub const MAX_WALK_NAMES: usize = 16;

/// Up to [`MAX_WALK_NAMES`] legal names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Names<'a> {
    names: [&'a str; MAX_WALK_NAMES],
    len: usize,
}

impl<'a> Names<'a> {
    /// The names, if each is legal and they are not too many.
    pub fn new(names: &[&'a str]) -> Result<Names<'a>, NamesError> {
        let mut checked = Names::default();
        for name in names {
            checked.push(Name::new(name)?)?;
        }
        Ok(checked)
    }

    /// Appends a name, unless there are sixteen.
    pub fn push(&mut self, name: Name<'a>) -> Result<(), NamesError> {
        let place = self.names.get_mut(self.len).ok_or(NamesError::TooMany)?;
        *place = name.as_str();
        self.len += 1;
        Ok(())
    }

    /// The names in order.
    pub fn as_slice(&self) -> &[&'a str] {
        self.names.get(..self.len).unwrap_or(&[])
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none: a walk to the same file.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Why names cannot be walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamesError {
    /// More than [`MAX_WALK_NAMES`].
    TooMany,
    /// One of them is illegal.
    Name(NameError),
}

impl NamesError {
    /// What a server answers.
    pub const fn errno(self) -> Errno {
        match self {
            NamesError::TooMany => Errno::EINVAL,
            NamesError::Name(error) => error.errno(),
        }
    }
}

impl From<NameError> for NamesError {
    fn from(error: NameError) -> NamesError {
        NamesError::Name(error)
    }
}

impl fmt::Display for NamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamesError::TooMany => f.write_str("more than 16 names in one walk; walk in steps"),
            NamesError::Name(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NamesError {}
