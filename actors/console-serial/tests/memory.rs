//! After boot the root console allocates nothing, on threads of Linux.

mod support;

use std::time::{Duration, Instant};

use counting_alloc::{CountingAlloc, allocations_by_thread};
use runtime::hosted::{Hosted, HostedConfig};

use support::{Wire, screen, topology};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

/// What the console's thread has allocated so far.
fn allocations() -> u64 {
    allocations_by_thread()["console-serial"]
}

/// Everything that somebody may type, and a mark to wait for.
fn round(wire: &Wire, mark: usize) {
    let mut keys = Vec::new();
    for line in [
        "PING",
        "HELP",
        "BI",
        "CAPS",
        "MEM",
        "NETTEST",
        "NETSTATS",
        "LS /",
        "LS /proc",
        "CAT /log/queen.log",
        "TAIL /log/queen.log",
        "LOG",
        "CAT /nope",
        "AUTH x",
        "TEST",
        "FROB",
        "",
        "ATTACH worker-gpu no",
        "LS /",
        "QUIT",
        "ATTACH queen",
        "QUIT",
        "ECHO /log/queen.log a\u{9b}\u{7f}b",
    ] {
        keys.extend_from_slice(line.as_bytes());
        keys.push(b'\r');
    }
    keys.extend((0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8));
    keys.extend_from_slice("x".repeat(4000).as_bytes());
    keys.extend_from_slice(format!("\r\u{3}mark-{mark}\r").as_bytes());
    wire.state().sent.clear();
    wire.state().typed.extend(keys);
    let begun = Instant::now();
    let typed = format!("hive> mark-{mark}");
    let is_answered = || {
        let shown = screen(&wire.state().sent);
        let after = shown.iter().skip_while(|line| **line != typed);
        after.skip(1).any(|line| line == "hive> ")
    };
    while !is_answered() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:#?}",
            screen(&wire.state().sent)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nothing_is_allocated_after_boot() {
    let wire = Wire::default();
    let mut topology = topology(&wire);
    for domain in &mut topology.domains {
        domain.thread = domain.name.clone();
    }
    let handle = Hosted::start(topology, HostedConfig::default()).unwrap();
    // What is typed before the console has come is lost.
    while !screen(&wire.state().sent).contains(&"hive> ".to_owned()) {
        wire.state().typed.push_back(b'\r');
        std::thread::sleep(Duration::from_millis(20));
    }
    // The first rounds touch everything once.
    (0..2).for_each(|mark| round(&wire, mark));
    let before = allocations();
    assert!(before > 0, "the counter counts");
    (2..6).for_each(|mark| round(&wire, mark));
    assert_eq!(allocations() - before, 0);
    handle.stop().unwrap();
}
