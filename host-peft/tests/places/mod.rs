//! Registries on the disk: made, copied, and read as others read them.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use host_peft::disk::{Disk, Unwatched};
use host_peft::registry::{Manifest, ModelId, NewModel, Registry, hash, manifest};

/// A directory for everything of one test.
pub struct Place {
    dir: tempfile::TempDir,
    made: AtomicUsize,
}

/// What is active, as somebody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub current: Option<&'static str>,
    pub previous: Option<&'static str>,
}

impl Seen {
    pub fn new(current: Option<&'static str>, previous: Option<&'static str>) -> Seen {
        Seen { current, previous }
    }
}

/// The models of every registry here.
const MODELS: [&str; 4] = ["A", "B", "C", "D"];

impl Place {
    /// With an adapter, an exported job and a registry of four models.
    pub fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().expect("a directory"),
            made: AtomicUsize::new(0),
        };
        place.write("adapter/adapter.safetensors", &weights());
        place.write("adapter/lora.json", b"{\"rank\":2}");
        place.write("adapter/metrics.json", b"{\"loss\":0.5}");
        place.write("export/job-1/telemetry.cbor", b"\x80");
        place.write("export/job-1/base_model.ref", b"vision-base-v1\n");
        place.write("export/job-1/policy.toml", b"min_samples = 1\n");
        let root = place.path("models");
        let registry = Registry::open_or_make(&root, Disk::new(&Unwatched)).expect("a registry");
        for name in MODELS {
            registry.import(&model(name)).expect("a model");
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn adapter(&self) -> PathBuf {
        self.path("adapter")
    }

    pub fn export(&self) -> PathBuf {
        self.path("export")
    }

    /// A path at which nothing is.
    pub fn fresh(&self) -> PathBuf {
        self.path(&format!("fresh-{}", self.made.fetch_add(1, Ordering::Relaxed)))
    }

    /// A registry of all models in which that is active, as Python's client would have written it.
    pub fn registry(&self, active: &Seen) -> PathBuf {
        let registry = self.copy(&self.path("models"));
        if let Some(current) = active.current {
            let previous = active.previous.unwrap_or("");
            let state = format!("current = \"{current}\"\nprevious = \"{previous}\"\n");
            fs::write(registry.join("active_state.toml"), state).expect("write");
            fs::write(registry.join("active"), format!("{current}\n")).expect("write");
        }
        registry
    }

    /// A copy of a registry.
    pub fn copy(&self, registry: &Path) -> PathBuf {
        let copy = self.fresh();
        copy_tree(registry, &copy);
        copy
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("write");
    }
}

/// A safetensors file with one tensor.
pub fn weights() -> Vec<u8> {
    let header = br#"{"m.lora_A.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header);
    file.extend_from_slice(&[0; 24]);
    file
}

fn model(name: &str) -> NewModel {
    let (adapter, lora) = (weights(), b"{}".to_vec());
    let some = |text: &str| Some(text.to_owned());
    let (adapter_hash, lora_hash) = (hash(&adapter), hash(&lora));
    NewModel {
        id: ModelId::new(name).expect("an id"),
        manifest: Manifest {
            model: manifest::Model {
                id: some(name),
                base: some("vision-base-v1"),
                adapter: some("adapter.safetensors"),
                lora: some("lora.json"),
                ..manifest::Model::default()
            },
            provenance: manifest::Provenance {
                job_id: some("job-1"),
                approval: some("pending"),
            },
            hashes: manifest::Hashes {
                adapter_sha256: Some(adapter_hash.sha256),
                adapter_bytes: Some(adapter_hash.bytes),
                lora_sha256: Some(lora_hash.sha256),
                lora_bytes: Some(lora_hash.bytes),
                ..manifest::Hashes::default()
            },
        },
        adapter,
        lora,
        metrics: None,
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
    {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// Whether the model is in the registry with all its files as its manifest says; half of one is a failure.
pub fn imported(registry: &Path, name: &str) -> bool {
    let dir = registry.join("available").join(name);
    if !dir.join("manifest.toml").exists() {
        return false;
    }
    let manifest = Manifest::read(&dir.join("manifest.toml")).expect("a whole manifest");
    let hashes = &manifest.hashes;
    for (file, sha256) in [
        ("adapter.safetensors", &hashes.adapter_sha256),
        ("lora.json", &hashes.lora_sha256),
        ("metrics.json", &hashes.metrics_sha256),
    ] {
        let content = fs::read(dir.join(file)).expect("a whole model");
        assert_eq!(Some(hash(&content).sha256), *sha256, "{file}");
    }
    true
}

pub fn nothing_is_staged(registry: &Path) -> bool {
    fs::read_dir(registry.join(".staging")).is_ok_and(|mut entries| entries.next().is_none())
}

/// What Python's client sees, by its rules: the state file where it is there, and then the pointer has to agree.
pub fn python_sees(registry: &Path) -> Result<Seen, String> {
    let text = |name: &str| fs::read_to_string(registry.join(name)).ok();
    let pointer = text("active").unwrap_or_default();
    let pointer = pointer
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .and_then(known);
    let Some(state) = text("active_state.toml") else {
        return Ok(Seen::new(pointer, None));
    };
    let value = |key: &str| {
        let line = state.lines().find(|line| line.trim().starts_with(key))?;
        known(line.split_once('=')?.1.trim().trim_matches('"'))
    };
    let seen = Seen::new(value("current"), value("previous"));
    // To Python no pointer is "", and no current is None: an empty state is one it refuses.
    if seen.current != pointer || seen.current.is_none() {
        return Err(format!(
            "state differs from active pointer: {seen:?}, {pointer:?}"
        ));
    }
    Ok(seen)
}

/// What `coh` sees, in a copy, since it repairs what it finds.
pub fn coh_sees(registry: &Path) -> Seen {
    let copy = tempfile::tempdir().expect("a directory");
    let root = copy.path().join("R");
    copy_tree(registry, &root);
    let opened = Registry::open(&root, Disk::new(&Unwatched)).expect("it can be repaired");
    let active = opened.expect("a registry").active().expect("both files agree");
    let id = |id: &Option<ModelId>| id.as_ref().and_then(|id| known(id.as_str()));
    let seen = Seen::new(id(&active.current), id(&active.previous));
    assert_eq!(
        python_sees(&root),
        Ok(seen.clone()),
        "repaired means repaired for all"
    );
    seen
}

fn known(text: &str) -> Option<&'static str> {
    let known = MODELS.into_iter().find(|name| *name == text);
    assert!(known.is_some() || text.is_empty(), "{text:?} is no model");
    known
}
