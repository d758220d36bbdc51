//! Reads a file of any length through one bounded buffer, line by line or in pieces.
//!
//! Answers for lines that are whole, for a file that fits the buffer being read only once, and for going back in a
//! file that does not. Never holds more than the buffer, never looks into a line.

use protocol::limits::RECORD_BYTES;

use crate::fault::Fault;

/// Bytes of the buffer: the longest record and the newline that ends it.
pub(crate) const BUFFER_BYTES: usize = RECORD_BYTES + 1;

/// Something with bytes at offsets.
#[allow(async_fn_in_trait)] // static dispatch, one thread
pub(crate) trait Source {
    /// Reads into the front of `buf`; 0 is the end.
    async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Fault>;
}

/// A line of a file, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A whole line.
    Line(&'a [u8]),
    /// A part of a line that is longer than the buffer.
    Part(&'a [u8]),
}

/// A reader at some position of a file.
pub(crate) struct Reader<'b, S> {
    source: S,
    buf: &'b mut [u8],
    /// Offset in the file of the first byte in `buf`.
    base: u64,
    /// Bytes in `buf`.
    len: usize,
    /// Where in `buf` the next line begins.
    at: usize,
    /// Whether the end of the file follows what is in `buf`.
    ended: bool,
    /// Whether a [`Record::Part`] was given whose line goes on.
    within: bool,
}

impl<'b, S: Source> Reader<'b, S> {
    /// A reader at the beginning of `source`.
    pub(crate) fn new(source: S, buf: &'b mut [u8]) -> Reader<'b, S> {
        Reader {
            source,
            buf,
            base: 0,
            len: 0,
            at: 0,
            ended: false,
            within: false,
        }
    }

    /// The offset of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Goes on at `offset`, without reading again what is in the buffer.
    pub(crate) fn seek(&mut self, offset: u64) {
        let there = offset
            .checked_sub(self.base)
            .and_then(|at| usize::try_from(at).ok());
        self.within = false;
        match there.filter(|at| *at <= self.len) {
            Some(at) => self.at = at,
            None => (self.base, self.len, self.at, self.ended) = (offset, 0, 0, false),
        }
    }

    /// The next line; `None` at the end of the file. A last line needs no newline.
    pub(crate) async fn next_record(&mut self) -> Result<Option<Record<'_>>, Fault> {
        let mut searched = self.at;
        let (end, next, whole) = loop {
            let unseen = self.buf.get(searched..self.len).unwrap_or_default();
            if let Some(newline) = unseen.iter().position(|byte| *byte == b'\n') {
                break (searched + newline, searched + newline + 1, true);
            }
            if self.ended {
                if self.at == self.len {
                    return Ok(None);
                }
                break (self.len, self.len, true);
            }
            if self.len - self.at == self.buf.len() {
                break (self.len, self.len, false);
            }
            let pending = self.len - self.at;
            self.fill().await?;
            searched = self.at + pending;
        };
        let bytes = self.buf.get(self.at..end).unwrap_or_default();
        self.at = next;
        // The end of a line whose beginning was given as a part is a part as well.
        let part = core::mem::replace(&mut self.within, !whole) || !whole;
        Ok(Some(if part {
            Record::Part(bytes)
        } else {
            Record::Line(bytes)
        }))
    }

    /// The next `count` bytes, fewer at the end of the file and none after it.
    pub(crate) async fn next_bytes(&mut self, count: usize) -> Result<&[u8], Fault> {
        let count = count.min(self.buf.len());
        while self.len - self.at < count && !self.ended {
            self.fill().await?;
        }
        let end = self.len.min(self.at + count);
        let bytes = self.buf.get(self.at..end).unwrap_or_default();
        self.at = end;
        Ok(bytes)
    }

    /// Reads once, into the free end of the buffer. Makes room if that is short, but keeps the beginning of the file
    /// as long as there is any.
    async fn fill(&mut self) -> Result<(), Fault> {
        if self.base > 0 || self.len == self.buf.len() {
            self.buf.copy_within(self.at..self.len, 0);
            self.base += self.at as u64;
            self.len -= self.at;
            self.at = 0;
        }
        let offset = self.base + self.len as u64;
        let free = self.buf.get_mut(self.len..).unwrap_or_default();
        let room = free.len();
        match self.source.read(offset, free).await? {
            0 => self.ended = true,
            count => self.len += count.min(room),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::now;
    use core::cell::Cell;
    use proptest::prelude::*;
    use protocol::refusal::Refusal;
    use std::vec;
    use std::vec::Vec;

    /// A file in memory that gives at most `most` bytes a read, and fails after some reads.
    pub(crate) struct Bytes<'a> {
        pub(crate) bytes: &'a [u8],
        pub(crate) most: usize,
        pub(crate) reads: Cell<usize>,
        pub(crate) fails_after: usize,
    }

    impl<'a> Bytes<'a> {
        pub(crate) fn new(bytes: &'a [u8], most: usize) -> Bytes<'a> {
            Bytes {
                bytes,
                most,
                reads: Cell::new(0),
                fails_after: usize::MAX,
            }
        }
    }

    impl Source for &Bytes<'_> {
        async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Fault> {
            self.reads.set(self.reads.get() + 1);
            if self.reads.get() > self.fails_after {
                return Err(Refusal::OwnerDown.into());
            }
            let rest = self.bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buf.len()).min(self.most);
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    fn lines<S: Source>(reader: &mut Reader<'_, S>) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Vec::new();
        while let Some(record) = now(reader.next_record()).unwrap().unwrap() {
            lines.push(match record {
                Record::Line(line) => (line.to_vec(), true),
                Record::Part(part) => (part.to_vec(), false),
            });
        }
        lines
    }

    #[test]
    fn lines_blank_ones_and_the_last_without_newline() {
        for (file, want) in [
            (&b""[..], &[][..]),
            (b"\n", &[&b""[..]]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\n\nb\n\n", &[b"a", b"", b"b", b""]),
        ] {
            let source = Bytes::new(file, 2);
            let mut buf = [0; 4];
            let mut reader = Reader::new(&source, &mut buf);
            let want: Vec<_> = want.iter().map(|line| (line.to_vec(), true)).collect();
            assert_eq!(lines(&mut reader), want, "{file:?}");
        }
    }

    #[test]
    fn a_line_longer_than_the_buffer_comes_in_parts() {
        let source = Bytes::new(b"ab\n0123456789\ncd", 3);
        let mut buf = [0; 4];
        let mut reader = Reader::new(&source, &mut buf);
        let part = |text: &[u8]| (text.to_vec(), false);
        let want = [
            (b"ab".to_vec(), true),
            part(b"0123"),
            part(b"4567"),
            part(b"89"),
            (b"cd".to_vec(), true),
        ];
        assert_eq!(lines(&mut reader), want);
    }

    #[test]
    fn a_file_that_fits_is_read_once() {
        let file = b"one\ntwo\nthree\n";
        let source = Bytes::new(file, 6);
        let mut buf = [0; 15];
        let mut reader = Reader::new(&source, &mut buf);
        let first = lines(&mut reader);
        let reads = source.reads.get();
        for _ in 0..3 {
            reader.seek(0);
            assert_eq!(lines(&mut reader), first);
        }
        assert_eq!(source.reads.get(), reads);
    }

    #[test]
    fn pieces_and_failures() {
        let mut source = Bytes::new(b"0123456789", 3);
        source.fails_after = 5;
        let mut buf = [0; 8];
        let mut reader = Reader::new(&source, &mut buf);
        assert_eq!(now(reader.next_bytes(4)), Some(Ok(&b"0123"[..])));
        assert_eq!(now(reader.next_bytes(4)), Some(Ok(&b"4567"[..])));
        assert_eq!(now(reader.next_bytes(4)), Some(Ok(&b"89"[..])));
        assert_eq!(now(reader.next_bytes(4)), Some(Ok(&b""[..])));
        reader.seek(0);
        assert_eq!(now(reader.next_bytes(4)).unwrap(), Err(Refusal::OwnerDown.into()));
    }

    proptest! {
        #[test]
        fn what_is_read_is_the_file(
            lines_in in proptest::collection::vec("[a-z]{0,9}", 0..20), most in 1usize..12, size in 10usize..40, from: prop::sample::Index,
        ) {
            let file: Vec<u8> = lines_in.iter().flat_map(|line| line.bytes().chain(*b"\n")).collect();
            let source = Bytes::new(&file, most);
            let mut buf = vec![0; size];
            let mut reader = Reader::new(&source, &mut buf);
            let mut offsets = vec![0];
            while now(reader.next_record()).unwrap().unwrap().is_some() {
                offsets.push(reader.position());
            }
            let skip = from.index(offsets.len());
            reader.seek(offsets[skip]);
            let rest: Vec<_> = lines_in[skip.min(lines_in.len())..].iter().map(|line| (line.as_bytes().to_vec(), true)).collect();
            prop_assert_eq!(lines(&mut reader), rest);
        }
    }
}
