//! Text that arrives in pieces, as lines.
//!
//! Answers for putting lines together that a read has cut in two. A line that is longer than any that matters is passed
//! over whole.
//!
//! Never allocates, never says what a line means.

/// Bytes of the longest line that matters: a lease line with the longest ids needs 300.
const LINE_BYTES: usize = 512;

/// The line that is being put together.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: heapless::Vec<u8, LINE_BYTES>,
    /// It has become too long.
    overlong: bool,
}

impl Lines {
    /// Takes the next piece, and shows every line that ends in it.
    pub(crate) fn feed(&mut self, piece: &[u8], mut show: impl FnMut(&str)) {
        for byte in piece {
            if *byte == b'\n' {
                self.end(&mut show);
            } else if self.line.push(*byte).is_err() {
                self.overlong = true;
            }
        }
    }

    /// Shows the last line, if no newline ends it.
    pub(crate) fn end(&mut self, mut show: impl FnMut(&str)) {
        if let (false, Ok(line)) = (self.overlong, core::str::from_utf8(&self.line)) {
            let line = line.trim();
            if !line.is_empty() {
                show(line);
            }
        }
        self.line.clear();
        self.overlong = false;
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| seen.push(line.into()));
        }
        lines.end(|line| seen.push(line.into()));
        seen
    }

    #[test]
    fn cut_lines_are_put_together_and_blank_ones_left_out() {
        assert_eq!(lines(&[b"on", b"e\r\n\n  \ntw", b"o"]), ["one", "two"]);
        assert_eq!(lines(&[]), [""; 0]);
    }

    #[test]
    fn what_is_too_long_or_no_text_is_passed_over() {
        let long = [b'x'; LINE_BYTES + 1];
        assert_eq!(lines(&[b"a\n", &long, b"\n\xff\nb\n"]), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[a-z \n]{0,200}", piece in 1usize..30) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
            prop_assert_eq!(lines(&pieces), lines(&[text.as_bytes()]));
        }
    }
}
