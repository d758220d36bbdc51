//! Leases of GPUs: what is free, which are lost, and what the lease files have to say.
//!
//! Answers for accounting memory and streams against what a GPU has, and for bringing `/gpu/<id>/lease` to what the table
//! of workers says, whatever a crash left there. A lease is a live GPU worker: there is no second table.
//!
//! Never ends a worker, never waits.

#[cfg(test)]
mod tests;

use core::fmt::Write as _;

use heapless::Vec;
use protocol::gpu::{LEASE_BYTES, Lease, LeaseState};
use protocol::refusal::Refusal;

use crate::gpu::{Capacity, MAX_GPUS};
use crate::queen::Queen;
use crate::record::{GpuId, Grant};
use crate::workers::{Worker, Workers, id_of, number_of};

/// Bytes of a lease line with the longest ids and numbers.
const LINE_BYTES: usize = 288;
/// Lines that one settlement writes to one file at most. A file holds fewer; what is left is left to the next.
const LINES: usize = 32;

/// A lease line.
type Line = heapless::String<LINE_BYTES>;

/// What of a GPU is not leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    /// Memory in MiB.
    pub(crate) mem_mb: u64,
    /// Streams.
    pub(crate) streams: u64,
}

impl Free {
    /// Whether a part of that size is free.
    pub(crate) fn holds(self, mem_mb: u32, streams: u32) -> bool {
        u64::from(mem_mb) <= self.mem_mb && u64::from(streams) <= self.streams
    }
}

/// What of a GPU is not leased; `None` if more is leased than the GPU has, as after a host published a smaller one.
pub(crate) fn free(capacity: Capacity, workers: &Workers, gpu: &GpuId) -> Option<Free> {
    let (mut mem_mb, mut streams) = (0_u64, 0_u64);
    for (_, grant) in leases(workers, gpu) {
        mem_mb += u64::from(grant.mem_mb);
        streams += u64::from(grant.streams);
    }
    Some(Free {
        mem_mb: u64::from(capacity.memory_mb).checked_sub(mem_mb)?,
        streams: u64::from(capacity.streams).checked_sub(streams)?,
    })
}

/// The leases of a GPU, with the numbers of their workers, oldest first.
fn leases(workers: &Workers, gpu: &GpuId) -> impl DoubleEndedIterator<Item = (u64, Grant)> {
    let lease = |worker: &Worker| Some((worker.spec.number, *worker.spec.grant()?));
    workers
        .wanted()
        .filter_map(lease)
        .filter(move |(_, grant)| grant.gpu == *gpu)
}

/// The line of a worker's lease.
fn line(number: u64, grant: &Grant, state: LeaseState) -> Line {
    write(&Lease {
        state,
        gpu_id: grant.gpu.as_str(),
        worker_id: &id_of(number),
        mem_mb: grant.mem_mb,
        streams: grant.streams,
        ttl_s: grant.ttl_s,
        priority: grant.priority,
        reason: None,
    })
}

fn write(lease: &Lease<'_>) -> Line {
    let mut line = Line::new();
    // The capacity is that of the longest.
    let _ = write!(line, "{lease}");
    line
}

/// The next line that a lease file needs to say what the table says; `None` if it does.
///
/// A lease that is over is RELEASED there. A lease that is in force is ACTIVE, as far as all that are in force fit the
/// file at once, the newest first. And the last line is an ACTIVE one while any lease is in force, since there are
/// readers who look no further.
fn next_line(file: &str, workers: &Workers, gpu: &GpuId) -> Option<Line> {
    let parsed = || file.lines().filter_map(|line| Lease::parse(line).ok());
    let live = |lease: &Lease<'_>| {
        number_of(lease.worker_id).and_then(|number| leases(workers, gpu).find(|live| live.0 == number))
    };
    let standing = |worker_id: &str| parsed().rfind(|lease| lease.worker_id == worker_id);

    let mut over = parsed().filter(|lease| live(lease).is_none());
    let over =
        over.find(|lease| standing(lease.worker_id).is_some_and(|last| last.state == LeaseState::Active));
    if let Some(lease) = over {
        return Some(write(&Lease {
            state: LeaseState::Released,
            ..lease
        }));
    }

    let mut room = LEASE_BYTES;
    let mut missing = None;
    for (number, grant) in leases(workers, gpu).rev() {
        let line = line(number, &grant, LeaseState::Active);
        let Some(left) = room.checked_sub(line.len() + 1) else {
            break;
        };
        room = left;
        if standing(&id_of(number)).is_none_or(|last| last.state != LeaseState::Active) {
            // The oldest of them first: the newest is to be the last line.
            missing = Some(line);
        }
    }
    missing.or_else(|| {
        let (number, grant) = leases(workers, gpu).next_back()?;
        let said = parsed()
            .next_back()
            .is_some_and(|last| last.state == LeaseState::Active);
        (!said).then(|| line(number, &grant, LeaseState::Active))
    })
}

impl Queen {
    /// Whether a worker, named as its ticket names it, has a lease of that GPU now.
    pub(crate) fn has_lease(&self, worker_id: &str, gpu_id: &str) -> bool {
        let (Some(number), Some(gpu)) = (number_of(worker_id), GpuId::new(gpu_id)) else {
            return false;
        };
        self.look(|ledger| leases(&ledger.state.workers, &gpu).any(|lease| lease.0 == number))
    }

    /// Brings the lease files of all GPUs to what the table says. What the journal will not take is left for the next
    /// time; [`leases_are_settled`](Self::leases_are_settled) tells.
    pub(crate) fn settle_leases(&self) {
        let installs = self.gpus.borrow().installs();
        let settled = self.gpu_ids().iter().all(|gpu| self.settle(gpu).is_ok());
        self.settled_at.set(settled.then_some(installs));
    }

    /// Whether the lease files said what the table says after the last change of the table or of the GPUs.
    pub(crate) fn leases_are_settled(&self) -> bool {
        self.settled_at.get() == Some(self.gpus.borrow().installs())
    }

    /// A lease that its GPU can bear no more, and why. Of several, the one of the lowest priority; of those, the newest.
    pub(crate) fn lost_lease(&self) -> Option<(u64, &'static str)> {
        self.look(|ledger| {
            let workers = &ledger.state.workers;
            let lease = |worker: &Worker| Some((worker.spec.number, *worker.spec.grant()?));
            let lost = |(number, grant): (u64, Grant)| match self.capacity(grant.gpu.as_str()) {
                None => Some((grant.priority, number, "gpu-lost")),
                Some(capacity) => match free(capacity, workers, &grant.gpu) {
                    None => Some((grant.priority, number, "gpu-shrunk")),
                    Some(_) => None,
                },
            };
            workers
                .wanted()
                .filter_map(lease)
                .filter_map(lost)
                .min_by_key(|(priority, number, _)| (*priority, u64::MAX - number))
                .map(|(_, number, why)| (number, why))
        })
    }

    fn settle(&self, gpu: &GpuId) -> Result<(), Refusal> {
        for _ in 0..LINES {
            let mut buffer = [0; LEASE_BYTES];
            let next = {
                let gpus = self.gpus.borrow();
                let file = gpus.lease_text(gpu.as_str(), &mut buffer).unwrap_or_default();
                self.look(|ledger| next_line(file, &ledger.state.workers, gpu))
            };
            let Some(line) = next else {
                return Ok(());
            };
            self.append_lease_line(gpu.as_str(), &line)?;
        }
        Err(Refusal::BufferFull)
    }

    fn gpu_ids(&self) -> Vec<GpuId, MAX_GPUS> {
        self.gpus.borrow().ids().filter_map(GpuId::new).collect()
    }
}
