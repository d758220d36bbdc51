//! A file of lines with a bound: the newest are kept.
//!
//! Answers for dropping whole lines, oldest first, and for positions that name the same byte for as long as it is kept.
//!
//! Never refuses a line that fits an empty file, never allocates after it is made.

use alloc::boxed::Box;
use alloc::vec;

/// The lines.
pub(super) struct Lines {
    /// A ring: the byte at position `p` is at `p % len`.
    ring: Box<[u8]>,
    /// Position of the oldest byte kept.
    base: u64,
    /// Position after the newest.
    end: u64,
}

/// Bytes at that position are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overtaken;

impl Lines {
    /// No lines, and room for so many bytes, at least 1.
    pub(super) fn new(bytes: usize) -> Lines {
        Lines {
            ring: vec![0; bytes.max(1)].into(),
            base: 0,
            end: 0,
        }
    }

    /// Adds a line.
    pub(super) fn push_line(&mut self, line: &str) {
        self.push(line.as_bytes());
        self.push(b"\n");
    }

    /// Adds bytes: whole lines, or a piece that others continue. Gives way at the front, by whole lines.
    pub(super) fn push(&mut self, text: &[u8]) {
        for byte in text {
            if self.len() == self.ring.len() {
                self.drop_line();
            }
            let at = self.index(self.end);
            if let Some(place) = self.ring.get_mut(at) {
                *place = *byte;
            }
            self.end += 1;
        }
    }

    /// What is kept, oldest first, as pieces of at most so many bytes.
    pub(super) fn pieces(&self, bytes: usize) -> impl Iterator<Item = &[u8]> {
        let start = self.index(self.base);
        let (wrapped, first) = self.ring.split_at(start);
        let first = first.get(..self.len().min(first.len())).unwrap_or_default();
        let second = wrapped.get(..self.len() - first.len()).unwrap_or_default();
        [first, second]
            .into_iter()
            .flat_map(move |part| part.chunks(bytes.max(1)))
    }

    /// Forgets all lines. Positions go on.
    pub(super) fn clear(&mut self) {
        self.base = self.end;
    }

    /// Whether that is the newest line.
    pub(super) fn ends_with(&self, line: &str) -> bool {
        let newest = line.bytes().chain(*b"\n");
        let begin = self.end.checked_sub(line.len() as u64 + 1);
        begin.filter(|begin| *begin >= self.base).is_some_and(|begin| {
            let starts = begin == self.base || self.byte(begin - 1) == b'\n';
            starts
                && newest
                    .zip(begin..)
                    .all(|(byte, position)| self.byte(position) == byte)
        })
    }

    /// Bytes kept.
    pub(super) fn len(&self) -> usize {
        (self.end - self.base) as usize
    }

    /// Positions of the oldest byte, and after the newest.
    pub(super) fn span(&self) -> (u64, u64) {
        (self.base, self.end)
    }

    /// Copies bytes from a position on, up to `limit`; gives how many.
    pub(super) fn read(&self, position: u64, limit: u64, buf: &mut [u8]) -> Result<usize, Overtaken> {
        if position < self.base {
            return Err(Overtaken);
        }
        let limit = limit.min(self.end);
        let mut count = 0;
        for (byte, position) in buf.iter_mut().zip(position..limit) {
            *byte = self.byte(position);
            count += 1;
        }
        Ok(count)
    }

    fn drop_line(&mut self) {
        let newline = (self.base..self.end).find(|position| self.byte(*position) == b'\n');
        self.base = newline.map_or(self.end, |position| position + 1);
    }

    fn byte(&self, position: u64) -> u8 {
        self.ring.get(self.index(position)).copied().unwrap_or_default()
    }

    fn index(&self, position: u64) -> usize {
        (position % self.ring.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn text(lines: &Lines) -> String {
        let (base, end) = lines.span();
        let mut buf = vec![0; lines.len()];
        assert_eq!(lines.read(base, end, &mut buf), Ok(lines.len()));
        assert_eq!(lines.pieces(3).collect::<Vec<_>>().concat(), buf);
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn the_newest_line_always_finds_room() {
        let mut lines = Lines::new(10);
        lines.push_line("one");
        lines.push_line("two");
        assert_eq!(text(&lines), "one\ntwo\n");
        lines.push_line("three");
        assert_eq!(text(&lines), "two\nthree\n");
        lines.push_line("123456789");
        assert_eq!(text(&lines), "123456789\n");
        lines.clear();
        assert_eq!((text(&lines).len(), lines.span()), (0, (24, 24)));
    }

    #[test]
    fn a_position_names_the_same_byte_until_it_is_dropped() {
        let mut lines = Lines::new(10);
        lines.push_line("one");
        lines.push_line("two");
        let mut buf = [0; 2];
        assert_eq!(lines.read(5, 100, &mut buf), Ok(2));
        assert_eq!(&buf, b"wo");
        lines.push_line("three");
        assert_eq!(lines.read(5, 6, &mut buf), Ok(1));
        assert_eq!(lines.read(3, 100, &mut buf), Err(Overtaken));
        assert_eq!(lines.read(14, 100, &mut buf), Ok(0));
    }

    proptest! {
        #[test]
        fn what_is_kept_are_the_newest_lines_that_fit(added in proptest::collection::vec("[a-z]{0,12}", 0..40)) {
            let mut lines = Lines::new(32);
            for line in &added {
                lines.push_line(line);
            }
            let all: Vec<String> = added.iter().map(|line| format!("{line}\n")).collect();
            let kept = text(&lines);
            let from = (0..=all.len()).find(|from| all[*from..].concat() == kept);
            prop_assert!(from.is_some(), "{:?} are no last lines of {:?}", kept, all);
            prop_assert!(added.is_empty() || !kept.is_empty());
        }
    }
}
