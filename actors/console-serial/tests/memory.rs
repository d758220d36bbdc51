//! After boot the root console allocates nothing, on threads of Linux.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::hosted::{Hosted, HostedConfig};
use runtime::topology::DomainSpec;

use support::{Wire, screen, topology};

/// Counts what one thread allocates.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter and the flag allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
        if domain.name == "console-serial" {
            domain.build = DomainSpec::new("console-serial", |ctx| {
                COUNTED.set(true);
                console_serial::spawn(ctx, console_serial::Config::default()).unwrap();
            })
            .build;
        }
    }
    let handle = Hosted::start(topology, HostedConfig::default()).unwrap();
    // What is typed before the console has come is lost.
    while !screen(&wire.state().sent).contains(&"hive> ".to_owned()) {
        wire.state().typed.push_back(b'\r');
        std::thread::sleep(Duration::from_millis(20));
    }
    // The first rounds touch everything once.
    (0..2).for_each(|mark| round(&wire, mark));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(before > 0, "the counter counts");
    (2..6).for_each(|mark| round(&wire, mark));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    handle.stop().unwrap();
}
