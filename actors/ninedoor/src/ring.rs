//! Bytes addressed by their position since the ring began.
//!
//! Answers for the one storage form of the log and of the workers' telemetry: an append moves the end, the oldest
//! bytes give way, and a position names the same byte for ever, so that a reader needs no copy to see a stable view.
//!
//! Never knows what the bytes mean, never allocates after [`ByteRing::new`], never hands out a byte that was
//! overwritten.

use alloc::boxed::Box;
use alloc::vec;

/// A position that the ring no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overtaken;

/// The last `capacity` bytes of an endless sequence, and as many before them for readers that are under way.
#[derive(Debug)]
pub(crate) struct ByteRing {
    /// Twice the capacity: a reader that began at the base has a whole capacity of appends to finish in.
    bytes: Box<[u8]>,
    /// Position of the oldest byte that a new reader sees.
    base: u64,
    /// Position of the oldest byte that is still there.
    oldest: u64,
    /// Position of the next byte.
    end: u64,
}

impl ByteRing {
    /// An empty ring; this is its only allocation.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; 2 * capacity.max(1)].into_boxed_slice(),
            base: 0,
            oldest: 0,
            end: 0,
        }
    }

    /// Bytes it can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len() / 2
    }

    /// Position of the oldest byte that a new reader sees.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Position after the newest byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Empties the ring and lets it go on at a position.
    pub(crate) fn restart_at(&mut self, position: u64) {
        self.base = position;
        self.oldest = position;
        self.end = position;
    }

    /// Adds bytes at the end; of more than the capacity only the last are kept.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.len();
        let surplus = bytes.len().saturating_sub(room);
        let (_, kept) = bytes.split_at(surplus);
        self.end += surplus as u64;
        let at = (self.end % room as u64) as usize;
        let (head, tail) = kept.split_at(kept.len().min(room - at));
        copy(&mut self.bytes, at, head);
        copy(&mut self.bytes, 0, tail);
        self.end += kept.len() as u64;
        self.base = self.base.max(self.end.saturating_sub(self.capacity() as u64));
        self.oldest = self.oldest.max(self.end.saturating_sub(room as u64));
    }

    /// Moves the base to the beginning of a line, if it lies within one and another begins before the end.
    pub(crate) fn begin_with_a_line(&mut self) {
        let newline = |position| self.piece(position, position + 1) == Some(b"\n");
        if self.base == self.oldest || newline(self.base - 1) {
            return;
        }
        if let Some(at) = (self.base..self.end - 1).find(|&position| newline(position)) {
            self.base = at + 1;
        }
    }

    /// Copies what lies from `position` up to `limit` (at most to the end) into `buf`; gives the count.
    pub(crate) fn read(&self, position: u64, limit: u64, buf: &mut [u8]) -> Result<usize, Overtaken> {
        if position < self.oldest {
            return Err(Overtaken);
        }
        let mut done = 0;
        let mut position = position;
        while let Some(piece) = self
            .piece(position, limit.min(self.end))
            .filter(|_| done < buf.len())
        {
            let len = piece.len().min(buf.len() - done);
            let (piece, _) = piece.split_at(len);
            copy(buf, done, piece);
            done += len;
            position += len as u64;
        }
        Ok(done)
    }

    /// The bytes from `position` up to `limit` as far as they lie together; `None` when there are none.
    pub(crate) fn piece(&self, position: u64, limit: u64) -> Option<&[u8]> {
        if position < self.oldest || position >= limit.min(self.end) {
            return None;
        }
        let room = self.bytes.len();
        let at = (position % room as u64) as usize;
        let len = (limit.min(self.end) - position).min((room - at) as u64) as usize;
        self.bytes.get(at..at + len)
    }
}

/// Copies `from` to `to[at..]`; what does not fit is left out, which no caller relies on.
fn copy(to: &mut [u8], at: usize, from: &[u8]) {
    if let Some(to) = to.get_mut(at..at + from.len()) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_position_names_the_same_byte_until_it_is_gone() {
        let mut ring = ByteRing::new(4);
        ring.push(b"abc");
        let mut buf = [0; 8];
        assert_eq!(ring.read(1, u64::MAX, &mut buf), Ok(2));
        ring.push(b"de");
        assert_eq!((ring.base(), ring.end()), (1, 5));
        assert_eq!(ring.read(1, u64::MAX, &mut buf), Ok(4));
        assert_eq!(&buf[..4], b"bcde");
        assert_eq!(
            ring.read(0, u64::MAX, &mut buf),
            Ok(5),
            "a reader under way is not overtaken at once"
        );
        ring.push(b"fghi");
        assert_eq!(ring.read(0, u64::MAX, &mut buf), Err(Overtaken));
        assert_eq!(ring.read(1, u64::MAX, &mut buf), Ok(8));
        assert_eq!(ring.read(9, u64::MAX, &mut buf), Ok(0));
        assert_eq!(ring.read(99, u64::MAX, &mut buf), Ok(0));
    }

    #[test]
    fn whole_lines_give_way_if_the_writer_says_so() {
        let mut ring = ByteRing::new(8);
        for line in [b"ab\n", b"cd\n", b"ef\n"] {
            ring.push(line);
            ring.begin_with_a_line();
        }
        assert_eq!((ring.base(), ring.end()), (3, 9));
        ring.push(b"a line longer than all\n");
        ring.begin_with_a_line();
        assert_eq!(
            ring.end() - ring.base(),
            8,
            "no line begins before the end: the bytes that are there stay"
        );
    }

    #[test]
    fn a_limit_hides_what_came_later() {
        let mut ring = ByteRing::new(8);
        ring.push(b"abcd");
        let mut buf = [0; 8];
        assert_eq!(ring.read(0, 2, &mut buf), Ok(2));
        assert_eq!(&buf[..2], b"ab");
    }

    proptest! {
        #[test]
        fn it_holds_the_tail_of_everything_pushed(
            capacity in 1usize..40,
            pushes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
            buffer in 1usize..70,
        ) {
            let mut ring = ByteRing::new(capacity);
            let mut all = Vec::new();
            for push in &pushes {
                ring.push(push);
                all.extend_from_slice(push);
            }
            prop_assert_eq!(ring.end(), all.len() as u64);
            prop_assert_eq!(ring.base(), all.len().saturating_sub(capacity) as u64);
            let (mut seen, mut buf) = (Vec::new(), std::vec![0; buffer]);
            let mut at = ring.base();
            loop {
                let n = ring.read(at, u64::MAX, &mut buf).unwrap();
                if n == 0 {
                    break;
                }
                seen.extend_from_slice(&buf[..n]);
                at += n as u64;
            }
            prop_assert_eq!(&seen[..], &all[ring.base() as usize..]);
        }
    }
}
