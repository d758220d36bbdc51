//! A hive to test against: a fresh process, or the one at `HIVE_ADDR`.
//!
//! Answers for the process's whole life: a dropped [`Hive`] leaves no process and no file behind.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use crate::Console;
use crate::programs::program;

/// The auth token of the hives that tests start.
pub const TOKEN: &str = "tests-7c1f20a94be6";

const MANIFEST: &str = "hive.toml";
/// How long a hive may take to say that it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What a test wants other than a plain hive.
#[derive(Default)]
pub struct Options {
    /// Replacements in the text of `hive.toml`: each must occur.
    pub manifest: Vec<(&'static str, &'static str)>,
    /// More arguments of the `hive` command.
    pub arguments: Vec<String>,
}

/// A running hive.
pub struct Hive {
    said: Said,
    token: String,
    process: Option<Process>,
}

/// What a hive prints when it is ready.
struct Said {
    console: SocketAddr,
    ninep: Option<SocketAddr>,
    boot: String,
}

struct Process {
    child: Child,
    state: TempDir,
    options: Options,
}

impl Hive {
    /// The hive at `HIVE_ADDR` (with `HIVE_TOKEN`, and `HIVE_NINEP_ADDR` for its 9P port), else a fresh one. For suites that leave no trace a second run
    /// would trip over.
    pub fn any() -> Self {
        let Ok(addr) = std::env::var("HIVE_ADDR") else {
            return Self::fresh();
        };
        let addr = addr.parse().expect("HIVE_ADDR is host:port");
        let token = std::env::var("HIVE_TOKEN").expect("HIVE_TOKEN goes with HIVE_ADDR");
        let ninep = std::env::var("HIVE_NINEP_ADDR").ok();
        let ninep = ninep.map(|addr| addr.parse().expect("HIVE_NINEP_ADDR is host:port"));
        let said = Said {
            console: addr,
            ninep,
            boot: String::new(),
        };
        Self {
            said,
            token,
            process: None,
        }
    }

    /// A fresh hive with the default manifest.
    pub fn fresh() -> Self {
        Self::with(Options::default())
    }

    /// A fresh hive.
    pub fn with(options: Options) -> Self {
        let state = tempfile::tempdir().expect("a directory for the hive's state");
        write_manifest(state.path(), &options);
        let (child, said) = start(state.path(), &options);
        Self {
            said,
            token: TOKEN.to_owned(),
            process: Some(Process {
                child,
                state,
                options,
            }),
        }
    }

    /// Where its console listens.
    pub fn addr(&self) -> SocketAddr {
        self.said.console
    }

    /// Where it listens for 9P clients, if it does.
    pub fn ninep(&self) -> Option<SocketAddr> {
        self.said.ninep
    }

    /// Its auth token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The boot id it printed; empty for a hive we did not start.
    pub fn boot(&self) -> &str {
        &self.said.boot
    }

    /// The process id, if we started it.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.id())
    }

    /// Its state directory, if we started it.
    pub fn state(&self) -> Option<&Path> {
        self.process.as_ref().map(|process| process.state.path())
    }

    /// A console attached as queen.
    pub fn queen(&self) -> Console {
        Console::queen(self.said.console, &self.token)
    }

    /// Kills the process with SIGKILL and starts it again on the same state.
    pub fn kill_and_restart(&mut self) {
        let process = self
            .process
            .as_mut()
            .expect("only a hive of our own can be killed");
        process.child.kill().expect("kill -9");
        process.child.wait().expect("reap");
        (process.child, self.said) = start(process.state.path(), &process.options);
    }

    /// Sends SIGTERM and returns the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let mut process = self
            .process
            .take()
            .expect("only a hive of our own can be stopped");
        let status = Command::new("kill")
            .arg(process.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(status.success());
        process.child.wait().expect("reap").code()
    }

    /// Resident memory in bytes, if we started it.
    pub fn resident_bytes(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }
}

impl Drop for Hive {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Already gone is as good as killed.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

fn write_manifest(state: &Path, options: &Options) {
    let manifest = crate::programs::repository().join(MANIFEST);
    let mut manifest = std::fs::read_to_string(manifest).expect("hive.toml");
    for (from, to) in &options.manifest {
        assert!(manifest.contains(from), "{from:?} is not in hive.toml");
        manifest = manifest.replacen(from, to, 1);
    }
    std::fs::write(state.join(MANIFEST), manifest).expect("write the manifest");
}

fn start(state: &Path, options: &Options) -> (Child, Said) {
    let names = |flag: &str| options.arguments.iter().any(|argument| argument == flag);
    // Hives run side by side: each has ports of its own, unless a test says otherwise.
    let ports = [["--console", "127.0.0.1:0"], ["--ninep", "127.0.0.1:0"]];
    let ports = ports.iter().filter(|[flag, _]| !names(flag));
    let mut child = Command::new(program("hive"))
        .args(["--auth-token", TOKEN, "--manifest"])
        .arg(state.join(MANIFEST))
        .arg("--state")
        .arg(state)
        .args(ports.flatten())
        .args(&options.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start hive");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if line.starts_with("hive ") {
                // A test that gave up has dropped the receiver.
                let _ = sender.send(line);
            }
        }
    });
    let mut next = |prefix: &str| {
        let Ok(line) = lines.recv_timeout(START_LIMIT) else {
            let _ = child.kill();
            panic!("hive did not say `{prefix}` within {START_LIMIT:?}");
        };
        let rest = line.strip_prefix(prefix).map(str::to_owned);
        rest.unwrap_or_else(|| panic!("hive said {line:?} where {prefix:?} was due"))
    };
    let ready = next("hive ready ");
    let off = options.arguments.iter().any(|argument| argument == "off");
    let ninep = (!off).then(|| next("hive ninep=").parse().expect("an address"));
    let field = |name: &str| {
        ready
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name).map(str::to_owned))
    };
    let said = Said {
        console: field("console=")
            .expect("console=ADDR")
            .parse()
            .expect("an address"),
        ninep,
        boot: field("boot=").expect("boot=ID"),
    };
    (child, said)
}
