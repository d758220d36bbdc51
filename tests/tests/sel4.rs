//! What only a hive on seL4 has to say of itself. Runs where `HIVE_ADDR` is one.

use std::thread;
use std::time::{Duration, Instant};

use tests::{Hive, Operator};

/// The hive at `HIVE_ADDR`, if it runs on seL4.
fn hive() -> Option<Hive> {
    if std::env::var_os("HIVE_ADDR").is_none() {
        println!("skipped: HIVE_ADDR names no hive; .ci/run sel4 boots one on seL4");
        return None;
    }
    let hive = Hive::any();
    let is_sel4 = hive.queen().cat("/proc/boot").contains(&"host=sel4".to_owned());
    if !is_sel4 {
        println!("skipped: the hive at HIVE_ADDR does not run on seL4");
    }
    is_sel4.then_some(hive)
}

#[test]
fn boot_tells_of_kernel_sdk_image_and_every_domain() {
    let Some(hive) = hive() else { return };
    let mut console = hive.queen();
    let boot = console.cat("/proc/boot");
    let value = |name: &str| {
        let line = boot
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {boot:?}"))
    };
    for identity in ["kernel.sha256", "image.sha256"] {
        let digest = value(identity);
        assert!(
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{identity}={digest}"
        );
    }
    assert!(value("sdk").starts_with("microkit-"), "{}", value("sdk"));
    assert!(!value("boot.id").is_empty());
    let actors = console.ls("/proc/actors");
    for domain in actors
        .iter()
        .map(String::as_str)
        .chain(["supervisor", "timer", "serial"])
    {
        let told = value(&format!("domain.{domain}"));
        let memory = told
            .split_once(" memory_bytes:")
            .map(|(_, bytes)| bytes.parse::<u64>());
        assert!(
            told.starts_with("priority:") && matches!(memory, Some(Ok(bytes)) if bytes > 0),
            "domain.{domain}={told}"
        );
    }
}

/// Needs a hive with fault injection and the `intensity` that `HIVE_INTENSITY` says, and leaves it degraded.
#[test]
fn each_restart_is_told_and_one_too_many_degrades_the_node() {
    let Ok(intensity) = std::env::var("HIVE_INTENSITY") else {
        println!(
            "skipped: HIVE_INTENSITY does not say after how many restarts the hive at HIVE_ADDR gives up"
        );
        return;
    };
    let Some(hive) = hive() else { return };
    let intensity: u64 = intensity.parse().expect("HIVE_INTENSITY is a number");
    let mut operator = Operator::new(&hive);
    let supervisor = |operator: &mut Operator| operator.settle("CAT /proc/supervisor");
    let line =
        |state: &str, restarts: u64| format!("child=worker-heart state={state} restarts={restarts} reason=");
    for death in 1..=intensity + 1 {
        operator.settle("ECHO /proc/actors/worker-heart/fault bad-pointer");
        let expected = match death > intensity {
            false => line("running", death),
            true => line("down", intensity),
        };
        let told = eventually(
            || supervisor(&mut operator),
            |lines| lines.iter().any(|line| line.starts_with(&expected)),
        );
        let reason = told
            .iter()
            .find_map(|line| line.strip_prefix(&expected))
            .expect("it was found");
        assert!(reason.starts_with("bad address 0x8"), "{told:?}");
    }
    assert!(supervisor(&mut operator).contains(&"degraded=yes".to_owned()));
    eventually(
        || operator.settle("CAT /proc/lifecycle/state"),
        |state| state == ["state=DEGRADED"],
    );
    let log = operator.settle("CAT /log/queen.log");
    for told in [
        format!("supervisor restart actor=worker-heart restarts={intensity}"),
        format!("supervisor gave-up actor=worker-heart restarts={intensity}"),
    ] {
        assert!(
            log.iter().any(|line| line.starts_with(&told)),
            "{told:?} is not in {log:?}"
        );
    }
    operator.settle("ECHO /log/queen.log the others go on");
}

/// What `look` gives once it is as wanted, within five seconds.
fn eventually(mut look: impl FnMut() -> Vec<String>, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "it stays at {seen:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
