//! GPUs as clients see them: a host publishes, broken publishes change nothing, lines stay.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use protocol::b64;
use protocol::gpu::{BridgeRequest, Digest, GpuInfo, Record, SNAPSHOT_BYTES, Writer};
use sha2::{Digest as _, Sha256};
use tests::{Console, Hive, Options, ninep};

const CTL: &str = "/gpu/bridge/ctl";
const STATUS: &str = "/gpu/bridge/status";
/// Digits in one line of the public publisher, and in the longest line the console takes.
const SHORT: usize = 124;
const LONG: usize = 2044;

/// One test at a time: they may share one hive, and it has one bridge.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed says so itself.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A snapshot.
struct Snapshot(String);

impl Snapshot {
    /// The two GPUs that a hive of the dev profile begins with, one with this memory, and these models.
    fn of(memory_mb: u32, models: &[&str]) -> Snapshot {
        let mut writer = Writer::new(String::new()).unwrap();
        for (id, memory_mb) in [("GPU-0", memory_mb), ("GPU-1", 8192)] {
            let (info, ctl) = (info(id, memory_mb), format!("LEASE {id}"));
            let node = Record::Node {
                id,
                info: info.as_str(),
                ctl: &ctl,
                lease: "",
                status: "",
            };
            writer.put(&node).unwrap();
        }
        for id in models {
            let manifest = format!("[model]\nid = \"{id}\"\n");
            let model = Record::Model {
                id,
                manifest: manifest.as_str(),
            };
            writer.put(&model).unwrap();
        }
        let schema = r#"{"schema":"gpu-telemetry/v1"}"#;
        writer.put(&Record::Telemetry { schema }).unwrap();
        Snapshot(writer.finish().unwrap())
    }

    fn digest(&self) -> Digest {
        Digest(Sha256::digest(&self.0).into())
    }

    fn begin(&self) -> String {
        let (bytes, sha256) = (self.0.len(), self.digest());
        format!("begin bytes={bytes} sha256={sha256}")
    }

    /// The lines between `begin` and `end`, with so many digits in each.
    fn data(&self, digits: usize) -> Vec<String> {
        let all = b64::Digits(self.0.as_bytes()).to_string();
        let parts = all.as_bytes().chunks(digits);
        parts
            .map(|part| format!("b64:{}", std::str::from_utf8(part).unwrap()))
            .collect()
    }

    fn lines(&self, digits: usize) -> Vec<String> {
        let mut lines = vec![self.begin()];
        lines.extend(self.data(digits));
        lines.push("end".to_owned());
        lines
    }
}

fn info(id: &str, memory_mb: u32) -> String {
    GpuInfo {
        id,
        name: "Test GPU",
        memory_mb,
        sm_count: 128,
        driver_version: "550.1",
        runtime_version: "12.4",
        max_streams: None,
    }
    .to_string()
}

fn echo(console: &mut Console, path: &str, line: &str) -> String {
    console.ask(&format!("ECHO {path} {line}"))
}

/// Sends lines until one is refused; gives the last answer.
fn send(console: &mut Console, lines: &[String]) -> String {
    let mut answer = String::new();
    for line in lines {
        answer = echo(console, CTL, line);
        if !answer.starts_with("OK ") {
            break;
        }
    }
    answer
}

fn publish(console: &mut Console, snapshot: &Snapshot) {
    let answer = send(console, &snapshot.lines(LONG));
    assert_eq!(answer, "OK ECHO path=/gpu/bridge/ctl bytes=3");
    let (bytes, sha256) = (snapshot.0.len(), snapshot.digest());
    assert_eq!(
        console.cat(STATUS),
        [format!("state=ok bytes={bytes} sha256={sha256}")]
    );
}

const INVALID: &str =
    "ERR ECHO reason=policy detail=invalid-payload path=/gpu/bridge/ctl error=invalid payload";
const BUSY: &str = "ERR ECHO reason=busy detail=busy path=/gpu/bridge/ctl error=resource busy";

#[test]
fn a_fresh_hive_of_the_dev_profile_has_two_mocks_that_say_so() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    assert_eq!(console.ls("/gpu"), ["GPU-0", "GPU-1", "bridge"]);
    for id in ["GPU-0", "GPU-1"] {
        let text = console.cat(&format!("/gpu/{id}/info")).join("\n");
        let info = GpuInfo::parse(&text).unwrap();
        assert_eq!(info.id, id);
        assert!(info.name.contains("Mock") && info.name.contains("seed"), "{text}");
    }
    assert_eq!(console.cat(STATUS), ["state=idle"]);
    for command in [
        "LS /gpu/models",
        "LS /gpu/telemetry",
        "CAT /gpu/telemetry/schema.json",
    ] {
        let (verb, path) = command.split_once(' ').unwrap();
        assert_eq!(
            console.ask(command),
            format!("ERR {verb} reason=policy detail=invalid-path path={path} error=invalid path")
        );
    }
    let bare = Hive::with(Options {
        manifest: vec![("profile = \"dev\"", "profile = \"lab\"")],
        ..Options::default()
    });
    assert_eq!(bare.queen().ls("/gpu"), ["bridge"]);
}

#[test]
fn what_a_host_publishes_is_there_and_what_happened_to_a_gpu_stays() {
    let _alone = alone();
    let hive = Hive::any();
    let mut console = hive.queen();
    let mark = format!(r#"{{"mark":"{:?}"}}"#, Instant::now()).replace(['"', '{', '}'], "");
    let mark = format!(r#"{{"mark":"{mark}"}}"#);
    publish(
        &mut console,
        &Snapshot::of(24_576, &["vision-base-v1", "vision-lora-edge"]),
    );
    assert_eq!(
        echo(&mut console, "/gpu/GPU-0/status", &mark),
        format!("OK ECHO path=/gpu/GPU-0/status bytes={}", mark.len())
    );
    publish(
        &mut console,
        &Snapshot::of(40_960, &["vision-lora-edge", "another"]),
    );
    assert_eq!(
        console.ls("/gpu"),
        ["GPU-0", "GPU-1", "bridge", "models", "telemetry"]
    );
    assert_eq!(console.ls("/gpu/GPU-0"), ["ctl", "info", "lease", "status"]);
    assert_eq!(console.cat("/gpu/GPU-0/info").join("\n"), info("GPU-0", 40_960));
    assert_eq!(console.cat("/gpu/GPU-0/status").last(), Some(&mark));
    assert_eq!(console.ls("/gpu/models"), ["active", "available"]);
    assert_eq!(
        console.ls("/gpu/models/available"),
        ["another", "vision-lora-edge"]
    );
    assert_eq!(
        console.cat("/gpu/models/available/another/manifest.toml"),
        ["[model]", "id = \"another\""]
    );
    assert_eq!(
        console.cat("/gpu/telemetry/schema.json"),
        [r#"{"schema":"gpu-telemetry/v1"}"#]
    );
    for id in ["another", "imported-a-moment-ago"] {
        let answer = echo(&mut console, "/gpu/models/active", id);
        assert_eq!(
            answer,
            format!("OK ECHO path=/gpu/models/active bytes={}", id.len())
        );
        assert_eq!(console.cat("/gpu/models/active").last().unwrap(), id);
    }
    let log = console.cat("/log/queen.log").join("\n");
    for said in [
        "gpu-bridge begin session=",
        "gpu-bridge installed session=",
        "model activated id=another session=",
        "available=no",
    ] {
        assert!(log.contains(said), "{said:?} is not in\n{log}");
    }
}

#[test]
fn refusals_on_the_files_of_gpus() {
    let _alone = alone();
    let hive = Hive::any();
    let mut console = hive.queen();
    publish(&mut console, &Snapshot::of(24_576, &["vision-base-v1"]));
    let long = "x".repeat(1025);
    for (command, reason) in [
        ("CAT /gpu/GPU-7/info", "policy detail=invalid-path"),
        ("CAT /gpu/GPU-0/job", "policy detail=invalid-path"),
        ("LS /gpu/GPU-7", "policy detail=invalid-path"),
        ("CAT /gpu/GPU-0", "policy detail=invalid-path"),
        ("CAT /gpu/bridge/ctl", "policy detail=invalid-path"),
        ("TAIL /gpu/GPU-0/nope", "policy detail=invalid-path"),
        ("ECHO /gpu/GPU-0/info {}", "policy detail=invalid-path"),
        ("ECHO /gpu/GPU-7/status {}", "policy detail=invalid-path"),
        ("ECHO /gpu/bridge/status x", "policy detail=invalid-path"),
        ("ECHO /gpu/telemetry/schema.json {}", "policy detail=invalid-path"),
        (
            "ECHO /gpu/models/available/vision-base-v1/manifest.toml x",
            "policy detail=invalid-path",
        ),
        ("ECHO /gpu/GPU-0/status no-json", "policy detail=invalid-payload"),
        ("ECHO /gpu/GPU-0/lease [1]", "policy detail=invalid-payload"),
        ("ECHO /gpu/models/active a/b", "policy detail=invalid-payload"),
        (&format!("ECHO /gpu/GPU-0/ctl {long}"), "policy detail=too-long"),
    ] {
        let (verb, rest) = command.split_once(' ').unwrap();
        let path = rest.split(' ').next().unwrap();
        let answer = console.ask(command);
        assert!(
            answer.starts_with(&format!("ERR {verb} reason={reason} path={path}")),
            "{command}: {answer}"
        );
    }
}

#[test]
fn each_broken_publish_is_refused_and_the_old_snapshot_stays_whole() {
    let _alone = alone();
    let hive = Hive::any();
    let mut console = hive.queen();
    let good = Snapshot::of(24_576, &["keep"]);
    publish(&mut console, &good);
    let other = Snapshot::of(1, &["never"]);
    let (begin, data, end) = (other.begin(), other.data(LONG), "end".to_owned());
    let wrong_hash = begin.replace(&other.digest().to_string(), &good.digest().to_string());
    let announce = |bytes: usize| format!("begin bytes={bytes} sha256={}", other.digest());
    let whole =
        |records: &str| Snapshot(format!("schema gpu-bridge-snapshot/v1\n{records}end\n")).lines(LONG);
    let chain = |first: &str, last: &[&str]| {
        let mut lines = vec![first.to_owned()];
        lines.extend(data.clone());
        lines.extend(last.iter().map(|line| (*line).to_owned()));
        lines
    };
    let cases = [
        ("wrong hash", chain(&wrong_hash, &["end"]), "sha256-mismatch"),
        (
            "short",
            chain(&announce(other.0.len() + 1), &["end"]),
            "too-short",
        ),
        ("long", chain(&announce(other.0.len() - 1), &[]), "too-long"),
        (
            "longer than may be",
            vec![announce(SNAPSHOT_BYTES + 1)],
            "invalid-length",
        ),
        ("no bytes", vec![announce(0)], "invalid-length"),
        (
            "no hash",
            vec![begin.replace("sha256=", "sha256=x")],
            "invalid-sha256",
        ),
        (
            "bad base64",
            vec![begin.clone(), "b64:a%b=".into()],
            "invalid-base64",
        ),
        (
            "cut base64",
            vec![begin.clone(), "b64:abc".into(), end.clone()],
            "invalid-base64",
        ),
        ("end without begin", vec![end.clone()], "no-begin"),
        ("digits without begin", vec![data[0].clone()], "no-begin"),
        (
            "unknown line",
            vec![begin.clone(), "hello".into()],
            "unknown-line",
        ),
        ("unknown record", whole("hello world\n"), "unknown-line"),
        ("slash in an id", whole("model id=a/b manifest=\n"), "invalid-id"),
        ("NUL in an id", whole("model id=a\0b manifest=\n"), "invalid-id"),
        (
            "an id twice",
            whole(&"model id=a manifest=\n".repeat(2)),
            "duplicate-id",
        ),
        (
            "no schema",
            Snapshot("end\n".into()).lines(LONG),
            "unknown-schema",
        ),
        (
            "no end",
            Snapshot("schema gpu-bridge-snapshot/v1\n".into()).lines(LONG),
            "no-end",
        ),
    ];
    for (name, lines, reason) in cases {
        assert_eq!(send(&mut console, &lines), INVALID, "{name}");
        assert_eq!(
            console.cat(STATUS),
            [format!("state=err reason={reason}")],
            "{name}"
        );
        assert_eq!(console.ls("/gpu/models/available"), ["keep"], "{name}");
        assert_eq!(
            console.cat("/gpu/GPU-0/info").join("\n"),
            info("GPU-0", 24_576),
            "{name}"
        );
        assert_eq!(
            echo(&mut console, CTL, "end"),
            INVALID,
            "{name}: its turn is over"
        );
    }
    publish(&mut console, &good);
    assert!(BridgeRequest::parse(&begin).is_ok());
}

#[test]
fn a_second_publisher_is_told_busy_and_a_killed_one_is_replaced() {
    let _alone = alone();
    let hive = Hive::any();
    let (mut one, mut two) = (hive.queen(), hive.queen());
    let (first, second) = (Snapshot::of(1024, &["first"]), Snapshot::of(2048, &["second"]));
    publish(&mut two, &Snapshot::of(512, &["before"]));
    let lines = first.lines(SHORT);
    for line in &lines[..3] {
        assert!(echo(&mut one, CTL, line).starts_with("OK "));
    }
    for line in [second.begin(), second.data(SHORT)[0].clone(), "end".to_owned()] {
        assert_eq!(echo(&mut two, CTL, &line), BUSY);
    }
    assert_eq!(
        two.cat(STATUS),
        [format!("state=receiving bytes={}", first.0.len())]
    );
    for line in &lines[3..] {
        assert!(echo(&mut one, CTL, line).starts_with("OK "));
    }
    assert_eq!(two.ls("/gpu/models/available"), ["first"]);

    for line in &second.lines(SHORT)[..4] {
        assert!(echo(&mut one, CTL, line).starts_with("OK "));
    }
    drop(one);
    let deadline = Instant::now() + Duration::from_secs(5);
    while two.cat(STATUS) != ["state=err reason=publisher-gone"] {
        assert!(Instant::now() < deadline, "{:?}", two.cat(STATUS));
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(two.ls("/gpu/models/available"), ["first"]);
    publish(&mut two, &second);
}

#[test]
fn a_silent_publisher_loses_its_turn() {
    let hive = Hive::with(Options {
        manifest: vec![("bridge_timeout_ms = 10000", "bridge_timeout_ms = 300")],
        ..Options::default()
    });
    let (mut one, mut two) = (hive.queen(), hive.queen());
    let snapshot = Snapshot::of(1024, &["m"]);
    assert!(echo(&mut one, CTL, &snapshot.begin()).starts_with("OK "));
    assert_eq!(echo(&mut two, CTL, &snapshot.begin()), BUSY);
    thread::sleep(Duration::from_millis(320));
    assert_eq!(two.cat(STATUS), ["state=err reason=timed-out"]);
    publish(&mut two, &snapshot);
    assert_eq!(echo(&mut one, CTL, "end"), INVALID);
}

#[test]
fn the_longest_snapshot_is_taken_and_no_line_waits_longer_than_a_publisher_does() {
    let _alone = alone();
    let hive = Hive::any();
    let mut console = hive.queen();
    let mut records = String::new();
    let manifest = b64::Digits("m".repeat(8000).as_bytes()).to_string();
    while records.len() + manifest.len() < SNAPSHOT_BYTES - 200 {
        records += &format!("model id=m{} manifest={manifest}\n", records.len());
    }
    let rest = SNAPSHOT_BYTES - "schema gpu-bridge-snapshot/v1\nend\n".len() - records.len();
    // What is left is filled by digits of a model that begins like the others.
    let head = "model id=z manifest=\n".len();
    let digits = (rest - head) / 4 * 4;
    let id = "z".repeat(1 + rest - head - digits);
    let filler = b64::Digits("f".repeat(digits / 4 * 3).as_bytes()).to_string();
    records += &format!("model id={id} manifest={filler}\n");
    let longest = Snapshot(format!("schema gpu-bridge-snapshot/v1\n{records}end\n"));
    assert_eq!(longest.0.len(), SNAPSHOT_BYTES);
    let mut slowest = Duration::ZERO;
    for line in longest.lines(LONG) {
        let asked = Instant::now();
        let answer = echo(&mut console, CTL, &line);
        slowest = slowest.max(asked.elapsed());
        assert!(answer.starts_with("OK "), "{answer}");
    }
    assert!(console.cat(STATUS)[0].starts_with("state=ok bytes=131072 "));
    assert!(slowest < Duration::from_millis(200), "a line waited {slowest:?}");
    publish(&mut console, &Snapshot::of(24_576, &["keep"]));
}

#[test]
fn over_9p_lines_are_as_long_as_messages_are() {
    let _alone = alone();
    let hive = Hive::any();
    let addr: SocketAddr = hive.ninep().expect("it listens for 9P clients");
    let mut client = ninep::Client::queen(addr, hive.token());
    let snapshot = Snapshot::of(3072, &["by-9p"]);
    assert_eq!(client.walk(0, 1, &["gpu", "bridge", "ctl"]), Ok(3));
    client.open(1, 1).expect("an operator may write");
    for line in snapshot.lines(4000) {
        client
            .write(1, 0, format!("{line}\n").as_bytes())
            .expect("a line");
    }
    client.clunk(1).expect("a fid");
    let manifest = client
        .cat("/gpu/models/available/by-9p/manifest.toml")
        .expect("a file");
    assert_eq!(String::from_utf8(manifest).unwrap(), "[model]\nid = \"by-9p\"\n");
}

#[test]
fn files_of_lines_keep_the_newest_within_their_bounds() {
    let _alone = alone();
    let hive = Hive::any();
    let mut console = hive.queen();
    publish(&mut console, &Snapshot::of(24_576, &[]));
    let line = |n: usize| format!(r#"{{"n":{n},"x":"{}"}}"#, "x".repeat(100));
    for (file, bytes, count) in [("lease", 1024, 30), ("status", 32_768, 600)] {
        let path = format!("/gpu/GPU-1/{file}");
        for n in 0..count {
            console.send(&format!("ECHO {path} {}", line(n)));
        }
        for _ in 0..count {
            let answer = console.receive();
            assert!(answer.starts_with("OK "), "{answer}");
        }
        let kept = console.cat(&path);
        assert!(kept.iter().map(|line| line.len() + 1).sum::<usize>() <= bytes);
        assert!(kept.len() > bytes / 200, "{} lines of {file}", kept.len());
        let expected: Vec<String> = (count - kept.len()..count).map(line).collect();
        assert_eq!(kept, expected);
    }
}

#[test]
fn a_cordoned_node_takes_no_publish() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    assert!(console.ask("ECHO /queen/lifecycle/ctl cordon").starts_with("OK "));
    for (path, line) in [
        (CTL, Snapshot::of(1, &[]).begin()),
        ("/gpu/GPU-0/status", "{}".to_owned()),
    ] {
        assert_eq!(
            echo(&mut console, path, &line),
            format!("ERR ECHO reason=policy detail=denied path={path} error=EPERM")
        );
    }
    let log = console.cat("/log/queen.log").join("\n");
    assert!(
        log.contains("lifecycle denied action=host-publish state=DRAINING reason=gate-denied"),
        "{log}"
    );
    assert!(console.ask("ECHO /queen/lifecycle/ctl resume").starts_with("OK "));
    publish(&mut console, &Snapshot::of(1, &[]));
}

#[test]
fn a_hive_that_was_killed_remembers_what_was_published_and_written() {
    let mut hive = Hive::fresh();
    let snapshot = Snapshot::of(12_288, &["m"]);
    let mut console = hive.queen();
    publish(&mut console, &snapshot);
    for (path, line) in [
        ("/gpu/GPU-0/lease", r#"{"lease":1}"#),
        ("/gpu/GPU-0/status", r#"{"status":1}"#),
        ("/gpu/models/active", "m"),
    ] {
        assert!(echo(&mut console, path, line).starts_with("OK "));
    }
    // A transfer that is under way is not remembered.
    assert!(echo(&mut console, CTL, &Snapshot::of(1, &["n"]).begin()).starts_with("OK "));
    hive.kill_and_restart();
    let mut console = hive.queen();
    let (bytes, sha256) = (snapshot.0.len(), snapshot.digest());
    assert_eq!(
        console.cat(STATUS),
        [format!("state=ok bytes={bytes} sha256={sha256}")]
    );
    assert_eq!(console.cat("/gpu/GPU-0/info").join("\n"), info("GPU-0", 12_288));
    assert_eq!(console.cat("/gpu/GPU-0/lease"), [r#"{"lease":1}"#]);
    assert_eq!(console.cat("/gpu/GPU-0/status"), [r#"{"status":1}"#]);
    assert_eq!(console.cat("/gpu/models/active"), ["m"]);
    publish(&mut console, &Snapshot::of(1, &["n"]));
}
