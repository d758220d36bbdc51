//! Devices and their segments: what is kept, in which slot, and what goes when there is too much.
//!
//! Answers for quotas, for eviction that is decided in one write together with what it makes room for, and for the
//! devices that a restart finds. Never looks into a record beyond what its segment asks for.

use alloc::boxed::Box;
use alloc::vec::Vec;

use protocol::ingest::{DEVICE_BYTES, SegmentId};
use protocol::refusal::Refusal;
use runtime::region::{Region, RegionError};
use serde::{Deserialize, Serialize};

use super::layout::{IngestLimits, MAX_SEGMENTS};
use super::segment::{Batch, Entry, Segment};
use super::twin::{Twin, VALUE_BYTES};

/// A device's name.
pub(crate) type DeviceName = heapless::String<DEVICE_BYTES>;

/// A device, by its place; it keeps the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceId(pub(super) u16);

/// A segment that went for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) device: DeviceId,
    pub(super) segment: SegmentId,
    pub(super) records: usize,
}

/// A device's cell: its name, and the number and epoch of the segment in each slot.
#[derive(Serialize, Deserialize)]
struct Cell<'a> {
    name: &'a str,
    segments: [(u32, u64); MAX_SEGMENTS],
}

struct Device {
    /// Empty where there is no device: its first write did not finish.
    name: DeviceName,
    twin: Twin,
}

/// All devices.
pub(super) struct Devices {
    region: Region,
    limits: IngestLimits,
    known: Vec<Device>,
    /// For each place of a device its slots.
    segments: Box<[Segment]>,
}

/// Whether a device may have that name: letters, digits and marks that need no quoting anywhere.
pub(super) fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-+@".contains(&byte);
    (1..=DEVICE_BYTES).contains(&name.len()) && name.bytes().all(good) && name != "." && name != ".."
}

impl Devices {
    /// Finds the devices in the region and shows each record; all memory is taken here.
    pub(super) fn recover(
        region: Region,
        limits: IngestLimits,
        scratch: &mut [u8],
        mut found: impl FnMut(Entry),
        mut epoch: impl FnMut(u64),
    ) -> Devices {
        let slots = |place: usize| (0..limits.segments).map(move |slot| (place, slot));
        let mut segments: Box<[Segment]> = (0..limits.devices)
            .flat_map(slots)
            .map(|(place, slot)| Segment::new(limits.segment(place, slot), 0, 0))
            .collect();
        let mut known = Vec::with_capacity(limits.devices);
        let mut buf = [0; VALUE_BYTES];
        for (place, slots) in segments.chunks_mut(limits.segments.max(1)).enumerate() {
            let (twin, value) = Twin::load(&region, limits.device(place), &mut buf);
            let cell = value.and_then(|value| postcard::from_bytes::<Cell<'_>>(value).ok());
            let cell = cell.and_then(|cell| Some((DeviceName::try_from(cell.name).ok()?, cell.segments)));
            let (name, numbers) = cell.unwrap_or_default();
            for (slot, (number, at)) in slots.iter_mut().zip(numbers) {
                slot.number = number;
                slot.epoch = at;
                epoch(at);
                if number > 0 {
                    slot.recover(&region, &limits, scratch, &mut found);
                }
            }
            known.push(Device { name, twin });
        }
        while known.last().is_some_and(|device| device.name.is_empty()) {
            known.pop();
        }
        Devices {
            region,
            limits,
            known,
            segments,
        }
    }

    /// Makes all slots of the region empty.
    pub(super) fn wipe(region: &Region, limits: &IngestLimits) -> Result<(), RegionError> {
        for place in 0..limits.devices {
            for slot in 0..limits.segments {
                Segment::new(limits.segment(place, slot), 0, 0).wipe(region)?;
            }
        }
        Ok(())
    }

    /// The device of that name.
    pub(super) fn find(&self, name: &str) -> Option<DeviceId> {
        let mut named = self.known.iter();
        let place = named.position(|device| device.name == name && !name.is_empty())?;
        Some(DeviceId(place as u16))
    }

    /// A device's name; empty for none of ours.
    pub(super) fn name(&self, device: DeviceId) -> &str {
        self.known
            .get(usize::from(device.0))
            .map_or("", |device| &device.name)
    }

    /// The first device whose name is after this one, in the order of names.
    pub(super) fn next(&self, after: Option<DeviceId>) -> Option<DeviceId> {
        let after = after.map(|device| self.name(device));
        let after = after.unwrap_or("");
        let later = |(_, device): &(usize, &Device)| device.name.as_str() > after;
        let (place, _) = self
            .known
            .iter()
            .enumerate()
            .filter(later)
            .min_by_key(|(_, device)| device.name.as_str())?;
        Some(DeviceId(place as u16))
    }

    /// A device's segment of that number.
    pub(super) fn segment(&self, device: DeviceId, id: SegmentId) -> Option<&Segment> {
        self.slots(device)
            .iter()
            .find(|slot| slot.number == id.0 && id.0 > 0)
    }

    /// A device's newest segment.
    pub(super) fn latest(&self, device: DeviceId) -> Option<SegmentId> {
        self.next_segments(device, 0).max()
    }

    /// A device's oldest segment after that number.
    pub(super) fn next_segment(&self, device: DeviceId, after: u32) -> Option<SegmentId> {
        self.next_segments(device, after).min()
    }

    /// Every slot, in the order of places.
    pub(super) fn all(&self) -> &[Segment] {
        &self.segments
    }

    /// Begins a device's next segment, and with the first one the device. `epoch` is higher than any before.
    pub(super) fn begin(
        &mut self,
        name: &str,
        epoch: u64,
        evicted: impl FnMut(Evicted),
    ) -> Result<(DeviceId, SegmentId), Refusal> {
        match self.find(name) {
            Some(device) => self.begin_segment(device, epoch, evicted),
            None => self.begin_device(name, epoch),
        }
    }

    fn begin_device(&mut self, name: &str, epoch: u64) -> Result<(DeviceId, SegmentId), Refusal> {
        let free = self.known.iter().position(|device| device.name.is_empty());
        let place = free.unwrap_or(self.known.len());
        if place >= self.limits.devices {
            return Err(Refusal::BufferFull);
        }
        let mut device = Device {
            name: DeviceName::try_from(name).map_err(|_| Refusal::InvalidPath)?,
            twin: Twin::load(&self.region, self.limits.device(place), &mut [0; VALUE_BYTES]).0,
        };
        let mut segments = [(0, 0); MAX_SEGMENTS];
        if let Some(first) = segments.first_mut() {
            *first = (1, epoch);
        }
        store(&self.region, &mut device, segments)?;
        match self.known.get_mut(place) {
            Some(free) => *free = device,
            None => self.known.push(device),
        }
        let id = DeviceId(place as u16);
        self.put(id, segments);
        Ok((id, SegmentId(1)))
    }

    fn begin_segment(
        &mut self,
        device: DeviceId,
        epoch: u64,
        mut evicted: impl FnMut(Evicted),
    ) -> Result<(DeviceId, SegmentId), Refusal> {
        let latest = self.latest(device).map_or(0, |latest| latest.0);
        let id = SegmentId(latest.checked_add(1).ok_or(Refusal::BufferFull)?);
        let slots = self.slots(device).iter();
        // A free slot has number 0.
        let (slot, old) = slots
            .copied()
            .enumerate()
            .min_by_key(|(_, segment)| segment.number)
            .ok_or(Refusal::BufferFull)?;
        self.replace(device, slot, (id.0, epoch))?;
        if old.number > 0 {
            evicted(Evicted {
                device,
                segment: SegmentId(old.number),
                records: old.records,
            });
        }
        Ok((device, id))
    }

    /// Whether the records may be added.
    pub(super) fn admit(&self, device: DeviceId, id: SegmentId, batch: Batch<'_>) -> Result<(), Refusal> {
        let segment = self.segment(device, id).ok_or(Refusal::InvalidPath)?;
        segment.admit(&self.limits, batch)?;
        // These two are not evicted for it.
        let latest = self.latest(device).filter(|latest| *latest != id);
        let latest = latest
            .and_then(|latest| self.segment(device, latest))
            .map_or(0, |latest| latest.len);
        if latest + segment.len + batch.bytes() > self.limits.device_bytes {
            return Err(Refusal::BufferFull);
        }
        Ok(())
    }

    /// Adds records that were admitted; old segments of the device go if it has too many bytes.
    pub(super) fn append(
        &mut self,
        device: DeviceId,
        id: SegmentId,
        batch: Batch<'_>,
        seq: u64,
        models: &[u8],
        evicted: impl FnMut(Evicted),
    ) -> Result<(), Refusal> {
        let (region, limits) = (self.region.clone(), self.limits);
        let segment = self
            .slots_mut(device)
            .iter_mut()
            .find(|slot| slot.number == id.0)
            .ok_or(Refusal::InvalidPath)?;
        segment
            .append(&region, &limits, batch, seq, models)
            .map_err(|_| Refusal::BufferFull)?;
        self.trim(device, id, evicted)
    }

    /// Takes up what a crash has left: a device with too many bytes.
    pub(super) fn settle(&mut self) -> Result<(), Refusal> {
        for place in 0..self.known.len() {
            let device = DeviceId(place as u16);
            let last = |segment: &&Segment| {
                let last = segment.entry(&self.region, segment.records.saturating_sub(1));
                last.map(|entry| entry.seq)
            };
            let written = self
                .slots(device)
                .iter()
                .max_by_key(last)
                .map(|segment| segment.number);
            self.trim(device, SegmentId(written.unwrap_or(0)), |_| {})?;
        }
        Ok(())
    }

    /// Lets old segments go until the device has not too many bytes: not the one that was written, and not the newest,
    /// whose number must not come again.
    fn trim(
        &mut self,
        device: DeviceId,
        written: SegmentId,
        mut evicted: impl FnMut(Evicted),
    ) -> Result<(), Refusal> {
        loop {
            let slots = self.slots(device);
            let bytes: usize = slots.iter().map(|segment| segment.len).sum();
            let latest = self.latest(device).map_or(0, |latest| latest.0);
            let old = |(_, segment): &(usize, &Segment)| ![0, written.0, latest].contains(&segment.number);
            let oldest = slots
                .iter()
                .enumerate()
                .filter(old)
                .min_by_key(|(_, segment)| segment.number)
                .map(|(slot, segment)| (slot, *segment));
            let Some((slot, oldest)) = oldest.filter(|_| bytes > self.limits.device_bytes) else {
                return Ok(());
            };
            self.replace(device, slot, (0, 0))?;
            evicted(Evicted {
                device,
                segment: SegmentId(oldest.number),
                records: oldest.records,
            });
        }
    }

    /// Copies what a segment says from `offset` on.
    pub(super) fn read(
        &self,
        device: DeviceId,
        id: SegmentId,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Refusal> {
        let segment = self.segment(device, id).ok_or(Refusal::InvalidPath)?;
        Ok(segment.read(&self.region, &self.limits, offset, buf))
    }

    fn next_segments(&self, device: DeviceId, after: u32) -> impl Iterator<Item = SegmentId> {
        let numbers = self.slots(device).iter().map(|slot| slot.number);
        numbers.filter(move |number| *number > after).map(SegmentId)
    }

    fn slots(&self, device: DeviceId) -> &[Segment] {
        let from = usize::from(device.0) * self.limits.segments;
        self.segments
            .get(from..from + self.limits.segments)
            .unwrap_or_default()
    }

    fn slots_mut(&mut self, device: DeviceId) -> &mut [Segment] {
        let from = usize::from(device.0) * self.limits.segments;
        self.segments
            .get_mut(from..from + self.limits.segments)
            .unwrap_or_default()
    }

    /// Puts another segment, or none, into a slot: on the region first.
    fn replace(&mut self, device: DeviceId, slot: usize, with: (u32, u64)) -> Result<(), Refusal> {
        let mut segments = [(0, 0); MAX_SEGMENTS];
        for (to, from) in segments.iter_mut().zip(self.slots(device)) {
            *to = (from.number, from.epoch);
        }
        *segments.get_mut(slot).ok_or(Refusal::BufferFull)? = with;
        let known = self
            .known
            .get_mut(usize::from(device.0))
            .ok_or(Refusal::InvalidPath)?;
        store(&self.region, known, segments)?;
        self.put(device, segments);
        Ok(())
    }

    /// Makes the slots that have another segment now empty ones.
    fn put(&mut self, device: DeviceId, segments: [(u32, u64); MAX_SEGMENTS]) {
        let limits = self.limits;
        for (slot, (to, (number, epoch))) in self.slots_mut(device).iter_mut().zip(segments).enumerate() {
            if (to.number, to.epoch) != (number, epoch) {
                *to = Segment::new(limits.segment(usize::from(device.0), slot), number, epoch);
            }
        }
    }
}

fn store(region: &Region, device: &mut Device, segments: [(u32, u64); MAX_SEGMENTS]) -> Result<(), Refusal> {
    let cell = Cell {
        name: &device.name,
        segments,
    };
    let mut buf = [0; VALUE_BYTES];
    let value = postcard::to_slice(&cell, &mut buf).map_err(|_| Refusal::BufferFull)?;
    device.twin.store(region, value).map_err(|_| Refusal::BufferFull)
}
