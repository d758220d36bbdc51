//! The workers that live and their telemetry rings.
//!
//! Answers for which worker ids exist, what their rings hold, and when an append is worth a line in the log.
//!
//! Never decides who may create, write or end a worker, never journals, never interprets a record.

use alloc::vec::Vec;

use protocol::shard::Shard;

use crate::ring::{ByteRing, Overtaken};

/// Bytes of a worker id.
pub(crate) const ID_BYTES: usize = protocol::limits::WORKER_ID_BYTES;

/// A worker's id, as its path component spells it.
pub(crate) type WorkerId = heapless::String<ID_BYTES>;

/// A place in the table together with the life it was given for: it never names a later worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerRef {
    slot: u16,
    life: u32,
}

/// Why the table could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TelemetryError {
    /// Every slot holds a live worker.
    Full,
    /// The id is no worker id.
    BadId,
    /// The worker is not, or no longer, there.
    Gone,
    /// The record is larger than the ring.
    TooLong {
        /// Bytes of the ring.
        quota: usize,
    },
    /// The position is no longer in the ring.
    Overtaken,
}

impl From<Overtaken> for TelemetryError {
    fn from(Overtaken: Overtaken) -> Self {
        Self::Overtaken
    }
}

/// What an append did to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrap {
    /// Bytes that gave way since the last wrap that was told.
    pub(crate) dropped: u64,
    /// The ring's new oldest position.
    pub(crate) base: u64,
}

/// Who appends: it decides how often a wrap is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The worker itself, record after record: one line each time the whole ring has turned over.
    Worker,
    /// Somebody else: each wrap.
    Client,
}

#[derive(Debug)]
struct Worker {
    id: WorkerId,
    label: u8,
    ring: ByteRing,
    live: bool,
    life: u32,
    /// The base that the last wrap line told.
    told: u64,
    changed_ms: u64,
}

/// The table of live workers.
#[derive(Debug)]
pub(crate) struct Workers {
    slots: Vec<Worker>,
    changed_ms: u64,
}

impl Workers {
    /// An empty table for that many workers with rings of that many bytes; all memory is taken here.
    pub(crate) fn new(workers: usize, ring_bytes: usize) -> Self {
        let slot = || Worker {
            id: WorkerId::new(),
            label: 0,
            ring: ByteRing::new(ring_bytes),
            live: false,
            life: 0,
            told: 0,
            changed_ms: 0,
        };
        Self {
            slots: (0..workers.min(usize::from(u16::MAX))).map(|_| slot()).collect(),
            changed_ms: 0,
        }
    }

    /// Makes the worker's empty ring; an existing worker keeps what it has. `true` if it is new.
    pub(crate) fn create(&mut self, id: &str, unix_ms: u64) -> Result<bool, TelemetryError> {
        if !protocol::worker::valid_id(id) {
            return Err(TelemetryError::BadId);
        }
        if self.find(id).is_some() {
            return Ok(false);
        }
        let name = WorkerId::try_from(id).map_err(|_| TelemetryError::BadId)?;
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| !slot.live)
            .ok_or(TelemetryError::Full)?;
        slot.label = Shard::of(id).0;
        slot.id = name;
        slot.ring.restart_at(0);
        slot.told = 0;
        slot.life = slot.life.wrapping_add(1);
        slot.live = true;
        slot.changed_ms = unix_ms;
        self.changed_ms = unix_ms;
        Ok(true)
    }

    /// Whether [`create`](Self::create) would succeed.
    pub(crate) fn can_create(&self, id: &str) -> Result<(), TelemetryError> {
        if !protocol::worker::valid_id(id) {
            return Err(TelemetryError::BadId);
        }
        let room = self.find(id).is_some() || self.slots.iter().any(|slot| !slot.live);
        room.then_some(()).ok_or(TelemetryError::Full)
    }

    /// Sets a ring's contents to begin at a position; for the replay of a snapshot.
    pub(crate) fn restart_ring(&mut self, id: &str, base: u64) {
        if let Some(worker) = self.slots.iter_mut().find(|slot| slot.live && slot.id == id) {
            worker.ring.restart_at(base);
            worker.told = base;
        }
    }

    /// Removes the worker; `false` if there was none.
    pub(crate) fn end(&mut self, id: &str, unix_ms: u64) -> bool {
        let Some(worker) = self.slots.iter_mut().find(|slot| slot.live && slot.id == id) else {
            return false;
        };
        worker.live = false;
        self.changed_ms = unix_ms;
        true
    }

    /// Removes every worker.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.live = false;
        }
    }

    /// The live worker of that id.
    pub(crate) fn find(&self, id: &str) -> Option<WorkerRef> {
        let slot = self.slots.iter().position(|slot| slot.live && slot.id == id)?;
        Some(WorkerRef {
            slot: slot as u16,
            life: self.slots.get(slot)?.life,
        })
    }

    fn get(&self, worker: WorkerRef) -> Result<&Worker, TelemetryError> {
        let slot = self.slots.get(usize::from(worker.slot));
        slot.filter(|slot| slot.live && slot.life == worker.life)
            .ok_or(TelemetryError::Gone)
    }

    /// The worker's id.
    pub(crate) fn id(&self, worker: WorkerRef) -> Result<&str, TelemetryError> {
        Ok(&self.get(worker)?.id)
    }

    /// The worker's shard label.
    pub(crate) fn label(&self, worker: WorkerRef) -> Result<u8, TelemetryError> {
        Ok(self.get(worker)?.label)
    }

    /// Positions the ring holds: from, to.
    pub(crate) fn span(&self, worker: WorkerRef) -> Result<(u64, u64), TelemetryError> {
        let worker = self.get(worker)?;
        Ok((worker.ring.base(), worker.ring.end()))
    }

    /// Unix milliseconds of the worker's creation or last append.
    pub(crate) fn changed_ms(&self, worker: WorkerRef) -> Result<u64, TelemetryError> {
        Ok(self.get(worker)?.changed_ms)
    }

    /// Unix milliseconds of the table's last change; 0 if there was none.
    pub(crate) fn table_changed_ms(&self) -> u64 {
        self.changed_ms
    }

    /// Whether a record of that length may be appended.
    pub(crate) fn can_append(&self, worker: WorkerRef, len: usize) -> Result<(), TelemetryError> {
        let quota = self.get(worker)?.ring.capacity();
        if len > quota {
            Err(TelemetryError::TooLong { quota })
        } else {
            Ok(())
        }
    }

    /// Appends raw bytes, with no separator; says when a wrap is worth a line. Bytes give way one by one, unless what
    /// is appended is a whole line: then whole lines give way, so that a reader never begins in the middle of a record.
    pub(crate) fn append(
        &mut self,
        worker: WorkerRef,
        bytes: &[u8],
        writer: Writer,
        unix_ms: u64,
    ) -> Result<Option<Wrap>, TelemetryError> {
        self.can_append(worker, bytes.len())?;
        let worker = self
            .slots
            .get_mut(usize::from(worker.slot))
            .ok_or(TelemetryError::Gone)?;
        let before = worker.ring.base();
        worker.ring.push(bytes);
        if bytes.ends_with(b"\n") {
            worker.ring.begin_with_a_line();
        }
        worker.changed_ms = unix_ms;
        let base = worker.ring.base();
        let capacity = worker.ring.capacity() as u64;
        let worth_telling = match writer {
            Writer::Client => base > before,
            Writer::Worker => base > before && (before == 0 || base / capacity > before / capacity),
        };
        if !worth_telling {
            return Ok(None);
        }
        let dropped = base - worker.told;
        worker.told = base;
        Ok(Some(Wrap { dropped, base }))
    }

    /// Copies bytes from a position up to a limit; gives the count.
    pub(crate) fn read(
        &self,
        worker: WorkerRef,
        position: u64,
        limit: u64,
        buf: &mut [u8],
    ) -> Result<usize, TelemetryError> {
        Ok(self.get(worker)?.ring.read(position, limit, buf)?)
    }

    /// What a snapshot needs of each live worker: id, the ring's base, its bytes in pieces.
    pub(crate) fn each<E>(
        &self,
        mut visit: impl FnMut(&str, &ByteRing, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        self.slots
            .iter()
            .filter(|slot| slot.live)
            .try_for_each(|slot| visit(&slot.id, &slot.ring, slot.changed_ms))
    }

    /// The live worker whose id is the next after `after` in the order of text; below one label if given.
    pub(crate) fn next_id(&self, after: Option<&str>, label: Option<u8>) -> Option<&str> {
        let live = self
            .slots
            .iter()
            .filter(|slot| slot.live && label.is_none_or(|label| slot.label == label));
        live.map(|slot| slot.id.as_str())
            .filter(|id| after.is_none_or(|after| *id > after))
            .min()
    }

    /// The lowest label of a live worker that is at least `from`.
    pub(crate) fn next_label(&self, from: u16) -> Option<u8> {
        let labels = self.slots.iter().filter(|slot| slot.live).map(|slot| slot.label);
        labels.filter(|label| u16::from(*label) >= from).min()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn table(ids: &[&str]) -> Workers {
        let mut workers = Workers::new(4, 1024);
        for id in ids {
            assert_eq!(workers.create(id, 1), Ok(true));
        }
        workers
    }

    fn content(workers: &Workers, id: &str) -> Vec<u8> {
        let worker = workers.find(id).unwrap();
        let (from, to) = workers.span(worker).unwrap();
        let mut buf = std::vec![0; 1024];
        let n = workers.read(worker, from, to, &mut buf).unwrap();
        buf.truncate(n);
        buf
    }

    #[test]
    fn writes_are_joined_without_a_separator() {
        let mut workers = table(&["worker-1"]);
        let worker = workers.find("worker-1").unwrap();
        for bytes in [b"tele-1", b"tele-2"] {
            assert_eq!(workers.append(worker, bytes, Writer::Client, 2), Ok(None));
        }
        assert_eq!(content(&workers, "worker-1"), b"tele-1tele-2");
        assert_eq!(workers.changed_ms(worker), Ok(2));
    }

    #[test]
    fn twelve_writes_of_ninety_bytes_wrap_as_the_reference_says() {
        let mut workers = table(&["worker-1"]);
        let worker = workers.find("worker-1").unwrap();
        let told: Vec<_> = (0..12)
            .filter_map(|_| workers.append(worker, &[b'x'; 90], Writer::Client, 0).unwrap())
            .collect();
        assert_eq!(
            told,
            [Wrap {
                dropped: 56,
                base: 56
            }]
        );
        assert_eq!(content(&workers, "worker-1").len(), 1024);
    }

    #[test]
    fn a_workers_own_wraps_are_told_once_per_turn_of_the_ring() {
        let mut workers = table(&["worker-1"]);
        let worker = workers.find("worker-1").unwrap();
        let told: Vec<_> = (0..64)
            .filter_map(|_| workers.append(worker, &[b'x'; 64], Writer::Worker, 0).unwrap())
            .collect();
        let bases: Vec<_> = told.iter().map(|wrap| wrap.base).collect();
        assert_eq!(bases, [64, 1024, 2048, 3072]);
        assert_eq!(told.iter().map(|wrap| wrap.dropped).sum::<u64>(), 3072);
    }

    #[test]
    fn a_record_larger_than_the_ring_is_refused_whole() {
        let mut workers = table(&["worker-1"]);
        let worker = workers.find("worker-1").unwrap();
        let refused = workers.append(worker, &[0; 1025], Writer::Client, 0);
        assert_eq!(refused, Err(TelemetryError::TooLong { quota: 1024 }));
        assert!(content(&workers, "worker-1").is_empty());
        assert_eq!(workers.append(worker, &[0; 1024], Writer::Client, 0), Ok(None));
    }

    #[test]
    fn creating_and_ending_are_idempotent() {
        let mut workers = table(&["worker-1"]);
        let worker = workers.find("worker-1").unwrap();
        workers.append(worker, b"kept", Writer::Worker, 0).unwrap();
        assert_eq!(workers.create("worker-1", 9), Ok(false));
        assert_eq!(content(&workers, "worker-1"), b"kept");
        assert!(workers.end("worker-1", 9));
        assert!(!workers.end("worker-1", 9));
        assert_eq!(workers.find("worker-1"), None);
    }

    #[test]
    fn a_reference_never_names_a_later_worker() {
        let mut workers = Workers::new(1, 64);
        workers.create("worker-1", 0).unwrap();
        let old = workers.find("worker-1").unwrap();
        assert_eq!(workers.create("worker-2", 0), Err(TelemetryError::Full));
        workers.end("worker-1", 0);
        workers.create("worker-2", 0).unwrap();
        assert_eq!(
            workers.append(old, b"x", Writer::Worker, 0),
            Err(TelemetryError::Gone)
        );
        assert_eq!(workers.span(old), Err(TelemetryError::Gone));
    }

    #[test]
    fn ids_and_labels_come_in_order() {
        let workers = table(&["worker-2", "worker-1", "worker-3"]);
        let mut ids = Vec::new();
        while let Some(id) = workers.next_id(ids.last().copied(), None) {
            ids.push(id);
        }
        assert_eq!(ids, ["worker-1", "worker-2", "worker-3"]);
        assert_eq!(workers.next_id(None, Some(0x1c)), Some("worker-2"));
        let (mut labels, mut from) = (Vec::new(), 0);
        while let Some(label) = workers.next_label(from) {
            labels.push(label);
            from = u16::from(label) + 1;
        }
        assert_eq!(labels, [0x13, 0x1a, 0x1c]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let mut workers = Workers::new(1, 64);
        for id in ["", ".", "..", "a/b", "a b", &"x".repeat(33)] {
            assert_eq!(workers.create(id, 0), Err(TelemetryError::BadId), "{id:?}");
        }
    }
}
