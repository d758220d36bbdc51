//! What a probe plays: lines for the console, and pauses.
//!
//! Answers for a script being right as a whole before any of it is played.
//! Never knows the console's verbs: a line that the console refuses is a line like others.

use alloc::string::String;
use core::fmt;

use protocol::limits::LINE_BYTES;

/// The longest pause, in milliseconds: ten minutes.
const MAX_WAIT_MS: u64 = 600_000;

/// A checked script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    text: String,
}

/// One step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A line for the console.
    Say(&'a str),
    /// A pause.
    Wait {
        /// Its length in milliseconds.
        ms: u64,
    },
}

/// Why a text is no script; lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// A `WAIT` without a number of milliseconds up to 600,000.
    Wait {
        /// The line.
        line: usize,
    },
    /// A line that is longer than the console takes.
    TooLong {
        /// The line.
        line: usize,
    },
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait { line } => {
                write!(f, "line {line}: WAIT takes milliseconds, 0 to {MAX_WAIT_MS}")
            }
            Self::TooLong { line } => {
                write!(
                    f,
                    "line {line}: the console takes lines of at most {LINE_BYTES} bytes"
                )
            }
        }
    }
}

impl core::error::Error for ScriptError {}

impl Script {
    /// Checks a text.
    ///
    /// # Errors
    /// See [`ScriptError`].
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        for (line, text) in (1..).zip(text.lines()) {
            if text.len() > LINE_BYTES {
                return Err(ScriptError::TooLong { line });
            }
            if wait(text).is_some_and(|ms| ms.is_none()) {
                return Err(ScriptError::Wait { line });
            }
        }
        Ok(Self { text: text.into() })
    }

    /// What it was made of.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its steps in order.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let spoken = self.text.lines().map(str::trim);
        let spoken = spoken.filter(|line| !line.is_empty() && !line.starts_with('#'));
        spoken.map(|line| match wait(line) {
            Some(ms) => Step::Wait {
                ms: ms.unwrap_or_default(),
            },
            None => Step::Say(line),
        })
    }
}

/// `None` if the line is no `WAIT`; within, `None` if its number is not one.
fn wait(line: &str) -> Option<Option<u64>> {
    let mut words = line.split_whitespace();
    if words.next()? != "WAIT" {
        return None;
    }
    let ms = words.next().and_then(|word| word.parse().ok());
    Some(ms.filter(|ms| *ms <= MAX_WAIT_MS && words.next().is_none()))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn comments_and_blank_lines_are_no_steps() {
        let script = Script::parse("# x\n\n  PING  \nWAIT 5\nECHO /log/queen.log # not a comment\n").unwrap();
        let steps: Vec<_> = script.steps().collect();
        let expected = [
            Step::Say("PING"),
            Step::Wait { ms: 5 },
            Step::Say("ECHO /log/queen.log # not a comment"),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_is_no_script_is_told_with_its_line() {
        for wrong in ["WAIT", "WAIT x", "WAIT 600001", "WAIT 1 2", "WAIT -1"] {
            let text = std::format!("PING\n{wrong}\n");
            assert_eq!(
                Script::parse(&text),
                Err(ScriptError::Wait { line: 2 }),
                "{wrong}"
            );
        }
        let long = "x".repeat(LINE_BYTES + 1);
        assert_eq!(Script::parse(&long), Err(ScriptError::TooLong { line: 1 }));
    }
}
