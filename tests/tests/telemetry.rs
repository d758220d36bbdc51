//! Telemetry of devices, through the console and over 9P: what is pushed is kept, bounded, and becomes a job.

use std::time::{Duration, Instant, SystemTime};

use minicbor::Decoder;
use minicbor::data::Type;
use protocol::b64;
use protocol::role::Role;
use protocol::ticket::{Claims, Key, Version, mint};
use sha2::{Digest, Sha256};
use tests::ninep::Client;
use tests::{Console, Hive, Options};

/// How long a job may take from the sample that opens its gate.
const JOB_LIMIT: Duration = Duration::from_secs(10);

/// Begins a device's next segment; gives its path.
fn begin(console: &mut Console, device: &str) -> String {
    let root = format!("/queen/telemetry/{device}");
    let request = r#"{"new":"segment","mime":"text/plain"}"#;
    let ack = console.ask(&format!("ECHO {root}/ctl {request}"));
    assert_eq!(ack, format!("OK ECHO path={root}/ctl bytes=37"));
    let latest = console.cat(&format!("{root}/latest"));
    assert_eq!(latest.len(), 1);
    format!("{root}/seg/{}", latest[0])
}

fn push(console: &mut Console, segment: &str, record: &str) {
    let ack = console.ask(&format!("ECHO {segment} {record}"));
    assert_eq!(ack, format!("OK ECHO path={segment} bytes={}", record.len()));
}

fn refused(console: &mut Console, line: &str, detail: &str) {
    let ack = console.ask(line);
    assert!(ack.starts_with("ERR ") && ack.contains(detail), "{line}: {ack}");
}

fn sample(model: &str, device: &str, n: usize, drift: f64) -> String {
    format!(
        "{{\"schema_version\":\"gpu-telemetry/v1\",\"device_id\":\"{device}\",\"model_id\":\"{model}\",\
         \"time_window\":{{\"start_ms\":{n},\"end_ms\":{}}},\"token_count\":{n},\
         \"latency_histogram\":[1,2,3],\"drift\":{drift}}}",
        n + 1
    )
}

fn number(console: &mut Console, gauge: &str) -> u64 {
    let lines = console.cat(&format!("/proc/ingest/{gauge}"));
    let value = lines[0]
        .strip_prefix(&format!("{gauge}="))
        .expect("the file's own name");
    value.parse().expect("a number")
}

/// The line of a model in `/queen/export/gates`.
fn gate(console: &mut Console, model: &str) -> Option<String> {
    let lines = console.cat("/queen/export/gates");
    lines
        .into_iter()
        .find(|line| line.starts_with(&format!("model={model} ")))
}

/// A binary file, as a console shows it.
fn cat_bytes(console: &mut Console, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in console.cat(path) {
        assert!(line.len() <= 256, "{} bytes", line.len());
        let digits = line.strip_prefix(b64::PREFIX).expect("a b64 line");
        bytes.extend_from_slice(b64::decode(digits, &mut [0; 256]).expect("base64"));
    }
    bytes
}

/// The new job of a model, once it is there.
fn job(console: &mut Console, model: &str, before: &[String]) -> String {
    let begun = Instant::now();
    loop {
        let jobs = console.ls("/queen/export/lora_jobs");
        let new = |job: &String| job.starts_with(&format!("lora-{model}-")) && !before.contains(job);
        if let Some(job) = jobs.into_iter().find(new) {
            return job;
        }
        assert!(
            begun.elapsed() < JOB_LIMIT,
            "no job of {model}: {:?}",
            gate(console, model)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The ids and records of a `telemetry.cbor`.
fn decode(bytes: &[u8]) -> (String, String, Vec<String>) {
    let mut cbor = Decoder::new(bytes);
    assert_eq!(cbor.map().expect("a map"), Some(4));
    let mut field = |name: &str| {
        assert_eq!(cbor.str().expect("a name"), name);
        cbor.str().expect("a text").to_owned()
    };
    assert_eq!(field("schema"), "lora-telemetry/v1");
    let (job, model) = (field("job_id"), field("model_id"));
    assert_eq!(cbor.str().expect("a name"), "records");
    assert_eq!(
        cbor.array().expect("an array"),
        None,
        "of a length that only its end tells"
    );
    let mut records = Vec::new();
    while cbor.datatype().expect("a record or the end") != Type::Break {
        records.push(cbor.str().expect("a record").to_owned());
    }
    cbor.skip().expect("the end");
    assert_eq!(cbor.position(), bytes.len());
    (job, model, records)
}

#[test]
fn what_is_pushed_is_read() {
    let hive = Hive::any();
    let mut console = hive.queen();
    assert_eq!(console.ls("/queen"), ["ctl", "export", "lifecycle", "telemetry"]);
    let segment = begin(&mut console, "t-push");
    for record in ["rec1", "two words", r#"{"json":true}"#] {
        push(&mut console, &segment, record);
    }
    assert_eq!(console.cat(&segment), ["rec1", "two words", r#"{"json":true}"#]);
    assert_eq!(console.ls("/queen/telemetry/t-push"), ["ctl", "latest", "seg"]);
    let long = "x".repeat(2048);
    push(&mut console, &segment, &long);
    assert_eq!(console.cat(&segment)[3], long);
    assert!(console.ls("/queen/telemetry").contains(&"t-push".to_owned()));
    let next = begin(&mut console, "t-push");
    assert!(next > segment);
    push(&mut console, &segment, "the one before still takes records");
    assert_eq!((console.cat(&segment).len(), console.cat(&next).len()), (5, 0));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let segment = begin(&mut console, "t-refused");
    let root = "/queen/telemetry/t-refused";
    for (line, detail) in [
        (format!("CAT {root}/ctl"), "detail=invalid-path"),
        (format!("TAIL {segment}"), "detail=invalid-path"),
        (format!("ECHO {root}/latest seg-000009"), "detail=denied"),
        (format!("ECHO {root} x"), "detail=invalid-path"),
        (format!("ECHO {root}/ctl segment"), "detail=invalid-payload"),
        (
            format!(r#"ECHO {root}/ctl {{"new":"device","mime":"text/plain"}}"#),
            "detail=invalid-payload",
        ),
        (
            format!(r#"ECHO {root}/ctl {{"new":"segment"}}"#),
            "detail=invalid-payload",
        ),
        (format!("ECHO {root}/seg/seg-999999 x"), "detail=invalid-path"),
        (format!("ECHO {root}/seg/seg-1 x"), "detail=invalid-path"),
        ("LS /queen/telemetry/t-nobody".into(), "detail=invalid-path"),
        (
            "CAT /queen/telemetry/t-nobody/latest".into(),
            "detail=invalid-path",
        ),
        (
            "ECHO /queen/telemetry/t-nobody/ctl x".into(),
            "detail=invalid-payload",
        ),
        (
            "ECHO /queen/telemetry/t-nobody/seg/seg-000001 x".into(),
            "detail=invalid-path",
        ),
        ("LS /queen/telemetry/t-nobody".into(), "detail=invalid-path"),
        ("ECHO /queen/export/gates x".into(), "detail=denied"),
        (
            "CAT /queen/export/lora_jobs/none/policy.toml".into(),
            "detail=invalid-path",
        ),
        ("ECHO /proc/ingest/queued 7".into(), "detail=denied"),
        ("CAT /proc/ingest/unsupported".into(), "detail=invalid-path"),
    ] {
        refused(&mut console, &line, detail);
    }
    assert_eq!(console.cat(&segment), [""; 0]);
}

#[test]
fn the_oldest_segment_goes_and_a_full_one_takes_no_more() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let first = begin(&mut console, "t-quota");
    let record = "q".repeat(2047);
    for _ in 0..16 {
        push(&mut console, &first, &record);
    }
    let (dropped, backpressure) = (
        number(&mut console, "dropped"),
        number(&mut console, "backpressure"),
    );
    refused(
        &mut console,
        &format!("ECHO {first} x"),
        "reason=quota detail=buffer-full",
    );
    assert_eq!(number(&mut console, "backpressure"), backpressure + 1);
    let later: Vec<String> = (0..3).map(|_| begin(&mut console, "t-quota")).collect();
    assert_eq!(console.cat(&first).len(), 16);
    begin(&mut console, "t-quota");
    refused(&mut console, &format!("CAT {first}"), "detail=invalid-path");
    assert!(number(&mut console, "dropped") >= dropped + 16);
    let segments = console.ls("/queen/telemetry/t-quota/seg");
    assert_eq!(segments.len(), 4);
    assert!(
        later
            .iter()
            .all(|path| segments.iter().any(|name| path.ends_with(name.as_str())))
    );
    let log = console.cat("/log/queen.log").join("\n");
    let name = first.rsplit('/').next().expect("a name");
    assert!(
        log.contains(&format!(
            "telemetry evicted device=t-quota segment={name} records=16"
        )),
        "{log}"
    );
}

#[test]
fn references_follow_each_other() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let piece = |seq: u64, off: u64, len: u64| {
        format!(
            r#"{{"schema":"coh-ref-c/v1","seq":{seq},"off":{off},"len":{len},"sha256":"47DEQpj8HBSa-_TImW"}}"#
        )
    };
    let segment = begin(&mut console, "t-reference");
    push(&mut console, &segment, &piece(1, 0, 16_777_216));
    push(&mut console, &segment, &piece(2, 16_777_216, 5));
    for (record, detail) in [
        (piece(2, 16_777_221, 5), "detail=invalid-payload"),
        (piece(3, 0, 5), "detail=invalid-payload"),
        (piece(3, 16_777_221, 0), "detail=invalid-payload"),
        (piece(3, 16_777_221, 1 << 30), "detail=buffer-full"),
        ("inline".into(), "detail=invalid-payload"),
    ] {
        refused(&mut console, &format!("ECHO {segment} {record}"), detail);
    }
    assert_eq!(
        console.cat(&segment),
        [piece(1, 0, 16_777_216), piece(2, 16_777_216, 5)]
    );
    let inline = begin(&mut console, "t-reference");
    push(&mut console, &inline, "inline");
    refused(
        &mut console,
        &format!("ECHO {inline} {}", piece(1, 0, 5)),
        "detail=invalid-payload",
    );
}

#[test]
fn the_lifecycle_lets_telemetry_in_or_not_and_devices_are_bounded() {
    let hive = Hive::with(Options {
        manifest: vec![("devices = 32", "devices = 3")],
        ..Options::default()
    });
    let mut console = hive.queen();
    let segment = begin(&mut console, "dev-1");
    assert_eq!(
        console.ask("ECHO /queen/lifecycle/ctl cordon"),
        "OK ECHO path=/queen/lifecycle/ctl bytes=6"
    );
    push(&mut console, &segment, "while it drains");
    begin(&mut console, "dev-2");
    assert!(
        console
            .ask("ECHO /queen/lifecycle/ctl quiesce")
            .starts_with("OK ECHO")
    );
    let request = r#"{"new":"segment","mime":"text/plain"}"#;
    refused(&mut console, &format!("ECHO {segment} x"), "detail=denied");
    refused(
        &mut console,
        &format!("ECHO /queen/telemetry/dev-3/ctl {request}"),
        "detail=denied",
    );
    assert_eq!(console.cat(&segment), ["while it drains"], "it can still be read");
    let log = console.cat("/log/queen.log").join("\n");
    let told = "lifecycle denied action=telemetry-ingest state=QUIESCED reason=gate-denied";
    assert!(log.contains(told), "{log}");
    assert!(
        console
            .ask("ECHO /queen/lifecycle/ctl resume")
            .starts_with("OK ECHO")
    );
    push(&mut console, &segment, "again");
    begin(&mut console, "dev-3");
    refused(
        &mut console,
        &format!("ECHO /queen/telemetry/dev-4/ctl {request}"),
        "reason=quota detail=buffer-full",
    );
    assert_eq!(console.ls("/queen/telemetry"), ["dev-1", "dev-2", "dev-3"]);
}

#[test]
fn ingest_tells_how_it_is_doing() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let segment = begin(&mut console, "t-pace");
    push(&mut console, &segment, "x");
    assert_eq!(
        console.ls("/proc/ingest"),
        ["backpressure", "dropped", "p50_ms", "p95_ms", "queued", "watch"]
    );
    assert_eq!(number(&mut console, "queued"), 0);
    assert!(number(&mut console, "p50_ms") <= number(&mut console, "p95_ms"));
    let (ack, before) = console.stream("TAIL /proc/ingest/watch");
    assert_eq!(ack, "OK TAIL path=/proc/ingest/watch");
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(console.cat("/proc/ingest/watch"), before, "CAT adds no line");
    let (_, after) = console.stream("TAIL /proc/ingest/watch");
    assert!(
        after.len() <= 16 && after.last() != before.last(),
        "{before:?} {after:?}"
    );
    let names: Vec<&str> = after[0].split([' ', '=']).collect();
    let expected = [
        "watch",
        "ts_ms",
        "p50_ms",
        "p95_ms",
        "queued",
        "backpressure",
        "dropped",
        "ui_reads",
        "ui_denies",
    ];
    let found: Vec<&str> = names[..1]
        .iter()
        .chain(names[1..].iter().step_by(2))
        .copied()
        .collect();
    assert_eq!(found, expected, "{}", after[0]);
}

/// A ticket of a heartbeat worker, sealed with the secret of the default manifest.
fn worker_ticket() -> String {
    let key = Key::from_secret("worker");
    let claims = Claims {
        subject: Some("worker-9"),
        issued_at_ms: SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_millis() as u64,
        ..Claims::with_default_budget(Role::WorkerHeartbeat)
    };
    mint(&claims, Version::V1, &key)
        .expect("sound claims")
        .as_str()
        .to_owned()
}

#[test]
fn workers_see_how_ingest_is_doing_and_nothing_else_of_it() {
    let hive = Hive::any();
    let mut queen = hive.queen();
    let segment = begin(&mut queen, "t-worker");
    let mut worker = Console::authenticated(hive.addr(), hive.token());
    let ack = worker.ask(&format!("ATTACH worker-heartbeat {}", worker_ticket()));
    assert_eq!(ack, "OK ATTACH role=worker-heartbeat");
    for line in [
        "LS /queen/telemetry".to_owned(),
        "LS /queen/telemetry/t-worker".to_owned(),
        format!("CAT {segment}"),
        format!("ECHO {segment} x"),
        r#"ECHO /queen/telemetry/t-worker/ctl {"new":"segment","mime":"a"}"#.to_owned(),
        "CAT /queen/export/gates".to_owned(),
        "LS /queen/export/lora_jobs".to_owned(),
    ] {
        refused(&mut worker, &line, "detail=denied");
    }
    assert_eq!(number(&mut worker, "queued"), 0);
    assert_eq!(queen.cat(&segment), [""; 0]);
}

#[test]
fn by_9p_a_write_is_one_record_or_several() {
    let hive = Hive::any();
    let Some(ninep) = hive.ninep() else { return };
    let mut client = Client::queen(ninep, hive.token());
    let device = ["queen", "telemetry", "t-ninep"];
    let walk = |client: &mut Client, names: &[&str]| client.walk(0, 1, &[&device[..], names].concat());
    // As a mount does it: it looks at every name on its way.
    assert_eq!(client.walk(0, 1, &device), Ok(3));
    client.getattr(1).expect("a directory, or what leads to one");
    client.clunk(1).expect("a fid");
    assert_eq!(walk(&mut client, &["ctl"]), Ok(4));
    client.open(1, 1).expect("it can be written");
    let request = b"{\"new\":\"segment\",\"mime\":\"text/plain\"}\n";
    assert_eq!(client.write(1, 0, request), Ok(request.len() as u32));
    client.clunk(1).expect("a fid");
    let latest = client
        .cat("/queen/telemetry/t-ninep/latest")
        .expect("there is one");
    let latest = String::from_utf8(latest).expect("text");
    assert_eq!(walk(&mut client, &["seg", latest.trim_end()]), Ok(5));
    client.open(1, 2).expect("it can be read and written");
    assert_eq!(client.write(1, 77, b"one"), Ok(3), "wherever: it is appended");
    assert_eq!(client.write(1, 0, b"two\nthree\n"), Ok(10));
    let long = [&b"four\n"[..], &[b'x'; 4097]].concat();
    assert_eq!(
        client.write(1, 0, &long),
        Err(90),
        "EMSGSIZE, and nothing of it is kept"
    );
    assert_eq!(client.write(1, 0, b"\xff"), Err(22), "EINVAL: no text");
    assert_eq!(client.read(1, 0, 100), Ok(b"one\ntwo\nthree\n".to_vec()));
    assert_eq!(client.read(1, 4, 100), Ok(b"two\nthree\n".to_vec()));
    assert_eq!(client.read(1, 14, 100), Ok(Vec::new()));
    let size = client.getattr(1).expect("attributes").size;
    assert_eq!(size, 14);
    client.clunk(1).expect("a fid");
}

#[test]
fn five_hundred_samples_of_drifting_devices_become_a_job() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let model = "t-farm";
    let before = console.ls("/queen/export/lora_jobs");
    let left = match gate(&mut console, model) {
        // An earlier run may have left a part of a window.
        Some(line) => {
            let samples = line
                .split(['=', ' ', '/'])
                .nth(3)
                .and_then(|samples| samples.parse::<usize>().ok());
            500 - samples.expect("a number of samples")
        }
        None => 500,
    };
    let devices: Vec<String> = (1..=5).map(|n| format!("t-farm-{n}")).collect();
    let segments: Vec<String> = devices.iter().map(|device| begin(&mut console, device)).collect();
    let mut sent = Vec::new();
    for n in 0..left {
        let (device, segment) = (&devices[n % 5], &segments[n % 5]);
        let record = sample(model, device, n, [0.25, 0.5][n % 2]);
        push(&mut console, segment, &record);
        sent.push(record);
        if n == left / 2 {
            push(&mut console, segment, "not a sample");
            let line = gate(&mut console, model).expect("the gate is known");
            let so_far = 500 - left + n + 1;
            assert!(
                line.contains(&format!(" samples={so_far}/500 drift=0.")),
                "{line}"
            );
            assert!(
                line.ends_with(&format!("state=collecting missing=samples:{}", 500 - so_far)),
                "{line}"
            );
        }
    }
    let job = job(&mut console, model, &before);
    let root = format!("/queen/export/lora_jobs/{job}");
    assert_eq!(
        console.ls(&root),
        ["base_model.ref", "policy.toml", "telemetry.cbor"]
    );
    let telemetry = cat_bytes(&mut console, &format!("{root}/telemetry.cbor"));
    let (named, of, records) = decode(&telemetry);
    assert_eq!((named.as_str(), of.as_str()), (job.as_str(), model));
    // The newest that fit: all of these do, and what an earlier run left may be before them.
    assert!(records.len() >= 300, "{}", records.len());
    let common = records.len().min(sent.len());
    assert_eq!(records[records.len() - common..], sent[sent.len() - common..]);
    assert_eq!(console.cat(&format!("{root}/base_model.ref")), [model]);
    let policy = console.cat(&format!("{root}/policy.toml"));
    let hash: String = Sha256::digest(&telemetry)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for line in [
        format!("job_id = \"{job}\""),
        "min_samples = 500".to_owned(),
        "drift_threshold = 0.25".to_owned(),
        "samples = 500".to_owned(),
        format!("records = {}", records.len()),
        format!("sha256 = \"{hash}\""),
    ] {
        assert!(policy.contains(&line), "{line} is not in {policy:?}");
    }
    let line = gate(&mut console, model).expect("the gate is known");
    assert!(
        line.contains(" samples=0/500 drift=none/0.25 state=collecting "),
        "{line}"
    );
    let log = console.cat("/log/queen.log").join("\n");
    assert!(
        log.contains(&format!(
            "lora-job opened id={job} model={model} samples=500 drift=0.3"
        )),
        "{log}"
    );
    refused(
        &mut console,
        &format!("ECHO {root}/policy.toml x"),
        "detail=denied",
    );
    if let Some(ninep) = hive.ninep() {
        let mut client = Client::queen(ninep, hive.token());
        assert_eq!(client.cat(&format!("{root}/telemetry.cbor")), Ok(telemetry));
    }
}

#[test]
fn a_killed_hive_has_kept_everything_it_acknowledged() {
    let mut hive = Hive::with(Options {
        manifest: vec![("min_samples = 500", "min_samples = 20")],
        ..Options::default()
    });
    let mut console = hive.queen();
    let mut expected = Vec::new();
    for device in ["k-1", "k-2"] {
        let segment = begin(&mut console, device);
        let records: Vec<String> = (0..15).map(|n| sample("kept", device, n, 0.5)).collect();
        for record in &records {
            push(&mut console, &segment, record);
        }
        expected.push((segment, records));
    }
    let job = job(&mut console, "kept", &[]);
    let file = format!("/queen/export/lora_jobs/{job}/telemetry.cbor");
    let telemetry = cat_bytes(&mut console, &file);
    assert_eq!(decode(&telemetry).2.len(), 20);
    let line = gate(&mut console, "kept").expect("the gate is known");
    assert!(line.contains(" samples=10/20 "), "{line}");
    let (last, records) = expected.last_mut().expect("two devices");
    push(&mut console, last, "the last word");
    records.push("the last word".to_owned());
    for _ in 0..2 {
        hive.kill_and_restart();
        let mut console = hive.queen();
        assert_eq!(console.ls("/queen/telemetry"), ["k-1", "k-2"]);
        for (segment, records) in &expected {
            assert_eq!(&console.cat(segment), records);
        }
        assert_eq!(console.ls("/queen/export/lora_jobs"), [job.as_str()]);
        assert_eq!(cat_bytes(&mut console, &file), telemetry);
        assert_eq!(gate(&mut console, "kept").as_ref(), Some(&line));
        let log = console.cat("/log/queen.log");
        let told = log.iter().filter(|told| told.contains("lora-job opened")).count();
        assert_eq!(told, 1, "{log:?}");
    }
    let mut console = hive.queen();
    let next = begin(&mut console, "k-1");
    assert!(next.ends_with("seg-000002"), "{next}");
}
