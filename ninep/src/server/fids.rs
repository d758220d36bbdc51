//! The fids of one connection: a bounded table from number to file.
//!
//! Answers for the bound and for a place that stays taken while its file is out
//! with a handler. Never allocates after `new`, never knows what a file is.

use alloc::vec::Vec;

use crate::codec::FidNumber;
use crate::errno::Errno;

/// Fids in order of number, and their files.
pub(super) struct FidTable<V> {
    index: Vec<(FidNumber, usize)>,
    places: Vec<Option<V>>,
    free: Vec<usize>,
}

impl<V> FidTable<V> {
    pub(super) fn new(capacity: usize) -> FidTable<V> {
        FidTable {
            index: Vec::with_capacity(capacity),
            places: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
        }
    }

    /// Takes a place for a new fid: `EINVAL` if the number is in use, `EMFILE` if all places are.
    pub(super) fn reserve(&mut self, fid: FidNumber) -> Result<(), Errno> {
        let Err(at) = self.find(fid) else {
            return Err(Errno::EINVAL);
        };
        let place = self.free.pop().ok_or(Errno::EMFILE)?;
        self.index.insert(at, (fid, place));
        Ok(())
    }

    /// The file of a fid, unless it is out.
    pub(super) fn get(&self, fid: FidNumber) -> Option<&V> {
        self.places.get(self.place(fid)?)?.as_ref()
    }

    /// Takes the file out; the fid keeps its place.
    pub(super) fn take(&mut self, fid: FidNumber) -> Option<V> {
        let place = self.place(fid)?;
        self.places.get_mut(place)?.take()
    }

    /// Puts a file into its fid's place; returns the one that was there.
    pub(super) fn put(&mut self, fid: FidNumber, file: V) -> Option<V> {
        match self.place(fid).and_then(|place| self.places.get_mut(place)) {
            Some(place) => place.replace(file),
            None => Some(file),
        }
    }

    /// Ends a fid; returns its file.
    pub(super) fn release(&mut self, fid: FidNumber) -> Option<V> {
        let at = self.find(fid).ok()?;
        self.release_at(at)
    }

    /// Ends any fid that has a file; `None` when there is none.
    pub(super) fn pop(&mut self) -> Option<V> {
        while let Some(last) = self.index.len().checked_sub(1) {
            if let Some(file) = self.release_at(last) {
                return Some(file);
            }
        }
        None
    }

    fn find(&self, fid: FidNumber) -> Result<usize, usize> {
        self.index.binary_search_by_key(&fid, |(number, _)| *number)
    }

    fn place(&self, fid: FidNumber) -> Option<usize> {
        let at = self.find(fid).ok()?;
        self.index.get(at).map(|(_, place)| *place)
    }

    /// `at` is an index that exists.
    fn release_at(&mut self, at: usize) -> Option<V> {
        let (_, place) = self.index.remove(at);
        self.free.push(place);
        self.places.get_mut(place)?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fid(number: u32) -> FidNumber {
        FidNumber::new(number).unwrap()
    }

    #[test]
    fn a_reserved_place_is_kept_while_its_file_is_out() {
        let mut table = FidTable::new(2);
        assert_eq!(table.reserve(fid(7)), Ok(()));
        assert_eq!(table.get(fid(7)), None);
        assert_eq!(table.put(fid(7), "seven"), None);
        assert_eq!(table.reserve(fid(7)), Err(Errno::EINVAL));
        assert_eq!(table.reserve(fid(3)), Ok(()));
        assert_eq!(table.take(fid(7)), Some("seven"));
        assert_eq!(table.reserve(fid(9)), Err(Errno::EMFILE));
        assert_eq!(table.put(fid(7), "again"), None);
        assert_eq!(table.release(fid(3)), None);
        assert_eq!(table.reserve(fid(9)), Ok(()));
        assert_eq!(table.release(fid(7)), Some("again"));
        assert_eq!(table.release(fid(7)), None);
    }

    #[test]
    fn a_file_without_a_fid_comes_back() {
        let mut table = FidTable::new(1);
        assert_eq!(table.put(fid(1), 'x'), Some('x'));
    }

    #[test]
    fn pop_ends_every_fid() {
        let mut table = FidTable::new(4);
        for number in 0..4 {
            table.reserve(fid(number)).unwrap();
            if number != 2 {
                table.put(fid(number), number);
            }
        }
        let mut popped: Vec<u32> = core::iter::from_fn(|| table.pop()).collect();
        popped.sort_unstable();
        assert_eq!(popped, [0, 1, 3]);
        assert_eq!(table.pop(), None);
        assert_eq!(table.reserve(fid(2)), Ok(()));
    }
}
