//! From the bytes of a snapshot to what can be published.
//!
//! Answers for every value being what its file takes, before anything changes.
//!
//! Never decides which of it stays: that is [`store`](super::store).

use alloc::boxed::Box;
use alloc::vec;

use protocol::gpu::{
    CTL_BYTES, Encoded, GpuInfo, INFO_BYTES, MANIFEST_BYTES, MODEL_ID_BYTES, Record, Records, STATUS_BYTES,
    TELEMETRY_SCHEMA_BYTES, is_json_object,
};

use super::bridge::Fault;
use super::published::{GpuTexts, Published, Unfit};
use super::record::File;
use super::store::takes;

/// The model that a snapshot says is active.
pub(super) type ActiveId = heapless::String<MODEL_ID_BYTES>;

/// Memory in which values are decoded.
pub(super) struct Composer {
    info: Box<[u8]>,
    ctl: Box<[u8]>,
    /// The longest of all values, and every other that stands alone.
    status: Box<[u8]>,
}

impl Composer {
    /// All memory is taken here.
    pub(super) fn new() -> Composer {
        const { assert!(STATUS_BYTES >= MANIFEST_BYTES && STATUS_BYTES >= TELEMETRY_SCHEMA_BYTES) };
        Composer {
            info: vec![0; INFO_BYTES].into(),
            ctl: vec![0; CTL_BYTES].into(),
            status: vec![0; STATUS_BYTES].into(),
        }
    }

    /// Makes `next` what the snapshot says. Gives the model it says is active.
    pub(super) fn compose(
        &mut self,
        snapshot: &[u8],
        next: &mut Published,
    ) -> Result<Option<ActiveId>, Fault> {
        next.clear();
        let mut active = None;
        for record in Records::of(snapshot).map_err(Fault::Snapshot)? {
            match record.map_err(Fault::Snapshot)? {
                Record::Node {
                    id,
                    info,
                    ctl,
                    lease,
                    status,
                } => {
                    // It is the hive that grants leases: what a host says of one is only checked.
                    decode(lease, &mut self.status)?;
                    let texts = GpuTexts {
                        id,
                        info: decode(info, &mut self.info)?,
                        ctl: decode(ctl, &mut self.ctl)?,
                        status: decode(status, &mut self.status)?,
                    };
                    check(texts)?;
                    next.add_gpu(texts).map_err(unfit)?;
                }
                Record::Model { id, manifest } => {
                    let manifest = decode(manifest, &mut self.status)?;
                    next.add_model(id, manifest).map_err(unfit)?;
                }
                Record::Active { id } => active = ActiveId::try_from(id).ok(),
                Record::Telemetry { schema } => {
                    let schema = decode(schema, &mut self.status)?;
                    if !is_json_object(schema) {
                        return Err(Fault::Schema);
                    }
                    next.set_schema(schema).map_err(unfit)?;
                }
            }
        }
        Ok(active)
    }
}

fn decode<'b>(value: Encoded<'_>, buffer: &'b mut [u8]) -> Result<&'b str, Fault> {
    value.decode(buffer).map_err(Fault::Snapshot)
}

fn check(gpu: GpuTexts<'_>) -> Result<(), Fault> {
    let info = GpuInfo::parse(gpu.info).map_err(|_| Fault::Info)?;
    if info.id != gpu.id {
        return Err(Fault::Info);
    }
    for file in File::ALL {
        let text = gpu.first(file);
        if text.is_empty() {
            continue;
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        // With the newline that the last line may lack.
        let fits = text.len() < file.bytes();
        if !fits || text.split('\n').any(|line| takes(file, line).is_err()) {
            return Err(Fault::Lines);
        }
    }
    Ok(())
}

fn unfit(why: Unfit) -> Fault {
    match why {
        Unfit::Duplicate => Fault::Duplicate,
        Unfit::TooMany => Fault::TooMany,
        Unfit::TooLong => Fault::Snapshot(protocol::gpu::SnapshotError::TooLong),
    }
}
