//! A driver between a wire and a guest that dies: nobody waits for the dead.

mod common;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use common::{ECHO, GUEST, HOST, LINK, config, echo, run, serve};
use netstack::{Card, FrameDevice, LinkDevice, Stack, StackConfig, drive};
use runtime::Context;
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::supervision::RestartPolicy;
use runtime::time::Instant;
use runtime::topology::{DomainSpec, LinkSpec, Topology};

const SECOND: Duration = Duration::from_secs(1);
/// The link between the card and the client.
const WIRE: &str = "wire";
/// Clients, each with a connection of its own.
const CLIENTS: u16 = 12;
/// Fewer than there are clients: the driver has to wait for room.
const CARD_SLOTS: usize = 4;

/// A card whose network is a link, with little room to send.
struct LinkCard {
    wire: LinkDevice,
    came: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

impl LinkCard {
    /// What the card does by itself; whether there is news.
    fn work(&mut self) -> bool {
        let before = (self.came.len(), self.leaving.len());
        while let Some(frame) = self.leaving.front() {
            if self.wire.transmit(frame).is_err() {
                break;
            }
            self.leaving.pop_front();
        }
        let mut frame = vec![0; self.wire.max_frame_bytes()];
        while let Some(len) = self.wire.receive(&mut frame) {
            self.came
                .extend(frame.get(..len).filter(|_| len > 0).map(<[u8]>::to_vec));
        }
        before != (self.came.len(), self.leaving.len())
    }
}

impl Card for LinkCard {
    type Frame = Vec<u8>;

    fn acknowledge(&mut self) {}

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.work();
        self.came.pop_front()
    }

    fn bytes<'a>(&'a self, frame: &'a Vec<u8>) -> &'a [u8] {
        frame
    }

    fn recycle(&mut self, _: Vec<u8>) {}

    fn can_send(&mut self) -> bool {
        self.work();
        self.leaving.len() < CARD_SLOTS
    }

    fn send<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<Option<usize>, E>) -> Result<bool, E> {
        let mut frame = vec![0; self.wire.max_frame_bytes()];
        let Some(len) = fill(&mut frame)? else {
            return Ok(false);
        };
        self.leaving.push_back(frame[..len].to_vec());
        self.work();
        Ok(true)
    }

    /// As a card interrupts: once for what is new, not for what waits.
    fn poll_interrupt(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if self.work() {
                return Poll::Ready(());
            }
            let room = !self.leaving.is_empty();
            if pin!(self.wire.ready(room)).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// What became of the clients, with the time of it.
type Board = Arc<Mutex<Vec<(&'static str, Instant)>>>;

fn count(board: &Board, what: &str) -> usize {
    board
        .lock()
        .unwrap()
        .iter()
        .filter(|(said, _)| *said == what)
        .count()
}

/// A client that waits for an answer, and connects again when it will not come.
async fn wait_for_an_answer(context: Context, stack: Stack, board: Board) {
    let say = |what| board.lock().unwrap().push((what, context.now()));
    loop {
        let Ok(stream) = stack.connect(GUEST, ECHO).await else {
            say("refused");
            context.sleep(SECOND).await;
            continue;
        };
        let mut buf = [0; 16];
        if stream.write_all(b"hello").await.is_ok() && stream.read(&mut buf).await == Ok(5) {
            say("served");
        }
        if stream.read(&mut buf).await.is_err() {
            say("reset");
        }
    }
}

fn sim(seed: u64, intensity: u32) -> (Sim, Board) {
    let board = Board::default();
    let said = Arc::clone(&board);
    let mut guest = DomainSpec::new("guest", |context| {
        let link = context.link(LINK).expect("the topology has it");
        let mut config: StackConfig = config(context, GUEST, 40);
        // A driver's death loses no connection.
        config.timers.link_grace = 5 * SECOND;
        let stack = Stack::new(context, LinkDevice::new(link), config).expect("a good configuration");
        run(context, &stack);
        serve(context, &stack, ECHO, CLIENTS + 4, echo);
    });
    guest.restart = RestartPolicy {
        intensity,
        delay: Duration::from_millis(20),
        ..RestartPolicy::default()
    };
    let driver = DomainSpec::new("driver", |context| {
        let link = context.link(LINK).expect("the topology has it");
        let wire = LinkDevice::new(context.link(WIRE).expect("the topology has it"));
        let card = LinkCard {
            wire,
            came: VecDeque::new(),
            leaving: VecDeque::new(),
        };
        let task = drive(context.clone(), link, card, 40);
        context.spawn(task).expect("room for the driver");
    });
    let client = DomainSpec::new("client", move |context| {
        let link = context.link(WIRE).expect("the topology has it");
        let mut config = config(context, HOST, 40);
        config.timers.link_grace = 5 * SECOND;
        let stack = Stack::new(context, LinkDevice::new(link), config).expect("a good configuration");
        run(context, &stack);
        for _ in 0..CLIENTS {
            let task = wait_for_an_answer(context.clone(), stack.clone(), Arc::clone(&said));
            context.spawn(task).expect("room for the clients");
        }
    });
    let topology = Topology {
        domains: vec![guest, driver, client],
        links: vec![
            LinkSpec::new(LINK, "driver", "guest", 64, 2_048),
            LinkSpec::new(WIRE, "driver", "client", 8, 2_048),
        ],
        ..Topology::default()
    };
    let config = SimConfig {
        seed,
        ..SimConfig::default()
    };
    (Sim::new(topology, config).expect("a sound topology"), board)
}

#[test]
fn a_guest_that_dies_leaves_no_client_waiting() {
    for seed in 0..40 {
        let (mut sim, board) = sim(seed, 5);
        let clients = usize::from(CLIENTS);
        for life in 1..=3 {
            let served = sim.run_until(|| count(&board, "served") == life * clients, 4 * SECOND);
            assert_eq!(
                served,
                Outcome::Reached,
                "seed {seed}: {:?}",
                board.lock().unwrap()
            );
            sim.run_for(SECOND);
            assert!(sim.inject_panic("guest", 0));
            let reset = sim.run_until(|| count(&board, "reset") == life * clients, SECOND / 10);
            assert_eq!(
                reset,
                Outcome::Reached,
                "seed {seed}: {:?}",
                board.lock().unwrap()
            );
        }
    }
}

#[test]
fn a_request_that_dies_with_the_guest_is_refused_at_once() {
    for seed in 0..40 {
        let (mut sim, board) = sim(seed, 1_000);
        let clients = usize::from(CLIENTS);
        let served = sim.run_until(|| count(&board, "served") == clients, 4 * SECOND);
        assert_eq!(served, Outcome::Reached, "seed {seed}");
        // All ask for a connection at once, and the guest dies again earlier or later after it is back.
        assert!(sim.inject_panic("guest", 0));
        sim.run_for(SECOND / 50);
        for _ in 0..seed {
            sim.step();
        }
        assert!(sim.inject_panic("guest", 0));
        // Sooner than any of them asks again.
        let told = || count(&board, "served") + count(&board, "refused") >= 2 * clients;
        let told = sim.run_until(told, SECOND / 2);
        assert_eq!(told, Outcome::Reached, "seed {seed}: {:?}", board.lock().unwrap());
    }
}

#[test]
fn a_guest_that_stays_dead_is_refused_for() {
    for seed in 0..20 {
        let (mut sim, board) = sim(seed, 0);
        let clients = usize::from(CLIENTS);
        let served = sim.run_until(|| count(&board, "served") == clients, 4 * SECOND);
        assert_eq!(served, Outcome::Reached, "seed {seed}");
        assert!(sim.inject_panic("guest", 0));
        let refused = sim.run_until(|| count(&board, "refused") >= 2 * clients, 5 * SECOND);
        assert_eq!(
            refused,
            Outcome::Reached,
            "seed {seed}: {:?}",
            board.lock().unwrap()
        );
        let told = board.lock().unwrap();
        let first = told
            .iter()
            .find(|(said, _)| *said == "refused")
            .expect("all were");
        let died = told.iter().find(|(said, _)| *said == "reset").expect("all were");
        assert!(first.1.since(died.1) < 2 * SECOND, "seed {seed}: {told:?}");
    }
}

#[test]
fn a_driver_that_dies_costs_no_connection() {
    for seed in 0..20 {
        let (mut sim, board) = sim(seed, 5);
        let clients = usize::from(CLIENTS);
        let served = sim.run_until(|| count(&board, "served") == clients, 4 * SECOND);
        assert_eq!(served, Outcome::Reached, "seed {seed}");
        assert!(sim.inject_panic("driver", 0));
        sim.run_for(30 * SECOND);
        assert_eq!(
            count(&board, "reset"),
            0,
            "seed {seed}: {:?}",
            board.lock().unwrap()
        );
        // What it forgot it learned again from what passed by since, keep-alives at the latest.
        assert!(sim.inject_panic("guest", 0));
        let reset = sim.run_until(|| count(&board, "reset") == clients, SECOND / 10);
        assert_eq!(
            reset,
            Outcome::Reached,
            "seed {seed}: {:?}",
            board.lock().unwrap()
        );
    }
}
