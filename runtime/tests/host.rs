//! A host of one's own, with another executor than the crate's: what seL4 needs, in a few lines.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use counting_alloc::{CountingAlloc, allocations};
use futures::executor::{LocalPool, LocalSpawner};
use futures::future::LocalFutureObj;
use futures::task::LocalSpawn;
use runtime::Context;
use runtime::badge::{Badges, Channel};
use runtime::counters::Counters;
use runtime::domain::{Directory, Domain, DomainSetup, LinkSetup, Step, Turn, WallClock};
use runtime::executor::{Executor, FifoExecutor, Progress, Spawn, SpawnError, Task};
use runtime::link::{LinkMemory, Side};
use runtime::time::Instant;
use runtime::topology::DomainLimits;

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

/// `futures`' pool, of which seL4's `sel4-async-single-threaded-executor` is a port.
struct Pool(LocalPool);

struct PoolSpawner(LocalSpawner);

impl Spawn for PoolSpawner {
    fn spawn(&self, task: Task) -> Result<(), SpawnError> {
        self.0
            .spawn_local_obj(LocalFutureObj::from(task))
            .map_err(|_| SpawnError::Ended)
    }
}

impl Executor for Pool {
    fn spawner(&self) -> Rc<dyn Spawn> {
        Rc::new(PoolSpawner(self.0.spawner()))
    }

    fn run(&mut self, _budget: u32) -> Progress {
        self.0.run_until_stalled();
        Progress::Stalled
    }
}

/// Spawns a domain's tasks, which count something.
type Build = fn(&Context, Rc<Cell<u64>>);

/// Two domains and the link between them.
struct Host<E: Executor> {
    domains: [Domain<E>; 2],
    badges: [Badges; 2],
    deadlines: [Option<Instant>; 2],
    now: Instant,
}

impl<E: Executor> Host<E> {
    fn new(executor: impl Fn() -> E, builds: [Build; 2], count: &Rc<Cell<u64>>) -> Self {
        let memory = LinkMemory::new(4, 64).expect("a sound shape");
        let names = ["one", "other"];
        let directory = Directory::new(names.map(String::from));
        let domain = |who: usize| {
            let setup = DomainSetup {
                name: names[who].into(),
                limits: DomainLimits {
                    polls_per_turn: 4,
                    ..DomainLimits::default()
                },
                links: vec![LinkSetup {
                    name: "between".into(),
                    peer: names[1 - who].into(),
                    channel: Channel::new(5).expect("a channel"),
                    memory: memory.clone(),
                    side: [Side::A, Side::B][who],
                }],
                regions: vec![],
                counters: Counters::new(),
                directory: directory.clone(),
                supervision: None,
                clock: WallClock::new(0),
                seed: 1,
                fault_injection: false,
                fault_asked: None,
                address_faults: false,
            };
            Domain::new(setup, executor(), Instant::ZERO, |context| {
                builds[who](context, Rc::clone(count))
            })
        };
        let deadlines = [Some(Instant::ZERO); 2];
        Self {
            domains: [0, 1].map(domain),
            badges: [Badges::EMPTY; 2],
            deadlines,
            now: Instant::ZERO,
        }
    }

    /// Turns until nothing is due any more; how many.
    fn run(&mut self) -> u64 {
        let mut turns = 0;
        loop {
            let mut quiet = true;
            for who in 0..2 {
                let due = self.deadlines[who].is_some_and(|at| at <= self.now);
                let badges = std::mem::take(&mut self.badges[who]);
                if badges.is_empty() && !due {
                    continue;
                }
                let Turn { signal, deadline } = self.domains[who].turn(badges, self.now);
                self.deadlines[who] = deadline;
                // Both ends have the same channel number.
                self.badges[1 - who] = self.badges[1 - who].union(signal);
                quiet = false;
                turns += 1;
            }
            if quiet {
                return turns;
            }
        }
    }
}

fn echo(context: &Context, _: Rc<Cell<u64>>) {
    let link = context.link("between").expect("there");
    let serve = async move {
        let connection = link.connect().await;
        let mut frame = [0; 64];
        while let Ok(len) = connection.recv(&mut frame).await {
            if connection.send(&frame[..len]).await.is_err() {
                break;
            }
        }
    };
    context.spawn(serve).expect("there is room");
}

/// Asks for ever, one question per millisecond, each with a timeout.
fn ask(context: &Context, answers: Rc<Cell<u64>>) {
    let (link, context_of_task) = (context.link("between").expect("there"), context.clone());
    let ask = async move {
        let connection = link.connect().await;
        let mut frame = [0; 64];
        loop {
            let question = answers.get().to_le_bytes();
            connection.send(&question).await.expect("the peer is up");
            let answer = context_of_task
                .timeout(Duration::from_millis(5), connection.recv(&mut frame))
                .await;
            let len = answer.expect("in time").expect("the peer is up");
            assert_eq!(frame[..len], question);
            answers.set(answers.get() + 1);
            context_of_task.sleep(Duration::from_millis(1)).await;
        }
    };
    context.spawn(ask).expect("there is room");
}

fn converse<E: Executor>(executor: impl Fn() -> E) -> (Host<E>, Rc<Cell<u64>>) {
    let answers = Rc::new(Cell::new(0));
    let mut host = Host::new(executor, [ask, echo], &answers);
    for _ in 0..100 {
        host.run();
        host.now = host.now + Duration::from_millis(1);
    }
    assert_eq!(answers.get(), 100);
    (host, answers)
}

#[test]
fn the_pool_of_futures_will_do() {
    converse(|| Pool(LocalPool::new()));
}

#[test]
fn a_request_allocates_nothing_after_boot() {
    let (mut host, answers) = converse(|| FifoExecutor::new(8));
    let before = allocations();
    for _ in 0..1_000 {
        host.run();
        host.now = host.now + Duration::from_millis(1);
    }
    assert_eq!((allocations() - before, answers.get()), (0, 1_100));
}

#[test]
fn a_turn_is_bounded_and_says_that_work_is_left() {
    fn greedy(context: &Context, polls: Rc<Cell<u64>>) {
        let context_of_task = context.clone();
        let spin = async move {
            loop {
                polls.set(polls.get() + 1);
                context_of_task.yield_now().await;
            }
        };
        context.spawn(spin).expect("there is room");
    }
    let polls = Rc::new(Cell::new(0));
    let mut host = Host::new(|| FifoExecutor::new(2), [greedy, |_, _| {}], &polls);
    let now = Instant::from_millis(7);
    for turn in 1..=3 {
        let taken = host.domains[0].turn(Badges::EMPTY, now);
        assert_eq!(
            taken,
            Turn {
                signal: Badges::EMPTY,
                deadline: Some(now)
            }
        );
        assert_eq!(polls.get(), 4 * turn);
    }
    assert_eq!(host.domains[0].context().now(), now);
}

#[test]
fn a_task_to_which_frames_keep_coming_lets_others_run() {
    fn flood(context: &Context, _: Rc<Cell<u64>>) {
        let link = context.link("between").expect("there");
        let send = async move {
            let connection = link.connect().await;
            while connection.send(b"again").await.is_ok() {}
        };
        context.spawn(send).expect("there is room");
    }
    fn drain(context: &Context, ticks: Rc<Cell<u64>>) {
        let (link, context_of_task) = (context.link("between").expect("there"), context.clone());
        let log = Rc::new(RefCell::new(Vec::new()));
        let log_of_task = Rc::clone(&log);
        let receive = async move {
            let connection = link.connect().await;
            let mut frame = [0; 64];
            while connection.recv(&mut frame).await.is_ok() {
                log_of_task.borrow_mut().push(());
            }
        };
        let tick = async move {
            loop {
                assert!(log.borrow().len() <= 64, "the other task got more than its share");
                log.borrow_mut().clear();
                ticks.set(ticks.get() + 1);
                context_of_task.yield_now().await;
            }
        };
        context.spawn(receive).expect("there is room");
        context.spawn(tick).expect("there is room");
    }
    let ticks = Rc::new(Cell::new(0));
    let mut host = Host::new(|| FifoExecutor::new(4), [flood, drain], &ticks);
    for round in 0..1_000 {
        for who in 0..2 {
            let badges = std::mem::take(&mut host.badges[who]);
            let turn = host.domains[who].turn(badges, Instant::from_micros(round));
            host.badges[1 - who] = host.badges[1 - who].union(turn.signal);
        }
    }
    assert!(ticks.get() > 1_000);
}
