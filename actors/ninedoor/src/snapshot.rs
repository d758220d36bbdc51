//! Buffers in which a generated file or listing stays as it was while somebody reads it.
//!
//! Answers for the stable view of everything that is rendered: the whole content is rendered once, at a fid's first
//! read at offset 0, and kept until its end was read or the fid is gone. Memory is bounded: there is a buffer for
//! every session, and when all are in use, the session that holds the most gives up the one it touched longest ago.
//! So a session that reads one file at a time never loses it, whatever the others leave half-read.
//!
//! Never grows, never renders by itself, never mixes two renderings.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use crate::procfs::Lines;

/// Bytes of one buffer: no generated file is longer (CONTROL 4: `/proc/9p/sessions` has at most 8192).
pub(crate) const SNAPSHOT_BYTES: usize = 8192;

/// A buffer together with the use it was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRef {
    slot: u16,
    turn: u32,
}

/// The view was given up for another reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
    /// Which use it was given for; 0 when it is free.
    turn: u32,
    /// Slot of the session that reads it.
    reader: usize,
    touched: u64,
}

/// The buffers.
pub(crate) struct Snapshots {
    buffers: Vec<Buffer>,
    turns: u32,
    clock: u64,
}

impl Snapshots {
    /// That many buffers; all memory is taken here.
    pub(crate) fn new(count: usize) -> Self {
        let buffer = || Buffer {
            bytes: vec![0; SNAPSHOT_BYTES].into_boxed_slice(),
            len: 0,
            turn: 0,
            reader: 0,
            touched: 0,
        };
        let buffers = (0..count.clamp(1, usize::from(u16::MAX)))
            .map(|_| buffer())
            .collect();
        Self {
            buffers,
            turns: 0,
            clock: 0,
        }
    }

    /// Renders into a buffer for a session: a free one, or one of the session that holds the most.
    pub(crate) fn take(
        &mut self,
        reader: usize,
        render: impl FnOnce(&mut Text<'_>),
    ) -> Result<SnapshotRef, Gone> {
        let slot = self.free().or_else(|| self.victim()).ok_or(Gone)?;
        self.clock += 1;
        self.turns = self.turns.checked_add(1).unwrap_or(1);
        let buffer = self.buffers.get_mut(slot).ok_or(Gone)?;
        buffer.turn = self.turns;
        buffer.reader = reader;
        buffer.touched = self.clock;
        let mut text = Text::new(&mut buffer.bytes);
        render(&mut text);
        buffer.len = text.len();
        Ok(SnapshotRef {
            slot: slot as u16,
            turn: self.turns,
        })
    }

    fn free(&self) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.turn == 0)
    }

    /// Of the session that holds the most, the buffer that was touched longest ago.
    fn victim(&self) -> Option<usize> {
        let held = |reader| {
            self.buffers
                .iter()
                .filter(|buffer| buffer.reader == reader)
                .count()
        };
        let order = |buffer: &Buffer| (Reverse(held(buffer.reader)), buffer.touched);
        let found = self
            .buffers
            .iter()
            .enumerate()
            .min_by_key(|(_, buffer)| order(buffer));
        found.map(|(slot, _)| slot)
    }

    /// The rendered bytes.
    pub(crate) fn bytes(&mut self, snapshot: SnapshotRef) -> Result<&[u8], Gone> {
        self.clock += 1;
        let buffer = self.buffers.get_mut(usize::from(snapshot.slot)).ok_or(Gone)?;
        if buffer.turn != snapshot.turn {
            return Err(Gone);
        }
        buffer.touched = self.clock;
        buffer.bytes.get(..buffer.len).ok_or(Gone)
    }

    /// Gives the buffer back; giving back what is gone is fine.
    pub(crate) fn release(&mut self, snapshot: SnapshotRef) {
        let buffer = self.buffers.get_mut(usize::from(snapshot.slot));
        if let Some(buffer) = buffer.filter(|buffer| buffer.turn == snapshot.turn) {
            buffer.turn = 0;
        }
    }

    /// How many are lent.
    #[cfg(test)]
    pub(crate) fn lent(&self) -> usize {
        self.buffers.iter().filter(|buffer| buffer.turn != 0).count()
    }
}

/// Text being rendered into a buffer; what does not fit is left out, whole line by whole line.
pub(crate) struct Text<'a> {
    bytes: &'a mut [u8],
    len: usize,
    /// Where the last whole line ends.
    whole: usize,
    full: bool,
}

impl<'a> Text<'a> {
    /// An empty text over a buffer.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            len: 0,
            whole: 0,
            full: false,
        }
    }

    /// Writes raw bytes, all or none.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        let room = self
            .bytes
            .get_mut(self.len..self.len + bytes.len())
            .filter(|_| !self.full);
        let Some(room) = room else {
            self.full = true;
            self.len = self.whole;
            return false;
        };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    /// Marks what was written so far as whole.
    pub(crate) fn commit(&mut self) {
        self.whole = self.len;
    }

    /// Bytes written.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Lines for Text<'_> {
    /// A line that does not fit is left out, and so is all that follows.
    fn line(&mut self, line: fmt::Arguments<'_>) {
        use fmt::Write;
        if !self.full && writeln!(self, "{line}").is_ok() {
            self.whole = self.len;
        } else {
            self.full = true;
            self.len = self.whole;
        }
    }

    /// Bytes that do not fit are left out, and so is all that follows.
    fn bytes(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..self.len + bytes.len());
        match room.filter(|_| !self.full) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
                self.whole = self.len;
            }
            None => self.full = true,
        }
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self
            .bytes
            .get_mut(self.len..self.len + text.len())
            .ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(snapshots: &mut Snapshots, reader: usize, text: &str) -> SnapshotRef {
        snapshots
            .take(reader, |to| to.line(format_args!("{text}")))
            .unwrap()
    }

    #[test]
    fn a_view_stays_as_it_was() {
        let mut snapshots = Snapshots::new(2);
        let first = take(&mut snapshots, 0, "one");
        let second = take(&mut snapshots, 1, "two");
        assert_eq!(snapshots.bytes(first), Ok(&b"one\n"[..]));
        assert_eq!(snapshots.bytes(second), Ok(&b"two\n"[..]));
        snapshots.release(first);
        assert_eq!(snapshots.bytes(first), Err(Gone));
        assert_eq!(snapshots.lent(), 1);
    }

    #[test]
    fn of_one_reader_the_view_touched_longest_ago_gives_way() {
        let mut snapshots = Snapshots::new(2);
        let first = take(&mut snapshots, 0, "one");
        let second = take(&mut snapshots, 0, "two");
        assert!(snapshots.bytes(first).is_ok());
        let third = take(&mut snapshots, 0, "three");
        assert_eq!(snapshots.bytes(second), Err(Gone));
        assert_eq!(snapshots.bytes(first), Ok(&b"one\n"[..]));
        assert_eq!(snapshots.bytes(third), Ok(&b"three\n"[..]));
        snapshots.release(second);
        assert_eq!(snapshots.lent(), 2, "a stale reference releases nothing");
    }

    #[test]
    fn a_reader_of_one_view_keeps_it_while_another_hoards() {
        let mut snapshots = Snapshots::new(4);
        let modest = take(&mut snapshots, 7, "one");
        for _ in 0..100 {
            take(&mut snapshots, 8, "another");
        }
        let late = take(&mut snapshots, 9, "late");
        assert_eq!(snapshots.bytes(modest), Ok(&b"one\n"[..]));
        assert_eq!(snapshots.bytes(late), Ok(&b"late\n"[..]));
    }

    #[test]
    fn only_whole_lines_are_kept() {
        let mut bytes = [0; 10];
        let mut text = Text::new(&mut bytes);
        for line in ["abc", "defg", "hij", "k"] {
            text.line(format_args!("{line}"));
        }
        let len = text.len();
        assert_eq!(&bytes[..len], b"abc\ndefg\n");
    }
}
