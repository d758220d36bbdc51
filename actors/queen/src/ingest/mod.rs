//! Telemetry of devices: it comes in, is kept, and becomes a job once there is enough.
//!
//! Answers for `/queen/telemetry/**`, `/queen/export/**` and `/proc/ingest/*` ([`tree`]), for what is kept of it
//! ([`store`], in a region of its own), and for a job being opened, told of and bounded without anybody asking
//! ([`exporter`]).
//!
//! Never trains anything, never fetches what a reference stands for.

mod base;
mod config;
mod devices;
mod export;
mod exporter;
mod gates;
mod jobs;
mod layout;
mod pace;
mod segment;
mod store;
mod tree;
mod twin;

use core::cell::RefCell;

use protocol::ingest::SegmentId;
use protocol::lifecycle::Gate;
use protocol::refusal::{Reason, Refusal};
use runtime::journal::Recovery;
use runtime::region::{Region, RegionError};

pub use self::config::IngestConfig;
pub(crate) use self::exporter::run as export;
pub use self::gates::GateRule;
pub use self::layout::IngestLimits;
pub(crate) use self::tree::{Node, Open, Tree};

use self::devices::{DeviceId, DeviceName, Evicted};
use self::pace::Pace;
use self::store::Store;
use crate::queen::Queen;

/// Evictions of one write that the log tells of, each with its own line.
const EVICTIONS: usize = layout::MAX_SEGMENTS;

/// What the queen has of telemetry. Its cells are never held while a task waits.
pub(crate) struct Ingest {
    store: RefCell<Store>,
    pace: RefCell<Pace>,
}

impl Ingest {
    /// Finds what is in the region.
    pub(crate) fn open(region: Region, config: &IngestConfig) -> Result<(Ingest, Recovery), RegionError> {
        let (store, found) = Store::open(region, config.limits, config.gate, config.gates.clone())?;
        let ingest = Ingest {
            store: RefCell::new(store),
            pace: RefCell::new(Pace::default()),
        };
        Ok((ingest, found))
    }
}

/// A write on its way. Dropped, it is on its way no more.
struct Arrived<'a>(&'a Ingest);

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        self.0.pace.borrow_mut().left();
    }
}

impl Queen {
    /// Begins a device's next segment.
    async fn begin_segment(&self, device: &str) -> Result<(), Refusal> {
        self.take_in(|store, evicted| store.begin_segment(device, evicted).map(drop))
            .await
    }

    /// Adds the records in `data` to a segment.
    async fn add_records(&self, device: DeviceId, segment: SegmentId, data: &[u8]) -> Result<(), Refusal> {
        self.take_in(|store, evicted| store.write(device, segment, data, evicted))
            .await
    }

    /// Does a write, if the lifecycle lets it, and counts what comes of it.
    async fn take_in(
        &self,
        write: impl FnOnce(&mut Store, &mut dyn FnMut(Evicted)) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let arrived = self.ctx.now();
        self.ingest.pace.borrow_mut().arrived();
        let on_its_way = Arrived(&self.ingest);
        // Others that are ready get their turn between two writes of one client.
        self.ctx.cooperate().await;
        let mut gone: heapless::Vec<Evicted, EVICTIONS> = heapless::Vec::new();
        let outcome = match self.ingest_gate().await {
            Ok(()) => write(&mut self.ingest.store.borrow_mut(), &mut |evicted| {
                // One write evicts fewer segments than a device has.
                let _ = gone.push(evicted);
            }),
            Err(refusal) => Err(refusal),
        };
        drop(on_its_way);
        for evicted in gone {
            self.ingest.pace.borrow_mut().dropped(evicted.records);
            let device = DeviceName::try_from(self.ingest.store.borrow().devices.name(evicted.device));
            let device = device.unwrap_or_default();
            let Evicted { segment, records, .. } = evicted;
            self.note(format_args!(
                "telemetry evicted device={device} segment={segment} records={records}"
            ));
        }
        let mut pace = self.ingest.pace.borrow_mut();
        match outcome {
            Ok(()) => pace.took(self.ctx.now().since(arrived)),
            Err(refusal) if refusal == Refusal::Denied || refusal.reason() == Reason::Quota => pace.refused(),
            Err(_) => {}
        }
        drop(pace);
        if outcome.is_ok() && self.ingest.store.borrow().is_due() {
            self.bell.ring();
        }
        outcome
    }

    /// Whether the lifecycle lets telemetry in; what it does not is told in the log.
    async fn ingest_gate(&self) -> Result<(), Refusal> {
        let gate = Gate::TelemetryIngest;
        let state = self.look(|ledger| ledger.state.lifecycle.state);
        if gate.open_in(state) {
            return Ok(());
        }
        let told = self.note(format_args!(
            "lifecycle denied action={gate} state={state} reason=gate-denied"
        ));
        self.told(told).await;
        Err(Refusal::Denied)
    }
}
