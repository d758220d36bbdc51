//! The pending timers of a domain.
//!
//! Answers for: the earliest deadline at once, the rest in order, in memory taken at boot.
//! Never: allocates after that; a timer that does not fit is refused, and whoever asked polls instead.

use alloc::vec::Vec;
use core::task::Waker;

use crate::time::Instant;

/// A binary heap of deadlines over a fixed set of slots.
pub(crate) struct Timers {
    slots: Vec<Slot>,
    /// Slots in heap order, those in use only.
    heap: Vec<usize>,
    /// Slots not in use.
    spare: Vec<usize>,
}

/// A timer in the table. Stale once it fired or was removed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimerId {
    slot: usize,
    generation: u64,
}

struct Slot {
    at: Instant,
    /// Counts the uses of this slot.
    generation: u64,
    /// Where in the heap.
    place: usize,
    waker: Option<Waker>,
}

impl Timers {
    pub(crate) fn new(capacity: usize) -> Self {
        let slot = || Slot {
            at: Instant::FAR,
            generation: 0,
            place: 0,
            waker: None,
        };
        Self {
            slots: (0..capacity).map(|_| slot()).collect(),
            heap: Vec::with_capacity(capacity),
            spare: (0..capacity).rev().collect(),
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&slot| self.at(slot))
    }

    /// Adds a timer; `None` if all are in use.
    pub(crate) fn insert(&mut self, at: Instant, waker: &Waker) -> Option<TimerId> {
        let index = self.spare.pop()?;
        let place = self.heap.len();
        let slot = self.slots.get_mut(index)?;
        slot.at = at;
        slot.place = place;
        slot.waker = Some(waker.clone());
        let generation = slot.generation;
        self.heap.push(index);
        self.rise(place);
        Some(TimerId {
            slot: index,
            generation,
        })
    }

    /// Lets a pending timer wake another task; false if it is not pending.
    pub(crate) fn update(&mut self, id: TimerId, waker: &Waker) -> bool {
        match self.pending(id).and_then(|slot| slot.waker.as_mut()) {
            Some(kept) => {
                kept.clone_from(waker);
                true
            }
            None => false,
        }
    }

    /// Takes a timer away, if it is still pending.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<Waker> {
        let place = self.pending(id)?.place;
        self.take(place)
    }

    /// Takes the earliest timer away if its time has come.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Waker> {
        if self.next()? > now { None } else { self.take(0) }
    }

    fn pending(&mut self, id: TimerId) -> Option<&mut Slot> {
        self.slots
            .get_mut(id.slot)
            .filter(|slot| slot.generation == id.generation)
    }

    fn take(&mut self, place: usize) -> Option<Waker> {
        if place >= self.heap.len() {
            return None;
        }
        let index = self.heap.swap_remove(place);
        self.spare.push(index);
        if place < self.heap.len() {
            self.settle(place);
            let place = self.rise(place);
            self.sink(place);
        }
        let slot = self.slots.get_mut(index)?;
        slot.generation += 1;
        slot.waker.take()
    }

    fn at(&self, slot: usize) -> Instant {
        self.slots.get(slot).map_or(Instant::FAR, |slot| slot.at)
    }

    /// The deadline at a place of the heap; past its end, one that no other is later than.
    fn at_place(&self, place: usize) -> Instant {
        self.heap.get(place).map_or(Instant::FAR, |&slot| self.at(slot))
    }

    /// Tells the slot at `place` where it is.
    fn settle(&mut self, place: usize) {
        if let Some(slot) = self.heap.get(place).and_then(|&slot| self.slots.get_mut(slot)) {
            slot.place = place;
        }
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.at_place(parent) <= self.at_place(place) {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let child = if self.at_place(right) < self.at_place(left) {
                right
            } else {
                left
            };
            if self.at_place(child) >= self.at_place(place) {
                break;
            }
            self.swap(child, place);
            place = child;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.settle(one);
        self.settle(other);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn behaves_as_a_sorted_list(ops in prop::collection::vec((0_u8..3, 0_u64..50), 1..300)) {
            let mut timers = Timers::new(16);
            let mut model: Vec<(u64, TimerId)> = Vec::new();
            let mut stale = Vec::new();
            for (op, number) in ops {
                match op {
                    0 => {
                        let id = timers.insert(Instant::from_micros(number), Waker::noop());
                        prop_assert_eq!(id.is_some(), model.len() < 16);
                        model.extend(id.map(|id| (number, id)));
                    }
                    1 if !model.is_empty() => {
                        let (_, id) = model.swap_remove(number as usize % model.len());
                        prop_assert!(timers.update(id, Waker::noop()));
                        prop_assert!(timers.remove(id).is_some());
                        stale.push(id);
                    }
                    _ => {
                        while timers.expired(Instant::from_micros(number)).is_some() {
                            let first = (0..model.len()).min_by_key(|&i| model[i].0).expect("one expired");
                            prop_assert!(model[first].0 <= number);
                            stale.push(model.swap_remove(first).1);
                        }
                        prop_assert!(model.iter().all(|(at, _)| *at > number));
                    }
                }
                prop_assert_eq!(timers.next(), model.iter().map(|(at, _)| Instant::from_micros(*at)).min());
            }
            for id in stale {
                prop_assert!(timers.remove(id).is_none());
                prop_assert!(!timers.update(id, Waker::noop()));
            }
        }
    }
}
