//! A whole link: our side is a domain with an actor, the other side is rust-sel4's rings and the handshake's words.

use std::sync::atomic::Ordering;

use interop::{Provider, SharedLink, User, Word, take_flag};
use runtime::badge::{Badges, Channel};
use runtime::counters::Counters;
use runtime::domain::{Directory, Domain, DomainSetup, LinkSetup, Step, WallClock};
use runtime::executor::FifoExecutor;
use runtime::link::Side;
use runtime::time::Instant;
use runtime::topology::DomainLimits;
use sel4_shared_ring_buffer::roles::{Provide, Use};

const SLOTS: u16 = 5;
const FRAME_BYTES: u32 = 100;

/// A domain whose actor sends back every frame that it gets, with one more byte.
fn echo(link: &SharedLink, side: Side, channel: Channel) -> Domain<FifoExecutor> {
    let setup = DomainSetup {
        name: "echo".into(),
        limits: DomainLimits::default(),
        links: vec![LinkSetup {
            name: "them".into(),
            peer: "theirs".into(),
            channel,
            memory: link.memory(),
            side,
        }],
        regions: Vec::new(),
        counters: Counters::new(),
        directory: Directory::new([]),
        supervision: None,
        clock: WallClock::new(0),
        seed: 0,
        fault_injection: false,
        fault_asked: None,
        address_faults: false,
    };
    Domain::new(setup, FifoExecutor::new(4), Instant::ZERO, |context| {
        let link = context.link("them").expect("a link of that name");
        let serve = async move {
            loop {
                let connection = link.connect().await;
                let mut buf = [0; FRAME_BYTES as usize];
                while let Ok(len) = connection.recv(&mut buf).await {
                    buf[len] = len as u8;
                    if connection.send(&buf[..=len]).await.is_err() {
                        break;
                    }
                }
            }
        };
        context.spawn(serve).expect("room for a task");
    })
}

/// The other side: hello under `epoch` on rings that begin anew, as the README tells such a domain to.
fn begin<'a>(
    link: &'a SharedLink,
    ours: Side,
    epoch: u32,
    turn: &mut impl FnMut(),
) -> (Provider<'a>, User<'a>) {
    let theirs = ours.other();
    turn();
    assert_eq!(link.word(ours, Word::Ack).load(Ordering::Acquire), 0);
    let provider = link.provider(theirs, link.rings::<Provide>(theirs));
    let user = link.user(ours, link.rings_at::<Use>(ours, 0));
    link.word(theirs, Word::Hello).store(epoch, Ordering::Release);
    turn();
    assert_eq!(link.word(ours, Word::Ack).load(Ordering::Acquire), epoch);
    let hello = link.word(ours, Word::Hello).load(Ordering::Acquire);
    assert_ne!(hello, 0);
    link.word(theirs, Word::Ack).store(hello, Ordering::Release);
    turn();
    (provider, user)
}

#[test]
fn an_actor_of_ours_serves_a_domain_of_theirs_and_its_next_incarnation() {
    for ours in [Side::A, Side::B] {
        let link = SharedLink::new(SLOTS, FRAME_BYTES);
        let channel = Channel::new(3).expect("a channel");
        let mut domain = echo(&link, ours, channel);
        let signal = Badges::of(channel);
        let mut turn = || {
            domain.turn(signal, Instant::ZERO);
        };
        let mut last_hello = 0;
        for epoch in [7, 8, u32::MAX] {
            let (mut provider, mut user) = begin(&link, ours, epoch, &mut turn);
            let hello = link.word(ours, Word::Hello).load(Ordering::Acquire);
            assert_ne!(hello, last_hello, "each incarnation has an epoch of our side's");
            last_hello = hello;
            let (mut sent, mut received) = (0_u32, 0_u32);
            let mut turns = 0;
            // Past the ring's end several times. Bursts fill our side's slots and theirs.
            while received < 3_000 {
                while sent < 3_000 && provider.send(&vec![sent as u8; (sent % FRAME_BYTES) as usize]) {
                    sent += 1;
                }
                // Only when our side asked for it.
                if take_flag(link.word(ours, Word::WantsFrames)) {
                    turn();
                    turns += 1;
                }
                let mut took = 0;
                while let Some(frame) = user.receive() {
                    let len = (received % FRAME_BYTES) as usize;
                    assert_eq!(frame[..len], vec![received as u8; len]);
                    assert_eq!(frame[len..], [len as u8]);
                    (received, took) = (received + 1, took + 1);
                }
                if take_flag(link.word(ours, Word::WantsSpace)) {
                    turn();
                    turns += 1;
                } else {
                    assert!(
                        took > 0,
                        "frame {received} of {sent} is stuck after {turns} turns"
                    );
                }
            }
            assert_eq!(user.receive(), None);
            // Their domain dies with frames under way; its host marks it down.
            assert!(provider.send(b"lost"));
            link.memory().mark_down(ours.other());
        }
    }
}
