//! Files at NineDoor that the fids of one connection name: a bounded table of counted handles.
//!
//! Answers for a file being clunked there when its last handle goes. A 9P client may give one file several fids, and
//! the server several handles to each. Never allocates after `new`, never waits.

use alloc::rc::Rc;
use core::cell::{Cell, Ref, RefCell};

use ninep::Fid;

#[derive(Default)]
struct Slot {
    holders: Cell<u32>,
    fid: RefCell<Option<Fid>>,
}

/// The table.
pub(super) struct Holds(Rc<[Slot]>);

/// A handle. The file is clunked by its client's driver when the last one is dropped.
pub(super) struct Hold {
    slots: Rc<[Slot]>,
    at: usize,
}

impl Holds {
    /// For so many files.
    pub(super) fn new(count: usize) -> Holds {
        Holds((0..count).map(|_| Slot::default()).collect())
    }

    /// Takes a file in. Without room it is dropped, which clunks it.
    pub(super) fn put(&self, fid: Fid) -> Option<Hold> {
        let (at, slot) = self
            .0
            .iter()
            .enumerate()
            .find(|(_, slot)| slot.holders.get() == 0)?;
        *slot.fid.try_borrow_mut().ok()? = Some(fid);
        slot.holders.set(1);
        Some(Hold {
            slots: self.0.clone(),
            at,
        })
    }

    /// How many files are held.
    pub(super) fn len(&self) -> usize {
        self.0.iter().filter(|slot| slot.holders.get() > 0).count()
    }

    /// A handle to the file at `at`, if one is held there.
    pub(super) fn at(&self, at: usize) -> Option<Hold> {
        let slot = self.0.get(at).filter(|slot| slot.holders.get() > 0)?;
        slot.holders.set(slot.holders.get() + 1);
        Some(Hold {
            slots: self.0.clone(),
            at,
        })
    }

    /// How many files could be held.
    pub(super) fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl Hold {
    fn slot(&self) -> Option<&Slot> {
        self.slots.get(self.at)
    }

    /// The file. The loan may last: a slot changes only when nobody has a handle to it, or by the last one.
    pub(super) fn fid(&self) -> Option<Ref<'_, Fid>> {
        let fid = self.slot()?.fid.try_borrow().ok()?;
        Ref::filter_map(fid, Option::as_ref).ok()
    }

    /// Gives the handle back; returns the file if it was the last.
    pub(super) fn give_back(self) -> Option<Fid> {
        let slot = self.slot().filter(|slot| slot.holders.get() == 1)?;
        slot.fid.try_borrow_mut().ok()?.take()
    }
}

impl Clone for Hold {
    fn clone(&self) -> Hold {
        if let Some(slot) = self.slot() {
            slot.holders.set(slot.holders.get() + 1);
        }
        Hold {
            slots: self.slots.clone(),
            at: self.at,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(slot) = self.slot() else { return };
        slot.holders.set(slot.holders.get().saturating_sub(1));
        if slot.holders.get() == 0
            && let Ok(mut fid) = slot.fid.try_borrow_mut()
        {
            *fid = None;
        }
    }
}
