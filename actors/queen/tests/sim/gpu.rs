//! `/gpu` behind a real door.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use protocol::b64;
use protocol::gpu::{BridgeRequest, BridgeStatus, Digest, GpuInfo, Record, Writer};
use protocol::refusal::Refusal;
use sha2::{Digest as _, Sha256};

use super::support::{Answer, Hive, Options};

fn seeded() -> Options {
    Options::seeded(7)
}

#[test]
fn a_seeded_hive_has_two_gpus_that_say_what_they_are() {
    let mut hive = Hive::new(seeded());
    assert_eq!(hive.settled(|hive| hive.ls("/gpu")), ["GPU-0", "GPU-1", "bridge"]);
    assert_eq!(hive.ls("/gpu/GPU-0").unwrap(), ["ctl", "info", "lease", "status"]);
    let info = hive.cat("/gpu/GPU-1/info").unwrap();
    let info = protocol::gpu::GpuInfo::parse(&info).unwrap();
    assert_eq!((info.id, info.memory_mb), ("GPU-1", 8192));
    assert!(info.name.contains("Mock") && info.name.contains("seed"));
    assert_eq!(hive.cat("/gpu/GPU-0/ctl").unwrap(), "LEASE GPU-0\n");
    assert_eq!(hive.cat("/gpu/GPU-0/lease").unwrap(), "");
    let mut bare = Hive::new(Options::seed(7));
    assert_eq!(bare.settled(|hive| hive.ls("/gpu")), ["bridge"]);
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

/// A snapshot of these GPUs and models, and the lines that publish it.
struct Publish {
    snapshot: String,
}

impl Publish {
    fn of(gpus: &[(&str, u32)], models: &[&str]) -> Publish {
        let mut writer = Writer::new(String::new()).unwrap();
        for (id, memory_mb) in gpus {
            let info = info(id, *memory_mb);
            let ctl = format!("LEASE {id}");
            let node = Record::Node {
                id,
                info: info.as_str(),
                ctl: ctl.as_str(),
                lease: "",
                status: "",
            };
            writer.put(&node).unwrap();
        }
        for id in models {
            let manifest = format!("[model]\nid = \"{id}\"\n");
            writer
                .put(&Record::Model {
                    id,
                    manifest: &manifest,
                })
                .unwrap();
        }
        if let Some(id) = models.first() {
            writer.put(&Record::Active { id }).unwrap();
        }
        writer
            .put(&Record::Telemetry {
                schema: r#"{"schema":"gpu-telemetry/v1"}"#,
            })
            .unwrap();
        Publish {
            snapshot: writer.finish().unwrap(),
        }
    }

    fn text(snapshot: &str) -> Publish {
        Publish {
            snapshot: snapshot.to_string(),
        }
    }

    fn begin(&self) -> String {
        BridgeRequest::Begin {
            bytes: self.snapshot.len(),
            sha256: self.digest(),
        }
        .to_string()
    }

    fn digest(&self) -> Digest {
        Digest(Sha256::digest(&self.snapshot).into())
    }

    /// All lines, with so many digits in each.
    fn lines(&self, digits: usize) -> Vec<String> {
        let all = b64::Digits(self.snapshot.as_bytes()).to_string();
        let data = all
            .as_bytes()
            .chunks(digits)
            .map(|part| format!("b64:{}", std::str::from_utf8(part).unwrap()));
        [self.begin()]
            .into_iter()
            .chain(data)
            .chain(["end".to_string()])
            .collect()
    }
}

fn info(id: &str, memory_mb: u32) -> String {
    GpuInfo {
        id,
        name: "A100",
        memory_mb,
        sm_count: 108,
        driver_version: "550.1",
        runtime_version: "12.4",
        max_streams: None,
    }
    .to_string()
}

/// Sends lines in one session until one is refused; gives how many were taken, and what was said to the next.
fn send(hive: &mut Hive, lines: Vec<String>) -> (usize, Answer<()>) {
    let taken = Rc::new(Cell::new(0));
    let count = taken.clone();
    let answer = hive.ask(move |session| async move {
        for line in &lines {
            session.echo(CTL, line).await?;
            count.set(count.get() + 1);
        }
        Ok(())
    });
    (taken.get(), answer)
}

fn publish(hive: &mut Hive, publish: &Publish) -> Answer<()> {
    send(hive, publish.lines(124)).1
}

const CTL: &str = "/gpu/bridge/ctl";
const STATUS: &str = "/gpu/bridge/status";

#[test]
fn a_publish_makes_the_namespace_and_survives_deaths() {
    let mut hive = Hive::new(seeded());
    hive.settled(|hive| hive.echo("/gpu/GPU-0/status", r#"{"state":"mine"}"#));
    assert_eq!(hive.ls("/gpu").unwrap(), ["GPU-0", "GPU-1", "bridge"]);
    assert_eq!(hive.ls("/gpu/bridge").unwrap(), ["ctl", "status"]);
    assert_eq!(hive.cat(STATUS).unwrap(), "state=idle\n");
    for path in ["/gpu/models", "/gpu/telemetry"] {
        assert_eq!(hive.ls(path), Err(Refusal::InvalidPath), "{path}");
    }
    assert_eq!(hive.echo("/gpu/models/active", "m"), Err(Refusal::InvalidPath));
    assert_eq!(hive.cat(CTL), Err(Refusal::InvalidPath));
    assert_eq!(hive.echo(STATUS, "x"), Err(Refusal::InvalidPath));

    let first = Publish::of(&[("GPU-0", 10), ("A", 20)], &["vision-lora-edge", "base"]);
    publish(&mut hive, &first).unwrap();
    let look = |hive: &mut Hive| {
        assert_eq!(
            hive.settled(|hive| hive.ls("/gpu")),
            ["A", "GPU-0", "bridge", "models", "telemetry"]
        );
        let status = BridgeStatus::Ok {
            bytes: first.snapshot.len(),
            sha256: first.digest(),
        };
        assert_eq!(hive.cat(STATUS).unwrap(), format!("{status}\n"));
        assert_eq!(hive.cat("/gpu/GPU-0/info").unwrap(), info("GPU-0", 10));
        assert_eq!(hive.cat("/gpu/GPU-0/status").unwrap(), "{\"state\":\"mine\"}\n");
        assert_eq!(hive.cat("/gpu/A/ctl").unwrap(), "LEASE A\n");
        assert_eq!(hive.cat("/gpu/GPU-1/info"), Err(Refusal::InvalidPath));
        assert_eq!(hive.ls("/gpu/models").unwrap(), ["active", "available"]);
        assert_eq!(
            hive.ls("/gpu/models/available").unwrap(),
            ["base", "vision-lora-edge"]
        );
        assert_eq!(
            hive.cat("/gpu/models/available/base/manifest.toml").unwrap(),
            "[model]\nid = \"base\"\n"
        );
        assert_eq!(hive.cat("/gpu/models/active").unwrap(), "vision-lora-edge\n");
        assert_eq!(
            hive.cat("/gpu/telemetry/schema.json").unwrap(),
            r#"{"schema":"gpu-telemetry/v1"}"#
        );
        for path in [
            "/gpu/models/available/base/manifest.toml",
            "/gpu/telemetry/schema.json",
        ] {
            assert_eq!(hive.echo(path, "x"), Err(Refusal::InvalidPath), "{path}");
        }
    };
    look(&mut hive);
    assert!(hive.sim.inject_panic("queen", 0));
    look(&mut hive);
    let mut hive = hive.killed(Duration::from_secs(1), seeded());
    look(&mut hive);
    let log = hive.log().join("\n");
    let (bytes, sha256) = (first.snapshot.len(), first.digest());
    assert!(log.contains("gpu-bridge begin session="), "{log}");
    assert!(
        log.contains(&format!("bytes={bytes} sha256={sha256} gpus=2 lost=1 models=2")),
        "{log}"
    );
}

#[test]
fn what_is_active_is_decided_here() {
    let mut hive = Hive::new(Options::seed(9));
    let first = Publish::of(&[("A", 1)], &["one", "two"]);
    assert_eq!(hive.settled(|hive| publish(hive, &first)), ());
    let active = "/gpu/models/active";
    hive.echo(active, "two").unwrap();
    hive.echo(active, "not-published-yet\n").unwrap();
    for (id, refusal) in [
        ("", Refusal::InvalidPayload),
        ("a/b", Refusal::InvalidPayload),
        ("a\nb", Refusal::InvalidPayload),
        (&"x".repeat(129), Refusal::InvalidPayload),
    ] {
        assert_eq!(hive.echo(active, id), Err(refusal), "{id:?}");
    }
    publish(
        &mut hive,
        &Publish::of(&[("A", 1)], &["one", "not-published-yet"]),
    )
    .unwrap();
    assert_eq!(hive.cat(active).unwrap(), "one\ntwo\nnot-published-yet\n");
    let log = hive.log().join("\n");
    assert!(log.contains("model activated id=two session="), "{log}");
    assert!(
        log.contains("available=yes") && log.contains("available=no"),
        "{log}"
    );
}

#[test]
fn a_broken_snapshot_leaves_the_old_one_whole() {
    let mut hive = Hive::new(Options::seed(11));
    let good = Publish::of(&[("A", 1)], &["m"]);
    hive.settled(|hive| publish(hive, &good));
    let node = |id: &str, info: &str, ctl: &str, status: &str| {
        let digits = |text: &str| b64::Digits(text.as_bytes()).to_string();
        format!(
            "node id={id} info={} ctl={} lease= status={}\n",
            digits(info),
            digits(ctl),
            digits(status)
        )
    };
    let (a, b) = (info("A", 1), info("B", 1));
    let whole = |records: &str| format!("schema gpu-bridge-snapshot/v1\n{records}end\n");
    let many: String = (0..65).map(|n| format!("model id=m{n} manifest=\n")).collect();
    for (snapshot, reason) in [
        (whole("nonsense\n"), "unknown-line"),
        (whole("model id=a/b manifest=\n"), "invalid-id"),
        (whole("model id=a\0b manifest=\n"), "invalid-id"),
        (whole("model id=m manifest=%%\n"), "invalid-base64"),
        (whole("model id=m manifest=/w==\n"), "not-utf8"),
        (whole(&"model id=m manifest=\n".repeat(2)), "duplicate-id"),
        (whole(&node("A", &a, "", "").repeat(2)), "duplicate-id"),
        (whole(&many), "too-many"),
        (whole(&node("A", &b, "", "")), "invalid-info"),
        (whole(&node("A", "{}", "", "")), "invalid-info"),
        (whole(&node("models", &a, "", "")), "invalid-id"),
        (whole(&node("A", &a, "a\n\nb", "")), "invalid-lines"),
        (whole(&node("A", &a, "", "no json")), "invalid-lines"),
        (whole(&node("A", &a, &"x".repeat(1024), "")), "invalid-lines"),
        (whole("telemetry schema=W10=\n"), "invalid-schema"),
        (whole("active id=a\nactive id=b\n"), "repeated-line"),
        ("schema gpu-bridge-snapshot/v1\n".into(), "no-end"),
        ("schema other/v1\nend\n".into(), "unknown-schema"),
    ] {
        let broken = Publish::text(&snapshot);
        assert_eq!(
            publish(&mut hive, &broken),
            Err(Refusal::InvalidPayload),
            "{reason}"
        );
        assert_eq!(hive.cat(STATUS).unwrap(), format!("state=err reason={reason}\n"));
        assert_eq!(hive.ls("/gpu").unwrap(), ["A", "bridge", "models", "telemetry"]);
        assert_eq!(hive.ls("/gpu/models/available").unwrap(), ["m"]);
        let log = hive.log().join("\n");
        assert!(log.contains(&format!("reason={reason}")), "{reason}: {log}");
    }
    publish(&mut hive, &good).unwrap();
    assert!(hive.cat(STATUS).unwrap().starts_with("state=ok "));
}

#[test]
fn a_publisher_has_its_turn_until_it_is_gone_or_silent() {
    let mut options = seeded();
    options.gpu.bridge_timeout = Duration::from_secs(1);
    let mut hive = Hive::new(options);
    hive.settled(|hive| hive.ls("/gpu"));
    let (one, two) = (Publish::of(&[("A", 1)], &["m"]), Publish::of(&[("B", 1)], &["n"]));
    let other = two.lines(124);
    // A session that is there while others try, and then ends in the middle.
    let (lines, begin) = (one.lines(124), two.begin());
    let answers = hive.ask(move |session| async move {
        session.echo(CTL, &lines[0]).await?;
        session.echo(CTL, &lines[1]).await?;
        let second = session.another().await?;
        let busy = second.echo(CTL, &begin).await;
        let status = second.cat(STATUS).await?;
        Ok((busy.is_err(), status))
    });
    let status = format!("state=receiving bytes={}\n", one.snapshot.len());
    assert_eq!(answers, Ok((true, status)));
    hive.run(Duration::from_millis(50));
    assert_eq!(hive.cat(STATUS).unwrap(), "state=err reason=publisher-gone\n");
    assert_eq!(send(&mut hive, other.clone()), (other.len(), Ok(())));
    assert_eq!(hive.ls("/gpu/models/available").unwrap(), ["n"]);

    // One that stays and says nothing.
    let (lines, second) = (one.lines(124), two.lines(124));
    let taken = hive.ask(move |session| async move {
        session.echo(CTL, &lines[0]).await?;
        session.sleep(Duration::from_millis(900)).await;
        session.echo(CTL, &lines[1]).await?;
        session.sleep(Duration::from_millis(1000)).await;
        let other = session.another().await?;
        for line in &second {
            other.echo(CTL, line).await?;
        }
        Ok(session.echo(CTL, &lines[2]).await.is_err())
    });
    assert_eq!(taken, Ok(true));
    assert!(hive.log().join("\n").contains("reason=timed-out"));
}

#[test]
fn a_publish_that_dies_at_any_poll_is_there_whole_or_not_at_all() {
    let old = Publish::of(&[("A", 1), ("B", 2)], &["m"]);
    let new = Publish::of(&[("B", 3), ("C", 4)], &["n", "o"]);
    let mut installed = 0;
    for poll in (0..60).map(|n| 5 * n) {
        let mut hive = Hive::new(Options::seed(poll));
        hive.settled(|hive| publish(hive, &old));
        hive.sim.inject_panic("queen", poll);
        let answer = publish(&mut hive, &new);
        let names = hive.settled(|hive| hive.ls("/gpu"));
        let models = hive.settled(|hive| hive.ls("/gpu/models/available"));
        let info_of = |id: &String| hive.settled(|hive| hive.cat(&format!("/gpu/{id}/info")));
        let infos: Vec<String> = names[..2].iter().map(info_of).collect();
        let is_new = names[..2] == ["B", "C"];
        assert!(is_new || names[..2] == ["A", "B"], "{names:?}");
        let expected = if is_new {
            (vec!["n", "o"], [info("B", 3), info("C", 4)])
        } else {
            (vec!["m"], [info("A", 1), info("B", 2)])
        };
        assert_eq!(
            (
                models.iter().map(String::as_str).collect(),
                infos.try_into().unwrap()
            ),
            expected
        );
        assert!(answer.is_err() || is_new, "acknowledged and gone");
        installed += u32::from(is_new);
    }
    assert!(
        (5..55).contains(&installed),
        "{installed} of 60: the test dies too early or too late"
    );
}
