//! What tasks see of a link: waiting together, back-pressure, giving up, frames that do not fit.
#![cfg(feature = "sim")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use runtime::Context;
use runtime::link::{Connection, LinkError, TrySendError};
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

const SLOTS: u16 = 3;
const FRAME_BYTES: u32 = 16;

fn pair(seed: u64) -> Sim {
    let topology = Topology {
        domains: ["left", "right"].map(|name| DomainSpec::new(name, |_| {})).into(),
        links: vec![LinkSpec::new("middle", "left", "right", SLOTS, FRAME_BYTES)],
        fault_injection: false,
    };
    Sim::new(
        topology,
        SimConfig {
            seed,
            ..SimConfig::default()
        },
    )
    .expect("sound")
}

/// Runs a task in a domain; its result once it has one.
fn task<R: 'static, F: Future<Output = R> + 'static>(
    sim: &mut Sim,
    domain: &str,
    task: impl FnOnce(Context) -> F,
) -> Rc<RefCell<Option<R>>> {
    let result = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&result);
    sim.with_context(domain, |context| {
        let future = task(context.clone());
        let run = async move { *kept.borrow_mut() = Some(future.await) };
        context.spawn(run).expect("there is room");
    })
    .expect("the domain is alive");
    result
}

fn settle(sim: &mut Sim) {
    assert_eq!(sim.run_for(Duration::from_secs(10)), Outcome::Quiescent);
}

/// Both ends of a connection, for tests to play with.
fn connected(sim: &mut Sim) -> [Connection; 2] {
    let ends = ["left", "right"].map(|domain| {
        task(sim, domain, |context| async move {
            context.link("middle").expect("there").connect().await
        })
    });
    settle(sim);
    ends.map(|end| end.take().expect("both are up"))
}

#[test]
fn a_full_ring_is_back_pressure() {
    for seed in 0..20 {
        let mut sim = pair(seed);
        let [left, right] = connected(&mut sim);
        for number in 0..SLOTS {
            assert_eq!(left.try_send(&number.to_le_bytes()), Ok(()));
        }
        assert_eq!(left.try_send(b"more"), Err(TrySendError::Full));
        let sender = left.clone();
        let sent = Rc::new(Cell::new(0));
        let counted = Rc::clone(&sent);
        let done = task(&mut sim, "left", |_| async move {
            for number in SLOTS..100 {
                sender.send(&number.to_le_bytes()).await.expect("open");
                counted.set(counted.get() + 1);
            }
        });
        settle(&mut sim);
        assert_eq!((sent.get(), done.take()), (0, None), "nobody takes anything");
        let received = task(&mut sim, "right", |_| async move {
            let mut frame = [0; FRAME_BYTES as usize];
            for number in 0..100_u16 {
                let len = right.recv(&mut frame).await.expect("open");
                assert_eq!(frame[..len], number.to_le_bytes());
            }
        });
        settle(&mut sim);
        assert_eq!(
            (done.take(), received.take()),
            (Some(()), Some(())),
            "seed {seed}"
        );
        // Full rings are where signals are needed; the rest was suppressed.
        let counters = sim.counters_of("left").expect("there").snapshot();
        assert!(counters.signals_suppressed > 0, "{counters:?}");
    }
}

#[test]
fn tasks_that_wait_together_share_the_frames() {
    for seed in 0..50 {
        let mut sim = pair(seed);
        let [left, right] = connected(&mut sim);
        let frames = Rc::new(RefCell::new(Vec::new()));
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let (right, frames) = (right.clone(), Rc::clone(&frames));
                task(&mut sim, "right", |_| async move {
                    let mut frame = [0; FRAME_BYTES as usize];
                    loop {
                        match right.recv(&mut frame).await {
                            Ok(len) => frames.borrow_mut().push(frame[..len].to_vec()),
                            Err(error) => break error,
                        }
                    }
                })
            })
            .collect();
        settle(&mut sim);
        let sending = task(&mut sim, "left", |_| async move {
            for number in 0..40_u8 {
                left.send(&[number]).await.expect("open");
            }
            left
        });
        settle(&mut sim);
        let expected: Vec<_> = (0..40_u8).map(|number| vec![number]).collect();
        assert_eq!(*frames.borrow(), expected, "seed {seed}");
        sending.take().expect("all sent").close();
        sim.with_context("left", |_| ()).expect("alive");
        settle(&mut sim);
        for waiter in waiters {
            assert_eq!(
                waiter.take(),
                Some(LinkError::Closed),
                "each waiter hears of the end"
            );
        }
    }
}

#[test]
fn a_future_that_is_dropped_takes_nothing_along() {
    for seed in 0..50 {
        let mut sim = pair(seed);
        let [left, right] = connected(&mut sim);
        let received = task(&mut sim, "right", |context| async move {
            let mut numbers = Vec::new();
            let mut frame = [0; FRAME_BYTES as usize];
            while numbers.len() < 30 {
                let impatience = Duration::from_micros(context.random_u64() % 40);
                if let Ok(len) = context.timeout(impatience, right.recv(&mut frame)).await {
                    assert_eq!(len, Ok(1));
                    numbers.push(frame[0]);
                }
            }
            numbers
        });
        let sent = task(&mut sim, "left", |context| async move {
            for number in 0..30 {
                context
                    .sleep(Duration::from_micros(context.random_u64() % 40))
                    .await;
                left.send(&[number]).await.expect("open");
            }
            // Dropping the connection would end it under the receiver's hands.
            left
        });
        settle(&mut sim);
        assert_eq!(received.take(), Some((0..30).collect()), "seed {seed}");
        assert!(sent.take().is_some());
    }
}

#[test]
fn frames_that_do_not_fit_are_errors_and_the_connection_goes_on() {
    let mut sim = pair(1);
    let [left, right] = connected(&mut sim);
    let long = [0; FRAME_BYTES as usize + 1];
    let max = FRAME_BYTES as usize;
    assert_eq!(
        left.try_send(&long),
        Err(TrySendError::Link(LinkError::TooLong { len: max + 1, max }))
    );
    assert_eq!(left.try_send(&long[..max]), Ok(()));
    assert_eq!(left.try_send(&[]), Ok(()));
    let mut short = [7; 3];
    assert_eq!(
        right.try_recv(&mut short),
        Err(LinkError::TooLong { len: max, max: 3 })
    );
    assert_eq!(short, [7; 3]);
    assert_eq!(right.try_recv(&mut short), Ok(Some(0)));
    assert_eq!(right.try_recv(&mut short), Ok(None));
    assert!(!left.is_closed() && !right.is_closed());
}

#[test]
fn the_end_of_a_connection_is_final_on_both_sides() {
    let mut sim = pair(1);
    let [left, right] = connected(&mut sim);
    let watching = right.clone();
    let closed = task(&mut sim, "right", |_| async move { watching.closed().await });
    let waiting = right.clone();
    let writable = task(&mut sim, "right", |_| async move { waiting.readable().await });
    settle(&mut sim);
    assert_eq!(closed.take(), None);
    left.close();
    assert!(left.is_closed());
    sim.with_context("left", |_| ()).expect("alive");
    settle(&mut sim);
    assert_eq!(
        (closed.take(), writable.take()),
        (Some(()), Some(Err(LinkError::Closed)))
    );
    // A new connection is none of the old handles' business.
    let [left_again, right_again] = connected(&mut sim);
    drop(left);
    assert_eq!(right.try_send(b"old"), Err(TrySendError::Link(LinkError::Closed)));
    assert_eq!(left_again.try_send(b"new"), Ok(()));
    let mut frame = [0; FRAME_BYTES as usize];
    assert_eq!(right.try_recv(&mut frame), Err(LinkError::Closed));
    assert_eq!(right_again.try_recv(&mut frame), Ok(Some(3)));
    right.close();
    assert!(!right_again.is_closed());
}

#[test]
fn a_wait_for_a_connection_that_is_given_up_lets_go() {
    let mut sim = pair(1);
    let gave_up = task(&mut sim, "left", |context| async move {
        let link = context.link("middle").expect("there");
        context
            .timeout(Duration::from_millis(1), link.connect())
            .await
            .is_err()
    });
    settle(&mut sim);
    assert_eq!(gave_up.take(), Some(true));
    // The right side now wants to talk; the left side does not any more.
    let waiting = task(&mut sim, "right", |context| async move {
        let link = context.link("middle").expect("there");
        context
            .timeout(Duration::from_millis(1), link.connect())
            .await
            .is_err()
    });
    settle(&mut sim);
    assert_eq!(waiting.take(), Some(true));
}
