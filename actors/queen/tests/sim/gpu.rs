//! `/gpu` behind a real door.

use std::time::Duration;

use protocol::refusal::Refusal;

use super::support::{Hive, Options};

fn seeded() -> Options {
    Options::seeded(7)
}

#[test]
fn a_seeded_hive_has_two_gpus_that_say_what_they_are() {
    let mut hive = Hive::new(seeded());
    assert_eq!(hive.settled(|hive| hive.ls("/gpu")), ["GPU-0", "GPU-1"]);
    assert_eq!(hive.ls("/gpu/GPU-0").unwrap(), ["ctl", "info", "lease", "status"]);
    let info = hive.cat("/gpu/GPU-1/info").unwrap();
    let info = protocol::gpu::GpuInfo::parse(&info).unwrap();
    assert_eq!((info.id, info.memory_mb), ("GPU-1", 8192));
    assert!(info.name.contains("Mock") && info.name.contains("seed"));
    assert_eq!(hive.cat("/gpu/GPU-0/ctl").unwrap(), "LEASE GPU-0\n");
    assert_eq!(hive.cat("/gpu/GPU-0/lease").unwrap(), "");
    let mut bare = Hive::new(Options::seed(7));
    assert_eq!(bare.settled(|hive| hive.ls("/gpu")), [""; 0]);
}

#[test]
fn lines_are_kept_across_deaths_and_what_is_no_line_is_refused() {
    let mut hive = Hive::new(seeded());
    let status = "/gpu/GPU-0/status";
    hive.settled(|hive| hive.echo(status, r#"{"state":"one"}"#));
    hive.echo("/gpu/GPU-0/ctl", "note this").unwrap();
    for (path, text, refusal) in [
        (status, "no json", Refusal::InvalidPayload),
        (status, "{\n}", Refusal::InvalidPayload),
        ("/gpu/GPU-0/lease", "[]", Refusal::InvalidPayload),
        ("/gpu/GPU-0/ctl", "", Refusal::InvalidPayload),
        ("/gpu/GPU-0/ctl", &"x".repeat(1024), Refusal::TooLong),
        ("/gpu/GPU-0/info", "{}", Refusal::InvalidPath),
        ("/gpu/GPU-7/status", "{}", Refusal::InvalidPath),
        ("/gpu/GPU-0/job", "{}", Refusal::InvalidPath),
        ("/gpu", "{}", Refusal::InvalidPath),
    ] {
        assert_eq!(hive.echo(path, text), Err(refusal), "{path} {text:?}");
    }
    assert!(hive.sim.inject_panic("queen", 0));
    hive.settled(|hive| hive.echo(status, r#"{"state":"two"}"#));
    let mut hive = hive.killed(Duration::from_secs(1), seeded());
    let text = hive.settled(|hive| hive.cat(status));
    assert_eq!(text, "{\"state\":\"one\"}\n{\"state\":\"two\"}\n");
    assert_eq!(hive.cat("/gpu/GPU-0/ctl").unwrap(), "LEASE GPU-0\nnote this\n");
}

#[test]
fn a_closed_gate_is_said_and_told() {
    let mut hive = Hive::new(seeded());
    hive.settled(|hive| hive.echo("/queen/lifecycle/ctl", "cordon"));
    assert_eq!(hive.echo("/gpu/GPU-0/status", "{}"), Err(Refusal::Denied));
    let log = hive.log();
    assert!(
        log.contains(&"lifecycle denied action=host-publish state=DRAINING reason=gate-denied".to_string()),
        "{log:?}"
    );
    assert_eq!(hive.cat("/gpu/GPU-0/status").unwrap(), "");
}
