//! Crashes at every write, and regions full of garbage.
//!
//! A script of appends and compactions is run once to count its writes to the region. Then, for every write and
//! every prefix of it, the script is run until exactly that prefix has reached the region and nothing after it, the
//! journal is opened again (with a second crash at every write of the opening), and its records must be those that
//! were acknowledged, or those and the effect of the operation that was cut short.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::region::{Crash, Region};

const OWNER: Owner = Owner::new("test", 1);
const REGION_BYTES: usize = 2048;
/// How much of the write at the crash reaches the region. Everything that is not a record's bytes or a wipe is
/// written in at most 40 bytes, so that it is cut at each of them.
const PREFIXES: [usize; 44] = {
    let mut prefixes = [0; 44];
    let mut i = 0;
    while i <= 40 {
        prefixes[i] = i;
        i += 1;
    }
    prefixes[41] = 299;
    prefixes[42] = 1023;
    prefixes[43] = usize::MAX;
    prefixes
};

fn open(region: &Region) -> (Journal, Recovery, Vec<Vec<u8>>) {
    let mut records = Vec::new();
    let (journal, recovery) = Journal::open(region.clone(), OWNER, |record| {
        records.push(record.to_vec());
        Ok(())
    });
    (journal, recovery, records)
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Append a record of that many bytes.
    Append(usize),
    /// Compact to the last few records.
    Keep(usize),
}

const SCRIPT: &[Op] = &[
    Op::Append(0),
    Op::Append(1),
    Op::Append(7),
    Op::Append(8),
    Op::Append(300),
    Op::Keep(3),
    Op::Append(33),
    Op::Append(0),
    Op::Keep(0),
    Op::Append(16),
    Op::Append(64),
    Op::Keep(2),
    Op::Keep(2),
    Op::Append(5),
];

fn payload(step: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (step * 31 + i * 7 + 1) as u8).collect()
}

/// The records after an operation.
fn effect(mut records: Vec<Vec<u8>>, step: usize, op: Op) -> Vec<Vec<u8>> {
    match op {
        Op::Append(len) => records.push(payload(step, len)),
        Op::Keep(count) => {
            records.drain(..records.len().saturating_sub(count));
        }
    }
    records
}

fn apply(journal: &mut Journal, records: &[Vec<u8>], step: usize, op: Op) -> Result<(), JournalError> {
    match op {
        Op::Append(len) => journal.append(&payload(step, len)),
        Op::Keep(_) => {
            let kept = effect(records.to_vec(), step, op);
            journal.compact(|snapshot| kept.iter().try_for_each(|record| snapshot.record(record)))
        }
    }
}

/// Runs the script on a region that dies at some point; gives the acknowledged records and, if an operation was cut
/// short, the records it would have left.
fn run(region: &Region) -> (Vec<Vec<u8>>, Option<Vec<Vec<u8>>>) {
    let (mut journal, _, mut records) = open(region);
    for (step, op) in SCRIPT.iter().enumerate() {
        let after = effect(records.clone(), step, *op);
        match apply(&mut journal, &records, step, *op) {
            Ok(()) => records = after,
            Err(JournalError::Region(_)) => return (records, Some(after)),
            Err(error) => panic!("step {step}: {error}"),
        }
    }
    (records, None)
}

#[test]
fn a_crash_at_any_byte_of_any_write_loses_nothing_acknowledged() {
    let whole = Region::in_memory(REGION_BYTES);
    assert_eq!(run(&whole).1, None);
    let (mut cuts, mut torn) = (0, 0);
    for write in 1..=whole.writes() {
        for prefix in PREFIXES {
            let region = Region::in_memory(REGION_BYTES);
            region.crash_at(write, Crash::TornRefuse { prefix });
            let (acknowledged, in_flight) = run(&region);
            region.crash_never();
            let image = region.to_vec();

            let (mut journal, recovery, records) = open(&region);
            assert!(
                !recovery.is_corrupt(),
                "write {write} cut to {prefix}: {recovery}"
            );
            let expected = [Some(&acknowledged), in_flight.as_ref()];
            assert!(
                expected.contains(&Some(&records)),
                "write {write} cut to {prefix}: {records:?}"
            );
            cuts += 1;
            torn += usize::from(matches!(recovery, Recovery::TornTail { .. }));

            journal.append(b"after").unwrap();
            let (_, recovery, more) = open(&region);
            assert_eq!(recovery, Recovery::Clean);
            assert_eq!(more.split_last().unwrap(), (&b"after".to_vec(), &records[..]));

            crash_while_opening(&image, &records);
        }
    }
    assert!(
        cuts > 1000 && torn > 10,
        "{cuts} cuts, {torn} torn tails: the test cuts too little"
    );
}

/// Opens with a crash at every write that opening makes; the records must be there afterwards all the same.
fn crash_while_opening(image: &[u8], records: &[Vec<u8>]) {
    let probe = Region::from_bytes(image);
    let before = probe.writes();
    open(&probe);
    for write in 1..=probe.writes() - before {
        for prefix in PREFIXES {
            let region = Region::from_bytes(image);
            region.crash_at(write, Crash::TornRefuse { prefix });
            open(&region);
            region.crash_never();
            let (_, recovery, again) = open(&region);
            assert!(
                !recovery.is_corrupt(),
                "opening, write {write} cut to {prefix}: {recovery}"
            );
            assert_eq!(again, records);
        }
    }
}

#[test]
fn a_corrupt_region_stays_corrupt_until_something_is_written() {
    let region = Region::in_memory(REGION_BYTES);
    run(&region);
    let mut image = region.to_vec();
    // Both magics: whichever half is in force.
    image[3] ^= 0x40;
    image[REGION_BYTES / 2 + 3] ^= 0x40;
    let probe = Region::from_bytes(&image);
    let (_, recovery, records) = open(&probe);
    assert_eq!(
        (recovery, records.len()),
        (Recovery::Corrupt(Corruption::Header), 0)
    );
    for write in 1..=probe.writes() {
        for prefix in PREFIXES {
            let region = Region::from_bytes(&image);
            region.crash_at(write, Crash::TornRefuse { prefix });
            open(&region);
            region.crash_never();
            let (mut journal, recovery, records) = open(&region);
            assert!(recovery.is_corrupt(), "write {write} cut to {prefix}: {recovery}");
            assert!(records.is_empty());
            journal.append(b"new life").unwrap();
            let (_, recovery, records) = open(&region);
            assert_eq!((recovery, records), (Recovery::Clean, vec![b"new life".to_vec()]));
        }
    }
}

#[test]
fn a_damaged_record_before_others_is_corruption_and_not_a_torn_tail() {
    let region = Region::in_memory(REGION_BYTES);
    let (mut journal, recovery, _) = open(&region);
    assert_eq!(recovery, Recovery::Fresh);
    for step in 0..3 {
        journal.append(&payload(step, 20)).unwrap();
    }
    for at in half::FIRST_RECORD..half::FIRST_RECORD + 28 {
        let mut image = region.to_vec();
        image[at] ^= 1;
        let (_, recovery, records) = open(&Region::from_bytes(&image));
        assert_eq!(
            recovery,
            Recovery::Corrupt(Corruption::Record {
                at: half::FIRST_RECORD
            }),
            "byte {at}"
        );
        assert!(records.is_empty());
    }
}

#[test]
fn the_owner_can_refuse_a_record() {
    let region = Region::in_memory(REGION_BYTES);
    let (mut journal, ..) = open(&region);
    journal.append(b"one").unwrap();
    let (_, recovery) = Journal::open(region.clone(), OWNER, |_| Err(Unreadable));
    assert_eq!(
        recovery,
        Recovery::Corrupt(Corruption::Unreadable {
            at: half::FIRST_RECORD
        })
    );
    let (_, recovery, records) = open(&region);
    assert_eq!(
        (recovery, records.len()),
        (Recovery::Corrupt(Corruption::Earlier), 0)
    );
}

#[test]
fn another_owner_or_schema_is_foreign() {
    for other in [Owner::new("test", 2), Owner::new("tess", 1)] {
        let region = Region::in_memory(REGION_BYTES);
        let (mut journal, ..) = open(&region);
        journal.append(b"mine").unwrap();
        let (_, recovery) = Journal::open(region, other, |_| panic!("shown to another owner"));
        assert_eq!(recovery, Recovery::Corrupt(Corruption::Foreign));
    }
}

#[test]
fn full_is_an_error_that_compaction_cures() {
    let region = Region::in_memory(REGION_BYTES);
    let (mut journal, ..) = open(&region);
    let mut count = 0;
    while journal.free_bytes() >= 24 {
        journal.append(&payload(count, 24)).unwrap();
        count += 1;
    }
    assert!(count > 20);
    assert_eq!(journal.append(&payload(count, 24)), Err(JournalError::Full));
    assert_eq!(open(&region).2.len(), count);
    // A snapshot that does not fit leaves the old records in force.
    let refused =
        journal.compact(|snapshot| (0..=count).try_for_each(|step| snapshot.record(&payload(step, 24))));
    assert_eq!(refused, Err(JournalError::Full));
    assert_eq!(open(&region).2.len(), count);
    journal.compact(|snapshot| snapshot.record(b"kept")).unwrap();
    journal.append(&payload(count, 24)).unwrap();
    assert_eq!(open(&region).2, vec![b"kept".to_vec(), payload(count, 24)]);
}

#[test]
fn values_are_records() {
    let region = Region::in_memory(4 * MAX_RECORD_BYTES);
    let (mut journal, ..) = open(&region);
    journal.append_value(&(7u32, "seven")).unwrap();
    journal
        .compact(|snapshot| snapshot.value(&(8u32, "eight")))
        .unwrap();
    journal.append_value(&(9u32, "nine")).unwrap();
    let mut seen = Vec::new();
    Journal::open(region, OWNER, |record| {
        let (n, name): (u32, &str) = postcard::from_bytes(record).map_err(|_| Unreadable)?;
        seen.push((n, alloc::string::String::from(name)));
        Ok(())
    });
    assert_eq!(seen, [(8, "eight".into()), (9, "nine".into())]);
    let long = vec![1u8; MAX_RECORD_BYTES + 1];
    assert_eq!(
        journal.append(&long),
        Err(JournalError::TooLong {
            len: MAX_RECORD_BYTES + 1
        })
    );
    let long = core::str::from_utf8(&long).unwrap();
    assert!(matches!(
        journal.append_value(long),
        Err(JournalError::TooLong { .. })
    ));
}

#[test]
fn a_region_too_small_for_a_record_is_always_full() {
    for len in [0, 1, 15, 100, MIN_REGION_BYTES - 1] {
        let region = Region::in_memory(len);
        let (mut journal, recovery, _) = open(&region);
        assert_eq!(recovery, Recovery::Fresh);
        assert_eq!(journal.append(b""), Err(JournalError::Full));
        assert_eq!(journal.compact(|_| Ok(())), Err(JournalError::Full));
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(image in prop::collection::vec(any::<u8>(), 0..1500)) {
        let region = Region::from_bytes(&image);
        let (mut journal, _, records) = open(&region);
        prop_assert!(records.is_empty());
        let appended = journal.append(b"works").is_ok();
        prop_assert_eq!(appended, image.len() >= MIN_REGION_BYTES);
        prop_assert_eq!(open(&region).2.len(), usize::from(appended));
    }

    #[test]
    fn damage_never_invents_or_alters_a_record(
        damage in prop::collection::vec((0..REGION_BYTES, any::<u8>()), 1..6),
        steps in 1..SCRIPT.len(),
    ) {
        let region = Region::in_memory(REGION_BYTES);
        let (mut journal, _, mut truth) = open(&region);
        for (step, op) in SCRIPT[..steps].iter().enumerate() {
            apply(&mut journal, &truth, step, *op).unwrap();
            truth = effect(truth, step, *op);
        }
        let mut image = region.to_vec();
        for (at, byte) in damage {
            image[at] = byte;
        }
        let region = Region::from_bytes(&image);
        let (mut journal, recovery, records) = open(&region);
        if recovery.is_corrupt() {
            prop_assert!(records.is_empty());
        } else {
            prop_assert!(truth.starts_with(&records));
        }
        prop_assert!(journal.append(b"works").is_ok());
    }
}
