use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;
use proptest::prelude::*;
use runtime::region::Crash;
use sha2::{Digest, Sha256};

use super::super::jobs::JobFile;
use super::super::layout::TELEMETRY_CBOR_BYTES;
use super::*;

fn small() -> IngestLimits {
    IngestLimits {
        devices: 2,
        segments: 3,
        segment_bytes: 2048,
        segment_records: 16,
        device_bytes: 4096,
        reference_entries: 4,
        reference_manifest_bytes: 1024,
        reference_bytes: 1000,
        models: 2,
        jobs: 2,
    }
}

const RULE: GateRule = GateRule {
    min_samples: 3,
    drift_threshold: 0.5,
};

fn open_with(region: &Region, limits: IngestLimits) -> (Store, Recovery) {
    let own = ModelId::try_from("strict").unwrap();
    let strict = GateRule {
        min_samples: 100,
        ..RULE
    };
    Store::open(region.clone(), limits, RULE, Vec::from([(own, strict)])).unwrap()
}

fn open(region: &Region) -> Store {
    open_with(region, small()).0
}

fn fresh() -> (Region, Store) {
    let region = Region::in_memory(small().region_bytes());
    let store = open(&region);
    (region, store)
}

fn sample(model: &str, drift: Option<f64>, n: usize) -> String {
    let drift = drift.map_or(String::new(), |drift| format!(r#","drift":{drift}"#));
    format!(
        r#"{{"schema_version":"gpu-telemetry/v1","device_id":"d","model_id":"{model}","time_window":{{"n":{n}}},"token_count":1,"latency_histogram":[1]{drift}}}"#
    )
}

impl Store {
    fn begun(&mut self, device: &str) -> Result<u32, Refusal> {
        self.begin_segment(device, |_| {}).map(|(_, id)| id.0)
    }

    fn push(&mut self, device: &str, segment: u32, data: &str) -> Result<(), Refusal> {
        let device = self.devices.find(device).ok_or(Refusal::InvalidPath)?;
        self.write(device, SegmentId(segment), data.as_bytes(), |_| {})
    }

    fn cat(&self, device: &str, segment: u32) -> Option<String> {
        let device = self.devices.find(device)?;
        let mut text = Vec::new();
        loop {
            let mut piece = [0; 100];
            let id = SegmentId(segment);
            let count = self
                .devices
                .read(device, id, text.len() as u64, &mut piece)
                .ok()?;
            if count == 0 {
                return Some(String::from_utf8(text).unwrap());
            }
            text.extend_from_slice(&piece[..count]);
        }
    }

    /// Every segment that is kept, by device and number.
    fn contents(&self) -> BTreeMap<(String, u32), String> {
        let mut contents = BTreeMap::new();
        let mut device = self.devices.next(None);
        while let Some(id) = device {
            let name = self.devices.name(id).to_string();
            let mut segment = self.devices.next_segment(id, 0);
            while let Some(SegmentId(number)) = segment {
                contents.insert((name.clone(), number), self.cat(&name, number).unwrap());
                segment = self.devices.next_segment(id, number);
            }
            device = self.devices.next(Some(id));
        }
        contents
    }

    fn counts(&self) -> Vec<(String, u64, u64)> {
        // A gate may be there before its first sample is.
        let gates = self.gates.all().iter().filter(|gate| gate.count.samples > 0);
        gates
            .map(|gate| (gate.model.to_string(), gate.count.samples, gate.count.drifted))
            .collect()
    }

    fn export_all(&mut self) -> Result<(), Refusal> {
        while self.export(|_, base| base.push_str("base-model").unwrap(), 5)? != Piece::Nothing {}
        while let Some(number) = self.jobs.surplus().map(|job| job.facts.number) {
            self.jobs.close(number)?;
        }
        Ok(())
    }

    fn file(&self, job: &str, file: JobFile) -> Vec<u8> {
        let job = self.jobs.find(job).expect("the job is there");
        let mut bytes = std::vec![0; job.bytes(file)];
        let half = bytes.len() / 2;
        let (first, second) = bytes.split_at_mut(half);
        let number = job.facts.number;
        assert_eq!(self.jobs.read(number, file, 0, first), Ok(half));
        assert_eq!(
            self.jobs.read(number, file, half as u64, second),
            Ok(second.len())
        );
        bytes
    }

    fn files(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let jobs = self.jobs.all().map(|job| job.id.to_string());
        jobs.map(|id| {
            let files = JobFile::ALL.map(|file| self.file(&id, file));
            (id, files.into())
        })
        .collect()
    }
}

/// The records of a `telemetry.cbor`.
fn records(bytes: &[u8]) -> Vec<String> {
    let mut cbor = Decoder::new(bytes);
    assert_eq!(cbor.map().unwrap(), Some(4));
    assert_eq!(
        (cbor.str().unwrap(), cbor.str().unwrap()),
        ("schema", "lora-telemetry/v1")
    );
    assert_eq!(cbor.str().unwrap(), "job_id");
    assert!(cbor.str().unwrap().starts_with("lora-"));
    assert_eq!(cbor.str().unwrap(), "model_id");
    cbor.str().unwrap();
    assert_eq!((cbor.str().unwrap(), cbor.array().unwrap()), ("records", None));
    let mut records = Vec::new();
    loop {
        match cbor.datatype().unwrap() {
            Type::Break => break,
            Type::Bytes => records.push(format!("{} bytes", cbor.bytes().unwrap().len())),
            _ => records.push(cbor.str().unwrap().to_string()),
        }
    }
    cbor.skip().unwrap();
    assert_eq!(cbor.position(), bytes.len());
    records
}

#[test]
fn a_device_appears_with_its_first_segment_and_stays() {
    let (region, mut store) = fresh();
    assert_eq!(store.push("a", 1, "x"), Err(Refusal::InvalidPath));
    assert_eq!(
        (store.begun("b"), store.begun("a"), store.begun("b")),
        (Ok(1), Ok(1), Ok(2))
    );
    assert_eq!(
        store.begun("c"),
        Err(Refusal::BufferFull),
        "two devices are all there is room for"
    );
    assert_eq!(store.push("b", 1, "one"), Ok(()));
    assert_eq!(store.push("b", 1, "two\nthree\n"), Ok(()));
    assert_eq!(store.push("b", 3, "x"), Err(Refusal::InvalidPath));
    let store = open(&region);
    assert_eq!(store.cat("b", 1).unwrap(), "one\ntwo\nthree\n");
    let names: Vec<String> = store
        .contents()
        .into_keys()
        .map(|(name, number)| format!("{name}{number}"))
        .collect();
    assert_eq!(names, ["a1", "b1", "b2"]);
    assert_eq!(
        store.devices.latest(store.devices.find("b").unwrap()),
        Some(SegmentId(2))
    );
}

#[test]
fn what_is_no_record_is_refused_whole() {
    let (_, mut store) = fresh();
    store.begun("d").unwrap();
    let device = store.devices.find("d").unwrap();
    assert_eq!(
        store.write(device, SegmentId(1), b"a\xff", |_| {}),
        Err(Refusal::InvalidPayload)
    );
    assert_eq!(store.push("d", 1, ""), Err(Refusal::InvalidPayload));
    let long = "x".repeat(protocol::ingest::RECORD_BYTES + 1);
    assert_eq!(
        store.push("d", 1, &format!("fine\n{long}")),
        Err(Refusal::TooLong)
    );
    assert_eq!(store.push("d", 1, &"x".repeat(2048)), Err(Refusal::BufferFull));
    assert_eq!(store.push("d", 1, &"x\n".repeat(17)), Err(Refusal::BufferFull));
    assert_eq!(store.cat("d", 1).unwrap(), "");
    assert_eq!(
        store.push("d", 1, &"x".repeat(2047)),
        Ok(()),
        "the newline is counted"
    );
    assert_eq!(store.push("d", 1, "y"), Err(Refusal::BufferFull));
}

#[test]
fn the_oldest_goes_when_there_are_too_many_segments_or_bytes() {
    let (region, mut store) = fresh();
    let mut gone = Vec::new();
    for n in 1..=4 {
        store
            .begin_segment("d", |evicted| gone.push((evicted.segment.0, evicted.records)))
            .unwrap();
        store.push("d", n, "a\nb").unwrap();
    }
    assert_eq!(gone, [(1, 2)]);
    assert_eq!(store.contents().len(), 3);
    let device = store.devices.find("d").unwrap();
    let write = |store: &mut Store, gone: &mut Vec<(u32, usize)>, segment, bytes: usize| {
        let data = "x".repeat(bytes - 1);
        store.write(device, SegmentId(segment), data.as_bytes(), |evicted| {
            gone.push((evicted.segment.0, evicted.records))
        })
    };
    assert_eq!(write(&mut store, &mut gone, 3, 2000), Ok(()));
    assert_eq!(
        write(&mut store, &mut gone, 4, 2044),
        Ok(()),
        "there are 4056 of 4096 bytes"
    );
    assert_eq!(
        write(&mut store, &mut gone, 3, 41),
        Ok(()),
        "the second goes, and the third is written"
    );
    assert_eq!(gone, [(1, 2), (2, 2)]);
    assert_eq!(
        write(&mut store, &mut gone, 3, 5),
        Err(Refusal::BufferFull),
        "the newest does not go"
    );
    assert_eq!(store.begun("d"), Ok(5));
    let store = open(&region);
    assert_eq!(
        store
            .contents()
            .into_keys()
            .map(|(_, number)| number)
            .collect::<Vec<_>>(),
        [3, 4, 5]
    );
}

#[test]
fn a_segment_is_inline_or_of_references() {
    let piece = |seq: u64, off: u64, len: u64| {
        format!(r#"{{"schema":"coh-ref-c/v1","seq":{seq},"off":{off},"len":{len},"sha256":"ab"}}"#)
    };
    let (region, mut store) = fresh();
    store.begun("d").unwrap();
    store.begun("d").unwrap();
    store.push("d", 2, "inline").unwrap();
    for (segment, line, expected) in [
        (1, piece(2, 0, 5), Err(Refusal::InvalidPayload)),
        (1, piece(1, 1, 5), Err(Refusal::InvalidPayload)),
        (1, piece(1, 0, 0), Err(Refusal::InvalidPayload)),
        (1, piece(1, 0, 1001), Err(Refusal::BufferFull)),
        (1, format!("{}\n{}\n", piece(1, 0, 5), piece(2, 5, 5)), Ok(())),
        (1, piece(4, 10, 5), Err(Refusal::InvalidPayload)),
        (1, piece(3, 9, 5), Err(Refusal::InvalidPayload)),
        (1, piece(3, 10, 991), Err(Refusal::BufferFull)),
        (1, "inline".into(), Err(Refusal::InvalidPayload)),
        (2, piece(1, 0, 5), Err(Refusal::InvalidPayload)),
        (1, piece(3, 10, 990), Ok(())),
    ] {
        assert_eq!(store.push("d", segment, &line), expected, "{segment} {line}");
        // A restart knows as much.
        store = open(&region);
    }
    store.begun("d").unwrap();
    let pieces: Vec<String> = (0..5).map(|n| piece(n + 1, n, 1)).collect();
    assert_eq!(
        store.push("d", 3, &pieces.join("\n")),
        Err(Refusal::BufferFull),
        "four are all there is room for"
    );
    assert_eq!(store.push("d", 3, &pieces[..4].join("\n")), Ok(()));
}

#[test]
fn a_gate_counts_samples_of_its_model_and_says_what_is_missing() {
    let (region, mut store) = fresh();
    store.begun("d").unwrap();
    let says = |store: &Store| {
        store
            .gates
            .all()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("|")
    };
    store.push("d", 1, "not a sample").unwrap();
    assert_eq!(says(&store), "");
    store.push("d", 1, &sample("m", None, 0)).unwrap();
    assert_eq!(
        says(&store),
        "model=m samples=1/3 drift=none/0.5 state=collecting missing=samples:2,drift:0.5000"
    );
    store.push("d", 1, &sample("strict", Some(0.75), 0)).unwrap();
    store.push("d", 1, &sample("no-place", Some(0.75), 0)).unwrap();
    store
        .push(
            "d",
            1,
            &format!("{}\n{}", sample("m", Some(0.25), 1), sample("m", Some(0.5), 2)),
        )
        .unwrap();
    let store = open(&region);
    assert_eq!(
        says(&store),
        "model=m samples=3/3 drift=0.3750/0.5 state=collecting missing=drift:0.1250|\
         model=strict samples=1/100 drift=0.7500/0.5 state=collecting missing=samples:99"
    );
}

#[test]
fn a_gate_that_is_met_becomes_one_job_and_begins_again() {
    let (region, mut store) = fresh();
    store.begun("d").unwrap();
    store.begun("e").unwrap();
    let cbor = b"\xa7\x6eschema_version\x70gpu-telemetry/v1\x69device_id\x61d\x68model_id\x63m/1".to_vec();
    assert!(Carried::Cbor(&cbor).sample().is_none());
    let push = format!(
        r#"{{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"a","payload":"{}"}}"#,
        sample("m:1", Some(0.5), 1).replace('"', "\\\"")
    );
    store.push("d", 1, &sample("m:1", Some(0.75), 0)).unwrap();
    store.push("e", 1, "other").unwrap();
    store.push("e", 1, &push).unwrap();
    store.export_all().unwrap();
    assert_eq!(store.jobs.all().count(), 0);
    store.push("d", 1, &sample("m:1", None, 2)).unwrap();
    assert!(store.is_due());
    store.export_all().unwrap();
    assert!(!store.is_due());
    let mut store = open(&region);
    let expected = [
        sample("m:1", Some(0.75), 0),
        sample("m:1", Some(0.5), 1),
        sample("m:1", None, 2),
    ];
    let telemetry = store.file("lora-m-1-1", JobFile::Telemetry);
    assert_eq!(records(&telemetry), expected, "in the order they came");
    assert_eq!(store.file("lora-m-1-1", JobFile::BaseModel), b"base-model\n");
    let policy = String::from_utf8(store.file("lora-m-1-1", JobFile::Policy)).unwrap();
    let hash: String = Sha256::digest(&telemetry)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for line in [
        "job_id = \"lora-m-1-1\"",
        "model_id = \"m:1\"",
        "min_samples = 3",
        "drift_threshold = 0.5",
        "samples = 3",
        "drift_samples = 2",
        "drift_mean = 0.625",
        "records = 3",
        "omitted = 0",
        &format!("sha256 = \"{hash}\""),
    ] {
        assert!(
            policy.lines().any(|other| other == line),
            "{line} is not in {policy}"
        );
    }
    assert_eq!(store.counts(), []);
    // Two jobs are kept; the third pushes out the first.
    for n in 3..9 {
        store.push("d", 1, &sample("m:1", Some(0.5), n)).unwrap();
        store.export_all().unwrap();
    }
    assert_eq!(
        store.files().into_keys().collect::<Vec<_>>(),
        ["lora-m-1-2", "lora-m-1-3"]
    );
    assert_eq!(records(&store.file("lora-m-1-2", JobFile::Telemetry)).len(), 3);
    let files = store.files();
    assert_eq!(open(&region).files(), files);
}

#[test]
fn drifts_that_are_each_the_threshold_meet_it() {
    for threshold in [0.1, 0.3, 1.0 / 3.0, 0.7, 1e9, 0.000001] {
        let region = Region::in_memory(small().region_bytes());
        let rule = GateRule {
            min_samples: 9,
            drift_threshold: threshold,
        };
        let (mut store, _) = Store::open(region, small(), rule, Vec::new()).unwrap();
        store.begun("d").unwrap();
        for n in 0..9 {
            assert!(!store.is_due());
            store.push("d", 1, &sample("m", Some(threshold), n)).unwrap();
        }
        assert!(store.is_due(), "{threshold}: {}", store.gates.all()[0]);
    }
}

#[test]
fn samples_that_come_while_a_job_is_written_count_for_the_next() {
    let (_, mut store) = fresh();
    store.begun("d").unwrap();
    let batch: Vec<String> = (0..3).map(|n| sample("m", Some(0.5), n)).collect();
    store.push("d", 1, &batch.join("\n")).unwrap();
    assert_eq!(store.export(|_, _| {}, 5), Ok(Piece::Done));
    store.push("d", 1, &sample("m", Some(0.75), 3)).unwrap();
    store.export_all().unwrap();
    assert_eq!(records(&store.file("lora-m-1", JobFile::Telemetry)), batch);
    assert_eq!(store.counts(), [("m".to_string(), 1, 1)]);
    assert_eq!(store.gates.all()[0].count.mean(), Some(0.75));
}

#[test]
fn records_that_went_are_in_no_job() {
    let (_, mut store) = fresh();
    for n in 1..=4 {
        store.begun("d").unwrap();
        store.push("d", n, &sample("m", Some(0.5), n as usize)).unwrap();
    }
    store.export_all().unwrap();
    let kept: Vec<String> = (2..=4).map(|n| sample("m", Some(0.5), n)).collect();
    assert_eq!(records(&store.file("lora-m-1", JobFile::Telemetry)), kept);
    for n in 5..=7 {
        store.begun("d").unwrap();
        store.push("d", n, &sample("m", Some(0.5), n as usize)).unwrap();
    }
    for _ in 0..3 {
        store.begun("d").unwrap();
    }
    assert_eq!(store.export(|_, _| {}, 5), Ok(Piece::Done));
    let mut last = Piece::Done;
    while last == Piece::Done {
        last = store.export(|_, _| {}, 5).unwrap();
    }
    assert_eq!(last, Piece::Empty(0));
    assert_eq!((store.jobs.all().count(), store.counts().len()), (1, 0));
}

#[test]
fn when_not_all_fit_the_newest_are_in_the_job() {
    let limits = IngestLimits::default();
    let region = Region::in_memory(limits.region_bytes());
    let (mut store, _) = open_with(&region, limits);
    let note = "n".repeat(1000);
    let long = |n: usize| sample("strict", Some(0.5), n).replacen('{', &format!(r#"{{"note":"{note}","#), 1);
    for device in ["a", "b", "c"] {
        store.begun(device).unwrap();
        store.begun(device).unwrap();
    }
    let mut sent = Vec::new();
    for n in 0..100 {
        let device = ["a", "b", "c"][n % 3];
        store.push(device, 1 + (n / 51) as u32, &long(n)).unwrap();
        sent.push(long(n));
    }
    store.export_all().unwrap();
    let telemetry = store.file("lora-strict-1", JobFile::Telemetry);
    let records = records(&telemetry);
    assert!(telemetry.len() <= TELEMETRY_CBOR_BYTES && telemetry.len() + 1500 > TELEMETRY_CBOR_BYTES);
    assert_eq!(records, sent[100 - records.len()..]);
    let policy = String::from_utf8(store.file("lora-strict-1", JobFile::Policy)).unwrap();
    assert!(policy.contains(&format!(
        "records = {}\nomitted = {}\n",
        records.len(),
        100 - records.len()
    )));
}

#[test]
fn a_region_of_something_else_is_wiped_and_said_to_be() {
    let (region, mut store) = fresh();
    store.begun("d").unwrap();
    store.push("d", 1, &sample("m", Some(0.5), 0)).unwrap();
    region.write_at(3, b"?").unwrap();
    let (mut store, found) = open_with(&region, small());
    assert!(found.is_corrupt());
    assert!(store.contents().is_empty() && store.counts().is_empty());
    // The same places and epochs as in the life before: nothing of that comes back.
    store.begun("d").unwrap();
    let (store, found) = open_with(&region, small());
    assert_eq!((found, store.cat("d", 1)), (Recovery::Clean, Some(String::new())));
}

/// A step of a life, acknowledged when it returns.
#[derive(Clone, Debug)]
enum Step {
    Begin(&'static str),
    Push(&'static str, u32, String),
    Export,
}

impl Step {
    fn run(&self, store: &mut Store) -> Result<(), Refusal> {
        match self {
            Step::Begin(device) => store.begun(device).map(drop),
            Step::Push(device, back, text) => {
                let id = store.devices.find(device).ok_or(Refusal::InvalidPath)?;
                let latest = store.devices.latest(id).map_or(0, |latest| latest.0);
                store.push(device, latest.saturating_sub(*back), text)
            }
            Step::Export => store.export_all(),
        }
    }
}

fn life() -> Vec<Step> {
    let one = |n| sample("m", Some(0.5), n);
    let mut life = Vec::from([
        Step::Begin("a"),
        Step::Push("a", 0, "first".into()),
        Step::Push("a", 0, format!("{}\n{}\nplain\n", one(0), one(1))),
        Step::Begin("b"),
        Step::Push("b", 0, one(2)),
        Step::Export,
        Step::Begin("a"),
        Step::Push("a", 0, "x".repeat(1900)),
        Step::Begin("a"),
        Step::Push("a", 1, "late".into()),
        Step::Begin("a"),
        Step::Push("a", 0, "y".repeat(1900)),
        Step::Push("a", 1, "z".repeat(800)),
    ]);
    for n in 3..12 {
        life.push(Step::Push("b", 0, one(n)));
        life.push(Step::Export);
    }
    life
}

type Essence = (
    BTreeMap<(String, u32), String>,
    Vec<(String, u64, u64)>,
    BTreeMap<String, Vec<Vec<u8>>>,
);

fn essence(store: &Store) -> Essence {
    (store.contents(), store.counts(), store.files())
}

#[test]
fn a_crash_at_any_write_leaves_what_was_acknowledged() {
    let life = life();
    let (whole, mut store) = fresh();
    let opened = whole.writes();
    let mut states = Vec::from([essence(&store)]);
    for step in &life {
        step.run(&mut store).unwrap();
        states.push(essence(&store));
    }
    let writes = whole.writes() - opened;
    assert!(writes > 150, "{writes}");
    for write in 1..=writes {
        for prefix in [0, 1, 5, 15, 40, 400] {
            let (region, mut store) = fresh();
            region.crash_at(write, Crash::TornRefuse { prefix });
            let done = life
                .iter()
                .take_while(|step| step.run(&mut store).is_ok())
                .count();
            region.crash_never();
            let (mut store, found) = open_with(&region, small());
            assert!(!found.is_corrupt());
            let (contents, counts, files) = essence(&store);
            let possible = states.get(done..=done + 1).unwrap_or(&states[done..]);
            let at = format!(
                "write {write} of {writes}, torn after {prefix}, {done} steps done: {:?}",
                life.get(done)
            );
            assert!(
                possible.iter().any(|state| state.0 == contents),
                "{at}: {contents:?}"
            );
            assert!(possible.iter().any(|state| state.1 == counts), "{at}: {counts:?}");
            let mine = |jobs: &BTreeMap<String, Vec<Vec<u8>>>| {
                files.iter().all(|(id, files)| jobs.get(id) == Some(files))
            };
            let all: BTreeMap<_, _> = possible.iter().flat_map(|state| state.2.clone()).collect();
            assert!(mine(&all), "{at}: {:?}", files.keys());
            // What is due is still due, and done again it is the same.
            if matches!(life.get(done), Some(Step::Export)) {
                store.export_all().unwrap();
                assert_eq!(essence(&store), states[done + 1], "{at}");
            }
        }
    }
}

#[test]
fn what_an_unfinished_write_has_left_does_not_come_back_with_the_next() {
    for write in 1..8 {
        let (region, mut store) = fresh();
        store.begun("d").unwrap();
        region.crash_at(write, Crash::Refuse);
        let written = store.push("d", 1, "one\ntwo\nthree\n");
        region.crash_never();
        let mut store = open(&region);
        let before = store.cat("d", 1).unwrap();
        assert_eq!(before.is_empty(), written.is_err());
        // The same place, number and length as the first of the three.
        store.push("d", 1, "one").unwrap();
        assert_eq!(
            open(&region).cat("d", 1).unwrap(),
            format!("{before}one\n"),
            "write {write}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_is_written_is_read_before_and_after_a_restart(
        steps in prop::collection::vec((0..6usize, 0..2usize, 0..3u32, prop::collection::vec("[a-z]{0,300}", 1..4)), 1..60),
    ) {
        let (mut region, mut store) = fresh();
        let mut model: BTreeMap<(String, u32), String> = BTreeMap::new();
        for (kind, device, back, lines) in steps {
            let device = ["a", "b"][device];
            let mut gone = Vec::new();
            match kind {
                0 => {
                    let begun = store.begin_segment(device, |evicted| gone.push(evicted.segment.0));
                    model.insert((device.into(), begun.unwrap().1.0), String::new());
                }
                1 => {
                    region = Region::from_bytes(&region.to_vec());
                    store = open(&region);
                }
                _ => {
                    let Some(id) = store.devices.find(device) else { continue };
                    let number = store.devices.latest(id).unwrap().0.saturating_sub(back);
                    let text = lines.join("\n");
                    if text.is_empty() {
                        continue;
                    }
                    let written = store.write(id, SegmentId(number), text.as_bytes(), |evicted| gone.push(evicted.segment.0));
                    let key = (device.to_string(), number);
                    prop_assert!(written != Err(Refusal::InvalidPath) || !model.contains_key(&key));
                    if written.is_ok() {
                        let newline = if text.ends_with('\n') { "" } else { "\n" };
                        *model.get_mut(&key).unwrap() += &format!("{text}{newline}");
                    }
                }
            }
            for number in gone {
                model.remove(&(device.to_string(), number));
            }
            prop_assert_eq!(&store.contents(), &model);
            prop_assert!(model.values().all(|text| text.len() <= small().segment_bytes));
            let bytes = |device: &str| model.iter().filter(|((name, _), _)| name == device).map(|(_, text)| text.len()).sum::<usize>();
            prop_assert!(bytes("a").max(bytes("b")) <= small().device_bytes);
        }
    }

    #[test]
    fn rubbish_in_a_region_is_survived(at in 0..small().region_bytes() - 64, rubbish in prop::collection::vec(any::<u8>(), 1..64)) {
        let (region, mut store) = fresh();
        for step in life() {
            step.run(&mut store).unwrap();
        }
        region.write_at(at, &rubbish).unwrap();
        let mut store = open(&region);
        let _ = essence(&store);
        let _ = store.begun("a").and_then(|number| store.push("a", number, "more"));
        let _ = store.export_all();
    }
}
