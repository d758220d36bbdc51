//! Devices push while domains die.
//!
//! Afterwards every acknowledged record is in its segment, in order, unless the segment went for want of room; and every
//! acknowledged sample was counted once. A push that was refused as `busy` may have happened if the queen died with the
//! answer. A failing seed reproduces by its number.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::refusal::Refusal;
use runtime::region::Crash;

use crate::chaos::Dice;
use crate::support::{Hive, Options};

const SEEDS: u64 = 1000;
const STEPS: usize = 24;
/// Segments of a device.
const SEGMENTS: u32 = 3;
/// Samples that open the gate.
const SAMPLES: u64 = 5;
const DEVICES: [&str; 2] = ["dev-a", "dev-b"];

fn options(seed: u64) -> Options {
    let mut options = Options::seed(seed);
    let limits = &mut options.ingest.limits;
    limits.devices = 2;
    limits.segments = SEGMENTS as usize;
    limits.segment_bytes = 4200;
    limits.segment_records = 16;
    limits.device_bytes = 10_000;
    limits.models = 2;
    limits.jobs = 2;
    options.ingest.gate.min_samples = SAMPLES;
    options.ingest.gate.drift_threshold = 0.5;
    options
}

/// What the pushing side knows.
#[derive(Default)]
struct Device {
    /// The segment that it writes to.
    segment: u32,
    /// By segment, each record and whether it was acknowledged.
    sent: BTreeMap<u32, Vec<(String, bool)>>,
}

fn sample(n: u64) -> String {
    format!(
        r#"{{"schema_version":"gpu-telemetry/v1","device_id":"d","model_id":"m","time_window":{n},"token_count":1,"latency_histogram":[],"drift":0.75}}"#
    )
}

/// Begins a segment; whether that happened is then seen.
fn begin(hive: &mut Hive, name: &str, device: &mut Device) {
    let root = format!("/queen/telemetry/{name}");
    let request = r#"{"new":"segment","mime":"text/plain"}"#;
    match hive.echo(&format!("{root}/ctl"), request) {
        Ok(()) | Err(Refusal::OwnerDown) => {}
        // The region would not be written: it dies there at times.
        Err(Refusal::BufferFull) => return,
        Err(refusal) => panic!("{refusal}"),
    }
    let latest = hive.settled(|hive| match hive.cat(&format!("{root}/latest")) {
        Err(Refusal::InvalidPath) => Ok(String::new()),
        other => other,
    });
    let latest = latest
        .trim_end()
        .strip_prefix("seg-")
        .map_or(0, |number| number.parse().unwrap());
    assert!(
        latest >= device.segment,
        "{name}: segment {latest} after {}",
        device.segment
    );
    device.segment = latest;
    for number in 1..=latest {
        device.sent.entry(number).or_default();
    }
}

fn push(hive: &mut Hive, name: &str, device: &mut Device, record: String) {
    if device.segment == 0 {
        return;
    }
    let path = format!("/queen/telemetry/{name}/seg/seg-{:06}", device.segment);
    let acknowledged = match hive.echo(&path, &record) {
        Ok(()) => true,
        Err(Refusal::OwnerDown) => false,
        Err(Refusal::BufferFull) => return,
        Err(refusal) => panic!("{path}: {refusal}"),
    };
    device
        .sent
        .entry(device.segment)
        .or_default()
        .push((record, acknowledged));
}

fn life(seed: u64) {
    let mut hive = Hive::new(options(seed));
    let mut dice = Dice(seed ^ 0x51f1_5eed);
    let mut devices: [Device; 2] = Default::default();
    for step in 0..STEPS {
        hive.sim.set_panics(if step % 8 < 6 { 4_000 } else { 0 });
        let which = dice.below(2) as usize;
        let (name, device) = (DEVICES[which], &mut devices[which]);
        match dice.below(13) {
            0..=2 => begin(&mut hive, name, device),
            3..=7 => push(&mut hive, name, device, sample((seed << 8) + step as u64)),
            8 => push(
                &mut hive,
                name,
                device,
                format!("{step} {}", "x".repeat(dice.below(3000) as usize)),
            ),
            9 => {
                let region = hive.sim.region("queen", "telemetry").expect("she has one");
                let prefix = dice.below(40) as usize;
                region.crash_at(1 + dice.below(12), Crash::Torn { prefix });
            }
            10 => {
                hive.sim.inject_panic("queen", dice.below(40));
            }
            11 => {
                let off = Duration::from_millis(dice.below(500));
                hive = hive.killed(off, options(seed * 1000 + step as u64));
            }
            _ => hive.run(Duration::from_millis(dice.below(200))),
        }
    }
    hive.sim.set_panics(0);
    hive.sim
        .region("queen", "telemetry")
        .expect("she has one")
        .crash_never();
    hive.run(Duration::from_secs(1));
    let mut samples = (0, 0);
    for (name, device) in DEVICES.iter().zip(&devices) {
        kept(&mut hive, name, device);
        for (record, acknowledged) in device.sent.values().flatten() {
            if record.starts_with('{') {
                samples.0 += u64::from(*acknowledged);
                samples.1 += 1;
            }
        }
    }
    counted(&mut hive, samples);
}

/// Every acknowledged record is there, in its segment, unless that went.
fn kept(hive: &mut Hive, name: &str, device: &Device) {
    if device.segment == 0 {
        return;
    }
    let root = format!("/queen/telemetry/{name}/seg");
    let kept = hive.settled(|hive| hive.ls(&root));
    let mut bytes = 0;
    for (number, sent) in &device.sent {
        let segment = format!("seg-{number:06}");
        if !kept.contains(&segment) {
            let pressed = device
                .sent
                .values()
                .flatten()
                .map(|(record, _)| record.len() + 1)
                .sum::<usize>()
                > 10_000;
            let old = number + SEGMENTS <= device.segment;
            assert!(
                old || (pressed && *number < device.segment),
                "{name}: {segment} of {kept:?} went"
            );
            continue;
        }
        let text = hive.settled(|hive| hive.cat(&format!("{root}/{segment}")));
        bytes += text.len();
        let mut lines = text.lines();
        for (record, acknowledged) in sent {
            let mut rest = lines.clone();
            if rest.next() == Some(record) {
                lines = rest;
            } else {
                assert!(!acknowledged, "{name}: {segment} has lost {record:.40}");
            }
        }
        assert_eq!(lines.next(), None, "{name}: nobody has sent that to {segment}");
    }
    assert!(kept.len() <= SEGMENTS as usize && bytes <= 10_000);
}

/// Each acknowledged sample was counted once, in a job or in the window that is open.
fn counted(hive: &mut Hive, (acknowledged, sent): (u64, u64)) {
    let gates = hive.settled(|hive| hive.cat("/queen/export/gates"));
    let open = gates
        .split(['=', '/', ' '])
        .nth(3)
        .map_or(0, |samples| samples.parse().unwrap());
    let log = hive.log();
    let mut jobs: BTreeMap<String, u64> = BTreeMap::new();
    for line in &log {
        let Some((_, rest)) = line.split_once("lora-job opened id=") else {
            continue;
        };
        let (id, rest) = rest.split_once(' ').unwrap();
        let (_, rest) = rest.split_once("samples=").unwrap();
        jobs.insert(id.into(), rest.split(' ').next().unwrap().parse().unwrap());
    }
    let skipped = log.iter().any(|line| line.contains("lora-job skipped"));
    let counted = open + jobs.values().sum::<u64>();
    assert!(counted <= sent, "{counted} of {sent} samples: {gates} {jobs:?}");
    assert!(
        counted >= acknowledged || skipped,
        "{counted} of {acknowledged} samples: {gates} {jobs:?}"
    );
    assert!(open < SAMPLES, "what is enough becomes a job: {gates}");
    let listed = hive.settled(|hive| hive.ls("/queen/export/lora_jobs"));
    assert!(
        listed.len() <= 2 && listed.iter().all(|job| jobs.contains_key(job)),
        "{listed:?} {jobs:?}"
    );
    assert_eq!(listed.is_empty(), jobs.is_empty());
}

#[test]
fn no_acknowledged_record_is_missing_whoever_died_and_whenever() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| life(seed));
        assert!(outcome.is_ok(), "seed {seed} fails");
    }
}

#[test]
fn a_region_that_is_something_else_degrades_the_node() {
    let hive = Hive::new(options(3));
    let region = hive.sim.region("queen", "telemetry").expect("she has one");
    region.write_at(0, b"something else").unwrap();
    let mut hive = hive.killed(Duration::from_secs(1), options(3));
    assert_eq!(hive.state(), "state=DEGRADED");
    let told = "journal actor=queen region=telemetry outcome=corrupt why=header effect=started-empty";
    assert!(hive.log().contains(&told.to_string()), "{:?}", hive.log());
}
