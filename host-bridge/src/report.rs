//! What is told to people: results on standard output, everything else on standard error.
//!
//! Answers for a standing trouble being told once, and its end once. Never ends the program: with nobody to read there
//! is nobody to tell.

use std::io::{self, Write};

/// Prints a result.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a remark or what went wrong.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "gpu-bridge-host: {message}");
}

/// A trouble that may last, looked at again and again.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    told: Option<String>,
}

impl Standing {
    /// It is there, and these are its words; told if they are new.
    pub(crate) fn is(&mut self, message: String) {
        if self.told.as_ref() != Some(&message) {
            complain(&message);
            self.told = Some(message);
        }
    }

    /// It is not there; says whether it was.
    pub(crate) fn is_over(&mut self) -> bool {
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_when_its_words_are_new() {
        let mut trouble = Standing::default();
        assert!(!trouble.is_over());
        trouble.is("a".into());
        trouble.is("a".into());
        trouble.is("b".into());
        assert_eq!(trouble.told.as_deref(), Some("b"));
        assert!(trouble.is_over() && !trouble.is_over());
    }
}
