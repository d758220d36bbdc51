//! A line being written into a fixed buffer, piece by piece, each whole or not at all.
//!
//! Answers for the bound: what is in the line is never cut, and what did not fit is told. It never
//! checks what is written.

use core::fmt::{self, Write as _};

/// A line in a borrowed buffer.
#[derive(Debug)]
pub struct Line<'b> {
    buf: &'b mut [u8],
    len: usize,
}

/// A piece did not fit; the line is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSpace;

impl<'b> Line<'b> {
    /// An empty line of at most `buf.len()` bytes.
    pub fn new(buf: &'b mut [u8]) -> Line<'b> {
        Line { buf, len: 0 }
    }

    /// Appends `text`.
    pub fn push(&mut self, text: &str) -> Result<(), NoSpace> {
        let room = self
            .buf
            .get_mut(self.len..)
            .and_then(|free| free.get_mut(..text.len()))
            .ok_or(NoSpace)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }

    /// Appends formatted text: `line.put(format_args!("bytes={n}"))`.
    pub fn put(&mut self, text: fmt::Arguments<'_>) -> Result<(), NoSpace> {
        let before = self.len;
        self.write_fmt(text).map_err(|_| {
            self.len = before;
            NoSpace
        })
    }

    /// Appends ` key=value`.
    pub fn field(&mut self, key: &str, value: impl fmt::Display) -> Result<(), NoSpace> {
        self.put(format_args!(" {key}={value}"))
    }

    /// Bytes still free.
    pub fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// The line so far.
    pub fn as_str(&self) -> &str {
        text(self.buf.get(..self.len))
    }

    /// The line, for as long as its buffer.
    pub fn finish(self) -> &'b str {
        text(self.buf.get(..self.len))
    }
}

/// Only whole `str`s were copied in, so the bytes are UTF-8 and within the buffer.
fn text(bytes: Option<&[u8]>) -> &str {
    bytes
        .and_then(|bytes| core::str::from_utf8(bytes).ok())
        .unwrap_or_default()
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text).map_err(|NoSpace| fmt::Error)
    }
}

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the line does not fit its buffer; give it more room")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_or_absent() {
        let mut buf = [0; 10];
        let mut line = Line::new(&mut buf);
        assert_eq!(line.push("OK LS"), Ok(()));
        assert_eq!(line.field("path", "/long"), Err(NoSpace));
        assert_eq!(line.put(format_args!("{}{}", "12345", 6)), Err(NoSpace));
        assert_eq!(line.as_str(), "OK LS");
        assert_eq!(line.field("n", 12), Ok(()));
        assert_eq!(line.room(), 0);
        assert_eq!(line.push(""), Ok(()));
        assert_eq!(line.finish(), "OK LS n=12");
    }
}
