//! From sources to an image: domains compiled, prepared for restarts, told what they need, packed.
//!
//! Answers for every step saying what it does, and for secrets staying in the state directory: blobs and image are
//! written there, readable by their owner only.
//!
//! Never changes the repository but for `qemu/target`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::hex::Hex;
use sha2::{Digest, Sha256};

use super::tools::{Missing, Sdk, Toolchain};
use super::{QemuError, at, elf};
use crate::image::{Built, blobs};
use crate::manifest::Manifest;
use crate::microkit::{self, BOARD, NetDomain, System};
use crate::secrets::Secrets;

/// The domains' workspace.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../qemu");

/// Microkit's configurations of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Config {
    /// The kernel prints faults.
    Debug,
    /// As it ships.
    Release,
    /// As it ships, with cycle counters.
    Benchmark,
}

impl Config {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
            Self::Benchmark => "benchmark",
        }
    }
}

/// A built image.
#[derive(Debug, Clone)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
}

impl Image {
    /// The program of that file name as it is in the image.
    pub fn program(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }
}

/// Builds the image of a manifest into `state`.
pub fn build(
    manifest: &Manifest,
    secrets: &Secrets,
    net: &NetDomain,
    config: Config,
    state: &Path,
) -> Result<Image, QemuError> {
    let sdk = Sdk::find()?;
    let toolchain = Toolchain::find()?;
    let sources = Path::new(SOURCES);
    if !sources.join("Cargo.toml").is_file() {
        return Err(Missing::Sources(sources.to_owned()).into());
    }
    let system = microkit::plan(manifest, net).map_err(QemuError::Plan)?;
    let job = Job {
        sdk,
        toolchain,
        sources: sources.to_owned(),
        config,
        out: state.join("qemu").join(config.name()),
    };
    fs::create_dir_all(&job.out).map_err(at(&job.out))?;
    fs::set_permissions(&job.out, Permissions::from_mode(0o700)).map_err(at(&job.out))?;
    job.compile()?;
    let resets = job.prepare(&system)?;
    let built = Built {
        resets: &resets,
        host: &job.facts(&system)?,
        seed: random()?,
    };
    for (domain, mut blob) in blobs(manifest, secrets, net, &system, &built) {
        let region = system.bytes_of(&format!("{domain}-boot")) as usize;
        if blob.len() > region {
            return Err(QemuError::Blob(domain, blob.len(), region));
        }
        // Microkit 2.3.0's tool wants a prefill as long as its region.
        blob.resize(region, 0);
        private(&job.out.join(format!("{domain}.boot")), &blob)?;
    }
    job.pack(&system)
}

struct Job {
    sdk: Sdk,
    toolchain: Toolchain,
    sources: PathBuf,
    config: Config,
    out: PathBuf,
}

impl Job {
    /// Compiles all domains.
    fn compile(&self) -> Result<(), QemuError> {
        tracing::info!("compiling the domains ({})", self.config.name());
        let mut cargo = self.toolchain.cargo(&self.sdk.headers(self.config.name()));
        cargo
            .current_dir(&self.sources)
            .args([
                "build",
                "--release",
                "--locked",
                "--target",
                "support/aarch64-sel4.json",
                "-Zjson-target-spec",
            ])
            .args([
                "-Zbuild-std=core,alloc,compiler_builtins",
                "-Zbuild-std-features=compiler-builtins-mem",
            ])
            .arg("--target-dir")
            .arg(self.target());
        run(&mut cargo)?;
        let mut cargo = self.toolchain.host_cargo();
        cargo
            .current_dir(self.sources.join("reset-tool"))
            .args(["build", "--release", "--locked", "-Zbindeps", "--target-dir"])
            .arg(self.sources.join("target/reset-tool"));
        run(&mut cargo)
    }

    /// A directory for each configuration, so that changing it does not rebuild everything.
    fn target(&self) -> PathBuf {
        self.sources.join("target").join(self.config.name())
    }

    /// Adds to each program what a restart needs, since all are made for it; where each is restarted.
    fn prepare(&self, system: &System) -> Result<BTreeMap<String, u64>, QemuError> {
        let mut resets = BTreeMap::new();
        for domain in &system.domains {
            let built = self.target().join("aarch64-sel4/release").join(&domain.program);
            let program = self.out.join(&domain.program);
            let tool = self.sources.join("target/reset-tool/release/reset-tool");
            run(Command::new(&tool).arg(&built).arg("-o").arg(&program))?;
            let bytes = fs::read(&program).map_err(at(&program))?;
            let reset = elf::address_of(&bytes, "_reset").ok_or(QemuError::NoReset(program))?;
            resets.insert(domain.name.clone(), reset);
        }
        Ok(resets)
    }

    /// What `/proc/boot` says: whose kernel this is, what the image was made of, and what each domain has. The image's
    /// identity covers its programs and its system file; boot blobs, which hold secrets and a random number, are not in it.
    fn facts(&self, system: &System) -> Result<Vec<String>, QemuError> {
        let config = self.config.name();
        let kernel = self.sdk.kernel(config);
        let kernel = Sha256::digest(fs::read(&kernel).map_err(at(&kernel))?);
        let mut image = Sha256::new_with_prefix(system.to_xml());
        let mut domains = Vec::new();
        for domain in &system.domains {
            let path = self.out.join(&domain.program);
            let program = fs::read(&path).map_err(at(&path))?;
            image.update(&program);
            let mapped = domain.maps.iter().filter(|map| !map.device);
            let regions: u64 = mapped.map(|map| system.bytes_of(&map.region)).sum();
            let memory = regions + domain.stack + elf::loaded_bytes(&program).unwrap_or_default();
            domains.push(format!(
                "domain.{}=priority:{} memory_bytes:{memory}",
                domain.name, domain.priority
            ));
        }
        let mut facts = vec![
            "host=sel4".to_owned(),
            format!("kernel.sha256={}", Hex(&kernel)),
            format!(
                "sdk=microkit-{} board={BOARD} config={config}",
                self.sdk.version().map_err(at(Path::new("the SDK's VERSION")))?
            ),
            format!("image.sha256={}", Hex(&image.finalize())),
        ];
        facts.append(&mut domains);
        Ok(facts)
    }

    /// Runs Microkit's tool.
    fn pack(&self, system: &System) -> Result<Image, QemuError> {
        let (description, path) = (self.out.join("hive.system"), self.out.join("hive.img"));
        fs::write(&description, system.to_xml()).map_err(at(&description))?;
        // Made before the tool writes to it, so that it is never readable by others.
        private(&path, &[])?;
        let mut tool = Command::new(self.sdk.tool());
        tool.arg(&description)
            .arg("--search-path")
            .arg(&self.out)
            .args(["--board", BOARD, "--config", self.config.name(), "-o"])
            .arg(&path)
            .arg("-r")
            .arg(self.out.join("hive.report"));
        run(&mut tool)?;
        tracing::info!(
            "image {}, {} KiB",
            path.display(),
            fs::metadata(&path).map_err(at(&path))?.len() / 1024
        );
        Ok(Image { path })
    }
}

fn run(command: &mut Command) -> Result<(), QemuError> {
    let program = command.get_program().to_owned();
    // What it prints goes to standard error: standard output has the one line that says that the hive is ready.
    let status = command
        .stdout(std::io::stderr())
        .status()
        .map_err(at(Path::new(&program)))?;
    if status.success() {
        Ok(())
    } else {
        Err(QemuError::Failed(program.to_string_lossy().into_owned()))
    }
}

/// Writes a file that only its owner can read.
fn private(path: &Path, contents: &[u8]) -> Result<(), QemuError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(contents))
        .map_err(at(path))
}

fn random() -> Result<u64, QemuError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(QemuError::Entropy)?;
    Ok(u64::from_le_bytes(bytes))
}
