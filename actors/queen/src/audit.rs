//! Audit lines that are not in `/log/queen.log` yet.
//!
//! Answers for their order and their bound: lines are delivered in the order they were made; a line that belongs to
//! an operation is only made while there is room, and the last places are kept for what happens by itself.
//!
//! Never drops a line without counting it, never writes one.

use alloc::vec::Vec;

/// Bytes of a line: the longest tells of a bind of two paths of 128 bytes.
pub(crate) const LINE_BYTES: usize = 288;

/// Places that operations leave for what happens by itself: expiries, ended workers, transitions.
const RESERVED: usize = 8;

/// A line of the log.
pub(crate) type Line = heapless::String<LINE_BYTES>;

/// The lines, oldest first, each with a number that grows by one.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// A ring: the line of number `n` is at `n % capacity`.
    lines: Vec<Line>,
    /// Number of the oldest line that is not known to be delivered.
    next: u64,
    /// Number the next new line gets.
    end: u64,
    /// Lines that found no place since the last one that told so.
    lost: u64,
}

impl Audit {
    /// No lines, and room for so many (at least twice what is reserved); all memory is taken here.
    pub(crate) fn new(capacity: usize) -> Audit {
        let capacity = capacity.max(2 * RESERVED);
        Audit {
            lines: (0..capacity).map(|_| Line::new()).collect(),
            next: 0,
            end: 0,
            lost: 0,
        }
    }

    /// Whether an operation may make a line.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() + RESERVED < self.lines.len()
    }

    /// Lines that wait.
    pub(crate) fn waiting(&self) -> usize {
        (self.end - self.next) as usize
    }

    /// Adds a line, cut at its bound; without a place it is counted as lost. Gives its number.
    pub(crate) fn push(&mut self, text: &str) -> u64 {
        if self.waiting() >= self.lines.len() {
            self.lose();
            return self.end;
        }
        let number = self.end;
        let index = self.index(number);
        if let Some(line) = self.lines.get_mut(index) {
            line.clear();
            let mut cut = text.len().min(LINE_BYTES);
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            // It fits: it was cut to the capacity.
            let _ = line.push_str(text.get(..cut).unwrap_or_default());
        }
        self.end += 1;
        number
    }

    /// Counts a line that was not made for want of room.
    pub(crate) fn lose(&mut self) {
        self.lost += 1;
    }

    /// The oldest line that waits, and its number.
    pub(crate) fn oldest(&self) -> Option<(u64, &Line)> {
        if self.waiting() == 0 {
            return None;
        }
        self.lines
            .get(self.index(self.next))
            .map(|line| (self.next, line))
    }

    /// Lines before this number are in the log, or never will be. After a restart it is also how numbers go on where
    /// they were.
    pub(crate) fn set_next(&mut self, next: u64) {
        if self.waiting() == 0 {
            self.end = self.end.max(next);
        }
        self.next = self.next.max(next.min(self.end));
    }

    /// Whether the line of that number waits no more.
    pub(crate) fn is_delivered(&self, number: u64) -> bool {
        number < self.next
    }

    /// How many lines were lost since this was last asked, once there is room to say so.
    pub(crate) fn take_lost(&mut self) -> Option<u64> {
        (self.lost > 0 && self.has_room()).then(|| core::mem::take(&mut self.lost))
    }

    /// The number of the oldest line that waits, or of the next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The lines that wait, oldest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Line> {
        (self.next..self.end).filter_map(|number| self.lines.get(self.index(number)))
    }

    fn index(&self, number: u64) -> usize {
        // There are at least `2 * RESERVED` places.
        (number % self.lines.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn lines_leave_in_the_order_they_came() {
        let mut audit = Audit::new(16);
        let numbers: Vec<u64> = ["a", "b", "c"].iter().map(|text| audit.push(text)).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(
            audit.oldest().map(|(number, line)| (number, line.as_str())),
            Some((0, "a"))
        );
        audit.set_next(1);
        assert!(audit.is_delivered(0) && !audit.is_delivered(1));
        assert_eq!(
            audit.pending().map(|line| line.as_str()).collect::<Vec<_>>(),
            ["b", "c"]
        );
        audit.set_next(3);
        assert_eq!(audit.oldest(), None);
    }

    #[test]
    fn the_last_places_are_not_for_operations_and_what_finds_none_is_counted() {
        let mut audit = Audit::new(16);
        let mut made = 0;
        while audit.has_room() {
            audit.push("operation");
            made += 1;
        }
        assert_eq!(made, 8);
        for _ in 0..10 {
            audit.push("by itself");
        }
        assert_eq!((audit.waiting(), audit.take_lost()), (16, None));
        audit.set_next(10);
        assert_eq!((audit.waiting(), audit.take_lost()), (6, Some(2)));
        assert_eq!(audit.take_lost(), None);
    }

    #[test]
    fn a_lost_line_counts_as_delivered_once_those_before_it_are() {
        let mut audit = Audit::new(16);
        for _ in 0..16 {
            audit.push("x");
        }
        let lost = audit.push("lost");
        assert_eq!(lost, 16);
        audit.set_next(16);
        assert!(!audit.is_delivered(lost));
        assert_eq!(audit.push("next"), 16);
        audit.set_next(17);
        assert!(audit.is_delivered(lost));
    }

    #[test]
    fn numbers_go_on_after_a_restart() {
        let mut audit = Audit::new(16);
        audit.set_next(40);
        assert_eq!((audit.push("x"), audit.waiting()), (40, 1));
        audit.set_next(3);
        assert_eq!(audit.waiting(), 1);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut audit = Audit::new(16);
        audit.push(&"é".repeat(LINE_BYTES));
        let (_, line) = audit.oldest().unwrap();
        assert_eq!(line.chars().count(), LINE_BYTES / 2);
    }
}
