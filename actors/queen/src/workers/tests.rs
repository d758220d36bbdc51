//! The table by itself, and against two peers that die as they like.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::record::{GpuId, Grant};

/// The peers of a heartbeat worker.
const BOTH: [Peer; 2] = [Peer::Door, Peer::Heart];

fn spec(number: u64) -> Spec {
    Spec {
        number,
        kind: Kind::Heartbeat { ticks: 1 },
        ttl_s: 1,
        ops: Some(1),
        issued_ms: 0,
    }
}

fn gpu_spec(number: u64) -> Spec {
    let grant = Grant {
        gpu: GpuId::new("GPU-0").unwrap(),
        mem_mb: 1024,
        streams: 1,
        ttl_s: 1,
        priority: 0,
    };
    Spec {
        kind: Kind::Gpu(grant),
        ..spec(number)
    }
}

fn connected() -> Workers {
    let mut workers = Workers::new(4);
    for peer in Peer::ALL {
        workers.peer_up(peer);
    }
    workers
}

fn alive(workers: &mut Workers, number: u64) {
    assert!(workers.add(spec(number)));
    workers.done(Peer::Door, Step::Make(number));
    workers.done(Peer::Heart, Step::Make(number));
    assert!(workers.set_alive(number));
}

#[test]
fn ids_are_read_back_and_nothing_else_is_an_id() {
    for number in [1, 9, 10, u64::MAX] {
        assert_eq!(number_of(&id_of(number)), Some(number));
    }
    for text in [
        "worker-",
        "worker-01",
        "worker-+1",
        "worker",
        "1",
        "worker-1 ",
        "worker-18446744073709551616",
    ] {
        assert_eq!(number_of(text), None, "{text:?}");
    }
}

#[test]
fn a_worker_gets_its_files_before_it_starts() {
    let mut workers = connected();
    workers.add(spec(1));
    assert_eq!(
        (workers.step(Peer::Door), workers.step(Peer::Heart)),
        (Some(Step::Make(1)), None)
    );
    workers.done(Peer::Door, Step::Make(1));
    assert_eq!(
        (workers.step(Peer::Door), workers.step(Peer::Heart)),
        (None, Some(Step::Make(1)))
    );
    assert_eq!(workers.making(1), Making::Pending);
    workers.done(Peer::Heart, Step::Make(1));
    assert_eq!(
        (workers.making(1), workers.step(Peer::Heart)),
        (Making::Done, None)
    );
}

#[test]
fn removals_come_first_and_keep_their_place_until_both_peers_let_go() {
    let mut workers = connected();
    alive(&mut workers, 1);
    workers.add(spec(2));
    workers.set_gone(1);
    assert_eq!((workers.live(), workers.is_removed(1)), (1, false));
    for peer in BOTH {
        assert_eq!(workers.step(peer), Some(Step::Unmake(1)));
        workers.done(peer, Step::Unmake(1));
    }
    assert!(workers.is_removed(1));
    assert_eq!(workers.step(Peer::Door), Some(Step::Make(2)));
}

#[test]
fn a_peer_that_is_away_does_not_delay_a_removal() {
    let mut workers = connected();
    alive(&mut workers, 1);
    workers.peer_down(Peer::Heart);
    workers.set_gone(1);
    workers.done(Peer::Door, Step::Unmake(1));
    assert!(workers.is_removed(1));
    alive(&mut workers, 2);
    workers.set_gone(2);
    workers.peer_down(Peer::Door);
    assert!(workers.is_removed(2));
}

#[test]
fn a_peer_that_came_back_is_told_everything_again() {
    let mut workers = connected();
    alive(&mut workers, 1);
    workers.peer_down(Peer::Door);
    assert_eq!(workers.step(Peer::Door), Some(Step::Make(1)));
    assert_eq!(workers.step(Peer::Heart), None, "it runs, and goes on running");
}

#[test]
fn a_refusal_is_the_answer_of_a_worker_in_the_making_only() {
    let mut workers = connected();
    workers.add(spec(1));
    assert!(workers.refused(1, Refusal::BufferFull));
    assert_eq!(workers.making(1), Making::Refused(Refusal::BufferFull));
    assert_eq!(workers.step(Peer::Door), None, "it is not asked for again");
    alive(&mut workers, 2);
    assert!(!workers.refused(2, Refusal::BufferFull));
}

#[test]
fn a_worker_may_end_before_it_is_acknowledged() {
    let mut workers = connected();
    workers.add(spec(1));
    workers.done(Peer::Door, Step::Make(1));
    assert!(!workers.ended(Peer::Heart, 1, EndReason::Ticks));
    assert_eq!(
        (workers.making(1), workers.early_end(1)),
        (Making::Done, Some(EndReason::Ticks))
    );
    workers.set_alive(1);
    assert!(workers.ended(Peer::Heart, 1, EndReason::Ticks));
    assert!(
        !workers.ended(Peer::Heart, 9, EndReason::Ticks),
        "a worker nobody knows"
    );
    workers.add(spec(2));
    workers.ended(Peer::Heart, 2, EndReason::Refused);
    assert_eq!(workers.making(2), Making::Refused(Refusal::TicketRejected));
}

#[test]
fn a_worker_concerns_the_domain_of_its_kind_alone() {
    let mut workers = connected();
    workers.add(gpu_spec(1));
    workers.done(Peer::Door, Step::Make(1));
    assert_eq!(
        (workers.step(Peer::Heart), workers.step(Peer::Gpu)),
        (None, Some(Step::Make(1)))
    );
    workers.peer_down(Peer::Heart);
    workers.done(Peer::Gpu, Step::Make(1));
    assert_eq!(workers.making(1), Making::Done);
    workers.set_alive(1);
    assert!(!workers.ended(Peer::Heart, 1, EndReason::Ops), "it is not theirs");
    assert!(workers.ended(Peer::Gpu, 1, EndReason::Ops));
    assert!(workers.is_wanted_at(Peer::Gpu, 1) && !workers.is_wanted_at(Peer::Heart, 1));
    workers.set_gone(1);
    assert_eq!(workers.step(Peer::Heart), None);
    workers.done(Peer::Door, Step::Unmake(1));
    workers.done(Peer::Gpu, Step::Unmake(1));
    assert!(workers.is_removed(1));
}

#[test]
fn the_table_has_a_bound_and_says_which_it_is() {
    let mut workers = connected();
    (1..=4).for_each(|number| alive(&mut workers, number));
    assert_eq!(workers.room(), Err(Refusal::BufferFull));
    for number in 1..=4 {
        workers.set_gone(number);
        alive(&mut workers, number + 4);
    }
    workers.set_gone(5);
    assert_eq!((workers.live(), workers.room()), (3, Err(Refusal::OwnerDown)));
}

/// What happens to a table.
#[derive(Clone, Copy, Debug)]
enum Event {
    Add,
    Gone(u64),
    /// The peer takes a step.
    Step(usize),
    /// The peer dies and comes back with what it had, or with nothing.
    Back(usize, bool),
    /// The worker ends by itself.
    Ended(u64),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Add),
        2 => (1..20u64).prop_map(Event::Gone),
        6 => (0..3usize).prop_map(Event::Step),
        1 => (0..3usize, any::<bool>()).prop_map(|(peer, forgets)| Event::Back(peer, forgets)),
        1 => (1..20u64).prop_map(Event::Ended),
    ]
}

/// Three peers that do as they are told. Workers of even numbers are GPU workers.
struct World {
    workers: Workers,
    have: [BTreeSet<u64>; 3],
    /// The peer has come back and has not told yet what it has.
    silent: [bool; 3],
}

impl World {
    /// The session with a peer gets on: first it hears what the peer has and disowns what nobody wants, then it takes
    /// steps.
    fn step(&mut self, peer: usize) -> bool {
        if std::mem::take(&mut self.silent[peer]) {
            self.have[peer].retain(|number| self.workers.is_wanted_at(Peer::ALL[peer], *number));
            return true;
        }
        let Some(step) = self.workers.step(Peer::ALL[peer]) else {
            return false;
        };
        match step {
            Step::Make(number) => self.have[peer].insert(number),
            Step::Unmake(number) => self.have[peer].remove(&number),
        };
        self.workers.done(Peer::ALL[peer], step);
        true
    }

    fn back(&mut self, peer: usize, forgets: bool) {
        self.workers.peer_down(Peer::ALL[peer]);
        if forgets {
            self.have[peer].clear();
        }
        self.workers.peer_up(Peer::ALL[peer]);
        self.silent[peer] = true;
    }
}

proptest! {
    #[test]
    fn whatever_happens_all_peers_end_up_with_what_is_wanted(events in prop::collection::vec(events(), 0..80)) {
        let mut world = World { workers: connected(), have: Default::default(), silent: [false; 3] };
        let mut next = 1_u64;
        for event in events {
            match event {
                Event::Add if world.workers.room().is_ok() => {
                    world.workers.add(if next.is_multiple_of(2) { gpu_spec(next) } else { spec(next) });
                    world.workers.set_alive(next);
                    next += 1;
                }
                Event::Add => {}
                Event::Gone(number) => {
                    world.workers.set_gone(number);
                }
                Event::Step(peer) => {
                    world.step(peer);
                }
                Event::Back(peer, forgets) => world.back(peer, forgets),
                Event::Ended(number) => {
                    let at = if number.is_multiple_of(2) { 2 } else { 1 };
                    let ran = world.have[at].remove(&number);
                    if ran && world.workers.ended(Peer::ALL[at], number, EndReason::Ticks) {
                        world.workers.set_gone(number);
                        world.workers.done(Peer::ALL[at], Step::Unmake(number));
                    }
                }
            }
            prop_assert!(world.have.iter().flatten().all(|number| *number < next));
        }
        while world.step(0) || world.step(1) || world.step(2) {}
        for (have, peer) in world.have.iter().zip(Peer::ALL) {
            let wanted = world.workers.wanted().filter(|worker| worker.concerns(peer));
            prop_assert_eq!(have, &wanted.map(|worker| worker.spec.number).collect::<BTreeSet<u64>>());
        }
        prop_assert_eq!(world.workers.table.len(), world.workers.live());
    }
}
