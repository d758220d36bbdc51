//! GPU leases behind a real door, with real workers: granted, told, released, remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::gpu::{Lease, LeaseState, Report};
use protocol::refusal::Refusal;
use runtime::region::Crash;

use crate::support::{Hive, Options};

/// What the seed says GPU-0 has, and the streams of a GPU that says nothing of them.
const CAPACITY: (u32, u32) = (24_576, 16);
const TICK_MS: u64 = 100;

fn request(gpu: &str, mem_mb: u32, streams: u32, ttl_s: u64) -> String {
    format!(
        r#"{{"spawn":"gpu","lease":{{"gpu_id":"{gpu}","mem_mb":{mem_mb},"streams":{streams},"ttl_s":{ttl_s}}}}}"#
    )
}

/// Every worker that the lease file of GPU-0 tells of: how its lease stands, and of what size it is.
fn told(hive: &mut Hive) -> BTreeMap<u64, (LeaseState, u32, u32)> {
    let text = hive.settled(|hive| hive.cat("/gpu/GPU-0/lease"));
    let lease = |line| {
        let lease = Lease::parse(line).unwrap();
        let number = lease.worker_id.strip_prefix("worker-").unwrap().parse().unwrap();
        (number, (lease.state, lease.mem_mb, lease.streams))
    };
    text.lines().map(lease).collect()
}

/// The last line: its worker and how its lease stands.
fn last(hive: &mut Hive) -> Option<(String, LeaseState)> {
    let text = hive.settled(|hive| hive.cat("/gpu/GPU-0/lease"));
    let lease = Lease::parse(text.lines().last()?).unwrap();
    Some((lease.worker_id.to_string(), lease.state))
}

/// What is in force fits the GPU, and the last line is one of it.
fn check(hive: &mut Hive) -> BTreeMap<u64, (LeaseState, u32, u32)> {
    let told = told(hive);
    let active = || told.values().filter(|lease| lease.0 == LeaseState::Active);
    let (mem_mb, streams) = (
        active().map(|lease| lease.1).sum::<u32>(),
        active().map(|lease| lease.2).sum::<u32>(),
    );
    assert!(mem_mb <= CAPACITY.0 && streams <= CAPACITY.1, "{told:?}");
    told
}

#[test]
fn a_lease_is_told_before_its_worker_runs_and_when_it_is_over() {
    let mut hive = Hive::new(Options::seeded(1));
    hive.settled(|hive| hive.ctl(&request("GPU-0", 1024, 1, 600)));
    hive.run(Duration::from_millis(20));
    hive.ctl(&request("GPU-0", 2048, 2, 1)).unwrap();
    assert_eq!(last(&mut hive), Some(("worker-2".into(), LeaseState::Active)));
    assert_eq!(hive.workers(), [1, 2]);
    hive.run(Duration::from_millis(950));
    let text = hive.cat("/worker/worker-2/telemetry").unwrap();
    let ticks: Vec<u64> = text
        .lines()
        .map(|line| Report::parse(line).unwrap().tick)
        .collect();
    assert_eq!(ticks, (1..=9).collect::<Vec<_>>());
    hive.run(Duration::from_millis(60));
    assert_eq!(hive.workers(), [1]);
    assert_eq!(told(&mut hive)[&2].0, LeaseState::Released);
    assert_eq!(last(&mut hive), Some(("worker-1".into(), LeaseState::Active)));
    let log = hive.log();
    for line in [
        "spawned worker-2 gpu=GPU-0 mem_mb=2048 streams=2 priority=0 ttl=1",
        "revoked worker-2 gpu=GPU-0 reason=expired",
    ] {
        assert!(log.iter().any(|told| told == line), "{line} is not in {log:#?}");
    }
    hive.kill(1).unwrap();
    assert_eq!(last(&mut hive), Some(("worker-1".into(), LeaseState::Released)));
}

#[test]
fn more_than_is_free_is_refused_and_what_was_freed_can_be_had() {
    let mut hive = Hive::new(Options::seeded(2));
    hive.settled(|hive| hive.ctl(&request("GPU-0", 24_000, 15, 600)));
    for (mem_mb, streams) in [(577, 1), (1, 2), (u32::MAX, u32::MAX)] {
        assert_eq!(
            hive.ctl(&request("GPU-0", mem_mb, streams, 600)),
            Err(Refusal::GpuBusy)
        );
    }
    assert!(
        hive.log().contains(
            &"lease denied gpu=GPU-0 mem_mb=1 streams=2 free_mem_mb=576 free_streams=1".to_string()
        )
    );
    assert_eq!(
        hive.ctl(&request("GPU-9", 1, 1, 600)),
        Err(Refusal::InvalidPayload)
    );
    assert_eq!(hive.ctl(&request("GPU-0", 576, 1, 600)), Ok(()));
    hive.kill(1).unwrap();
    assert_eq!(hive.ctl(&request("GPU-0", 24_000, 15, 600)), Ok(()));
    check(&mut hive);
}

#[test]
fn a_worker_whose_lease_an_operator_released_gives_it_back() {
    let mut hive = Hive::new(Options::seeded(3));
    hive.settled(|hive| hive.ctl(&request("GPU-0", 1024, 1, 600)));
    let line = hive.cat("/gpu/GPU-0/lease").unwrap();
    let line = line.trim_end().replacen("ACTIVE", "RELEASED", 1);
    hive.echo("/gpu/GPU-0/lease", &line).unwrap();
    hive.run(Duration::from_millis(2 * TICK_MS));
    assert_eq!(hive.workers(), [0; 0]);
    assert!(
        hive.log()
            .contains(&"revoked worker-1 gpu=GPU-0 reason=released".to_string())
    );
    assert_eq!(hive.ctl(&request("GPU-0", CAPACITY.0, CAPACITY.1, 600)), Ok(()));
}

/// Numbers by seed; any would do.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A lease that was acknowledged.
struct Known {
    /// No sooner than this is it over, and no later than that: Unix milliseconds.
    over_ms: (u64, u64),
    /// Somebody tried to kill it.
    doubtful: bool,
}

#[test]
fn whoever_dies_leases_never_exceed_the_gpu_nor_outlive_their_time() {
    for seed in 0..100 {
        let outcome = std::panic::catch_unwind(|| life(seed));
        assert!(outcome.is_ok(), "seed {seed} fails");
    }
}

fn life(seed: u64) {
    let options = Options::seeded(seed);
    let mut hive = Hive::new(options.clone());
    let mut dice = Dice(seed ^ 0x51_7c_c1_b7);
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    for step in 0..30 {
        hive.sim.set_panics(if step % 8 < 6 { 3_000 } else { 0 });
        match dice.below(12) {
            0..=4 => {
                let (mem_mb, streams) = (1 + dice.below(12_000) as u32, 1 + dice.below(8) as u32);
                let ttl_s = 1 + dice.below(3);
                let before = hive.unix_ms();
                match hive.ctl(&request("GPU-0", mem_mb, streams, ttl_s)) {
                    Ok(()) => {
                        let after = hive.unix_ms();
                        let newest = *told(&mut hive).keys().max().expect("its line");
                        let over_ms = (before + 1000 * ttl_s, after + 1000 * ttl_s);
                        known.insert(
                            newest,
                            Known {
                                over_ms,
                                doubtful: false,
                            },
                        );
                    }
                    Err(Refusal::OwnerDown | Refusal::GpuBusy | Refusal::BufferFull) => {}
                    Err(refusal) => panic!("spawn: {refusal}"),
                }
            }
            5..=6 => {
                let workers = hive.workers();
                if !workers.is_empty() {
                    let number = workers[dice.below(workers.len() as u64) as usize];
                    if let Some(known) = known.get_mut(&number) {
                        known.doubtful = true;
                    }
                    match hive.kill(number) {
                        Ok(()) => assert_ne!(
                            told(&mut hive).get(&number).map(|lease| lease.0),
                            Some(LeaseState::Active),
                            "worker-{number} was killed"
                        ),
                        Err(Refusal::OwnerDown | Refusal::InvalidPath) => {}
                        Err(refusal) => panic!("kill: {refusal}"),
                    }
                }
            }
            7 => {
                let domain = ["queen", "ninedoor", "worker-gpu"][dice.below(3) as usize];
                hive.sim.inject_panic(domain, dice.below(60));
            }
            8 => {
                let region = ["journal", "gpu"][dice.below(2) as usize];
                let journal = hive.sim.region("queen", region).expect("she has both");
                let prefix = dice.below(40) as usize;
                journal.crash_at(1 + dice.below(12), Crash::Torn { prefix });
            }
            9 => {
                let options = Options {
                    seed: seed * 1000 + step,
                    ..options.clone()
                };
                hive = hive.killed(Duration::from_millis(dice.below(1500)), options);
            }
            _ => hive.run(Duration::from_millis(dice.below(600))),
        }
        judge(&mut hive, &known);
    }
    hive.sim.set_panics(0);
    for region in ["journal", "gpu"] {
        hive.sim
            .region("queen", region)
            .expect("she has both")
            .crash_never();
    }
    hive.run(Duration::from_secs(5));
    judge(&mut hive, &known);
    let told = check(&mut hive);
    assert!(
        told.values().all(|lease| lease.0 == LeaseState::Released),
        "all their times are over: {told:?}"
    );
    assert_eq!(hive.workers(), [0; 0]);
}

/// What the files say is what was acknowledged, and no lease is in force a tick after its time.
fn judge(hive: &mut Hive, known: &BTreeMap<u64, Known>) {
    let before = hive.unix_ms();
    let told = check(hive);
    let after = hive.unix_ms();
    for (number, known) in known {
        let state = told.get(number).map(|lease| lease.0);
        if before > known.over_ms.1 + TICK_MS {
            assert_ne!(
                state,
                Some(LeaseState::Active),
                "worker-{number} was over at {:?}, and it is {before}",
                known.over_ms
            );
        } else if after < known.over_ms.0 && !known.doubtful {
            // Of more leases than the file holds, the newest are there.
            let given_way = state.is_none() && told.len() >= 7;
            assert!(
                state == Some(LeaseState::Active) || given_way,
                "worker-{number} was acknowledged until {:?}, and at {after} it is {state:?}",
                known.over_ms
            );
        }
    }
}

#[test]
fn a_crash_at_any_write_to_either_journal_leaves_file_and_table_as_one() {
    for region in ["journal", "gpu"] {
        for crash in [Crash::Panic, Crash::Torn { prefix: 5 }] {
            let mut write = 1;
            while crashing_life(region, write, crash) {
                write += 1;
            }
            assert!(write > 5, "{region} was written only {write} times");
        }
    }
}

/// A short life with a crash at that write; `false` if it makes fewer writes.
fn crashing_life(region: &str, write: u64, crash: Crash) -> bool {
    let mut hive = Hive::new(Options::seeded(write));
    hive.run(Duration::from_millis(10));
    let journal = hive.sim.region("queen", region).expect("she has both");
    let writes = journal.writes();
    journal.crash_at(write, crash);
    let mut alive = Vec::new();
    for mem_mb in [1000, 2000, 3000] {
        match hive.ctl(&request("GPU-0", mem_mb, 1, 600)) {
            Ok(()) => alive.push(*told(&mut hive).keys().max().unwrap()),
            Err(Refusal::OwnerDown) => {}
            Err(refusal) => panic!("spawn: {refusal}"),
        }
    }
    if let Some(first) = alive.first().copied() {
        match hive.kill(first) {
            Ok(()) | Err(Refusal::OwnerDown) => drop(alive.remove(0)),
            Err(refusal) => panic!("kill: {refusal}"),
        }
    }
    hive.run(Duration::from_millis(200));
    let crashed = journal.writes() - writes >= write;
    journal.crash_never();
    hive.run(Duration::from_secs(2));
    let told = check(&mut hive);
    let active: Vec<u64> = told
        .iter()
        .filter(|(_, lease)| lease.0 == LeaseState::Active)
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(active, hive.workers(), "write {write} to {region}");
    assert!(
        alive.iter().all(|number| active.contains(number)),
        "write {write} to {region}: {alive:?} were acknowledged, {active:?} are there"
    );
    crashed
}
