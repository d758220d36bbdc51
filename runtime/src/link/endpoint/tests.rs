//! Two honest sides against a model, in any order of events.

use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::link::memory::{LinkMemory, Side};

const SLOTS: u16 = 3;
const FRAME_BYTES: u32 = 40;

/// One side, what the other side has sent it in this incarnation, and whether a signal came for it.
struct Party {
    endpoint: Endpoint,
    inbox: VecDeque<Vec<u8>>,
    signalled: bool,
    /// It said it would sleep until a frame comes.
    sleeps_for_frame: bool,
    /// It said it would sleep until there is space.
    sleeps_for_space: bool,
}

struct Pair {
    memory: LinkMemory,
    parties: [Party; 2],
}

#[derive(Clone, Debug)]
enum Op {
    Open,
    Close,
    Look,
    Send(Vec<u8>),
    Receive(usize),
    AwaitFrame,
    AwaitSpace,
    /// The host found the domain dead, and started it again.
    Die,
}

fn ops() -> impl Strategy<Value = Vec<(usize, Op)>> {
    let frame = prop::collection::vec(any::<u8>(), 0..=FRAME_BYTES as usize);
    let op = prop_oneof![
        2 => Just(Op::Open),
        1 => Just(Op::Close),
        6 => Just(Op::Look),
        8 => frame.prop_map(Op::Send),
        8 => (38..50_usize).prop_map(Op::Receive),
        3 => Just(Op::AwaitFrame),
        3 => Just(Op::AwaitSpace),
        1 => Just(Op::Die),
    ];
    prop::collection::vec((0..2_usize, op), 0..200)
}

const SIDES: [Side; 2] = [Side::A, Side::B];

impl Pair {
    fn new() -> Self {
        let memory = LinkMemory::new(SLOTS, FRAME_BYTES).expect("a sound shape");
        let party = |side| Party {
            endpoint: Endpoint::new(memory.view(side)),
            inbox: VecDeque::new(),
            signalled: false,
            sleeps_for_frame: false,
            sleeps_for_space: false,
        };
        Self {
            parties: SIDES.map(party),
            memory,
        }
    }

    /// This side's incarnation is over.
    fn forget(&mut self, who: usize) {
        let party = &mut self.parties[who];
        party.sleeps_for_frame = false;
        party.sleeps_for_space = false;
        party.inbox.clear();
    }

    /// Does `op` and checks that nothing but its meaning happens.
    fn apply(&mut self, who: usize, op: Op) {
        let memory = self.memory.clone();
        let view = memory.view(SIDES[who]);
        let agreed = self.parties.each_ref().map(|party| party.endpoint.is_agreed());
        let current = agreed[who] && self.parties[who].endpoint.handshake.news(view.peer).is_none();
        let party = &mut self.parties[who];
        let signal = match op {
            Op::Open => party.endpoint.open(view),
            Op::Close => {
                let signal = party.endpoint.close(view);
                self.forget(who);
                signal
            }
            Op::Look => {
                let look = party.endpoint.look(view);
                assert_eq!(look.lost, agreed[who] && !current);
                assert_eq!(
                    look.begun,
                    !(agreed[who] && current) && party.endpoint.is_agreed()
                );
                // The peer may have sent before this side knew that they agreed, and then closed.
                if look.signal {
                    self.forget(who);
                }
                look.signal
            }
            Op::Send(frame) => match party.endpoint.send(view, &frame) {
                Ok(None) => false,
                Ok(Some(signal)) => {
                    assert!(current);
                    let peer = &mut self.parties[1 - who];
                    peer.inbox.push_back(frame);
                    assert!(peer.inbox.len() <= usize::from(SLOTS));
                    assert_eq!(
                        signal, peer.sleeps_for_frame,
                        "a sleeper is woken, and nobody else"
                    );
                    peer.sleeps_for_frame = false;
                    signal
                }
                Err(over) => self.is_over(over, current),
            },
            Op::Receive(room) => {
                let mut buffer = std::vec![0; room];
                match party.endpoint.receive(view, &mut buffer) {
                    Ok((received, signal)) => {
                        assert!(current);
                        match (received, party.inbox.pop_front()) {
                            (Received::Nothing, None) => {}
                            (Received::Frame(len), Some(frame)) => assert_eq!(buffer[..len], frame),
                            (Received::TooLong(len), Some(frame)) => {
                                assert!(len == frame.len() && len > room);
                            }
                            (received, expected) => panic!("{received:?} where {expected:?} was sent"),
                        }
                        let peer = &mut self.parties[1 - who];
                        if received != Received::Nothing {
                            assert!(signal || !peer.sleeps_for_space, "a sleeper is woken");
                            peer.sleeps_for_space = false;
                        }
                        signal
                    }
                    Err(over) => self.is_over(over, current),
                }
            }
            Op::AwaitFrame => match party.endpoint.await_frame(view) {
                Ok(there) => {
                    assert_eq!(there, !party.inbox.is_empty());
                    party.sleeps_for_frame = true;
                    false
                }
                Err(over) => self.is_over(over, current),
            },
            Op::AwaitSpace => match party.endpoint.await_space(view) {
                Ok(there) => {
                    party.sleeps_for_space |= !there;
                    let peer = &self.parties[1 - who];
                    assert_eq!(there, peer.inbox.len() < usize::from(SLOTS));
                    false
                }
                Err(over) => self.is_over(over, current),
            },
            Op::Die => {
                memory.mark_down(SIDES[who]);
                party.endpoint = Endpoint::new(view);
                self.forget(who);
                true
            }
        };
        self.parties[1 - who].signalled |= signal;
    }

    fn is_over(&self, over: Over, current: bool) -> bool {
        assert_eq!(over, Over::Closed, "both sides are honest");
        assert!(!current);
        false
    }

    /// Both sides open, and then look whenever they are signalled.
    fn settle(&mut self) {
        for who in 0..2 {
            self.apply(who, Op::Open);
            self.parties[who].signalled = true;
        }
        for _ in 0..10 {
            for who in 0..2 {
                if core::mem::take(&mut self.parties[who].signalled) {
                    self.apply(who, Op::Look);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn frames_arrive_in_order_and_sleepers_are_woken(ops in ops()) {
        let mut pair = Pair::new();
        for (who, op) in ops {
            pair.apply(who, op);
            for (party, side) in pair.parties.iter().zip(SIDES) {
                prop_assert!(party.endpoint.is_consistent(pair.memory.view(side)));
            }
        }
        pair.settle();
        prop_assert!(pair.parties.iter().all(|party| party.endpoint.is_agreed()), "both want it, so it is");
        for who in 0..2 {
            pair.apply(who, Op::Send(std::vec![who as u8; 7]));
            let mut inboxes = 0;
            while !pair.parties[1 - who].inbox.is_empty() {
                pair.apply(1 - who, Op::Receive(FRAME_BYTES as usize));
                inboxes += 1;
            }
            prop_assert!(inboxes > 0);
        }
    }
}

/// A whole conversation over rings of full length, so that they wrap.
#[test]
fn rings_wrap_around() {
    let memory = LinkMemory::new(511, 8).expect("a sound shape");
    let views = SIDES.map(|side| memory.view(side));
    let [mut a, mut b] = views.map(Endpoint::new);
    a.open(views[0]);
    b.open(views[1]);
    a.look(views[0]);
    b.look(views[1]);
    assert!(a.look(views[0]).begun);
    let mut buffer = [0; 8];
    for number in 0..2_000_u64 {
        // Mostly full, so that every slot and every place is used.
        let sent = a.send(views[0], &number.to_le_bytes()).expect("agreed");
        assert!(sent.is_some());
        if let Some(oldest) = number.checked_sub(510) {
            let (received, _) = b.receive(views[1], &mut buffer).expect("agreed");
            assert_eq!((received, buffer), (Received::Frame(8), oldest.to_le_bytes()));
        }
    }
    assert_eq!(a.send(views[0], &buffer), Ok(Some(false)));
    assert_eq!(a.send(views[0], &buffer), Ok(None));
}
