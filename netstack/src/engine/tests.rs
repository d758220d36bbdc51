//! Two engines on one simulated wire, in virtual time, without an executor.
//!
//! Answers for: a [`World`] that tests (here and in `netsim`) step until something holds.

use alloc::rc::Rc;
use alloc::{vec, vec::Vec};
use core::cell::{Cell, RefCell};
use core::net::Ipv4Addr;
use core::time::Duration;

use runtime::time::Instant;
use smoltcp::socket::tcp;

use super::*;
use crate::config::{FRAME_BYTES, Limits};
use crate::device::Blocked;
use crate::error::TcpError;
use crate::sim::{Path, Weather};

mod flood;
mod lifecycle;
mod netsim;

pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const PORT: u16 = 31_337;

/// One end of a simulated wire.
pub(super) struct End {
    clock: Rc<Cell<Instant>>,
    out: Rc<RefCell<Path>>,
    incoming: Rc<RefCell<Path>>,
    pub(super) other_side: Rc<Cell<Option<Incarnation>>>,
    /// Frames it still takes before it says that it has no room; `None`: any number.
    pub(super) room: Option<usize>,
    /// What was sent, if anybody wants to know.
    pub(super) record: Option<Vec<Vec<u8>>>,
}

impl FrameDevice for End {
    fn max_frame_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn incarnation(&self) -> Option<Incarnation> {
        self.other_side.get()
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<usize> {
        self.incoming.borrow_mut().arrive(self.clock.get(), |frame| {
            buf[..frame.len()].copy_from_slice(frame);
            frame.len()
        })
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), Blocked> {
        if self.other_side.get().is_none() || self.room == Some(0) {
            return Err(Blocked);
        }
        self.room = self.room.map(|room| room - 1);
        if let Some(record) = &mut self.record {
            record.push(frame.to_vec());
        }
        self.out.borrow_mut().offer(frame, self.clock.get());
        Ok(())
    }

    async fn ready(&mut self, _: bool) {}
}

pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) end: End,
    wait: Option<Instant>,
}

impl Host {
    pub(super) fn table(&mut self) -> &mut Table {
        &mut self.engine.table
    }

    pub(super) fn socket(&mut self, id: SlotId) -> &mut tcp::Socket<'static> {
        self.engine.table.socket_mut(id)
    }

    fn turn(&mut self, now: Instant) {
        let mut more = true;
        while more {
            let frames = self.engine.ingress(&mut self.end, now);
            more = self.engine.has_more(frames);
            self.wait = self.engine.egress(&mut self.end, now).deadline;
        }
    }
}

pub(super) struct World {
    clock: Rc<Cell<Instant>>,
    pub(super) client: Host,
    pub(super) server: Host,
    /// Towards the server, towards the client.
    pub(super) paths: [Rc<RefCell<Path>>; 2],
}

pub(super) fn config(ip: Ipv4Addr) -> StackConfig {
    StackConfig::new([2, 0, 0, 0, 0, ip.octets()[3]], ip, 24, 0x1234_5678_9abc_def0)
}

impl World {
    pub(super) fn new(weather: Weather, seed: u64) -> Self {
        Self::with(weather, seed, |_| {})
    }

    pub(super) fn with(weather: Weather, seed: u64, change: impl Fn(&mut StackConfig)) -> Self {
        let clock = Rc::new(Cell::new(Instant::ZERO));
        let paths = [seed, !seed].map(|seed| Rc::new(RefCell::new(Path::new(weather, seed))));
        let host = |ip, out: &Rc<RefCell<Path>>, incoming: &Rc<RefCell<Path>>| {
            let mut end = End {
                clock: clock.clone(),
                out: out.clone(),
                incoming: incoming.clone(),
                other_side: Rc::new(Cell::new(Some(Incarnation(1)))),
                room: None,
                record: None,
            };
            let mut config = config(ip);
            config.seed ^= seed;
            change(&mut config);
            let engine = Engine::new(&config, &mut end, Instant::ZERO).expect("a good configuration");
            Host {
                engine,
                end,
                wait: None,
            }
        };
        let client = host(CLIENT, &paths[0], &paths[1]);
        let server = host(SERVER, &paths[1], &paths[0]);
        Self {
            clock,
            client,
            server,
            paths,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.get()
    }

    /// Lets both engines do what is due now; when there will be more to do.
    pub(super) fn act(&mut self) -> Option<Instant> {
        let now = self.now();
        self.client.turn(now);
        self.server.turn(now);
        let arrivals = self.paths.iter().filter_map(|path| path.borrow().deadline());
        let next = [self.client.wait, self.server.wait]
            .into_iter()
            .flatten()
            .chain(arrivals)
            .min();
        next.map(|at| at.max(now + Duration::from_micros(1)))
    }

    /// Steps until `done` gives something, at most `limit` of virtual time.
    pub(super) fn until<R>(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> Option<R>) -> R {
        let end = self.now() + limit;
        loop {
            self.act();
            if let Some(result) = done(self) {
                return result;
            }
            // Once more, for what `done` may have written.
            let next = self.act().filter(|next| *next <= end);
            self.clock
                .set(next.unwrap_or_else(|| panic!("not reached within {limit:?} of virtual time")));
        }
    }

    /// Steps for a stretch of virtual time.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now() + time;
        while let Some(next) = self.act().filter(|next| *next < end) {
            self.clock.set(next);
        }
        self.clock.set(end);
    }

    /// A listener on the server.
    pub(super) fn listen(&mut self, backlog: u16) -> DoorId {
        self.server.table().bind(PORT, backlog).expect("the port is free")
    }

    pub(super) fn dial(&mut self) -> SlotId {
        let now = self.now();
        self.client
            .engine
            .connect(SERVER, PORT, now)
            .expect("a free socket")
    }

    /// A connection: the client's end and the server's.
    pub(super) fn connect(&mut self, door: DoorId) -> (SlotId, SlotId) {
        let client = self.dial();
        let server = self.until(Duration::from_secs(60), |world| {
            let now = world.now();
            let outcome = world.client.table().connect_outcome(client, now);
            assert!(
                !matches!(outcome, core::task::Poll::Ready(Err(_))),
                "{outcome:?}, {:?}",
                world.server.engine.stats()
            );
            if outcome.is_pending() {
                None
            } else {
                world.server.table().accept(door, now)
            }
        });
        (client, server)
    }
}

/// The `i`-th byte of a stream of test data.
pub(super) fn pattern(i: usize) -> u8 {
    (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]
}

/// Sends `len` bytes of the pattern from one end to the other; how long the last byte took.
pub(super) fn transfer(world: &mut World, from: SlotId, to: SlotId, len: usize, limit: Duration) -> Duration {
    let begin = world.now();
    let (mut sent, mut read) = (0, 0);
    world.until(limit, |world| {
        world
            .client
            .socket(from)
            .send(|space| {
                let fill = space.len().min(len - sent);
                space
                    .iter_mut()
                    .take(fill)
                    .enumerate()
                    .for_each(|(i, byte)| *byte = pattern(sent + i));
                sent += fill;
                (fill, ())
            })
            .expect("the connection lives");
        while world.server.socket(to).can_recv() {
            world
                .server
                .socket(to)
                .recv(|bytes| {
                    assert!(
                        bytes
                            .iter()
                            .enumerate()
                            .all(|(i, byte)| *byte == pattern(read + i)),
                        "wrong data"
                    );
                    read += bytes.len();
                    (bytes.len(), ())
                })
                .expect("the connection lives");
        }
        (read == len).then_some(())
    });
    world.now().since(begin)
}

#[test]
fn nothing_moves_without_a_reason() {
    let mut world = World::new(Weather::fair(Duration::from_millis(1)), 1);
    world.listen(4);
    assert_eq!(world.act(), None, "two idle engines wait for nothing");
    assert_eq!(world.client.engine.stats().frames_sent, 0);
}
