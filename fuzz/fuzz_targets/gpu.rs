//! What hosts say of GPUs: a snapshot that is read is written and read again as itself, and so are its lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::gpu::{
    BridgeRequest, BridgeStatus, Encoded, GpuInfo, Lease, Record, Records, SnapshotError, Writer,
};

fuzz_target!(|bytes: &[u8]| {
    if let Some(records) = read(bytes) {
        let mut writer = Writer::new(String::new()).expect("room for the first line");
        let written = records.iter().try_for_each(|record| writer.put(&record.borrowed()));
        // What lacked its last newline may just not fit with it.
        if written.is_ok() {
            let again = writer.finish().expect("a string takes everything");
            assert_eq!(read(again.as_bytes()), Some(records));
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(request) = BridgeRequest::parse(text) {
        assert_eq!(BridgeRequest::parse(&request.to_string()), Ok(request));
    }
    if let Ok(status) = BridgeStatus::parse(text) {
        assert_eq!(BridgeStatus::parse(&status.to_string()), Ok(status));
    }
    if let Ok(lease) = Lease::parse(text) {
        assert_eq!(Lease::parse(&lease.to_string()), Ok(lease));
    }
    if let Ok(info) = GpuInfo::parse(text) {
        assert_eq!(GpuInfo::parse(&info.to_string()), Ok(info));
    }
});

#[derive(PartialEq, Debug)]
struct Owned {
    kind: u8,
    id: String,
    values: Vec<String>,
}

impl Owned {
    fn borrowed(&self) -> Record<'_, &str> {
        let value = |at: usize| self.values[at].as_str();
        match self.kind {
            0 => Record::Node {
                id: &self.id,
                info: value(0),
                ctl: value(1),
                lease: value(2),
                status: value(3),
            },
            1 => Record::Model {
                id: &self.id,
                manifest: value(0),
            },
            2 => Record::Active { id: &self.id },
            _ => Record::Telemetry { schema: value(0) },
        }
    }
}

/// All records; `None` if it is no snapshot.
fn read(bytes: &[u8]) -> Option<Vec<Owned>> {
    let mut records = Vec::new();
    for record in Records::of(bytes).ok()? {
        let (kind, id, values) = match record.ok()? {
            Record::Node {
                id,
                info,
                ctl,
                lease,
                status,
            } => (0, id, vec![info, ctl, lease, status]),
            Record::Model { id, manifest } => (1, id, vec![manifest]),
            Record::Active { id } => (2, id, vec![]),
            Record::Telemetry { schema } => (3, "", vec![schema]),
        };
        let texts: Result<_, _> = values.into_iter().map(text).collect();
        records.push(Owned {
            kind,
            id: id.to_owned(),
            values: texts.ok()?,
        });
    }
    Some(records)
}

fn text(value: Encoded<'_>) -> Result<String, SnapshotError> {
    value.decode(&mut vec![0; value.len()]).map(str::to_owned)
}
