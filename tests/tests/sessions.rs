//! Many sessions at once: nothing lost, nothing mixed up, memory flat.

use std::thread;

use tests::{Console, Hive};

const SESSIONS: usize = 16;
const COMMANDS: usize = 10_000;

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

#[test]
fn sixteen_sessions_of_ten_thousand_commands() {
    let hive = Hive::fresh();
    // The first round touches what is touched for the first time; only then is memory compared.
    all_sessions(&hive, 500);
    let before = hive.resident_bytes().expect("our own process");
    all_sessions(&hive, COMMANDS);
    let after = hive.resident_bytes().expect("our own process");
    assert!(
        after <= before + (1 << 20),
        "resident memory grew from {before} to {after} bytes"
    );
    assert_eq!(hive.queen().ask("PING"), "OK PING reply=pong");
}
