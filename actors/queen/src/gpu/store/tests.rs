//! A life of the GPUs, with a crash at every write to the journal.

use std::format;
use std::string::String;
use std::vec::Vec;

use runtime::region::Crash;

use super::*;

const SEEDED: GpuConfig = GpuConfig {
    streams: 16,
    bridge_timeout: core::time::Duration::from_secs(10),
    seeded: true,
};

fn open(region: &Region) -> (Gpus, Recovery) {
    Gpus::open(region.clone(), &SEEDED).unwrap()
}

fn info(id: &str, memory_mb: u32) -> String {
    format!(
        r#"{{"id":"{id}","name":"n","memory_mb":{memory_mb},"sm_count":1,"driver_version":"d","runtime_version":"r"}}"#
    )
}

/// A publish of these GPUs and these models.
fn publish(gpus: &[(&str, u32)], models: &[&str]) -> Published {
    let mut published = Published::new();
    for (id, memory_mb) in gpus {
        published
            .add_gpu(GpuTexts {
                id,
                info: &info(id, *memory_mb),
                ctl: "first\n",
                status: "{\"state\":\"first\"}\n",
            })
            .unwrap();
    }
    for id in models {
        published.add_model(id, &format!("manifest of {id}")).unwrap();
    }
    published.set_schema("{}").unwrap();
    published
}

fn host(bytes: u32) -> Origin {
    Origin::Host {
        bytes,
        sha256: [7; 32],
    }
}

type Step = fn(&mut Gpus) -> Result<(), LineError>;

fn installed(gpus: &mut Gpus, mut next: Published, origin: Origin) -> Result<(), LineError> {
    gpus.install(&mut next, origin, Some("m"))
        .map(drop)
        .map_err(LineError::Journal)
}

/// Steps that are each acknowledged when they return.
const LIFE: &[Step] = &[
    |gpus| gpus.append_lease("GPU-0", r#"{"lease":1}"#),
    |gpus| installed(gpus, publish(&[("GPU-0", 10), ("B", 20)], &["m", "l"]), host(1)),
    |gpus| gpus.append_lease("B", r#"{"lease":2}"#),
    |gpus| {
        let gpu = gpus.find("GPU-0").ok_or(LineError::NoGpu)?;
        gpus.append(gpu, File::Status, r#"{"status":1}"#)
    },
    |gpus| gpus.activate("z"),
    // GPU-0 is gone, B stays with another size, C and D are new.
    |gpus| installed(gpus, publish(&[("D", 1), ("B", 21), ("C", 30)], &["n"]), host(2)),
    |gpus| gpus.append_lease("B", r#"{"lease":3}"#),
    // GPU-0 is back, and remembers nothing.
    |gpus| installed(gpus, publish(&[("GPU-0", 11), ("B", 22)], &[]), host(3)),
];

/// All that is remembered, as text.
fn essence(gpus: &Gpus) -> String {
    let mut text = format!("{:?}\n", gpus.state.origin);
    for gpu in gpus.state.published.gpus() {
        let place = gpus.find(gpu.id).unwrap();
        text += &format!(
            "{} {:?} {}\n",
            gpu.id,
            gpus.capacity(gpu.id),
            gpus.info(place).unwrap()
        );
        for file in File::ALL {
            let pieces: Vec<&[u8]> = gpus.lines(place, file).unwrap().pieces(10).collect();
            text += &format!("{file:?} {:?}\n", String::from_utf8(pieces.concat()).unwrap());
        }
    }
    let models: Vec<_> = gpus.state.published.models().collect();
    let active: Vec<&[u8]> = gpus.active().pieces(10).collect();
    let active = String::from_utf8(active.concat()).unwrap();
    let claimed = &gpus.state.claimed;
    text += &format!(
        "{models:?} {:?} {claimed} {active:?}\n",
        gpus.state.published.schema()
    );
    text
}

#[test]
fn a_crash_at_any_write_leaves_what_was_acknowledged() {
    let whole = Region::in_memory(GpuConfig::region_bytes());
    let (mut gpus, recovery) = open(&whole);
    assert_eq!(recovery, Recovery::Fresh);
    let opened = whole.writes();
    let mut states = Vec::from([essence(&gpus)]);
    for step in LIFE {
        step(&mut gpus).unwrap();
        states.push(essence(&gpus));
    }
    let writes = whole.writes() - opened;
    assert!(writes > 30, "{writes} writes: the test crashes too little");
    for write in 1..=writes {
        for prefix in [0, 1, 4, 7] {
            let region = Region::in_memory(GpuConfig::region_bytes());
            let (mut gpus, _) = open(&region);
            region.crash_at(write, Crash::TornRefuse { prefix });
            let done = LIFE.iter().take_while(|step| step(&mut gpus).is_ok()).count();
            assert_eq!(essence(&gpus), states[done], "memory runs ahead of the journal");
            region.crash_never();
            let (again, recovery) = open(&region);
            assert!(
                !recovery.is_corrupt(),
                "write {write} cut to {prefix}: {recovery}"
            );
            let found = essence(&again);
            let possible = states.get(done..=done + 1).unwrap_or(&states[done..]);
            assert!(
                possible.contains(&found),
                "write {write} cut to {prefix}:\n{found}"
            );
        }
    }
}

#[test]
fn a_gpu_that_stays_keeps_its_lines_and_one_that_returns_is_new() {
    let region = Region::in_memory(GpuConfig::region_bytes());
    let (mut gpus, _) = open(&region);
    for step in &LIFE[..6] {
        step(&mut gpus).unwrap();
    }
    let text = essence(&gpus);
    assert!(text.contains(r#"Lease "{\"lease\":2}\n""#), "{text}");
    assert!(!text.contains("GPU-0"), "{text}");
    assert_eq!(
        gpus.capacity("B").map(|has| (has.memory_mb, has.streams)),
        Some((21, 16))
    );
    assert_eq!(gpus.append_lease("GPU-0", "{}"), Err(LineError::NoGpu));
    assert!(
        text.ends_with("\"m\\nz\\n\"\n"),
        "the first publish's active, then the hive's own: {text}"
    );
    for step in &LIFE[6..] {
        step(&mut gpus).unwrap();
    }
    let place = gpus.find("GPU-0").unwrap();
    assert_eq!(gpus.lines(place, File::Lease).unwrap().len(), 0);
    assert_eq!(essence(&open(&region).0), essence(&gpus));
}

#[test]
fn what_a_host_says_is_active_counts_when_it_changes() {
    let region = Region::in_memory(GpuConfig::region_bytes());
    let (mut gpus, _) = open(&region);
    let mut number = 0;
    let mut says = |gpus: &mut Gpus, id| {
        number += 1;
        gpus.install(&mut publish(&[("A", 1)], &[]), host(number), Some(id))
            .unwrap()
    };
    assert!(says(&mut gpus, "a"));
    gpus.activate("decided-here").unwrap();
    assert!(!says(&mut gpus, "a"), "the host said so before");
    assert!(gpus.active().ends_with("decided-here") && !gpus.active().ends_with("here"));
    assert!(says(&mut gpus, "b"));
    gpus.activate("c").unwrap();
    let (mut again, _) = open(&region);
    assert!(!says(&mut again, "b"), "the host's word is remembered, too");
    assert!(!says(&mut again, "c"), "it is active already");
    assert_eq!(
        again.active().pieces(99).collect::<Vec<_>>().concat(),
        b"a\ndecided-here\nb\nc\n"
    );
}

#[test]
fn full_files_of_all_gpus_fit_the_region_and_the_newest_line_is_never_refused() {
    let region = Region::in_memory(GpuConfig::region_bytes());
    let (mut gpus, _) = open(&region);
    let ids: Vec<String> = (0..MAX_GPUS).map(|n| format!("GPU-{n}")).collect();
    let published: Vec<(&str, u32)> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    let models: Vec<String> = (0..15).map(|n| format!("m{n}")).collect();
    let mut next = publish(&published, &[]);
    for id in &models {
        next.add_model(id, &"x".repeat(8192)).unwrap();
    }
    gpus.install(&mut next, host(1), None).unwrap();
    let line = format!("{{{}}}", "x".repeat(1000));
    for _ in 0..40 {
        for id in &ids {
            let gpu = gpus.find(id).unwrap();
            for file in File::ALL {
                gpus.append(gpu, file, &line).unwrap();
            }
        }
    }
    // Very short lines have the most overhead.
    for n in 0..20_000 {
        gpus.append_lease(&ids[n % MAX_GPUS], "{}").unwrap();
    }
    let (again, recovery) = open(&region);
    assert_eq!(recovery, Recovery::Clean);
    assert_eq!(essence(&again), essence(&gpus));
}

#[test]
fn a_region_that_does_not_verify_starts_with_the_seed() {
    let region = Region::in_memory(GpuConfig::region_bytes());
    region.write_at(0, b"garbage").unwrap();
    let (gpus, recovery) = open(&region);
    assert!(recovery.is_corrupt());
    assert_eq!(gpus.ids().collect::<Vec<_>>(), ["GPU-0", "GPU-1"]);
    let unseeded = GpuConfig {
        seeded: false,
        ..SEEDED
    };
    let (gpus, _) = Gpus::open(Region::in_memory(GpuConfig::region_bytes()), &unseeded).unwrap();
    assert_eq!((gpus.ids().count(), gpus.capacity("GPU-0")), (0, None));
}

#[test]
fn streams_are_those_of_the_info_or_of_the_manifest() {
    let region = Region::in_memory(GpuConfig::region_bytes());
    let (mut gpus, _) = open(&region);
    let mut next = Published::new();
    let stated = info("A", 5).replace("}", r#","max_streams":3}"#);
    for (id, info) in [("A", stated.as_str()), ("B", &info("B", 6))] {
        next.add_gpu(GpuTexts {
            id,
            info,
            ctl: "",
            status: "",
        })
        .unwrap();
    }
    gpus.install(&mut next, host(9), None).unwrap();
    let has = |id| gpus.capacity(id).map(|has| (has.memory_mb, has.streams));
    assert_eq!(
        (has("A"), has("B"), has("C")),
        (Some((5, 3)), Some((6, 16)), None)
    );
}
