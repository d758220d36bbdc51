//! What must be on this machine: the SDK, QEMU, a compiler with its library's source, a linker, libclang.
//!
//! Answers for looking where each usually is, and for telling in one message how to get what is not there.
//!
//! Never downloads or installs anything.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// rust-sel4 v5.0.0's own nightly, then whatever nightly there is.
const NIGHTLIES: [&str; 2] = ["nightly-2026-04-04", "nightly"];
/// Debian's compiler, whose package with the library's source is separate.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Where the SDK is unless `MICROKIT_SDK` says otherwise.
const DEFAULT_SDK: &str = "/opt/microkit-sdk-2.3.0";

/// The program that runs images.
pub const QEMU: &str = "qemu-system-aarch64";

/// A tool that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The SDK, looked for at that path.
    Sdk(PathBuf),
    /// QEMU.
    Qemu,
    /// A compiler that can build `core` and `alloc`.
    Compiler,
    /// `rust-lld` for a compiler that does not bring it.
    Linker,
    /// libclang, for the kernel's headers.
    Libclang,
    /// The domains' sources.
    Sources(PathBuf),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sdk(path) => write!(
                f,
                "no Microkit SDK at {}: unpack microkit-sdk-2.3.0 from https://github.com/seL4/microkit/releases \
                 there, or set MICROKIT_SDK to where it is",
                path.display()
            ),
            Self::Qemu => write!(
                f,
                "{QEMU} is not on the PATH: install QEMU 7.2 or newer for aarch64 (Debian: apt-get install \
                 qemu-system-arm)"
            ),
            Self::Compiler => write!(
                f,
                "no compiler for the domains: rustup toolchain install {} --component rust-src (Debian: apt-get \
                 install rustc-web rust-web-src)",
                NIGHTLIES[0]
            ),
            Self::Linker => f.write_str(
                "no rust-lld for Debian's compiler: rustup toolchain install stable, which brings one (Debian: apt-get \
                 install lld, and put it on the PATH as rust-lld)",
            ),
            Self::Libclang => f.write_str(
                "no libclang, with which the kernel's headers are read: install your system's libclang (Debian: apt-get \
                 install libclang-dev), or set LIBCLANG_PATH to the directory that has libclang.so",
            ),
            Self::Sources(path) => write!(
                f,
                "the domains' sources are not at {}: run hive-qemu in the repository it was built in, or boot a built \
                 image with --image",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Missing {}

/// The Microkit SDK.
#[derive(Debug, Clone)]
pub struct Sdk {
    path: PathBuf,
}

impl Sdk {
    /// The SDK at `MICROKIT_SDK`, or where it usually is.
    pub fn find() -> Result<Self, Missing> {
        let path = env::var_os("MICROKIT_SDK").map_or_else(|| PathBuf::from(DEFAULT_SDK), PathBuf::from);
        if path.join("bin/microkit").is_file() {
            Ok(Self { path })
        } else {
            Err(Missing::Sdk(path))
        }
    }

    /// Its tool.
    pub fn tool(&self) -> PathBuf {
        self.path.join("bin/microkit")
    }

    /// Its version.
    pub fn version(&self) -> io::Result<String> {
        let text = fs::read_to_string(self.path.join("VERSION"))?;
        Ok(text.trim().to_owned())
    }

    /// The kernel in that configuration.
    pub fn kernel(&self, config: &str) -> PathBuf {
        self.board(config).join("elf/sel4.elf")
    }

    /// The kernel's headers in that configuration.
    pub fn headers(&self, config: &str) -> PathBuf {
        self.board(config).join("include")
    }

    fn board(&self, config: &str) -> PathBuf {
        self.path.join("board").join(crate::microkit::BOARD).join(config)
    }
}

/// What builds the domains.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// `+nightly..`, if cargo is to use another toolchain than its own.
    channel: Option<String>,
    /// A compiler that is not cargo's own, which has to be told that it may.
    rustc: Option<PathBuf>,
    /// A linker that is not on the PATH.
    linker: Option<PathBuf>,
    libclang: Option<PathBuf>,
}

impl Toolchain {
    /// A rustup nightly with the library's source, or Debian's compiler with it.
    pub fn find() -> Result<Self, Missing> {
        let libclang = libclang()?;
        let nightly = NIGHTLIES
            .iter()
            .map(|channel| format!("+{channel}"))
            .find(|channel| {
                sysroot(Command::new("rustc").arg(channel)).is_some_and(|root| has_source(&root))
            });
        if nightly.is_some() {
            return Ok(Self {
                channel: nightly,
                rustc: None,
                linker: None,
                libclang,
            });
        }
        let debian = Path::new(DEBIAN_RUSTC);
        if !sysroot(&mut Command::new(debian)).is_some_and(|root| has_source(&root)) {
            return Err(Missing::Compiler);
        }
        let linker = on_path("rust-lld")
            .or_else(rustup_linker)
            .ok_or(Missing::Linker)?;
        Ok(Self {
            channel: None,
            rustc: Some(debian.to_owned()),
            linker: Some(linker),
            libclang,
        })
    }

    /// What the compiler says of its version.
    pub fn version(&self) -> Option<String> {
        let mut rustc = Command::new(self.rustc.as_deref().unwrap_or(Path::new("rustc")));
        let output = rustc.args(&self.channel).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned())
    }

    /// Cargo for the domains, with `SEL4_INCLUDE_DIRS` for that configuration.
    pub fn cargo(&self, headers: &Path) -> Command {
        let mut cargo = self.host_cargo();
        cargo.env("SEL4_INCLUDE_DIRS", headers);
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_AARCH64_SEL4_LINKER", linker);
        }
        cargo
    }

    /// Cargo for a program of this machine's that needs unstable flags.
    pub fn host_cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo
            .args(&self.channel)
            .env("CARGO_NET_GIT_FETCH_WITH_CLI", "true")
            .env_remove("RUSTC");
        if self.rustc.is_some() {
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        if let Some(libclang) = &self.libclang {
            cargo.env("LIBCLANG_PATH", libclang);
        }
        cargo
    }
}

/// Whether QEMU can be run.
pub fn find_qemu() -> Result<(), Missing> {
    let version = Command::new(QEMU)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if version.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(Missing::Qemu)
    }
}

/// The first line that QEMU says of its version.
pub fn qemu_version() -> Result<String, Missing> {
    let output = Command::new(QEMU).arg("--version").stderr(Stdio::null()).output();
    let text = output.map_err(|_| Missing::Qemu)?.stdout;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().ok_or(Missing::Qemu)?.to_owned())
}

fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    let output = rustc
        .args(["--print", "sysroot"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

fn has_source(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib/src/rust/library/alloc/Cargo.toml")
        .is_file()
}

/// The linker that every rustup toolchain brings.
fn rustup_linker() -> Option<PathBuf> {
    let libraries = sysroot(&mut Command::new("rustc"))?.join("lib/rustlib");
    let mut hosts = libraries.read_dir().ok()?.flatten();
    hosts.find_map(|host| Some(host.path().join("bin/rust-lld")).filter(|path| path.is_file()))
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// The directory to set `LIBCLANG_PATH` to; `None` if the variable is set already.
fn libclang() -> Result<Option<PathBuf>, Missing> {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return Ok(None);
    }
    let llvm = Path::new("/usr/lib")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("lib"));
    let usual = [
        "/usr/lib64",
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    llvm.chain(usual.map(PathBuf::from))
        .find(|path| has_libclang(path))
        .map(Some)
        .ok_or(Missing::Libclang)
}

fn has_libclang(directory: &Path) -> bool {
    directory.read_dir().into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // libclang-cpp is another library, which compilers bring along.
        let versioned =
            name.starts_with("libclang-") && !name.starts_with("libclang-cpp") && name.contains(".so");
        name.starts_with("libclang.so") || versioned
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_how_to_get_it() {
        let table = [
            (Missing::Sdk("/nowhere".into()), "releases"),
            (Missing::Qemu, "apt-get install"),
            (Missing::Compiler, "rust-src"),
            (Missing::Linker, "rustup"),
            (Missing::Libclang, "LIBCLANG_PATH"),
            (Missing::Sources("/nowhere".into()), "--image"),
        ];
        for (missing, way) in table {
            assert!(missing.to_string().contains(way), "{missing}");
        }
    }
}
