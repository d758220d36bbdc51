//! What is remembered of GPUs, and where it is written.
//!
//! Answers for committing a change (journal first, state second), for a publish being installed whole or not at all,
//! and for what a restart finds. A publish replaces `info`, models and schema; what happened to a GPU since (`ctl`,
//! `lease`, `status`) stays with the GPU for as long as it is published.
//!
//! Never decides who may change something, never waits.

use alloc::boxed::Box;
use core::fmt;

use protocol::gpu::{
    ACTIVE_BYTES, GPU_ID_BYTES, GpuInfo, LEASE_BYTES, MODEL_ID_BYTES, is_json_line, is_model_id,
};
use protocol::limits::OUT_LINE_BYTES;
use protocol::refusal::Refusal;
use runtime::journal::{Journal, JournalError, Recovery, Snapshot, Unreadable};
use runtime::region::Region;

use super::config::{GpuConfig, MAX_GPUS, MAX_MODELS};
use super::lines::Lines;
use super::published::{GpuTexts, Published, TEXT_BYTES};
use super::record::{File, OWNER, Origin, PIECE_BYTES, Record};
use super::seed;

/// What a GPU has to lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Memory in MiB.
    pub(crate) memory_mb: u32,
    /// Streams at once.
    pub(crate) streams: u32,
}

/// Why a line was not added. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineError {
    /// There is no such GPU, or nothing is published.
    NoGpu,
    /// It is not what the file takes.
    Form,
    /// It is longer than the file.
    TooLong,
    /// The journal would not take it.
    Journal(JournalError),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::NoGpu => f.write_str("no GPU of that id is published"),
            LineError::Form => f.write_str("a line of this file is one JSON object, from { to }"),
            LineError::TooLong => f.write_str("the line is longer than its file may be"),
            LineError::Journal(error) => error.fmt(f),
        }
    }
}

impl From<LineError> for Refusal {
    fn from(error: LineError) -> Refusal {
        match error {
            LineError::NoGpu => Refusal::InvalidPath,
            LineError::Form => Refusal::InvalidPayload,
            LineError::TooLong => Refusal::TooLong,
            LineError::Journal(_) => Refusal::BufferFull,
        }
    }
}

/// Whether a file takes a line: it is what is kept there, and fits the file and a console's line.
pub(super) fn takes(file: File, line: &str) -> Result<(), LineError> {
    if line.len() >= file.bytes().min(OUT_LINE_BYTES) {
        return Err(LineError::TooLong);
    }
    let formed = match file {
        File::Ctl => !line.is_empty() && !line.bytes().any(|b| b < 0x20 || b == 0x7f),
        File::Lease | File::Status => is_json_line(line),
    };
    if formed { Ok(()) } else { Err(LineError::Form) }
}

/// A place for a GPU.
struct Slot {
    /// Its id; empty: the slot is free.
    id: heapless::String<GPU_ID_BYTES>,
    /// How often the slot was given to a GPU.
    turns: u32,
    capacity: Capacity,
    ctl: Lines,
    lease: Lines,
    status: Lines,
}

/// A GPU's place, and which of the GPUs that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GpuRef {
    slot: u8,
    turn: u32,
}

impl GpuRef {
    /// The number of its place.
    pub(super) fn slot(self) -> u8 {
        self.slot
    }
}

type ModelId = heapless::String<MODEL_ID_BYTES>;

/// Everything that is remembered.
struct State {
    origin: Origin,
    published: Published,
    slots: Box<[Slot]>,
    active: Lines,
    /// What the host last said is active.
    claimed: ModelId,
    /// How often something was published, from 0 in each life of the domain.
    installs: u32,
    streams: u32,
}

/// The GPUs.
pub(crate) struct Gpus {
    journal: Journal,
    state: State,
}

impl GpuConfig {
    /// Bytes of the region `gpu` that always suffice: two halves, each with room for everything there may be to
    /// remember and for a while of lines between two compactions.
    pub fn region_bytes() -> usize {
        // A record has some 32 bytes around its text.
        let files: usize = File::ALL.iter().map(|file| file.bytes()).sum();
        let gpus = MAX_GPUS * (files + (files / PIECE_BYTES + 4) * 32);
        let published = TEXT_BYTES + (MAX_GPUS + MAX_MODELS + 2) * 32;
        2 * (512 + gpus + published + ACTIVE_BYTES + 32 + 65_536)
    }
}

impl Gpus {
    /// Replays the journal in the region; a hive that has never published anything begins with the seed, if it is to
    /// have one. A record that does not fit makes it start empty, as the journal's own corruption does.
    ///
    /// # Errors
    /// If the journal will not take the seed.
    pub(crate) fn open(region: Region, config: &GpuConfig) -> Result<(Gpus, Recovery), JournalError> {
        let mut state = State::new(config.streams);
        let (journal, recovery) = Journal::open(region, OWNER, |bytes| {
            let record: Record<'_> = postcard::from_bytes(bytes).map_err(|_| Unreadable)?;
            state.apply(record).ok_or(Unreadable)
        });
        if recovery.is_corrupt() {
            state.clear();
        }
        let mut gpus = Gpus { journal, state };
        if config.seeded && gpus.state.origin == Origin::Nothing {
            let mut seed = Published::new();
            // The mocks are few and short.
            let _ = seed::add_mocks(&mut seed);
            gpus.install(&mut seed, Origin::Seed, None)?;
        }
        Ok((gpus, recovery))
    }

    /// What a GPU has to lease.
    pub(crate) fn capacity(&self, gpu_id: &str) -> Option<Capacity> {
        self.state.find(gpu_id).map(|(_, slot)| slot.capacity)
    }

    /// What a GPU's lease file says; `None` without a GPU of that id.
    pub(crate) fn lease_text<'b>(&self, gpu_id: &str, buffer: &'b mut [u8; LEASE_BYTES]) -> Option<&'b str> {
        let (_, slot) = self.state.find(gpu_id)?;
        let (base, end) = slot.lease.span();
        let count = slot.lease.read(base, end, buffer).ok()?;
        // It is whole lines, and each was a text.
        core::str::from_utf8(buffer.get(..count)?).ok()
    }

    /// Appends a lease line.
    pub(crate) fn append_lease(&mut self, gpu_id: &str, line: &str) -> Result<(), LineError> {
        let gpu = self.find(gpu_id).ok_or(LineError::NoGpu)?;
        self.append(gpu, File::Lease, line)
    }

    /// Appends a line to a file of a GPU; the oldest lines make room for it.
    pub(super) fn append(&mut self, gpu: GpuRef, file: File, line: &str) -> Result<(), LineError> {
        self.lines(gpu, file).ok_or(LineError::NoGpu)?;
        takes(file, line)?;
        let slot = gpu.slot;
        self.commit(Record::Line { slot, file, line })
            .map_err(LineError::Journal)
    }

    /// The GPU of that id.
    pub(super) fn find(&self, gpu_id: &str) -> Option<GpuRef> {
        self.state.find(gpu_id).map(|(gpu, _)| gpu)
    }

    /// A GPU's id.
    pub(super) fn id(&self, gpu: GpuRef) -> Option<&str> {
        self.state.slot(gpu).map(|slot| slot.id.as_str())
    }

    /// The GPUs' ids, sorted.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.state.published.gpus().map(|gpu| gpu.id)
    }

    /// A GPU's `info`.
    pub(super) fn info(&self, gpu: GpuRef) -> Option<&str> {
        let id = &self.state.slot(gpu)?.id;
        self.state.published.gpu(id).map(|gpu| gpu.info)
    }

    /// A file of a GPU.
    pub(super) fn lines(&self, gpu: GpuRef, file: File) -> Option<&Lines> {
        self.state.slot(gpu).map(|slot| slot.lines(file))
    }

    /// Where what is published came from.
    pub(super) fn origin(&self) -> Origin {
        self.state.origin
    }

    /// Whether a host has published something, and there are models and a telemetry schema.
    pub(super) fn is_published(&self) -> bool {
        matches!(self.state.origin, Origin::Host { .. })
    }

    /// What is published.
    pub(super) fn published(&self) -> &Published {
        &self.state.published
    }

    /// The models that were activated, the last one of which is active.
    pub(super) fn active(&self) -> &Lines {
        &self.state.active
    }

    /// Activates a model; it need not be available yet. The oldest lines make room for it.
    pub(super) fn activate(&mut self, id: &str) -> Result<(), LineError> {
        if !self.is_published() {
            return Err(LineError::NoGpu);
        }
        if !is_model_id(id) {
            return Err(LineError::Form);
        }
        self.commit(Record::Activated { id }).map_err(LineError::Journal)
    }

    /// The manifest of an available model.
    pub(crate) fn manifest(&self, model_id: &str) -> Option<&str> {
        let mut models = self.state.published.models();
        models
            .find(|(id, _)| *id == model_id)
            .map(|(_, manifest)| manifest)
    }

    /// How often something was published: what an open file of a publish compares.
    pub(crate) fn installs(&self) -> u32 {
        self.state.installs
    }

    /// Writes a record, then does what it says.
    fn commit(&mut self, record: Record<'_>) -> Result<(), JournalError> {
        match self.journal.append_value(&record) {
            Err(JournalError::Full) => {
                let state = &self.state;
                self.journal
                    .compact(|snapshot| state.write(&state.published, state.origin, snapshot))?;
                self.journal.append_value(&record)?;
            }
            appended => appended?,
        }
        // Its GPU is there: who commits has looked.
        self.state.apply(record);
        Ok(())
    }

    /// Puts a publish in force: in the journal all at once, then in memory. What was published before is left in
    /// `next`. `active` is what the host says is active: it becomes so if the host said otherwise before. Saying again
    /// what it said undoes nothing that was decided here since. Tells whether a model became active.
    pub(super) fn install(
        &mut self,
        next: &mut Published,
        origin: Origin,
        active: Option<&str>,
    ) -> Result<bool, JournalError> {
        let state = &self.state;
        let claimed = active.filter(|id| *id != state.claimed);
        let activated = claimed.filter(|id| !state.active.ends_with(id));
        let news = [
            claimed.map(|id| Record::Claimed { id }),
            activated.map(|id| Record::Activated { id }),
        ];
        self.journal.compact(|snapshot| {
            state.write(next, origin, snapshot)?;
            news.iter()
                .flatten()
                .try_for_each(|record| snapshot.value(record))
        })?;
        self.state.replace(next, origin);
        for record in news.into_iter().flatten() {
            self.state.apply(record);
        }
        Ok(activated.is_some())
    }
}

impl State {
    fn new(streams: u32) -> State {
        let slot = |_| Slot {
            id: heapless::String::new(),
            turns: 0,
            capacity: Capacity::default(),
            ctl: Lines::new(File::Ctl.bytes()),
            lease: Lines::new(File::Lease.bytes()),
            status: Lines::new(File::Status.bytes()),
        };
        State {
            origin: Origin::Nothing,
            published: Published::new(),
            slots: (0..MAX_GPUS).map(slot).collect(),
            active: Lines::new(ACTIVE_BYTES),
            claimed: ModelId::new(),
            installs: 0,
            streams,
        }
    }

    fn clear(&mut self) {
        self.origin = Origin::Nothing;
        self.published.clear();
        self.slots.iter_mut().for_each(Slot::free);
        self.active.clear();
        self.claimed.clear();
    }

    fn find(&self, gpu_id: &str) -> Option<(GpuRef, &Slot)> {
        let at = self
            .slots
            .iter()
            .position(|slot| !slot.id.is_empty() && slot.id == gpu_id)?;
        let slot = self.slots.get(at)?;
        let gpu = GpuRef {
            slot: u8::try_from(at).ok()?,
            turn: slot.turns,
        };
        Some((gpu, slot))
    }

    fn slot(&self, gpu: GpuRef) -> Option<&Slot> {
        let slot = self.slots.get(usize::from(gpu.slot))?;
        (slot.turns == gpu.turn && !slot.id.is_empty()).then_some(slot)
    }

    /// Does what a record says, if it fits what came before.
    fn apply(&mut self, record: Record<'_>) -> Option<()> {
        match record {
            Record::Published(origin) => {
                self.clear();
                self.origin = origin;
            }
            Record::Gpu { slot, id, info } => {
                let capacity = capacity(info, self.streams)?;
                let place = self.slots.get_mut(usize::from(slot))?;
                if !place.id.is_empty() {
                    return None;
                }
                place.begin(id, capacity)?;
                let texts = GpuTexts {
                    id,
                    info,
                    ctl: "",
                    status: "",
                };
                self.published.add_gpu(texts).ok()?;
            }
            Record::Model { id, manifest } => self.published.add_model(id, manifest).ok()?,
            Record::Schema { text } => self.published.set_schema(text).ok()?,
            Record::Line { slot, file, line } => self.occupied(slot)?.lines_mut(file).push_line(line),
            Record::Text { slot, file, bytes } => self.occupied(slot)?.lines_mut(file).push(bytes),
            Record::Activated { id } => self.active.push_line(id),
            Record::Active { bytes } => self.active.push(bytes),
            Record::Claimed { id } => self.claimed = ModelId::try_from(id).ok()?,
        }
        Some(())
    }

    fn occupied(&mut self, slot: u8) -> Option<&mut Slot> {
        self.slots
            .get_mut(usize::from(slot))
            .filter(|slot| !slot.id.is_empty())
    }

    /// The slots that the GPUs of a publish get, in their order, and whether each is new there: who has one keeps it.
    fn plan(&self, next: &Published) -> heapless::Vec<(u8, bool), MAX_GPUS> {
        let mut plan: heapless::Vec<(u8, bool), MAX_GPUS> = heapless::Vec::new();
        let mut free = (0_u8..)
            .zip(self.slots.iter())
            .filter(|(_, slot)| next.gpu(&slot.id).is_none());
        for gpu in next.gpus() {
            let known = self.find(gpu.id).map(|(gpu, _)| (gpu.slot, false));
            let place = known.or_else(|| free.next().map(|(slot, _)| (slot, true)));
            // There are as many slots as a publish may have GPUs.
            let _ = place.map(|place| plan.push(place));
        }
        plan
    }

    /// Writes what there is to remember once `next` is published: what it says, and the lines that stay.
    fn write(
        &self,
        next: &Published,
        origin: Origin,
        snapshot: &mut Snapshot<'_>,
    ) -> Result<(), JournalError> {
        snapshot.value(&Record::Published(origin))?;
        for (gpu, (slot, is_new)) in next.gpus().zip(self.plan(next)) {
            snapshot.value(&Record::Gpu {
                slot,
                id: gpu.id,
                info: gpu.info,
            })?;
            let place = self.slots.get(usize::from(slot)).filter(|_| !is_new);
            for file in File::ALL {
                let mut text = |bytes| snapshot.value(&Record::Text { slot, file, bytes });
                match place {
                    Some(place) => place.lines(file).pieces(PIECE_BYTES).try_for_each(&mut text)?,
                    None => gpu
                        .first(file)
                        .as_bytes()
                        .chunks(PIECE_BYTES)
                        .try_for_each(&mut text)?,
                }
            }
        }
        for (id, manifest) in next.models() {
            snapshot.value(&Record::Model { id, manifest })?;
        }
        if let Some(text) = next.schema() {
            snapshot.value(&Record::Schema { text })?;
        }
        self.active
            .pieces(PIECE_BYTES)
            .try_for_each(|bytes| snapshot.value(&Record::Active { bytes }))?;
        snapshot.value(&Record::Claimed { id: &self.claimed })
    }

    /// Puts `next` in the place of what is published, which is then in `next`.
    fn replace(&mut self, next: &mut Published, origin: Origin) {
        let plan = self.plan(next);
        for slot in &mut self.slots {
            if next.gpu(&slot.id).is_none() {
                slot.free();
            }
        }
        for (gpu, (slot, is_new)) in next.gpus().zip(plan) {
            let Some(place) = self.slots.get_mut(usize::from(slot)) else {
                continue;
            };
            // Who built it has checked every `info`.
            let capacity = capacity(gpu.info, self.streams).unwrap_or_default();
            if is_new && place.begin(gpu.id, capacity).is_some() {
                for file in File::ALL {
                    place.lines_mut(file).push(gpu.first(file).as_bytes());
                }
            }
            place.capacity = capacity;
        }
        core::mem::swap(&mut self.published, next);
        self.origin = origin;
        self.installs = self.installs.wrapping_add(1);
    }
}

impl Slot {
    fn begin(&mut self, id: &str, capacity: Capacity) -> Option<()> {
        self.free();
        self.id.push_str(id).ok()?;
        self.turns = self.turns.wrapping_add(1);
        self.capacity = capacity;
        Some(())
    }

    fn free(&mut self) {
        self.id.clear();
        self.capacity = Capacity::default();
        for file in File::ALL {
            self.lines_mut(file).clear();
        }
    }

    fn lines(&self, file: File) -> &Lines {
        match file {
            File::Ctl => &self.ctl,
            File::Lease => &self.lease,
            File::Status => &self.status,
        }
    }

    fn lines_mut(&mut self, file: File) -> &mut Lines {
        match file {
            File::Ctl => &mut self.ctl,
            File::Lease => &mut self.lease,
            File::Status => &mut self.status,
        }
    }
}

fn capacity(info: &str, streams: u32) -> Option<Capacity> {
    let info = GpuInfo::parse(info).ok()?;
    Some(Capacity {
        memory_mb: info.memory_mb,
        streams: info.max_streams.unwrap_or(streams),
    })
}

#[cfg(test)]
mod tests;
