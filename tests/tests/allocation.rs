//! After boot the request path allocates nothing: the threads of the actors are counted.

use std::net::SocketAddr;
use std::thread;

use client::state::StateDir;
use counting_alloc::{CountingAlloc, allocations_by_thread};
use hive::run;
use hive::{Manifest, Secrets};
use tests::Console;
use tests::ninep::Client;

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

/// Telemetry comes in, goes for want of room, is read, and becomes jobs.
fn ingest(console: &mut Console, device: usize, n: usize) {
    let root = format!("/queen/telemetry/device-{device}");
    if n.is_multiple_of(8) {
        let request = r#"{"new":"segment","mime":"text/plain"}"#;
        assert!(
            console
                .ask(&format!("ECHO {root}/ctl {request}"))
                .starts_with("OK ECHO")
        );
    }
    let segment = console.cat(&format!("{root}/latest")).concat();
    let sample = format!(
        "{{\"schema_version\":\"gpu-telemetry/v1\",\"device_id\":\"d\",\"model_id\":\"m-{}\",\"time_window\":{n},\
         \"token_count\":1,\"latency_histogram\":[1],\"drift\":0.5}}",
        n % 3
    );
    assert!(
        console
            .ask(&format!("ECHO {root}/seg/{segment} {sample}"))
            .starts_with("OK ECHO")
    );
    for file in [
        format!("{root}/seg/{segment}"),
        "/queen/export/gates".into(),
        "/proc/ingest/p95_ms".into(),
    ] {
        assert!(!console.cat(&file).is_empty(), "{file}");
    }
    let (ack, _) = console.stream("TAIL /proc/ingest/watch");
    assert!(ack.starts_with("OK TAIL"), "{ack}");
    if let Some(job) = console.ls("/queen/export/lora_jobs").last() {
        // It may go while it is looked at.
        console.stream(&format!("CAT /queen/export/lora_jobs/{job}/telemetry.cbor"));
    }
}

fn work(console: &mut Console, device: usize, rounds: usize) {
    for n in 0..rounds {
        ingest(console, device, n);
        let payload = "a".repeat(1 + n % 200);
        assert!(
            console
                .ask(&format!("ECHO /log/queen.log {payload}"))
                .starts_with("OK ECHO")
        );
        for command in [
            "CAT /log/queen.log",
            "CAT /proc/boot",
            "CAT /proc/lifecycle/state",
            "CAT /gpu/GPU-0/info",
            "CAT /gpu/bridge/status",
            "LS /gpu",
            "LS /",
            "LS /proc",
        ] {
            let (ack, _) = console.stream(command);
            assert!(ack.starts_with("OK "), "{ack}");
        }
        let (ack, _) = console.stream("TAIL /worker/worker-1/telemetry");
        assert!(ack.starts_with("OK TAIL"), "{ack}");
        let status = format!("ECHO /gpu/GPU-1/status {{\"n\":{n}}}");
        assert!(console.ask(&status).starts_with("OK ECHO"));
        assert!(console.ask("CAT /nope").starts_with("ERR CAT"));
        assert!(console.ask("FROB").starts_with("ERR PARSE"));
        assert_eq!(console.ask("PING"), "OK PING reply=pong");
        console.receive();
    }
}

fn work_by_9p(addr: SocketAddr, rounds: usize) {
    let mut client = Client::queen(addr, "counted-token");
    for _ in 0..rounds {
        assert!(!client.cat("/proc/boot").expect("a file").is_empty());
        assert!(
            !client
                .cat("/proc/lifecycle/state")
                .expect("a file of the queen's")
                .is_empty()
        );
        assert_eq!(client.walk(0, 1, &["proc"]), Ok(1));
        client.getattr(1).expect("attributes");
        client.open(1, 0).expect("a directory opens");
        assert!(!client.readdir(1, 4096).expect("a listing").is_empty());
        client.clunk(1).expect("a fid");
        assert_eq!(client.walk(0, 1, &["log", "queen.log"]), Ok(2));
        client.open(1, 1).expect("the log can be written");
        client.write(1, 0, b"by 9P").expect("a line");
        client.clunk(1).expect("a fid");
        assert!(client.walk(0, 1, &["nope"]).is_err());
    }
}

#[test]
fn the_request_path_allocates_nothing_after_boot() {
    // The network's host side is no actor of the VM; it gets a thread of its own and is not counted.
    let text = hive::manifest::DEFAULT
        .replacen(
            "name = \"net\"\nthread = \"request\"",
            "name = \"net\"\nthread = \"net\"",
            1,
        )
        .replacen("tick_ms = 1000", "tick_ms = 20", 1)
        .replacen("min_samples = 500", "min_samples = 50", 1);
    let mut manifest = Manifest::parse(&text).expect("a valid manifest");
    manifest
        .ninep
        .as_mut()
        .expect("a section for 9P")
        .address
        .set_port(0);
    let directory = tempfile::tempdir().expect("a directory for the state");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let state = StateDir::at(directory.path());
    let secrets = Secrets::gather(&manifest, &state, Some("counted-token"), listen).expect("secrets");
    let hive = run::Hive::start(&manifest, &secrets, listen, Some(directory.path())).expect("a hive");
    hive.wait_until_ready("counted-token").expect("ready");

    let ninep = hive.ninep().expect("it listens for 9P clients");
    let connect = || Console::queen(hive.console(), "counted-token");
    let spawned = connect().ask(r#"ECHO /queen/ctl {"spawn":"heartbeat","ticks":1000000}"#);
    assert!(spawned.starts_with("OK ECHO"), "{spawned}");
    let in_parallel = |rounds: usize| {
        thread::scope(|scope| {
            for device in 0..16 {
                // Connecting is part of the path: sessions come and go without an allocation too.
                scope.spawn(move || work(&mut connect(), device, rounds));
            }
            for _ in 0..4 {
                scope.spawn(move || (0..rounds / 10).for_each(|_| work_by_9p(ninep, 10)));
            }
        });
    };
    in_parallel(20);
    let before = allocations_by_thread();
    in_parallel(60);
    let after = allocations_by_thread();
    for thread in ["request", "workers"] {
        let (before, after) = (before.get(thread), after.get(thread));
        assert!(
            before.is_some_and(|count| *count > 0),
            "{thread} made no allocation at boot: is it counted?"
        );
        assert_eq!(before, after, "{thread} allocates on the request path");
    }
    hive.stop();
}
