use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::*;

const TEXT: &str = "schema gpu-bridge-snapshot/v1\n\
    node id=GPU-0 info=e30= ctl=TEVBU0UgR1BVLTA= lease= status=\n\
    model id=vision-base-v1 manifest=W21vZGVsXQ==\n\
    active id=vision-base-v1\n\
    telemetry schema=e30=\n\
    end\n";

const RECORDS: [Record<'_, &str>; 4] = [
    Record::Node {
        id: "GPU-0",
        info: "{}",
        ctl: "LEASE GPU-0",
        lease: "",
        status: "",
    },
    Record::Model {
        id: "vision-base-v1",
        manifest: "[model]",
    },
    Record::Active { id: "vision-base-v1" },
    Record::Telemetry { schema: "{}" },
];

fn emit(records: &[Record<'_, &str>]) -> Result<String, SnapshotError> {
    let mut writer = Writer::new(String::new())?;
    records.iter().try_for_each(|record| writer.put(record))?;
    writer.finish()
}

/// A record whose values own their text.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    kind: usize,
    id: String,
    values: Vec<String>,
}

impl Owned {
    fn of(record: Record<'_>) -> Result<Owned, SnapshotError> {
        let (kind, id, values) = match record {
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
        let text = |value: Encoded<'_>| {
            let mut out = vec![0; value.len()];
            assert_eq!(value.is_empty(), out.is_empty());
            value.decode(&mut out).map(ToString::to_string)
        };
        Ok(Owned {
            kind,
            id: id.to_string(),
            values: values.into_iter().map(text).collect::<Result<_, _>>()?,
        })
    }

    fn record(&self) -> Record<'_, &str> {
        let (id, value) = (&*self.id, |i: usize| &*self.values[i]);
        match self.kind {
            0 => Record::Node {
                id,
                info: value(0),
                ctl: value(1),
                lease: value(2),
                status: value(3),
            },
            1 => Record::Model {
                id,
                manifest: value(0),
            },
            2 => Record::Active { id },
            _ => Record::Telemetry { schema: value(0) },
        }
    }
}

fn read(text: &[u8]) -> Result<Vec<Owned>, SnapshotError> {
    Records::of(text)?.map(|record| Owned::of(record?)).collect()
}

#[test]
fn the_records_of_wire_5_2() {
    assert_eq!(emit(&RECORDS).as_deref(), Ok(TEXT));
    let read = read(TEXT.as_bytes()).unwrap();
    assert_eq!(read.iter().map(Owned::record).collect::<Vec<_>>(), RECORDS);
    assert_eq!(
        Records::of(TEXT.trim_end().as_bytes()).map(Iterator::count),
        Ok(RECORDS.len())
    );
    assert_eq!(emit(&[]).as_deref(), Ok("schema gpu-bridge-snapshot/v1\nend\n"));
}

#[test]
fn mistakes_are_told_apart() {
    for (from, to, expected) in [
        ("/v1", "/v2", SnapshotError::Schema),
        ("schema gpu", "\nschema gpu", SnapshotError::Schema),
        ("node id", "nodes id", SnapshotError::Line),
        ("node id=GPU-0 ", "node ", SnapshotError::Line),
        ("info=e30= ctl", "ctl", SnapshotError::Line),
        (" status=", "", SnapshotError::Line),
        (" status=", " status= ", SnapshotError::Line),
        (" status=", "  status=", SnapshotError::Line),
        ("active id=vision-base-v1", "", SnapshotError::Line),
        ("GPU-0", "a/b", SnapshotError::Id),
        ("GPU-0", "a\0", SnapshotError::Id),
        ("GPU-0", "", SnapshotError::Id),
        ("GPU-0", "models", SnapshotError::Id),
        ("model id=vision-base-v1", "model id=..", SnapshotError::Id),
        ("active id=vision-base-v1", "active id=a\tb", SnapshotError::Id),
        ("schema=e30=", "schema=e30", SnapshotError::Base64),
        ("schema=e30=", "schema=e31=", SnapshotError::Base64),
        ("end\n", "", SnapshotError::End),
        ("end\n", "end\nend\n", SnapshotError::End),
        ("end\n", "end\n\n", SnapshotError::End),
        ("end\n", "telemetry schema=\nend\n", SnapshotError::Repeated),
        ("end\n", "active id=x\nend\n", SnapshotError::Repeated),
        ("schema=e30=", "schema=/w==", SnapshotError::NotText),
        ("\n", "\r\n", SnapshotError::Schema),
    ] {
        let bad = TEXT.replacen(from, to, 1);
        assert_ne!(bad, TEXT, "{from}");
        assert_eq!(read(bad.as_bytes()), Err(expected), "{bad}");
    }
    assert_eq!(read(b""), Err(SnapshotError::Schema));
    assert_eq!(read(b"\xff"), Err(SnapshotError::NotText));
    let mut records = Records::of(b"schema gpu-bridge-snapshot/v1\nx\nend\n").unwrap();
    assert_eq!(records.next(), Some(Err(SnapshotError::Line)));
    assert_eq!(records.next(), None, "the first mistake ends it");
}

#[test]
fn every_value_has_a_bound_on_both_sides() {
    let long = |max: usize| "x".repeat(max + 1);
    let node = |at: usize, value: &str| {
        let of = |i| if i == at { value.to_string() } else { String::new() };
        Owned {
            kind: 0,
            id: "GPU-0".to_string(),
            values: (0..4).map(of).collect(),
        }
    };
    let other = |kind, value: &str| Owned {
        kind,
        id: "m".to_string(),
        values: vec![value.to_string()],
    };
    let bounds = [INFO_BYTES, CTL_BYTES, LEASE_BYTES, STATUS_BYTES];
    for (at, max) in bounds.into_iter().enumerate() {
        check(max, &long(max), |value| node(at, value));
    }
    check(MANIFEST_BYTES, &long(MANIFEST_BYTES), |value| other(1, value));
    check(TELEMETRY_SCHEMA_BYTES, &long(TELEMETRY_SCHEMA_BYTES), |value| {
        other(3, value)
    });
}

/// One byte less than `long` is taken, `long` is not, neither by the writer nor by the reader.
fn check(max: usize, long: &str, owned: impl Fn(&str) -> Owned) {
    let fits = owned(&long[..max]);
    let text = emit(&[fits.record()]).unwrap();
    assert_eq!(read(text.as_bytes()).unwrap()[0].values, fits.values);
    assert_eq!(emit(&[owned(long).record()]), Err(SnapshotError::ValueTooLong));
    let digits = |text: &str| b64::Digits(text.as_bytes()).to_string();
    let forged = text.replace(&digits(&long[..max]), &digits(long));
    assert_ne!(forged, text);
    assert_eq!(read(forged.as_bytes()), Err(SnapshotError::ValueTooLong));
}

#[test]
fn a_snapshot_is_never_longer_than_its_bound() {
    let manifest = "m".repeat(MANIFEST_BYTES);
    let mut writer = Writer::new(String::new()).unwrap();
    let mut models = 0;
    let refused = loop {
        let id = format!("model-{models}");
        match writer.put(&Record::Model {
            id: &id,
            manifest: &manifest,
        }) {
            Ok(()) => models += 1,
            Err(why) => break why,
        }
    };
    assert_eq!((refused, models), (SnapshotError::TooLong, 11));
    // Something small still fits, and the refused record left no trace.
    writer.put(&Record::Active { id: "model-0" }).unwrap();
    let text = writer.finish().unwrap();
    assert!(text.len() <= SNAPSHOT_BYTES);
    assert_eq!(read(text.as_bytes()).map(|records| records.len()), Ok(models + 1));
    let long = format!("{text}{}", " ".repeat(SNAPSHOT_BYTES + 1 - text.len()));
    assert_eq!(read(long.as_bytes()), Err(SnapshotError::TooLong));
}

#[test]
fn the_writer_refuses_what_no_reader_takes() {
    let active = Record::Active { id: "m" };
    assert_eq!(emit(&[active, active]), Err(SnapshotError::Repeated));
    for id in ["", "a b", "a/b", "a\n", "..", "é"] {
        assert_eq!(emit(&[Record::Active { id }]), Err(SnapshotError::Id), "{id:?}");
    }
    let mut small = [0; 40];
    let mut writer = Writer::new(crate::line::Line::new(&mut small)).unwrap();
    assert_eq!(writer.put(&RECORDS[0]), Err(SnapshotError::NoSpace));
}

#[test]
fn a_small_buffer_is_told() {
    let mut records = Records::of(TEXT.as_bytes()).unwrap();
    let Some(Ok(Record::Node { ctl, .. })) = records.next() else {
        panic!("a node comes first");
    };
    assert_eq!(ctl.len(), 11);
    assert_eq!(ctl.decode(&mut [0; 10]), Err(SnapshotError::NoSpace));
    assert_eq!(ctl.decode(&mut [0; 11]), Ok("LEASE GPU-0"));
}

fn value() -> impl Strategy<Value = String> {
    "\\PC{0,40}|[\\n\\t\u{0} -~]{0,60}"
}

fn owned() -> impl Strategy<Value = Owned> {
    let gpu = "[A-Za-z0-9._:-]{1,32}".prop_filter("a name", |id| is_gpu_id(id));
    let model = "[A-Za-z0-9._:=+-]{1,128}".prop_filter("a name", |id| is_model_id(id));
    prop_oneof![
        (gpu, proptest::collection::vec(value(), 4)).prop_map(|(id, values)| (0, id, values)),
        (model, value()).prop_map(|(id, value)| (1, id, vec![value])),
    ]
    .prop_map(|(kind, id, values)| Owned { kind, id, values })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        mut records in proptest::collection::vec(owned(), 0..8),
        active in proptest::option::of("[a-z0-9-]{1,128}"),
        telemetry in proptest::option::of(value()),
    ) {
        records.extend(active.map(|id| Owned { kind: 2, id, values: vec![] }));
        records.extend(telemetry.map(|schema| Owned { kind: 3, id: String::new(), values: vec![schema] }));
        let text = emit(&records.iter().map(Owned::record).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(read(text.as_bytes()), Ok(records));
    }

    #[test]
    fn any_bytes_are_a_snapshot_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0..TEXT.len(), byte: u8) {
        let mut bytes = TEXT.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = read(&bytes);
    }
}
