//! Each thread's allocations are counted, and nobody else's.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;

use counting_alloc::{CountingAlloc, allocations, allocations_by_thread};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

fn counted(what: impl FnOnce()) -> u64 {
    let before = allocations();
    what();
    allocations() - before
}

#[test]
fn every_way_to_get_a_block_counts_once() {
    assert_eq!(counted(|| ()), 0);
    assert_eq!(counted(|| drop(black_box(Box::new(1)))), 1);
    assert_eq!(counted(|| drop(black_box(vec![0u8; 100]))), 1, "zeroed");
    let mut grown = Vec::<u8>::with_capacity(10);
    assert_eq!(counted(|| grown.reserve_exact(1_000)), 1);
    assert_eq!(counted(|| black_box(&mut grown).shrink_to(20)), 1);
    assert_eq!(counted(|| drop(grown)), 0);
}

#[test]
fn another_threads_allocations_are_its_own() {
    let (go, waits) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<()>();
    let thread = thread::Builder::new()
        .name("other".into())
        .spawn(move || {
            for () in waits {
                black_box(Box::new(1));
                tell.send(()).expect("the test waits");
            }
        })
        .expect("a thread");
    let turn = || {
        go.send(()).expect("it lives");
        told.recv().expect("it answers");
        allocations_by_thread()["other"]
    };
    let first = turn();
    black_box(Box::new(1));
    let second = turn();
    assert!(second > first, "{first}, {second}");
    drop((go, told));
    thread.join().expect("an orderly end");
    assert!(!allocations_by_thread().contains_key("other"));
}
