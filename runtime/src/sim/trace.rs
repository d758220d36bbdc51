//! What happened in a simulation, as a hash and, on request, as text.
//!
//! Answers for: two runs having the same hash if, and but for chance only if, they had the same trace.
//! Never: keeps text that nobody asked for.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::random::mix;
use crate::time::Instant;

pub(super) struct Trace {
    hash: u64,
    line: String,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            hash: 0,
            line: String::new(),
            lines: keep.then(Vec::new),
        }
    }

    pub(super) fn line(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{now} {what}");
        for chunk in self.line.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.hash = mix(self.hash ^ u64::from_le_bytes(word));
        }
        self.hash = mix(self.hash ^ self.line.len() as u64);
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
