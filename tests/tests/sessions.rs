//! Many sessions at once: nothing lost, nothing mixed up, memory flat.

use std::thread;

use tests::{Console, Hive};

const SESSIONS: usize = 16;
/// Alternates writes whose acknowledgement tells the length and reads whose content is known.
fn work(console: &mut Console, session: usize, commands: usize) {
    for n in 0..commands {
        if n % 2 == 0 {
            // Every session and step has a length of its own, so that a stray acknowledgement shows.
            let payload = "s".repeat(1 + (session * 7 + n) % 100);
            let answer = console.ask(&format!("ECHO /log/queen.log {payload}"));
            assert_eq!(
                answer,
                format!("OK ECHO path=/log/queen.log bytes={}", payload.len())
            );
        } else {
            let (path, expected) = match (session + n / 2) % 3 {
                0 => ("/proc/lifecycle/state", "state=ONLINE"),
                1 => ("/proc/lifecycle/reason", "reason=boot-complete"),
                _ => ("/proc/root/reachable", "reachable=yes"),
            };
            let (ack, lines) = console.stream(&format!("CAT {path}"));
            assert_eq!(ack, format!("OK CAT path={path} data={expected}"));
            assert_eq!(lines, [expected]);
        }
    }
}

fn all_sessions(hive: &Hive, commands: usize) {
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            scope.spawn(move || work(&mut hive.queen(), session, commands));
        }
    });
}

/// Commands of one session: `SESSION_COMMANDS`, 10,000 if it is not set. A hive in QEMU without hardware support takes about
/// a millisecond for each.
fn commands() -> usize {
    std::env::var("SESSION_COMMANDS").map_or(10_000, |number| {
        number.parse().expect("SESSION_COMMANDS is a number")
    })
}

/// Bytes that the hive has in use: our own process, or the heaps that its domains count.
fn memory(hive: &Hive) -> u64 {
    if let Some(bytes) = hive.resident_bytes() {
        return bytes;
    }
    let mut console = hive.queen();
    let domains = console.ls("/proc/actors");
    let mut heap = |domain: &String| -> u64 {
        let counters = console.cat(&format!("/proc/actors/{domain}/counters"));
        let bytes = counters.iter().find_map(|line| line.strip_prefix("heap_bytes="));
        bytes.map_or(0, |bytes| bytes.parse().expect("a number"))
    };
    domains.iter().map(&mut heap).sum()
}

#[test]
fn sixteen_sessions_of_ten_thousand_commands() {
    let hive = Hive::any();
    let commands = commands();
    // The first round touches what is touched for the first time; only then is memory compared.
    all_sessions(&hive, commands.min(500));
    let before = memory(&hive);
    all_sessions(&hive, commands);
    let after = memory(&hive);
    println!("{SESSIONS} sessions of {commands} commands; memory {before}, then {after} bytes");
    assert!(
        after <= before + (1 << 20),
        "memory grew from {before} to {after} bytes"
    );
    assert_eq!(hive.queen().ask("PING"), "OK PING reply=pong");
}
