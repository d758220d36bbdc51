//! The table of workers: what is wanted of each, what its peers have.
//!
//! Answers for the order of steps that bring NineDoor (files) and the worker domains (the running actor) to what is
//! wanted, whatever either of them forgot or still has from an earlier life. Every step is idempotent, so that a
//! peer that came back is simply told again.
//!
//! Never talks to anybody, never reads a clock, never journals.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt::Write as _;

use protocol::refusal::Refusal;
use protocol::worker::EndReason;

use crate::record::{Kind, Spec};

/// A worker's id as text: `worker-` and the digits of a `u64`.
pub(crate) type WorkerId = heapless::String<27>;

/// The id of the worker of that number.
pub(crate) fn id_of(number: u64) -> WorkerId {
    let mut id = WorkerId::new();
    // The capacity is that of the longest id.
    let _ = write!(id, "worker-{number}");
    id
}

/// The number in a worker id; `None` for what is no id of ours.
pub(crate) fn number_of(id: &str) -> Option<u64> {
    let number: u64 = id.strip_prefix("worker-")?.parse().ok()?;
    (id_of(number) == id).then_some(number)
}

/// How far a worker's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Being made; dropped if the queen dies now.
    Spawning,
    /// Acknowledged.
    Alive,
    /// To be removed everywhere; already forgotten by the journal.
    Gone,
}

/// What a peer is known to have of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Not known: tell it.
    Unknown,
    /// It has it.
    Present,
    /// It does not have it.
    Absent,
}

/// Those that have a part of workers: of each worker NineDoor, and the domain that runs workers of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// NineDoor: the worker's files.
    Door,
    /// The domain of heartbeat workers.
    Heart,
    /// The domain of GPU workers.
    Gpu,
}

impl Peer {
    /// Every peer.
    const ALL: [Peer; 3] = [Peer::Door, Peer::Heart, Peer::Gpu];
}

impl Spec {
    /// The domain that runs the worker.
    pub(crate) fn host(&self) -> Peer {
        match self.kind {
            Kind::Heartbeat { .. } => Peer::Heart,
            Kind::Gpu(_) => Peer::Gpu,
        }
    }
}

/// What to tell a peer next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make or start the worker.
    Make(u64),
    /// End or stop the worker.
    Unmake(u64),
}

/// One worker.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) spec: Spec,
    pub(crate) phase: Phase,
    door: Known,
    host: Known,
    /// Why a peer would not make it, while it is being made.
    refused: Option<Refusal>,
    /// It ended by itself before it was acknowledged.
    early_end: Option<EndReason>,
}

impl Worker {
    /// Whether the peer has a part of it.
    fn concerns(&self, peer: Peer) -> bool {
        peer == Peer::Door || peer == self.spec.host()
    }

    fn known(&self, peer: Peer) -> Known {
        match peer {
            Peer::Door => self.door,
            Peer::Heart | Peer::Gpu => self.host,
        }
    }

    fn set_known(&mut self, peer: Peer, known: Known) {
        match peer {
            Peer::Door => self.door = known,
            Peer::Heart | Peer::Gpu => self.host = known,
        }
    }

    fn is_wanted(&self) -> bool {
        self.phase != Phase::Gone
    }
}

/// How the making of a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Making {
    /// Not yet everywhere.
    Pending,
    /// It has its files and runs.
    Done,
    /// A peer would not.
    Refused(Refusal),
    /// It is not wanted any more.
    Gone,
}

/// All workers.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    table: Vec<Worker>,
    max_live: usize,
    /// Whether each peer is connected, so that it can be told.
    up: [bool; Peer::ALL.len()],
}

impl Workers {
    /// An empty table for that many live workers. Twice as many places, since one that is being removed keeps its
    /// place until its peers have removed it; all memory is taken here.
    pub(crate) fn new(max_live: usize) -> Workers {
        Workers {
            table: Vec::with_capacity(2 * max_live),
            max_live,
            up: [false; Peer::ALL.len()],
        }
    }

    /// Workers that are being made or alive.
    pub(crate) fn live(&self) -> usize {
        self.table.iter().filter(|worker| worker.is_wanted()).count()
    }

    /// Whether another worker may be made.
    pub(crate) fn room(&self) -> Result<(), Refusal> {
        if self.live() >= self.max_live {
            Err(Refusal::BufferFull)
        } else if self.table.len() >= 2 * self.max_live {
            // Places of removed workers come free as soon as the peers answer.
            Err(Refusal::OwnerDown)
        } else {
            Ok(())
        }
    }

    /// Those that are being made or alive, in the order of their numbers.
    pub(crate) fn wanted(&self) -> impl DoubleEndedIterator<Item = &Worker> {
        self.table.iter().filter(|worker| worker.is_wanted())
    }

    /// Whether the worker is being made or alive.
    pub(crate) fn is_wanted(&self, number: u64) -> bool {
        self.wanted().any(|worker| worker.spec.number == number)
    }

    /// Whether the worker is being made or alive, and the peer is to have a part of it.
    pub(crate) fn is_wanted_at(&self, peer: Peer, number: u64) -> bool {
        self.wanted()
            .any(|worker| worker.spec.number == number && worker.concerns(peer))
    }

    /// The worker's limits, while it is in the table.
    pub(crate) fn spec(&self, number: u64) -> Option<Spec> {
        self.table
            .iter()
            .find(|worker| worker.spec.number == number)
            .map(|worker| worker.spec)
    }

    /// How far the worker's life has come, while it is in the table.
    pub(crate) fn phase(&self, number: u64) -> Option<Phase> {
        self.table
            .iter()
            .find(|worker| worker.spec.number == number)
            .map(|worker| worker.phase)
    }

    // Changes that the journal replays. `false`: the change does not fit the table.

    /// Adds a worker that is being made. Whether there is [`room`](Self::room) was decided when it was first asked for;
    /// a journal may hold more workers than today's manifest allows.
    pub(crate) fn add(&mut self, spec: Spec) -> bool {
        if self.spec(spec.number).is_some() {
            return false;
        }
        self.table.push(Worker {
            spec,
            phase: Phase::Spawning,
            door: Known::Unknown,
            host: Known::Unknown,
            refused: None,
            early_end: None,
        });
        true
    }

    pub(crate) fn set_alive(&mut self, number: u64) -> bool {
        let spawning = |worker: &&mut Worker| worker.spec.number == number && worker.phase == Phase::Spawning;
        match self.table.iter_mut().find(spawning) {
            Some(worker) => {
                worker.phase = Phase::Alive;
                true
            }
            None => false,
        }
    }

    pub(crate) fn set_gone(&mut self, number: u64) -> bool {
        let up = self.up;
        let wanted = |worker: &&mut Worker| worker.spec.number == number && worker.is_wanted();
        let Some(worker) = self.table.iter_mut().find(wanted) else {
            return false;
        };
        worker.phase = Phase::Gone;
        // A peer that is away is asked what it has when it comes back.
        for (up, peer) in up.into_iter().zip(Peer::ALL) {
            if worker.concerns(peer) {
                worker.set_known(peer, if up { Known::Unknown } else { Known::Absent });
            }
        }
        self.sweep();
        true
    }

    // What the peers are told, and what they answered.

    /// The peer is connected: from now on what is given up is taken back from it. It is asked next what it has.
    pub(crate) fn peer_up(&mut self, peer: Peer) {
        self.set_up(peer, true);
    }

    /// The peer is gone, and with it what was known of it.
    pub(crate) fn peer_down(&mut self, peer: Peer) {
        self.set_up(peer, false);
        for worker in self.table.iter_mut().filter(|worker| worker.concerns(peer)) {
            let known = if worker.is_wanted() {
                Known::Unknown
            } else {
                Known::Absent
            };
            worker.set_known(peer, known);
        }
        self.sweep();
    }

    /// What to tell the peer next: removals first, since they make room; a worker is started only once it has files.
    pub(crate) fn step(&self, peer: Peer) -> Option<Step> {
        let unmake = |worker: &&Worker| !worker.is_wanted() && differs(worker, peer);
        let make = |worker: &&Worker| {
            let ready = peer == Peer::Door || worker.door == Known::Present;
            worker.is_wanted() && worker.refused.is_none() && ready && differs(worker, peer)
        };
        let number = |worker: &Worker| worker.spec.number;
        let first = self
            .table
            .iter()
            .find(unmake)
            .map(|worker| Step::Unmake(number(worker)));
        first.or_else(|| {
            self.table
                .iter()
                .find(make)
                .map(|worker| Step::Make(number(worker)))
        })
    }

    /// The peer has done the step. What was wanted may have changed meanwhile; then the next step undoes it.
    pub(crate) fn done(&mut self, peer: Peer, step: Step) {
        let (number, known) = match step {
            Step::Make(number) => (number, Known::Present),
            Step::Unmake(number) => (number, Known::Absent),
        };
        if let Some(worker) = self.table.iter_mut().find(|worker| worker.spec.number == number) {
            worker.set_known(peer, known);
        }
        self.sweep();
    }

    /// The worker has ended by itself, as its domain says. `true`: it was acknowledged, so that it is to be given up
    /// now; one that is still being made has been made first. What a domain says of another's workers counts for
    /// nothing.
    pub(crate) fn ended(&mut self, host: Peer, number: u64, reason: EndReason) -> bool {
        let ours = |worker: &&mut Worker| worker.spec.number == number && worker.spec.host() == host;
        let Some(worker) = self.table.iter_mut().find(ours) else {
            return false;
        };
        match worker.phase {
            Phase::Spawning => {
                worker.host = Known::Present;
                worker.early_end = Some(reason);
            }
            Phase::Alive => return true,
            Phase::Gone => worker.host = Known::Absent,
        }
        self.sweep();
        false
    }

    /// Why the worker ended by itself before it was acknowledged, if it did.
    pub(crate) fn early_end(&self, number: u64) -> Option<EndReason> {
        self.table
            .iter()
            .find(|worker| worker.spec.number == number)?
            .early_end
    }

    /// The peer would not make the worker. While the worker is being made that is the answer to whoever asked for it;
    /// `false` for a worker that was acknowledged: it has to be told again later, or given up.
    pub(crate) fn refused(&mut self, number: u64, refusal: Refusal) -> bool {
        let spawning = |worker: &&mut Worker| worker.spec.number == number && worker.phase == Phase::Spawning;
        match self.table.iter_mut().find(spawning) {
            Some(worker) => {
                worker.refused = Some(refusal);
                true
            }
            None => false,
        }
    }

    /// How the making of a worker stands.
    pub(crate) fn making(&self, number: u64) -> Making {
        match self.wanted().find(|worker| worker.spec.number == number) {
            None => Making::Gone,
            Some(Worker {
                refused: Some(refusal),
                ..
            }) => Making::Refused(*refusal),
            // It never ran: NineDoor would not let it in.
            Some(Worker {
                early_end: Some(EndReason::Refused),
                ..
            }) => Making::Refused(Refusal::TicketRejected),
            Some(Worker {
                door: Known::Present,
                host: Known::Present,
                ..
            }) => Making::Done,
            Some(_) => Making::Pending,
        }
    }

    /// Whether none of its peers has the worker any more, as far as they are there to be asked.
    pub(crate) fn is_removed(&self, number: u64) -> bool {
        self.spec(number).is_none()
    }

    fn set_up(&mut self, peer: Peer, is_up: bool) {
        for (up, of) in self.up.iter_mut().zip(Peer::ALL) {
            *up = if of == peer { is_up } else { *up };
        }
    }

    fn sweep(&mut self) {
        self.table.retain(|worker| {
            worker.is_wanted() || (worker.door, worker.host) != (Known::Absent, Known::Absent)
        });
    }
}

/// Whether the peer has to be told of the worker.
fn differs(worker: &Worker, peer: Peer) -> bool {
    let wanted = if worker.is_wanted() {
        Known::Present
    } else {
        Known::Absent
    };
    worker.concerns(peer) && worker.known(peer) != wanted
}
