//! Bytes in memory that somebody else may be writing at the same time.
//!
//! Answers for: copying between private bytes and shared words with no data race, whatever the other side does: every
//! access is a relaxed atomic of one word. Bytes are in memory order, as a byte copy would leave them.
//! Never: orders anything. Indices and flags do that, with acquire and release around these copies.

use crate::sync::{AtomicU64, Ordering};

/// Bytes in a word.
pub const WORD_BYTES: usize = 8;
/// Words that a loop copies at a time; atomic accesses are not merged, so the loop itself is what can be saved.
const BLOCK: usize = 8;

/// Copies `into.len()` bytes out of `words`, from byte `offset` on. `None`, and nothing copied, if they are not all
/// inside.
#[must_use]
pub fn copy_out(words: &[AtomicU64], offset: usize, into: &mut [u8]) -> Option<()> {
    let mut words = span(words, offset, into.len())?.iter();
    let skip = offset % WORD_BYTES;
    let head = (WORD_BYTES - skip) % WORD_BYTES;
    let (first, rest) = into.split_at_mut(head.min(into.len()));
    if !first.is_empty() {
        let bytes = words.next()?.load(Ordering::Relaxed).to_ne_bytes();
        first.copy_from_slice(bytes.get(skip..skip + first.len())?);
    }
    let (whole, tail) = rest.as_chunks_mut::<WORD_BYTES>();
    let (here, rest) = words.as_slice().split_at_checked(whole.len())?;
    words = rest.iter();
    let (blocks, others) = whole.as_chunks_mut::<BLOCK>();
    let (from, last) = here.as_chunks::<BLOCK>();
    for (block, from) in blocks.iter_mut().zip(from) {
        for (chunk, word) in block.iter_mut().zip(from) {
            *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
        }
    }
    for (chunk, word) in others.iter_mut().zip(last) {
        *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    if !tail.is_empty() {
        let bytes = words.next()?.load(Ordering::Relaxed).to_ne_bytes();
        tail.copy_from_slice(bytes.get(..tail.len())?);
    }
    Some(())
}

/// Copies `from` into `words`, from byte `offset` on. `None`, and nothing copied, if it does not fit. The bytes around
/// it in the first and the last word are written back as they were read: one writer at a time per word.
#[must_use]
pub fn copy_in(words: &[AtomicU64], offset: usize, from: &[u8]) -> Option<()> {
    let mut words = span(words, offset, from.len())?.iter();
    let skip = offset % WORD_BYTES;
    let head = (WORD_BYTES - skip) % WORD_BYTES;
    let (first, rest) = from.split_at(head.min(from.len()));
    if !first.is_empty() {
        splice(words.next()?, skip, first)?;
    }
    let (whole, tail) = rest.as_chunks::<WORD_BYTES>();
    let (here, rest) = words.as_slice().split_at_checked(whole.len())?;
    words = rest.iter();
    let (blocks, others) = whole.as_chunks::<BLOCK>();
    let (to, last) = here.as_chunks::<BLOCK>();
    for (block, to) in blocks.iter().zip(to) {
        for (chunk, word) in block.iter().zip(to) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
    }
    for (chunk, word) in others.iter().zip(last) {
        word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
    }
    if !tail.is_empty() {
        splice(words.next()?, 0, tail)?;
    }
    Some(())
}

/// The words that hold the bytes `offset..offset + len`.
fn span(words: &[AtomicU64], offset: usize, len: usize) -> Option<&[AtomicU64]> {
    let end = offset.checked_add(len)?;
    if end > words.len().checked_mul(WORD_BYTES)? {
        return None;
    }
    words.get(offset / WORD_BYTES..end.div_ceil(WORD_BYTES))
}

fn splice(word: &AtomicU64, skip: usize, part: &[u8]) -> Option<()> {
    let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    bytes.get_mut(skip..skip + part.len())?.copy_from_slice(part);
    word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    Some(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn zeroed(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_byte_array(
            ops in prop::collection::vec((0_usize..264, prop::collection::vec(any::<u8>(), 0..200)), 1..20),
        ) {
            let words = zeroed(32);
            let mut model = [0_u8; 256];
            for (offset, bytes) in ops {
                let fits = offset + bytes.len() <= 256;
                prop_assert_eq!(copy_in(&words, offset, &bytes).is_some(), fits);
                if fits {
                    model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    let mut back = std::vec![0; bytes.len()];
                    copy_out(&words, offset, &mut back).expect("it fits");
                    prop_assert_eq!(&back, &bytes);
                }
                let mut all = [0; 256];
                copy_out(&words, 0, &mut all).expect("it fits");
                prop_assert_eq!(all, model);
            }
        }
    }

    #[test]
    fn an_offset_past_the_end_of_numbers_is_outside() {
        let words = zeroed(1);
        assert_eq!(copy_out(&words, usize::MAX, &mut [0; 2]), None);
        assert_eq!(copy_in(&words, usize::MAX - 1, &[0; 9]), None);
        assert_eq!(copy_in(&words, 8, &[]), Some(()));
        assert_eq!(copy_in(&words, 9, &[]), None);
    }
}
