//! Files that a crash left in any state, and tables that are never over capacity.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::record::{Kind, Spec};

const GPU: &str = "GPU-0";

fn gpu() -> GpuId {
    GpuId::new(GPU).unwrap()
}

fn grant(mem_mb: u32, streams: u32, priority: u32) -> Grant {
    Grant {
        gpu: gpu(),
        mem_mb,
        streams,
        ttl_s: 60,
        priority,
    }
}

fn spec(number: u64, grant: Grant) -> Spec {
    Spec {
        number,
        kind: Kind::Gpu(grant),
        ttl_s: 60,
        ops: None,
        issued_ms: 0,
    }
}

fn table(numbers: &[u64]) -> Workers {
    let mut workers = Workers::new(8);
    for number in numbers {
        assert!(workers.add(spec(*number, grant(1024, 1, 0))));
    }
    workers
}

fn active(number: u64) -> String {
    line(number, &grant(1024, 1, 0), LeaseState::Active).to_string()
}

fn released(number: u64) -> String {
    line(number, &grant(1024, 1, 0), LeaseState::Released).to_string()
}

/// The file with one more line; the oldest give way.
fn append(file: &mut String, line: &str) {
    *file += &format!("{line}\n");
    while file.len() > LEASE_BYTES {
        let cut = file.find('\n').unwrap();
        *file = file.split_off(cut + 1);
    }
}

/// Settles a file; gives how many lines that took.
fn settle(file: &mut String, workers: &Workers) -> usize {
    for count in 0..LINES {
        match next_line(file, workers, &gpu()) {
            Some(line) => append(file, &line),
            None => return count,
        }
    }
    panic!("it never ends: {file}");
}

fn states(file: &str) -> Vec<(String, LeaseState)> {
    let lease = |line| {
        let lease = Lease::parse(line).unwrap();
        (lease.worker_id.to_string(), lease.state)
    };
    file.lines().map(lease).collect()
}

#[test]
fn a_line_is_what_wire_4_8_shows() {
    assert_eq!(
        active(1),
        r#"{"schema":"gpu-lease/v1","state":"ACTIVE","gpu_id":"GPU-0","worker_id":"worker-1","mem_mb":1024,"streams":1,"ttl_s":60,"priority":0}"#
    );
    let longest = Grant {
        gpu: GpuId::new(&"g".repeat(32)).unwrap(),
        mem_mb: u32::MAX,
        streams: u32::MAX,
        ttl_s: u64::MAX,
        priority: u32::MAX,
    };
    let line = line(u64::MAX, &longest, LeaseState::Released);
    assert!(Lease::parse(&line).is_ok(), "{line} is cut");
}

#[test]
fn the_last_line_is_of_a_lease_in_force_while_there_is_one() {
    let mut file = String::new();
    settle(&mut file, &table(&[1]));
    settle(&mut file, &table(&[1, 2]));
    assert_eq!(file, format!("{}\n{}\n", active(1), active(2)));
    settle(&mut file, &table(&[1]));
    assert!(
        file.ends_with(&format!("{}\n{}\n", released(2), active(1))),
        "{file}"
    );
    settle(&mut file, &table(&[]));
    assert!(file.ends_with(&format!("{}\n", released(1))), "{file}");
    assert_eq!(settle(&mut file, &table(&[])), 0);
}

#[test]
fn what_somebody_else_wrote_does_not_stand_against_the_table() {
    let mut file = String::new();
    // Not a lease; a lease of nobody; a release of one that is in force.
    for line in ["{\"note\":1}", &active(9), &active(1), &released(1)] {
        append(&mut file, line);
    }
    assert_eq!(settle(&mut file, &table(&[1])), 2);
    assert!(
        file.ends_with(&format!("{}\n{}\n", released(9), active(1))),
        "{file}"
    );
}

#[test]
fn more_leases_than_lines_settle_as_well() {
    let numbers: Vec<u64> = (1..=8).collect();
    let mut file = String::new();
    assert!(8 * (active(1).len() + 1) > LEASE_BYTES);
    settle(&mut file, &table(&numbers));
    assert_eq!(settle(&mut file, &table(&numbers)), 0);
    assert!(file.ends_with(&format!("{}\n", active(8))), "{file}");
}

#[test]
fn what_is_free_is_what_is_not_leased() {
    let capacity = Capacity {
        memory_mb: 4096,
        streams: 2,
    };
    let left = |mem_mb, streams| Some(Free { mem_mb, streams });
    assert_eq!(free(capacity, &table(&[]), &gpu()), left(4096, 2));
    assert_eq!(free(capacity, &table(&[1, 2]), &gpu()), left(2048, 0));
    assert_eq!(free(capacity, &table(&[1, 2, 3]), &gpu()), None);
    let other = GpuId::new("GPU-1").unwrap();
    assert_eq!(free(capacity, &table(&[1, 2, 3]), &other), left(4096, 2));
    let free = free(capacity, &table(&[1]), &gpu()).unwrap();
    assert!(free.holds(3072, 1) && !free.holds(3073, 1) && !free.holds(1, 2));
}

/// What happens to the leases of a GPU.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask(u32, u32),
    End(u64),
    /// A crash after that many of the lines that a settlement writes.
    Crash(usize),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..9000u32, 1..6u32).prop_map(|(mem_mb, streams)| Event::Ask(mem_mb, streams)),
        3 => (1..30u64).prop_map(Event::End),
        1 => (0..4usize).prop_map(Event::Crash),
    ]
}

proptest! {
    #[test]
    fn leases_are_never_over_capacity_and_the_file_says_so(events in prop::collection::vec(events(), 0..60)) {
        let capacity = Capacity { memory_mb: 24_576, streams: 8 };
        let (mut workers, mut file, mut next, mut crash) = (Workers::new(8), String::new(), 1, None);
        for event in events {
            match event {
                Event::Ask(mem_mb, streams) => {
                    let free = free(capacity, &workers, &gpu()).unwrap();
                    if free.holds(mem_mb, streams) && workers.room().is_ok() {
                        workers.add(spec(next, grant(mem_mb, streams, 0)));
                        next += 1;
                    }
                }
                Event::End(number) => {
                    workers.set_gone(number);
                }
                Event::Crash(lines) => {
                    crash = Some(lines);
                    continue;
                }
            }
            for _ in 0..crash.take().unwrap_or(0) {
                if let Some(line) = next_line(&file, &workers, &gpu()) {
                    append(&mut file, &line);
                }
            }
            settle(&mut file, &workers);
            prop_assert_eq!(settle(&mut file, &workers), 0, "settled is settled");

            let held: Vec<Grant> = leases(&workers, &gpu()).map(|lease| lease.1).collect();
            let sum = |part: fn(&Grant) -> u32| held.iter().map(|grant| u64::from(part(grant))).sum::<u64>();
            prop_assert!(sum(|grant| grant.mem_mb) <= 24_576 && sum(|grant| grant.streams) <= 8);

            let states = states(&file);
            let last = states.last().map(|last| last.1);
            prop_assert_eq!(last == Some(LeaseState::Active), !held.is_empty());
            for (worker, _) in &states {
                let state = states.iter().rfind(|state| state.0 == *worker).unwrap().1;
                let wanted = number_of(worker).is_some_and(|number| workers.is_wanted(number));
                prop_assert_eq!(state == LeaseState::Active, wanted, "{} in {}", worker, file);
            }
        }
    }
}
