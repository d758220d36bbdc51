//! The domain of GPU workers in the simulator: a real NineDoor, and the test in the queen's place, `/gpu` included.

#[path = "../../worker/testing/house.rs"]
mod house;

use ninep::ramtree::{NodeId, RamTree};
use protocol::gpu::{LEASE_BYTES, Lease, LeaseState, Report};
use protocol::refusal::Refusal;
use protocol::role::Role;
use protocol::worker::EndReason;

use house::{House, Kind, Limits};

const GPU: Kind = Kind {
    domain: "worker-gpu",
    role: Role::WorkerGpu,
    door_link: worker_gpu::DOOR_LINK,
    queen_link: worker_gpu::QUEEN_LINK,
    gpu_id: Some("GPU-0"),
    spawn: |ctx| worker_gpu::spawn(ctx, Default::default()).unwrap(),
};

fn line(worker_id: &str, state: LeaseState) -> String {
    let lease = Lease {
        state,
        gpu_id: "GPU-0",
        worker_id,
        mem_mb: 1024,
        streams: 1,
        ttl_s: 60,
        priority: 0,
        reason: None,
    };
    format!("{lease}\n")
}

/// `/gpu` with one GPU and its lease file; nothing has been published of models.
fn gpu() -> (RamTree, NodeId, NodeId) {
    let tree = RamTree::new();
    let root = tree.add_dir(RamTree::ROOT, "gpu").unwrap();
    let gpu = tree.add_dir(root, "GPU-0").unwrap();
    let active = line("worker-1", LeaseState::Active);
    let lease = tree
        .add_file(gpu, "lease", active.as_bytes(), LEASE_BYTES)
        .unwrap();
    (tree, root, lease)
}

/// Publishes models: their ids and manifests. Gives the file `active`.
fn publish(root: NodeId, models: &[(&str, &str)]) -> NodeId {
    let tree = house::files();
    let directory = tree.add_dir(root, "models").unwrap();
    let available = tree.add_dir(directory, "available").unwrap();
    for (id, manifest) in models {
        let model = tree.add_dir(available, id).unwrap();
        tree.add_file(model, "manifest.toml", manifest.as_bytes(), 8192)
            .unwrap();
    }
    tree.add_file(directory, "active", b"", 4096).unwrap()
}

/// Ids of model and adapter in the worker's last record.
fn last(house: &mut House) -> (Option<String>, Option<String>) {
    let text = house.telemetry("worker-1");
    let report = Report::parse(text.lines().last().expect("a record")).expect("a report");
    assert_eq!((report.gpu_id, report.lease), ("GPU-0", LeaseState::Active));
    (
        report.model_id.map(String::from),
        report.lora_id.map(String::from),
    )
}

fn ids(model: &str, lora: Option<&str>) -> (Option<String>, Option<String>) {
    (Some(model.into()), lora.map(String::from))
}

fn tick_of(line: &str) -> Option<u64> {
    Report::parse(line).map(|report| report.tick)
}

#[test]
fn the_very_next_record_tells_of_the_active_model_and_its_adapter() {
    let (tree, root, _) = gpu();
    let mut house = House::with_files(GPU, 1, tree);
    house.create("worker-1");
    house.start("worker-1", Limits::default()).unwrap();
    house.run(25);
    assert_eq!(last(&mut house), (None, None));
    let active = publish(
        root,
        &[
            ("base", "[model]\nid = \"base\"\n"),
            ("edge", "[model]\nid = \"edge\"\nlora = \"lora.json\"\n"),
            ("named", "[model]\nlora = \"lora.json\"\nlora_id = \"edge-7\"\n"),
        ],
    );
    for (line, expected) in [
        ("base\n", ids("base", None)),
        ("base\nedge\n", ids("edge", Some("edge"))),
        ("base\nedge\nnamed\n", ids("named", Some("edge-7"))),
        ("base\nedge\nnamed\nbase\n", ids("base", None)),
        ("base\nedge\nnamed\nbase\ngone\n", ids("gone", None)),
    ] {
        house::files().set_contents(active, line.as_bytes()).unwrap();
        house.run(10);
        assert_eq!(last(&mut house), expected, "{line:?}");
    }
}

#[test]
fn a_worker_ends_with_its_lease_and_gives_everything_back() {
    let (tree, _, lease) = gpu();
    let mut house = House::with_files(GPU, 2, tree);
    house.create("worker-1");
    house.start("worker-1", Limits::default()).unwrap();
    house.run(30);
    // Of the lines it is those of its own that count.
    let others = line("worker-1", LeaseState::Active) + &line("worker-2", LeaseState::Released);
    house::files().set_contents(lease, others.as_bytes()).unwrap();
    house.run(30);
    assert_eq!(house.running(), ["worker-1"]);
    let made = house.telemetry("worker-1").lines().count();
    assert!(made >= 6, "{made}");
    let released = line("worker-1", LeaseState::Active) + &line("worker-1", LeaseState::Released);
    house::files().set_contents(lease, released.as_bytes()).unwrap();
    assert_eq!(house.event(), ("worker-1".into(), EndReason::Released));
    assert!(house.running().is_empty());
    house.run(50);
    assert!(house.telemetry("worker-1").lines().count() <= made + 1);
    // Its session ended with its last fid: only the test's own are left.
    let sessions = house.read(
        house::To::Door,
        ["proc", "9p", "sessions"].map(String::from).to_vec(),
    );
    let sessions = sessions.unwrap();
    assert!(sessions.contains(" worker=0 "), "{sessions}");
}

#[test]
fn a_line_that_gave_way_to_newer_ones_ends_nobody() {
    let (tree, _, lease) = gpu();
    let mut house = House::with_files(GPU, 3, tree);
    house.create("worker-1");
    house.start("worker-1", Limits::default()).unwrap();
    let others = line("worker-2", LeaseState::Active);
    house::files().set_contents(lease, others.as_bytes()).unwrap();
    house.run(50);
    assert_eq!(house.running(), ["worker-1"]);
    assert!(house.telemetry("worker-1").lines().count() >= 5);
}

#[test]
fn while_nobody_publishes_its_gpu_a_worker_says_nothing() {
    let kind = Kind {
        gpu_id: Some("GPU-1"),
        ..GPU
    };
    let (tree, root, _) = gpu();
    let mut house = House::with_files(kind, 4, tree);
    house.create("worker-1");
    house.start("worker-1", Limits::default()).unwrap();
    house.run(50);
    assert_eq!(house.telemetry("worker-1"), "");
    let files = house::files();
    let gpu = files.add_dir(root, "GPU-1").unwrap();
    files.add_file(gpu, "lease", b"", LEASE_BYTES).unwrap();
    house.run(30);
    let ticks: Vec<u64> = house.telemetry("worker-1").lines().filter_map(tick_of).collect();
    assert_eq!(ticks.first(), Some(&1));
}

#[test]
fn a_request_without_a_gpu_is_none_for_this_domain() {
    for gpu_id in [None, Some("models"), Some("a/b")] {
        let mut house = House::new(Kind { gpu_id, ..GPU }, 5);
        house.create("worker-1");
        assert_eq!(
            house.start("worker-1", Limits::default()),
            Err(Refusal::InvalidPayload),
            "{gpu_id:?}"
        );
        assert!(house.running().is_empty());
    }
}

#[test]
fn whoever_dies_no_tick_is_lost_and_none_is_doubled() {
    house::no_tick_is_lost(GPU, tick_of, || gpu().0);
}
