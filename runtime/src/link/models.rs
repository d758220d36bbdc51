//! Models of a link for loom: every interleaving of its two sides, over rings of four places.
//!
//! Answers for: no lost wake-up, an agreement that is always reached and never half, and no honest side being taken for
//! a hostile one when the other begins anew under its hands.
//! Never: run by a plain `cargo test`; see the crate's README.

use alloc::vec::Vec;

use loom::sync::Arc;
use loom::thread;

use super::endpoint::{Endpoint, Over, View};
use super::frames::{Direction, RawDirection, Received, Shape};
use super::handshake::RawSide;
use super::ring::RawRing;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const N: usize = 4;
const FRAME: [u8; 8] = *b"a frame!";

/// A link's memory, and a notification word each way.
struct Memory {
    sides: [RawSide; 2],
    rings: [RawDirection<N>; 2],
    data: [Vec<AtomicU64>; 2],
    slots: u16,
    signals: [AtomicU32; 2],
}

impl Memory {
    fn new(slots: u16) -> Arc<Self> {
        let rings = || RawDirection {
            free: RawRing::zeroed(),
            used: RawRing::zeroed(),
        };
        let data = || (0..slots).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            sides: [RawSide::zeroed(), RawSide::zeroed()],
            rings: [rings(), rings()],
            data: [data(), data()],
            slots,
            signals: [AtomicU32::new(0), AtomicU32::new(0)],
        })
    }

    fn view(&self, who: usize) -> View<'_, N> {
        let shape = Shape {
            slots: self.slots,
            stride: 8,
            frame_bytes: 8,
        };
        let direction = |from: usize| Direction {
            rings: &self.rings[from],
            data: &self.data[from],
            shape,
        };
        View {
            mine: &self.sides[who],
            peer: &self.sides[1 - who],
            out: direction(who),
            inn: direction(1 - who),
        }
    }

    /// What a host does with a signal for the other side.
    fn signal(&self, from: usize, needed: bool) {
        if needed {
            self.signals[1 - from].fetch_or(1, Ordering::Release);
        }
    }

    fn open(&self, who: usize, endpoint: &mut Endpoint) {
        let signal = endpoint.open(self.view(who));
        self.signal(who, signal);
        self.look(who, endpoint);
    }

    fn close(&self, who: usize, endpoint: &mut Endpoint) {
        let signal = endpoint.close(self.view(who));
        self.signal(who, signal);
    }

    fn look(&self, who: usize, endpoint: &mut Endpoint) {
        let look = endpoint.look(self.view(who));
        self.signal(who, look.signal);
    }

    /// Whether there was a signal.
    fn look_if_signalled(&self, who: usize, endpoint: &mut Endpoint) -> bool {
        let signalled = self.signals[who].swap(0, Ordering::AcqRel) == 1;
        if signalled {
            self.look(who, endpoint);
        }
        signalled
    }

    /// Both sides take the turns that they were signalled for, until none is left.
    fn settle(&self, [one, other]: &mut [Endpoint; 2]) {
        while self.look_if_signalled(0, one) | self.look_if_signalled(1, other) {}
    }

    /// Two sides that have agreed.
    fn agreed(&self) -> [Endpoint; 2] {
        let mut endpoints = [0, 1].map(|who| Endpoint::new(self.view(who)));
        for (who, endpoint) in endpoints.iter_mut().enumerate() {
            self.open(who, endpoint);
        }
        self.settle(&mut endpoints);
        assert!(endpoints.iter().all(Endpoint::is_agreed));
        endpoints
    }

    /// A frame goes each way.
    fn converse(&self, endpoints: &mut [Endpoint; 2]) {
        for from in 0..2 {
            let sent = endpoints[from].send(self.view(from), &FRAME);
            assert!(matches!(sent, Ok(Some(_))), "{sent:?}");
            assert_eq!(self.receive(1 - from, &mut endpoints[1 - from]), Ok(true));
            assert_eq!(self.receive(1 - from, &mut endpoints[1 - from]), Ok(false));
        }
    }

    /// Whether there was a frame.
    fn receive(&self, who: usize, endpoint: &mut Endpoint) -> Result<bool, Over> {
        let mut buffer = [0; 8];
        let (received, signal) = endpoint.receive(self.view(who), &mut buffer)?;
        self.signal(who, signal);
        assert!(received == Received::Nothing || buffer == FRAME);
        Ok(received != Received::Nothing)
    }
}

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// A receiver that went to sleep has been signalled if a frame is there.
#[test]
fn a_sleeping_receiver_is_woken() {
    model(|| {
        let memory = Memory::new(2);
        let [mut sender, mut receiver] = memory.agreed();
        let sending = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                for _ in 0..2 {
                    let sent = sender.send(memory.view(0), &FRAME).expect("agreed");
                    memory.signal(0, sent.expect("there is space"));
                }
            })
        };
        let mut received = 0;
        // A turn: all there is, then to sleep.
        let mut turn = |receiver: &mut Endpoint| {
            loop {
                if memory.receive(1, receiver).expect("agreed") {
                    received += 1;
                } else if !receiver.await_frame(memory.view(1)).expect("agreed") {
                    break;
                }
            }
        };
        turn(&mut receiver);
        sending.join().expect("no panic");
        while memory.signals[1].swap(0, Ordering::AcqRel) == 1 {
            turn(&mut receiver);
        }
        assert_eq!(received, 2);
    });
}

/// A sender that went to sleep has been signalled if a slot came back.
#[test]
fn a_sleeping_sender_is_woken() {
    model(|| {
        let memory = Memory::new(1);
        let [mut sender, mut receiver] = memory.agreed();
        sender
            .send(memory.view(0), &FRAME)
            .expect("agreed")
            .expect("there is space");
        let receiving = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                assert_eq!(memory.receive(1, &mut receiver), Ok(true));
                receiver
            })
        };
        let mut sent = 0;
        let mut turn = |sender: &mut Endpoint| {
            while sent == 0 {
                if sender.send(memory.view(0), &FRAME).expect("agreed").is_some() {
                    sent += 1;
                } else if !sender.await_space(memory.view(0)).expect("agreed") {
                    break;
                }
            }
        };
        turn(&mut sender);
        let mut receiver = receiving.join().expect("no panic");
        while memory.signals[0].swap(0, Ordering::AcqRel) == 1 {
            turn(&mut sender);
        }
        assert_eq!(sent, 1);
        assert_eq!(memory.receive(1, &mut receiver), Ok(true));
    });
}

/// A domain starts while the other side, which knew an earlier life of it, goes on: they agree, and nothing of that
/// earlier life is taken for a frame.
#[test]
fn two_sides_that_start_agree() {
    model(|| {
        let memory = Memory::new(2);
        let mut earlier = memory.agreed();
        memory.converse(&mut earlier);
        let [_, mut survivor] = earlier;
        survivor
            .send(memory.view(1), b"too late")
            .expect("agreed")
            .expect("there is space");
        memory.sides[0].mark_down();
        memory.signal(0, true);
        let starting = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let mut endpoint = Endpoint::new(memory.view(0));
                memory.open(0, &mut endpoint);
                memory.look_if_signalled(0, &mut endpoint);
                let sent = endpoint.is_agreed();
                if sent {
                    assert_eq!(memory.receive(0, &mut endpoint), Ok(false));
                    endpoint
                        .send(memory.view(0), &FRAME)
                        .expect("agreed")
                        .expect("there is space");
                }
                (endpoint, sent)
            })
        };
        memory.look_if_signalled(1, &mut survivor);
        memory.look_if_signalled(1, &mut survivor);
        let (started, sent) = starting.join().expect("no panic");
        let mut endpoints = [started, survivor];
        memory.settle(&mut endpoints);
        assert!(endpoints.iter().all(Endpoint::is_agreed));
        assert_eq!(memory.receive(1, &mut endpoints[1]), Ok(sent));
        memory.converse(&mut endpoints);
    });
}

/// Both sides begin anew at the same time.
#[test]
fn two_sides_that_reset_agree() {
    model(|| {
        let memory = Memory::new(1);
        let [one, mut other] = memory.agreed();
        let reset = |who: usize, mut endpoint: Endpoint, memory: Arc<Memory>| {
            move || {
                memory.close(who, &mut endpoint);
                memory.open(who, &mut endpoint);
                endpoint
            }
        };
        let resetting = thread::spawn(reset(0, one, Arc::clone(&memory)));
        memory.close(1, &mut other);
        memory.open(1, &mut other);
        let mut endpoints = [resetting.join().expect("no panic"), other];
        memory.settle(&mut endpoints);
        assert!(endpoints.iter().all(Endpoint::is_agreed));
        memory.converse(&mut endpoints);
    });
}

/// One side begins anew while the other sends and receives: the connection is over, and nobody is blamed.
#[test]
fn a_reset_under_way_is_no_violation() {
    model(|| {
        let memory = Memory::new(1);
        let mut endpoints = memory.agreed();
        // Indices that are not zero, and a frame in flight each way.
        memory.converse(&mut endpoints);
        for (who, endpoint) in endpoints.iter_mut().enumerate() {
            endpoint
                .send(memory.view(who), &FRAME)
                .expect("agreed")
                .expect("there is space");
        }
        let [mut busy, mut fresh] = endpoints;
        let working = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let sent = busy.send(memory.view(0), &FRAME);
                assert!(matches!(sent, Ok(_) | Err(Over::Closed)), "{sent:?}");
                let received = memory.receive(0, &mut busy);
                assert!(matches!(received, Ok(_) | Err(Over::Closed)), "{received:?}");
                busy
            })
        };
        memory.close(1, &mut fresh);
        memory.open(1, &mut fresh);
        let mut endpoints = [working.join().expect("no panic"), fresh];
        memory.settle(&mut endpoints);
        assert!(endpoints.iter().all(Endpoint::is_agreed));
        memory.converse(&mut endpoints);
    });
}
