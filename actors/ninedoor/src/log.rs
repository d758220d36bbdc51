//! `/log/queen.log`: the retained lines and where they lie.
//!
//! Answers for what the log file contains: whole lines, each ended by one newline, at most so many lines and bytes,
//! the oldest giving way. Lines that have given way stay readable for a while to a reader that began before.
//!
//! Never formats a line, never journals one (the [`record`](crate::record)s do), never keeps half a line.

use alloc::collections::VecDeque;
use core::fmt;

use crate::ring::{ByteRing, Overtaken};

/// Longest line in bytes without its newline: the longest that a console client can read in one frame.
pub const MAX_LINE_BYTES: usize = 8188;

/// Why a write to the log was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogError {
    /// Not UTF-8, or a NUL: no console could show it.
    NotText,
    /// A line is longer than [`MAX_LINE_BYTES`].
    TooLong {
        /// Its bytes.
        len: usize,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => f.write_str("the log takes UTF-8 lines without NUL"),
            Self::TooLong { len } => write!(f, "a line of {len} bytes; at most {MAX_LINE_BYTES} are allowed"),
        }
    }
}

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    ring: ByteRing,
    /// Bytes of each retained line with its newline, oldest first.
    lines: VecDeque<u16>,
    max_lines: usize,
    max_bytes: usize,
    /// Position of the first retained line.
    first: u64,
    /// Unix milliseconds of the newest line.
    changed_ms: u64,
}

impl Log {
    /// An empty log of at most that many lines and bytes; there is always room for one line of the longest kind. What
    /// gives way stays in the ring for another `max_bytes`, for readers that have begun.
    pub(crate) fn new(max_lines: usize, max_bytes: usize) -> Self {
        let max_bytes = max_bytes.max(MAX_LINE_BYTES + 1);
        let max_lines = max_lines.max(1);
        Self {
            ring: ByteRing::new(max_bytes),
            lines: VecDeque::with_capacity(max_lines + 1),
            max_lines,
            max_bytes,
            first: 0,
            changed_ms: 0,
        }
    }

    /// Checks what someone wants to write and takes one trailing newline off, so that every line has exactly one.
    pub(crate) fn check(written: &[u8]) -> Result<&str, LogError> {
        let text = core::str::from_utf8(written).map_err(|_| LogError::NotText)?;
        if text.contains('\0') {
            return Err(LogError::NotText);
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        match text.split('\n').map(str::len).max() {
            Some(len) if len > MAX_LINE_BYTES => Err(LogError::TooLong { len }),
            _ => Ok(text),
        }
    }

    /// Appends a text of one or more lines that [`check`](Self::check) let pass.
    pub(crate) fn append(&mut self, text: &str, unix_ms: u64) {
        for line in text.split('\n') {
            let line = line
                .get(..line.floor_char_boundary(MAX_LINE_BYTES))
                .unwrap_or_default();
            self.ring.push(line.as_bytes());
            self.ring.push(b"\n");
            self.lines.push_back(line.len() as u16 + 1);
            while self.lines.len() > self.max_lines || self.bytes() > self.max_bytes {
                let Some(gone) = self.lines.pop_front() else { break };
                self.first += u64::from(gone);
            }
        }
        self.changed_ms = unix_ms;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.ring.restart_at(0);
        self.first = 0;
    }

    /// Bytes of the retained lines.
    pub(crate) fn bytes(&self) -> usize {
        (self.ring.end() - self.first) as usize
    }

    /// Positions of the retained lines: from, to.
    pub(crate) fn span(&self) -> (u64, u64) {
        (self.first, self.ring.end())
    }

    /// Unix milliseconds of the newest line; 0 when there never was one.
    pub(crate) fn changed_ms(&self) -> u64 {
        self.changed_ms
    }

    /// Copies bytes from `position` up to `limit`; gives the count.
    pub(crate) fn read(&self, position: u64, limit: u64, buf: &mut [u8]) -> Result<usize, Overtaken> {
        self.ring.read(position, limit, buf)
    }

    /// Visits the retained lines, oldest first and without newlines, until `visit` fails.
    pub(crate) fn each_line<E>(
        &self,
        scratch: &mut [u8],
        mut visit: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = self.first;
        for len in &self.lines {
            let next = at + u64::from(*len);
            let n = self.ring.read(at, next - 1, scratch).unwrap_or(0);
            if let Some(Ok(line)) = scratch.get(..n).map(core::str::from_utf8) {
                visit(line)?;
            }
            at = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    fn content(log: &Log) -> String {
        let (from, to) = log.span();
        let mut buf = std::vec![0; (to - from) as usize];
        assert_eq!(log.read(from, to, &mut buf), Ok(buf.len()));
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn each_write_is_a_line_with_one_newline() {
        let mut log = Log::new(8, 0);
        for written in ["one", "two\n", "", "four\n\n"] {
            log.append(Log::check(written.as_bytes()).unwrap(), 7);
        }
        assert_eq!(content(&log), "one\ntwo\n\nfour\n\n");
        assert_eq!(log.changed_ms(), 7);
    }

    #[test]
    fn the_oldest_lines_give_way_to_both_bounds() {
        let mut log = Log::new(3, 0);
        for i in 0..5 {
            log.append(&std::format!("line {i}"), 0);
        }
        assert_eq!(content(&log), "line 2\nline 3\nline 4\n");
        let long = "x".repeat(MAX_LINE_BYTES);
        log.append(&long, 0);
        assert_eq!(content(&log), long + "\n");
    }

    #[test]
    fn a_reader_that_began_before_still_finds_what_gave_way() {
        let mut log = Log::new(2, 0);
        log.append("first", 0);
        let (from, to) = log.span();
        for i in 0..100 {
            log.append(&i.to_string(), 0);
        }
        let mut buf = [0; 16];
        assert_eq!(log.read(from, to, &mut buf), Ok(6));
        assert_eq!(&buf[..6], b"first\n");
        for _ in 0..3 {
            log.append(&"y".repeat(MAX_LINE_BYTES), 0);
        }
        assert_eq!(log.read(from, to, &mut buf), Err(Overtaken));
    }

    #[test]
    fn what_no_console_can_show_is_refused() {
        assert_eq!(Log::check(b"\xff"), Err(LogError::NotText));
        assert_eq!(Log::check(b"a\0b"), Err(LogError::NotText));
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        assert_eq!(
            Log::check(long.as_bytes()),
            Err(LogError::TooLong {
                len: MAX_LINE_BYTES + 1
            })
        );
        assert!(Log::check("x".repeat(MAX_LINE_BYTES).as_bytes()).is_ok());
    }

    #[test]
    fn lines_are_visited_whole_and_in_order() {
        let mut log = Log::new(3, 0);
        log.append("a\nb\n\nd", 0);
        let (mut seen, mut scratch) = (Vec::new(), [0; 64]);
        log.each_line(&mut scratch, |line| {
            seen.push(line.to_string());
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(seen, ["b", "", "d"]);
    }
}
