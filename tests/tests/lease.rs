//! GPU leases through the console and over 9P: granted, refused, expired, killed, remembered.

use std::time::{Duration, Instant};

use protocol::gpu::{Lease, LeaseState, Report};
use protocol::role::Role;
use protocol::ticket::{Claims, Key, Version, mint};
use tests::ninep::Client;
use tests::{Console, Hive, Options};

/// `O_WRONLY`.
const WRONLY: u32 = 1;
const EPERM: u32 = 1;
const FAST: (&str, &str) = ("tick_ms = 1000", "tick_ms = 100");
const BUSY: &str =
    "ERR ECHO reason=busy detail=gpu-capacity path=/queen/ctl error=not enough of the GPU is free";

fn fast() -> Hive {
    Hive::with(Options {
        manifest: vec![FAST],
        ..Options::default()
    })
}

fn request(gpu: &str, mem_mb: u32, streams: u32, ttl_s: u64) -> String {
    format!(
        r#"{{"spawn":"gpu","lease":{{"gpu_id":"{gpu}","mem_mb":{mem_mb},"streams":{streams},"ttl_s":{ttl_s},"priority":1}}}}"#
    )
}

/// Asks for a lease; gives the id of its worker.
fn lease(console: &mut Console, gpu: &str, mem_mb: u32, streams: u32, ttl_s: u64) -> String {
    let request = request(gpu, mem_mb, streams, ttl_s);
    assert_eq!(
        console.ask(&format!("ECHO /queen/ctl {request}")),
        format!("OK ECHO path=/queen/ctl bytes={}", request.len())
    );
    // It is written before the answer.
    let (worker, state) = last(console, gpu).expect("an ACTIVE line");
    assert_eq!(state, LeaseState::Active);
    worker
}

/// The last line of a lease file: its worker and state.
fn last(console: &mut Console, gpu: &str) -> Option<(String, LeaseState)> {
    let lines = console.cat(&format!("/gpu/{gpu}/lease"));
    let line = lines.last()?;
    let lease = Lease::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    Some((lease.worker_id.to_owned(), lease.state))
}

fn state_of(console: &mut Console, gpu: &str, worker: &str) -> Option<LeaseState> {
    let lines = console.cat(&format!("/gpu/{gpu}/lease"));
    let mut leases = lines.iter().filter_map(|line| Lease::parse(line).ok());
    leases
        .rfind(|lease| lease.worker_id == worker)
        .map(|lease| lease.state)
}

fn records(console: &mut Console, worker: &str) -> Vec<String> {
    let (ack, lines) = console.stream(&format!("TAIL /worker/{worker}/telemetry"));
    assert!(ack.starts_with("OK TAIL"), "{ack}");
    lines
}

fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// Attaches as that worker over 9P and opens a file of it to write.
fn worker_writing(hive: &Hive, worker: &str, path: &[&str]) -> (Client, Result<(), u32>) {
    let claims = Claims {
        subject: Some(worker),
        ..Claims::new(Role::WorkerGpu)
    };
    let ticket = mint(&claims, Version::V1, &Key::from_secret("worker-gpu")).expect("a ticket");
    let mut client = Client::versioned(hive.ninep().expect("a port for 9P"));
    let aname = format!("{}:{}", hive.token(), ticket.as_str());
    client.attach(0, "worker-gpu", &aname).expect("attach");
    client.walk(0, 1, path).expect("walk");
    let opened = client.open(1, WRONLY);
    (client, opened)
}

#[test]
fn a_lease_is_granted_and_its_worker_reports() {
    let hive = fast();
    let mut console = hive.queen();
    let worker = lease(&mut console, "GPU-0", 1024, 1, 60);
    assert!(console.ls("/worker").contains(&worker));
    until("three records", Duration::from_secs(5), || {
        records(&mut console, &worker).len() >= 3
    });
    let records = records(&mut console, &worker);
    for (record, tick) in records.iter().zip(1..) {
        let report = Report::parse(record).unwrap_or_else(|| panic!("{record} is no report"));
        assert_eq!((report.tick, report.gpu_id), (tick, "GPU-0"), "{record}");
        assert_eq!(report.lease, LeaseState::Active);
        assert_eq!(
            (report.model_id, report.lora_id),
            (None, None),
            "nothing is published yet"
        );
    }
    let log = console.cat("/log/queen.log").join("\n");
    let told = format!("spawned {worker} gpu=GPU-0 mem_mb=1024 streams=1 priority=1 ttl=60");
    assert!(log.contains(&told), "{log}");
}

#[test]
fn more_than_there_is_is_busy_and_nonsense_is_invalid() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    lease(&mut console, "GPU-1", 8000, 1, 60);
    let ask = |console: &mut Console, request: String| console.ask(&format!("ECHO /queen/ctl {request}"));
    assert_eq!(ask(&mut console, request("GPU-1", 193, 1, 60)), BUSY);
    assert_eq!(ask(&mut console, request("GPU-1", 1, 16, 60)), BUSY);
    let log = console.cat("/log/queen.log").join("\n");
    let told = "lease denied gpu=GPU-1 mem_mb=193 streams=1 free_mem_mb=192 free_streams=15";
    assert!(log.contains(told), "{log}");
    // Another GPU is another matter, and what is left can be had to the last byte.
    lease(&mut console, "GPU-0", 24576, 16, 60);
    lease(&mut console, "GPU-1", 192, 15, 60);
    assert_eq!(ask(&mut console, request("GPU-0", 1, 1, 60)), BUSY);
    let answer = console.ask(&format!("SPAWN {}", request("GPU-0", 1, 1, 60)));
    assert!(
        answer.starts_with("ERR SPAWN reason=busy detail=gpu-capacity"),
        "{answer}"
    );
    for nonsense in [
        request("GPU-7", 1, 1, 60),
        request("", 1, 1, 60),
        request("GPU-0", 0, 1, 60),
        request("GPU-0", 1, 0, 60),
        request("GPU-0", 1, 1, 0),
        r#"{"spawn":"gpu"}"#.to_owned(),
    ] {
        let answer = ask(&mut console, nonsense.clone());
        assert!(answer.contains("detail=invalid-payload"), "{nonsense}: {answer}");
    }
    assert_eq!(
        console
            .ls("/worker")
            .iter()
            .filter(|id| id.starts_with("worker-"))
            .count(),
        3
    );
}

#[test]
fn at_its_time_a_lease_is_released_and_its_worker_is_gone() {
    let hive = fast();
    let mut console = hive.queen();
    let other = lease(&mut console, "GPU-0", 1024, 1, 600);
    let begun = Instant::now();
    let worker = lease(&mut console, "GPU-0", 2048, 2, 2);
    let telemetry = ["worker", worker.as_str(), "telemetry"];
    let (mut session, opened) = worker_writing(&hive, &worker, &telemetry);
    assert_eq!(opened, Ok(()));
    assert_eq!(session.write(1, 0, b"{\"note\":1}\n"), Ok(11));
    until("its end", Duration::from_secs(5), || {
        !console.ls("/worker").contains(&worker)
    });
    let lived = begun.elapsed();
    // A tick is 100 ms; the looks cost some.
    assert!(
        lived >= Duration::from_millis(1950) && lived < Duration::from_millis(2600),
        "it lived {lived:?}"
    );
    assert_eq!(
        state_of(&mut console, "GPU-0", &worker),
        Some(LeaseState::Released)
    );
    // Clients that read no more than the last line see the lease that lives on.
    assert_eq!(last(&mut console, "GPU-0"), Some((other, LeaseState::Active)));
    assert_eq!(
        session.write(1, 0, b"{\"note\":2}\n"),
        Err(129),
        "EKEYREJECTED: denied"
    );
    let log = console.cat("/log/queen.log").join("\n");
    assert!(
        log.contains(&format!("revoked {worker} gpu=GPU-0 reason=expired")),
        "{log}"
    );
    // What it had can be leased again.
    lease(&mut console, "GPU-0", 23552, 15, 60);
}

#[test]
fn a_kill_releases_at_once() {
    let hive = Hive::any();
    let mut console = hive.queen();
    let worker = lease(&mut console, "GPU-0", 512, 1, 60);
    assert_eq!(
        console.ask(&format!("KILL {worker}")),
        format!("OK KILL id={worker}")
    );
    assert_eq!(
        state_of(&mut console, "GPU-0", &worker),
        Some(LeaseState::Released)
    );
    assert!(!console.ls("/worker").contains(&worker));
    let answer = console.ask(&format!("KILL {worker}"));
    assert!(
        answer.starts_with("ERR KILL reason=policy detail=invalid-path"),
        "{answer}"
    );
    let log = console.cat("/log/queen.log").join("\n");
    assert!(log.contains(&format!("killed {worker} gpu=GPU-0")), "{log}");
}

#[test]
fn a_budget_makes_a_lease_shorter_and_never_longer() {
    let hive = fast();
    let mut console = hive.queen();
    let with = |budget: &str| {
        let lease = request("GPU-0", 16, 1, 3);
        format!(
            "ECHO /queen/ctl {},\"budget\":{budget}}}",
            lease.strip_suffix('}').unwrap()
        )
    };
    for (budget, least, most) in [
        (r#"{"ttl_s":1}"#, 900, 1900),
        (r#"{"ttl_s":900}"#, 2900, 3900),
        (r#"{"ops":5}"#, 400, 1500),
    ] {
        let begun = Instant::now();
        assert!(console.ask(&with(budget)).starts_with("OK ECHO"), "{budget}");
        let (worker, _) = last(&mut console, "GPU-0").unwrap();
        until(budget, Duration::from_secs(6), || {
            state_of(&mut console, "GPU-0", &worker) == Some(LeaseState::Released)
        });
        let lived = begun.elapsed().as_millis();
        assert!((least..most).contains(&lived), "{budget}: it lived {lived} ms");
    }
}

#[test]
fn a_lease_outlives_a_restart_and_its_time_passes_meanwhile() {
    let mut hive = fast();
    let mut console = hive.queen();
    let short = lease(&mut console, "GPU-0", 1024, 1, 2);
    let long = lease(&mut console, "GPU-0", 2048, 1, 600);
    until("a record", Duration::from_secs(5), || {
        !records(&mut console, &long).is_empty()
    });
    drop(console);
    std::thread::sleep(Duration::from_millis(1500));
    hive.kill_and_restart();
    let mut console = hive.queen();
    until("the short one's end", Duration::from_secs(5), || {
        !console.ls("/worker").contains(&short)
    });
    assert_eq!(
        state_of(&mut console, "GPU-0", &short),
        Some(LeaseState::Released)
    );
    assert_eq!(
        last(&mut console, "GPU-0"),
        Some((long.clone(), LeaseState::Active))
    );
    assert_eq!(
        console.ask(&format!("ECHO /queen/ctl {}", request("GPU-0", 22529, 1, 60))),
        BUSY,
        "22528 MiB are free"
    );
    let before = records(&mut console, &long).pop();
    until("a new record", Duration::from_secs(5), || {
        records(&mut console, &long).pop() != before
    });
    let ticks: Vec<u64> = records(&mut console, &long)
        .iter()
        .filter_map(|record| Report::parse(record))
        .map(|report| report.tick)
        .collect();
    assert!(ticks.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ticks:?}");
}

#[test]
fn a_worker_writes_its_own_gpus_status_and_no_other_file() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    let worker = lease(&mut console, "GPU-0", 1024, 1, 60);
    let (mut session, opened) = worker_writing(&hive, &worker, &["gpu", "GPU-0", "status"]);
    assert_eq!(opened, Ok(()));
    assert_eq!(session.write(1, 0, b"{\"state\":\"RUNNING\"}\n"), Ok(20));
    assert_eq!(console.cat("/gpu/GPU-0/status"), [r#"{"state":"RUNNING"}"#]);
    for path in [
        &["gpu", "GPU-1", "status"],
        &["gpu", "GPU-0", "lease"],
        &["gpu", "GPU-0", "ctl"],
    ] {
        assert_eq!(worker_writing(&hive, &worker, path).1, Err(EPERM), "{path:?}");
    }
    let stranger = worker_writing(&hive, "worker-99", &["gpu", "GPU-0", "status"]).1;
    assert_eq!(stranger, Err(EPERM), "it has no lease");
    assert_eq!(
        console.ask(&format!("KILL {worker}")),
        format!("OK KILL id={worker}")
    );
    assert_eq!(
        session.write(1, 0, b"{\"state\":\"OK\"}\n"),
        Err(129),
        "EKEYREJECTED: denied"
    );
    assert_eq!(console.cat("/gpu/GPU-0/status").len(), 1);
}

#[test]
fn leases_count_for_the_lifecycle() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    let worker = lease(&mut console, "GPU-0", 1024, 1, 60);
    let ctl = |console: &mut Console, word: &str| console.ask(&format!("ECHO /queen/lifecycle/ctl {word}"));
    assert!(ctl(&mut console, "cordon").starts_with("OK"));
    let answer = console.ask(&format!("ECHO /queen/ctl {}", request("GPU-0", 1, 1, 60)));
    assert_eq!(
        answer,
        "ERR ECHO reason=policy detail=denied path=/queen/ctl error=EPERM"
    );
    assert!(ctl(&mut console, "drain").contains("detail=denied"));
    let log = console.cat("/log/queen.log").join("\n");
    assert!(
        log.contains("lifecycle denied action=drain state=DRAINING reason=outstanding-leases leases=1"),
        "{log}"
    );
    assert_eq!(
        console.ask(&format!("KILL {worker}")),
        format!("OK KILL id={worker}")
    );
    assert!(ctl(&mut console, "drain").starts_with("OK"));
}
