//! A root console between a simulated UART and NineDoor, and a terminal that shows what the UART sent.
#![allow(dead_code)] // Each test program uses its own part.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use ninedoor::{Config, Door};
use runtime::Context;
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::topology::{DomainLimits, DomainSpec, LinkSpec, Topology};

/// Nothing may take longer, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that the simulated UART holds, as a PL011 does.
const FIFO_BYTES: usize = 16;

/// The wire to the operator's terminal, and the logs of two domains.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    /// What was typed and is not in the UART yet.
    pub typed: VecDeque<u8>,
    /// What the UART sent.
    pub sent: Vec<u8>,
    logs: [Vec<u8>; 2],
}

struct Uart {
    wire: Wire,
    ctx: Context,
    listens: bool,
    next: Pin<Box<dyn Future<Output = ()>>>,
    fifo: VecDeque<u8>,
}

impl Wire {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn log(&self, whose: usize, bytes: &str) {
        self.state().logs[whose].extend_from_slice(bytes.as_bytes());
    }
}

impl serial::Uart for Uart {
    fn receive(&mut self) -> Option<u8> {
        let mut state = self.wire.state();
        while self.fifo.len() < FIFO_BYTES
            && let Some(byte) = state.typed.pop_front()
        {
            self.fifo.push_back(byte);
        }
        self.fifo.pop_front()
    }

    fn send(&mut self, byte: u8) {
        self.wire.state().sent.push(byte);
    }

    fn listen(&mut self, on: bool) {
        self.listens = on;
    }

    fn poll_news(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            let state = self.wire.state();
            let heard = self.listens && !(state.typed.is_empty() && self.fifo.is_empty());
            if heard || state.logs.iter().any(|log| !log.is_empty()) {
                return Poll::Ready(());
            }
            drop(state);
            if self.next.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.next = Box::pin(self.ctx.sleep(Duration::from_millis(1)));
        }
    }
}

struct Logs(Wire);

impl serial::Logs for Logs {
    fn len(&self) -> usize {
        2
    }

    fn name(&self, index: usize) -> &str {
        ["queen", "net"][index]
    }

    fn read(&mut self, index: usize, take: &mut dyn FnMut(u8)) {
        let bytes = std::mem::take(&mut self.0.state().logs[index]);
        bytes.into_iter().for_each(take);
    }
}

/// A hive with a root console and no network.
pub struct Bench {
    pub sim: Sim,
    pub wire: Wire,
}

impl Bench {
    pub fn new(seed: u64) -> Self {
        let wire = Wire::default();
        let sim = Sim::new(
            topology(&wire),
            SimConfig {
                seed,
                unix_ms: 1_800_000_000_000,
                ..SimConfig::default()
            },
        );
        let mut bench = Bench {
            sim: sim.unwrap(),
            wire,
        };
        bench.run(Duration::from_millis(100));
        bench
    }

    pub fn run(&mut self, time: Duration) {
        self.sim.run_for(time);
    }

    pub fn type_keys(&mut self, keys: impl AsRef<[u8]>) {
        self.wire.state().typed.extend(keys.as_ref());
    }

    /// What the terminal shows, line by line.
    pub fn screen(&self) -> Vec<String> {
        screen(&self.wire.state().sent)
    }

    /// Waits until the terminal shows such a line.
    pub fn wait_for(&mut self, line: impl Fn(&str) -> bool) {
        let wire = self.wire.clone();
        let seen = || screen(&wire.state().sent).iter().any(|shown| line(shown));
        let outcome = self.sim.run_until(seen, PATIENCE);
        assert_eq!(outcome, Outcome::Reached, "{:#?}", self.screen());
    }

    /// Types a line and gives what is shown up to the next prompt, without what was typed.
    pub fn ask(&mut self, line: &str) -> Vec<String> {
        self.wire.state().sent.clear();
        self.type_keys(format!("{line}\r"));
        let wire = self.wire.clone();
        let prompted = || {
            let shown = screen(&wire.state().sent);
            wire.state().typed.is_empty()
                && shown.len() > 1
                && shown.last().is_some_and(|last| last == "hive> ")
        };
        let outcome = self.sim.run_until(prompted, PATIENCE);
        assert_eq!(outcome, Outcome::Reached, "{line}: {:#?}", self.screen());
        let mut shown = self.screen();
        shown.pop();
        shown.remove(0);
        shown
    }

    pub fn kill(&mut self, domain: &str) {
        assert!(self.sim.inject_panic(domain, 0), "{domain} dies");
        // A domain dies in a turn of its own, and has to have one.
        self.wire.log(0, "a line\n");
        self.run(Duration::from_millis(5));
    }
}

pub fn topology(wire: &Wire) -> Topology {
    let limits = DomainLimits {
        tasks: 32,
        timers: 64,
        ..DomainLimits::default()
    };
    let wire = wire.clone();
    let domains = [
        DomainSpec::new("serial", move |ctx| {
            let uart = Uart {
                wire: wire.clone(),
                ctx: ctx.clone(),
                listens: false,
                next: Box::pin(ctx.sleep(Duration::ZERO)),
                fifo: VecDeque::new(),
            };
            let task = serial::drive(ctx.clone(), uart, Logs(wire.clone()));
            ctx.spawn(task).unwrap();
        }),
        DomainSpec::new("console-serial", |ctx| {
            console_serial::spawn(ctx, console_serial::Config::default()).unwrap();
        }),
        DomainSpec::new("ninedoor", |ctx| {
            let config = Config {
                doors: vec![Door::serial()],
                mounts: Vec::new(),
                lifecycle: None,
                ..Config::default()
            };
            ninedoor::spawn(ctx, config).unwrap();
        }),
    ];
    Topology {
        domains: domains
            .into_iter()
            .map(|domain| DomainSpec { limits, ..domain })
            .collect(),
        links: vec![
            LinkSpec::new("serial", "serial", "console-serial", 8, 8192),
            LinkSpec::new("console-serial-ninedoor", "console-serial", "ninedoor", 16, 8192),
        ],
        fault_injection: true,
    }
}

/// What a terminal makes of these bytes.
pub fn screen(bytes: &[u8]) -> Vec<String> {
    let mut lines = vec![Vec::new()];
    let (mut column, mut rest) = (
        0_usize,
        String::from_utf8_lossy(bytes).chars().collect::<VecDeque<_>>(),
    );
    while let Some(char) = rest.pop_front() {
        let line: &mut Vec<char> = lines.last_mut().unwrap();
        match char {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x08' => column = column.saturating_sub(1),
            '\x1b' => {
                assert_eq!((rest.pop_front(), rest.pop_front()), (Some('['), Some('K')));
                line.truncate(column);
            }
            char => {
                assert!(!char.is_control(), "{char:?} reaches the terminal");
                if column < line.len() {
                    line[column] = char;
                } else {
                    line.push(char);
                }
                column += 1;
            }
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}
