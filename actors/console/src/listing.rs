//! The names of a directory, sorted, through one bounded buffer.
//!
//! Answers for listing a directory of any size in order: the smallest names that fit are kept, and the directory is
//! read again for those that come after them. Never holds more than the buffer.

use protocol::limits::COMPONENT_BYTES;

use crate::fault::Fault;

/// Names kept in order, each as its length and its bytes.
pub(crate) struct Batch<'b> {
    buf: &'b mut [u8],
    len: usize,
    /// Where the last name begins.
    last: usize,
    /// Whether a name was left out; then all that come after the last one are.
    cut: bool,
    /// Only names after this one are taken.
    after: heapless::String<COMPONENT_BYTES>,
}

impl<'b> Batch<'b> {
    /// An empty batch; `buf` has room for the longest name at least.
    pub(crate) fn new(buf: &'b mut [u8]) -> Batch<'b> {
        Batch {
            buf,
            len: 0,
            last: 0,
            cut: false,
            after: heapless::String::new(),
        }
    }

    /// The names in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let name = self.name(at)?;
            at += 1 + name.len();
            Some(name)
        })
    }

    /// Whether there are more names than these.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Forgets the names, and takes those that come after them.
    pub(crate) fn proceed(&mut self) {
        let mut after = heapless::String::new();
        if let Some(last) = self.name(self.last) {
            // A name fits: that was checked when it was taken.
            let _ = after.push_str(last);
        }
        self.after = after;
        (self.len, self.last, self.cut) = (0, 0, false);
    }

    /// Takes a name, unless it is here already, was in an earlier batch, or belongs into a later one.
    pub(crate) fn offer(&mut self, name: &str) {
        let Ok(length) = u8::try_from(name.len()) else {
            return;
        };
        if name.is_empty() || name <= self.after.as_str() {
            return;
        }
        let at = match self.name(self.last) {
            None => 0,
            Some(last) if name == last => return,
            Some(last) if name > last => self.len,
            Some(_) => {
                let Some(at) = self.place_of(name) else { return };
                at
            }
        };
        let entry = 1 + name.len();
        if at == self.len && (self.cut || self.buf.len() - self.len < entry) {
            self.cut = true;
            return;
        }
        while self.buf.len() - self.len < entry && self.last >= at && self.len > 0 {
            self.drop_last();
        }
        if self.buf.len() - self.len < entry {
            self.cut = true;
            return;
        }
        self.buf.copy_within(at..self.len, at + entry);
        if let Some(place) = self.buf.get_mut(at..at + entry)
            && let Some((first, rest)) = place.split_first_mut()
        {
            *first = length;
            rest.copy_from_slice(name.as_bytes());
        }
        self.last = if at == self.len { at } else { self.last + entry };
        self.len += entry;
    }

    /// Where a name that comes before the last one belongs; `None` if it is here.
    fn place_of(&self, name: &str) -> Option<usize> {
        let mut at = 0;
        for other in self.names() {
            match other.cmp(name) {
                core::cmp::Ordering::Less => at += 1 + other.len(),
                core::cmp::Ordering::Equal => return None,
                core::cmp::Ordering::Greater => break,
            }
        }
        Some(at)
    }

    /// Leaves out the last name.
    fn drop_last(&mut self) {
        self.cut = true;
        self.len = self.last;
        let (mut at, mut last) = (0, 0);
        for name in self.names() {
            last = at;
            at += 1 + name.len();
        }
        self.last = last;
    }

    fn name(&self, at: usize) -> Option<&str> {
        let entry = self.buf.get(at..self.len)?;
        let (length, rest) = entry.split_first()?;
        core::str::from_utf8(rest.get(..usize::from(*length))?).ok()
    }
}

/// A directory whose entries come in any order.
#[allow(async_fn_in_trait)] // static dispatch, one thread
pub(crate) trait Directory {
    /// Visits entries from `offset` on; the offset of the next ones, `None` if there are no more.
    async fn readdir(&self, offset: u64, visit: &mut impl FnMut(&str)) -> Result<Option<u64>, Fault>;
}

/// Offers every name to the batch; returns how many there are.
pub(crate) async fn collect(directory: &impl Directory, batch: &mut Batch<'_>) -> Result<usize, Fault> {
    let (mut count, mut offset) = (0, 0);
    let mut visit = |name: &str| {
        count += 1;
        batch.offer(name);
    };
    while let Some(next) = directory.readdir(offset, &mut visit).await? {
        offset = next;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::now;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    struct Names(Vec<String>);

    impl Directory for Names {
        async fn readdir(&self, offset: u64, visit: &mut impl FnMut(&str)) -> Result<Option<u64>, Fault> {
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            rest.iter().take(3).for_each(|name| visit(name));
            Ok((!rest.is_empty()).then_some(offset + rest.len().min(3) as u64))
        }
    }

    /// The names as they are sent, and how often the directory was read.
    fn list(names: &[String], size: usize) -> (Vec<String>, usize) {
        let directory = Names(names.to_vec());
        let mut buf = vec![0; size];
        let mut batch = Batch::new(&mut buf);
        let (mut listed, mut passes) = (Vec::new(), 0);
        loop {
            let count = now(collect(&directory, &mut batch)).unwrap().unwrap();
            assert_eq!(count, names.len());
            passes += 1;
            listed.extend(batch.names().map(ToString::to_string));
            if !batch.is_cut() {
                return (listed, passes);
            }
            batch.proceed();
        }
    }

    #[test]
    fn names_are_sorted() {
        let names = ["proc", "log", "worker", "gpu", "log"].map(String::from);
        assert_eq!(list(&names, 256).0, ["gpu", "log", "proc", "worker"]);
        assert_eq!(list(&[], 256), (vec![], 1));
    }

    #[test]
    fn a_directory_larger_than_the_buffer_takes_several_passes() {
        let names: Vec<String> = (0..256).rev().map(|n| std::format!("{n:02x}")).collect();
        let (listed, passes) = list(&names, 300);
        assert_eq!(passes, 3);
        assert!(listed.is_sorted() && listed.len() == 256);
    }

    proptest! {
        #[test]
        fn any_directory_is_listed_in_order(names in proptest::collection::vec("[a-d]{1,12}", 0..60), size in 13usize..120) {
            let sorted: Vec<String> = names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(list(&names, size).0, sorted);
        }
    }
}
