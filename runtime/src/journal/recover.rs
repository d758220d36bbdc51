//! Opening a journal: which half is in force, and which records count.
//!
//! Answers for the verdict ([`Recovery`]) and for finishing what a crash interrupted: a flip, a torn tail, a wipe.
//! Every step may itself be cut short; opening again comes to the same verdict or to one that loses nothing more.
//!
//! Never shows a record to the owner before all of them have been verified.

use super::half::{BORN_CORRUPT, FIRST_RECORD, Half, Header, Slot, record_span};
use super::{Corruption, JournalError, Owner, Recovery, Unreadable};
use crate::region::{Region, RegionError};

/// A journal ready for use.
pub(super) struct Found {
    pub(super) half: Half,
    pub(super) generation: u64,
    pub(super) tail: usize,
    pub(super) records: usize,
    pub(super) recovery: Recovery,
}

/// Verifies, replays, repairs.
pub(super) fn recover(
    region: &Region,
    owner: Owner,
    buffer: &mut [u8],
    visit: impl FnMut(&[u8]) -> Result<(), Unreadable>,
) -> Found {
    let first = Half::of(region, 0);
    if !first.usable() {
        return Found {
            half: first,
            generation: 1,
            tail: FIRST_RECORD,
            records: 0,
            recovery: Recovery::Fresh,
        };
    }
    match choose(region, owner, first) {
        Choice::New => start(region, owner, first, 0, Recovery::Fresh),
        Choice::Wreck(why) => start_over(region, owner, why),
        Choice::Half {
            half,
            generation,
            flags,
        } => {
            // A flip that was cut short between its two magics is finished here.
            let finished = half.other().revoke(region);
            debug_assert!(unless_refused(finished), "a half lies within its region");
            replay(region, half, generation, flags, buffer, visit)
                .unwrap_or_else(|why| start_over(region, owner, why))
        }
    }
}

enum Choice {
    New,
    Half { half: Half, generation: u64, flags: u32 },
    Wreck(Corruption),
}

fn choose(region: &Region, owner: Owner, first: Half) -> Choice {
    let second = first.other();
    match (first.header(region, owner), second.header(region, owner)) {
        (Header::Idle { new: true }, Header::Idle { new: true }) => Choice::New,
        (Header::Sound { generation, flags }, Header::Idle { .. }) => Choice::Half {
            half: first,
            generation,
            flags,
        },
        (Header::Idle { .. }, Header::Sound { generation, flags }) => Choice::Half {
            half: second,
            generation,
            flags,
        },
        (
            Header::Sound {
                generation: a,
                flags: x,
            },
            Header::Sound {
                generation: b,
                flags: y,
            },
        ) => {
            // Both magics stand only between the two writes of a flip, which is from one generation to the next.
            if b == a.wrapping_add(1) {
                Choice::Half {
                    half: second,
                    generation: b,
                    flags: y,
                }
            } else if a == b.wrapping_add(1) {
                Choice::Half {
                    half: first,
                    generation: a,
                    flags: x,
                }
            } else {
                Choice::Wreck(Corruption::Header)
            }
        }
        (Header::Foreign, Header::Foreign | Header::Idle { .. }) | (Header::Idle { .. }, Header::Foreign) => {
            Choice::Wreck(Corruption::Foreign)
        }
        // A half whose header is broken may have been the newer one: the other must not pass for the present.
        _ => Choice::Wreck(Corruption::Header),
    }
}

/// Verifies every record of the half in force, then shows them to the owner.
fn replay(
    region: &Region,
    half: Half,
    generation: u64,
    flags: u32,
    buffer: &mut [u8],
    mut visit: impl FnMut(&[u8]) -> Result<(), Unreadable>,
) -> Result<Found, Corruption> {
    let (mut tail, mut records) = (FIRST_RECORD, 0);
    let torn = loop {
        match half.slot(region, generation, tail) {
            Slot::End => break false,
            Slot::Record { len } => {
                tail += record_span(len);
                records += 1;
            }
            Slot::Bad => break true,
        }
    };
    if torn {
        // A torn write is the last one: if any record behind this place verifies, it is not a torn write.
        let mut at = tail + 8;
        while at < half.bytes() {
            if let Slot::Record { .. } = half.slot(region, generation, at) {
                return Err(Corruption::Record { at: tail });
            }
            at += 8;
        }
    }
    let mut at = FIRST_RECORD;
    while at < tail {
        let Slot::Record { len } = half.slot(region, generation, at) else {
            return Err(Corruption::Record { at });
        };
        visit(half.record(region, at, len, buffer)).map_err(|Unreadable| Corruption::Unreadable { at })?;
        at += record_span(len);
    }
    if torn {
        half.write_end(region, tail)
            .map_err(|_| Corruption::Record { at: tail })?;
    }
    let recovery = if records == 0 && flags & BORN_CORRUPT != 0 {
        Recovery::Corrupt(Corruption::Earlier)
    } else if torn {
        Recovery::TornTail { at: tail }
    } else {
        Recovery::Clean
    };
    Ok(Found {
        half,
        generation,
        tail,
        records,
        recovery,
    })
}

/// Makes an empty journal in the first half of a region whose second half is not in force.
fn start(region: &Region, owner: Owner, half: Half, flags: u32, recovery: Recovery) -> Found {
    let made = half
        .write_end(region, FIRST_RECORD)
        .and_then(|()| half.enforce(region, owner, 1, flags));
    debug_assert!(
        unless_refused(made),
        "a usable half takes an end mark and a header"
    );
    Found {
        half,
        generation: 1,
        tail: FIRST_RECORD,
        records: 0,
        recovery,
    }
}

/// Wipes a region that does not verify and starts empty. Until the new header stands, opening again says corrupt.
fn start_over(region: &Region, owner: Owner, why: Corruption) -> Found {
    let first = Half::of(region, 0);
    let second = first.other();
    let wiped = second
        .mark_wreck(region)
        .and_then(|()| first.wipe(region, 0))
        .and_then(|()| second.wipe(region, Half::MAGIC_BYTES));
    debug_assert!(unless_refused(wiped), "a half lies within its region");
    start(region, owner, first, BORN_CORRUPT, Recovery::Corrupt(why))
}

/// Whether a write was done, or refused by a test's crash plan, which refuses all that follow as well.
fn unless_refused(done: Result<(), JournalError>) -> bool {
    matches!(done, Ok(()) | Err(JournalError::Region(RegionError::Refused)))
}
