//! What is left behind by whom, and what becomes of it.

use std::fs;

use super::*;
use crate::disk::Unwatched;

fn id(text: &str) -> ModelId {
    ModelId::new(text).unwrap()
}

fn active(current: &str, previous: &str) -> Active {
    let id = |text: &str| (!text.is_empty()).then(|| id(text));
    Active {
        current: id(current),
        previous: id(previous),
    }
}

fn model(name: &str) -> NewModel {
    let (adapter, lora) = (b"weights".to_vec(), b"{}".to_vec());
    let some = |text: &str| Some(text.to_owned());
    let (adapter_hash, lora_hash, other) = (hash(&adapter), hash(&lora), hash(b"other"));
    NewModel {
        id: id(name),
        manifest: Manifest {
            model: manifest::Model {
                id: some(name),
                base: some("a \"base\" \\ \u{1}"),
                adapter: some(ADAPTER),
                lora: some(LORA),
                metrics: some(METRICS),
                lora_id: some("job-1"),
            },
            provenance: manifest::Provenance {
                job_id: some("job-1"),
                approval: some("pending"),
            },
            hashes: Hashes {
                adapter_sha256: Some(adapter_hash.sha256),
                adapter_bytes: Some(adapter_hash.bytes),
                lora_sha256: Some(lora_hash.sha256),
                lora_bytes: Some(lora_hash.bytes),
                metrics_sha256: Some(hash(b"{\"a\":1}").sha256),
                metrics_bytes: Some(7),
                policy_sha256: Some(other.sha256.clone()),
                policy_bytes: Some(other.bytes),
                telemetry_sha256: Some(other.sha256),
                telemetry_bytes: Some(other.bytes),
            },
        },
        adapter,
        lora,
        metrics: Some(b"{\"a\":1}".to_vec()),
    }
}

struct Place(tempfile::TempDir);

impl Place {
    /// A registry with the models A, B and C.
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let registry = place.open();
        for name in ["A", "B", "C"] {
            registry.import(&model(name)).unwrap();
        }
        drop(registry);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("R").join(name)
    }

    fn open(&self) -> Registry<'static> {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Registry<'static>, RegistryError> {
        Registry::open_or_make(&self.path(""), Disk::new(&Unwatched))
    }

    /// Writes what somebody left behind; `-` is no file.
    fn leave(&self, pointer: &str, state: &str, intent: &str) {
        for (name, content) in [
            ("active", pointer),
            ("active_state.toml", state),
            ("active.intent", intent),
        ] {
            match content {
                "-" => drop(fs::remove_file(self.path(name))),
                content => fs::write(self.path(name), content).unwrap(),
            }
        }
    }
}

fn state(current: &str, previous: &str) -> String {
    format!("current = \"{current}\"\nprevious = \"{previous}\"\n")
}

const INTENT: &str = "from_current = \"A\"\nfrom_previous = \"\"\nto_current = \"B\"\nto_previous = \"A\"\n";

#[test]
fn a_manifest_is_read_back_and_held_against_its_files() {
    let place = Place::new();
    let registry = place.open();
    assert_eq!(registry.models().unwrap(), ["A", "B", "C"]);
    assert_eq!(registry.verify(&id("A")).unwrap(), model("A").manifest);
    assert_eq!(
        registry.import(&model("A")).unwrap_err().to_string(),
        "model A already imported"
    );
    assert_eq!(
        registry.verify(&id("D")).unwrap_err().to_string(),
        "model D is not available"
    );

    let file = place.path("available/A/adapter.safetensors");
    fs::write(&file, "Weights").unwrap();
    let said = registry.verify(&id("A")).unwrap_err().to_string();
    assert!(
        said.contains("adapter.safetensors has changed since it was imported"),
        "{said}"
    );
    fs::remove_file(&file).unwrap();
    assert!(
        registry
            .verify(&id("A"))
            .unwrap_err()
            .to_string()
            .contains("cannot read")
    );
    let manifest = place.path("available/B/manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    for (from, to, why) in [
        ("id = \"B\"", "id = \"A\"", "is for model A"),
        ("\"lora.json\"", "\"../A/lora.json\"", "no file beside it"),
        ("[hashes]", "[[hashes]]", "no manifest"),
        ("lora_bytes = 2", "lora_bytes = 3", "2 bytes with SHA-256"),
    ] {
        fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
        let said = registry.verify(&id("B")).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_manifest_of_others_may_say_little() {
    let place = Place::new();
    let manifest = place.path("available/A/manifest.toml");
    for (text, good) in [
        ("[model]\nid = \"A\"\nbase = \"A\"\nowner = \"somebody\"\n", true),
        ("# nothing\n", true),
        ("[model]\nadapter = \"adapter.safetensors\"\n", true),
        ("[model]\nadapter = \"other.safetensors\"\n", false),
        (
            "[model]\nadapter = \"adapter.safetensors\"\n[hashes]\nadapter_bytes = 8\n",
            false,
        ),
        ("[model]\nid = 1\n", false),
    ] {
        fs::write(&manifest, text).unwrap();
        assert_eq!(place.open().verify(&id("A")).is_ok(), good, "{text}");
    }
}

#[test]
fn there_and_back() {
    let place = Place::new();
    let registry = place.open();
    assert_eq!(registry.active().unwrap(), Active::default());
    let first = registry.commit(active("A", "")).unwrap();
    assert_eq!(registry.pending().unwrap(), Some(first.clone()));
    registry.settle().unwrap();
    let second = registry
        .commit(registry.active().unwrap().with(&id("B")))
        .unwrap();
    assert_eq!((second.from, second.to), (active("A", ""), active("B", "A")));
    registry.settle().unwrap();
    assert_eq!(fs::read_to_string(place.path("active")).unwrap(), "B\n");
    assert_eq!(
        fs::read_to_string(place.path("active_state.toml")).unwrap(),
        state("B", "A")
    );
    assert_eq!(registry.active().unwrap().with(&id("B")), active("B", "A"));
    let back = registry.active().unwrap().rolled_back().unwrap();
    assert_eq!(back, active("A", "B"));
    let third = registry.commit(back).unwrap();
    registry.revert(&third).unwrap();
    assert_eq!(registry.active().unwrap(), active("B", "A"));
    registry.revert(&first).unwrap();
    assert_eq!(registry.active().unwrap(), Active::default());
    assert!(!place.path("active").exists() && !place.path("active_state.toml").exists());
    assert_eq!(Active::default().rolled_back(), Err(RegistryError::NoPrevious));
}

#[test]
fn every_half_of_an_activation_is_finished_or_undone() {
    let place = Place::new();
    for (pointer, state_text, intent, now, pending) in [
        // Ours, from A to B: before, state gone, pointer changed, state changed.
        ("A\n", state("A", ""), INTENT, active("A", ""), false),
        ("A\n", "-".to_owned(), INTENT, active("A", ""), false),
        ("B\n", "-".to_owned(), INTENT, active("B", "A"), true),
        ("B\n", state("B", "A"), INTENT, active("B", "A"), true),
        // Somebody else's, since.
        ("C\n", state("C", "A"), INTENT, active("C", "A"), false),
        ("A\n", state("C", "A"), INTENT, active("C", "A"), false),
        // Python's: state changed, pointer not.
        ("A\n", state("B", "A"), "-", active("B", "A"), false),
        ("-", state("B", ""), "-", active("B", ""), false),
        // Whole ones, and ones without a state.
        ("B\r\n\n", state("B", "A"), "-", active("B", "A"), false),
        ("B", "-".to_owned(), "-", active("B", ""), false),
        ("-", "-".to_owned(), "-", active("", ""), false),
        ("", "".to_owned(), "-", active("", ""), false),
    ] {
        place.leave(pointer, &state_text, intent);
        let registry = place.open();
        assert_eq!(registry.active().unwrap(), now, "{pointer:?} {state_text:?}");
        assert_eq!(
            registry.pending().unwrap().is_some(),
            pending,
            "{pointer:?} {state_text:?}"
        );
        assert_eq!(
            registry.pointer().unwrap(),
            now.current,
            "{pointer:?} {state_text:?}"
        );
        drop(registry);
        assert_eq!(place.open().repairs(), [""; 0], "once is enough");
    }
}

#[test]
fn what_nobody_leaves_behind_is_an_error() {
    let place = Place::new();
    for (pointer, state_text, intent, why) in [
        (
            "A\n",
            state("B", "C"),
            "-",
            "registry state differs from active pointer",
        ),
        ("A\n", state("X", "A"), "-", "differs from active pointer"),
        ("A\n", "current = B".to_owned(), "-", "active_state.toml"),
        ("A\n", "current = \"../x\"".to_owned(), "-", "cannot be an id"),
        ("../x\n", "-".to_owned(), "-", "cannot be an id"),
        ("A\n", "-".to_owned(), "what is this", "no intent of this version"),
    ] {
        place.leave(pointer, &state_text, intent);
        let said = place
            .try_open()
            .and_then(|registry| registry.active())
            .unwrap_err();
        let said = said.to_string();
        assert!(said.contains(why), "{pointer:?} {state_text:?}: {said}");
    }
}

#[test]
fn the_rest_of_an_import_gives_way_and_anything_else_does_not() {
    let place = Place::new();
    let rest = place.path("available/D");
    fs::create_dir(&rest).unwrap();
    fs::write(rest.join("adapter.safetensors"), "half").unwrap();
    fs::write(rest.join("lora.json.partial"), "half").unwrap();
    fs::create_dir_all(place.path(".staging/import")).unwrap();
    let registry = place.open();
    assert_eq!(registry.repairs(), ["removed import, which was never finished"]);
    assert!(!registry.has(&id("D")));
    registry.import(&model("D")).unwrap();
    registry.verify(&id("D")).unwrap();

    let occupied = place.path("available/E");
    fs::create_dir(&occupied).unwrap();
    fs::write(occupied.join("thesis.tex"), "years of work").unwrap();
    let said = registry.import(&model("E")).unwrap_err().to_string();
    assert!(said.contains("move it away"), "{said}");
    assert!(occupied.join("thesis.tex").exists());
}

#[test]
fn one_at_a_time() {
    let place = Place::new();
    let first = place.open();
    let second = Registry::open_within(&place.path(""), Disk::new(&Unwatched), Duration::from_millis(80));
    assert!(matches!(second, Err(RegistryError::InUse { .. })));
    let waiting = std::thread::spawn({
        let root = place.path("");
        move || {
            Registry::open(&root, Disk::new(&Unwatched))
                .unwrap()
                .unwrap()
                .models()
        }
    });
    drop(first);
    assert_eq!(waiting.join().unwrap().unwrap().len(), 3);
    assert_eq!(
        Registry::open(&place.path("none"), Disk::new(&Unwatched))
            .unwrap()
            .map(drop),
        None
    );
}

/// Remembers every step.
#[derive(Default)]
struct Steps(std::cell::RefCell<Vec<(&'static str, PathBuf, PathBuf)>>);

impl crate::disk::Watch for Steps {
    fn before(&self, step: crate::disk::Step<'_>) -> std::io::Result<()> {
        use crate::disk::Step;
        let (kind, path, other) = match step {
            Step::MakeDir(path) => ("mkdir", path, path),
            Step::Create(path) => ("create", path, path),
            Step::Write(path) => ("write", path, path),
            Step::SyncFile(path) => ("sync", path, path),
            Step::SyncDir(path) => ("syncdir", path, path),
            Step::Rename { from, to } => ("rename", to, from),
            Step::Remove(path) => ("remove", path, path),
        };
        self.0
            .borrow_mut()
            .push((kind, path.to_owned(), other.to_owned()));
        Ok(())
    }
}

#[test]
fn a_power_cut_finds_what_a_kill_finds() {
    let dir = tempfile::tempdir().unwrap();
    let steps = Steps::default();
    let registry = Registry::open_or_make(&dir.path().join("R"), Disk::new(&steps)).unwrap();
    registry.import(&model("A")).unwrap();
    registry.import(&model("B")).unwrap();
    registry.commit(active("A", "")).unwrap();
    registry.settle().unwrap();
    let pending = registry.commit(active("B", "A")).unwrap();
    registry.revert(&pending).unwrap();
    let steps = steps.0.borrow();
    assert!(steps.len() > 80, "{} steps", steps.len());
    for (i, (kind, path, from)) in steps.iter().enumerate() {
        // A name that came, went or changed is on the disk before anything else happens.
        if ["mkdir", "rename", "remove"].contains(kind) {
            let next = &steps[i + 1];
            assert_eq!(
                (next.0, Some(next.1.as_path())),
                ("syncdir", path.parent()),
                "{kind} {path:?}"
            );
        }
        // What gets a name is on the disk before it has it: each file in it, and the directory's own entries.
        if *kind == "rename" {
            let earlier = steps[..i].iter().rev();
            let of_it: Vec<_> = earlier
                .take_while(|step| step.1 != *from || step.0 != "mkdir")
                .collect();
            let last = of_it.iter().find(|step| step.1 == *from).unwrap();
            assert!(["sync", "syncdir"].contains(&last.0), "{path:?}");
            for written in of_it
                .iter()
                .filter(|step| step.0 == "write" && step.1.starts_with(from))
            {
                let last = of_it.iter().find(|step| step.1 == written.1).unwrap();
                assert_eq!(last.0, "sync", "{:?}", written.1);
            }
        }
    }
}
