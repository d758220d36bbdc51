//! A host beside the hive: our tools, its files, and what the hive's files say.
//!
//! Answers for tools that are told where the hive is, for waiting with a bound, and for the few fields that suites look
//! at. Never shares code with the product.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Console, Hive, programs};

/// How long a step may take to show in a file.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that ends with the test.
pub struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host beside the hive: its tools and its files.
pub struct Host<'a> {
    hive: &'a Hive,
    /// Where its files are.
    pub files: &'a Path,
}

impl<'a> Host<'a> {
    /// A host of that hive, with a directory for its files.
    pub fn new(hive: &'a Hive, files: &'a Path) -> Self {
        Self { hive, files }
    }

    /// One of our tools, told where the hive is.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(programs::program(name));
        let addr = self.hive.addr();
        command
            .args(["--tcp-host", &addr.ip().to_string()])
            .args(["--tcp-port", &addr.port().to_string()])
            .args(["--auth-token", self.hive.token()]);
        command
    }

    /// Runs `coh`, which has to succeed.
    pub fn coh(&self, arguments: &[&str]) -> Output {
        let output = self
            .tool("coh")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("coh runs");
        assert!(output.status.success(), "coh {arguments:?}: {output:?}");
        output
    }

    /// A file or directory of that name among the host's files.
    pub fn path(&self, name: &str) -> String {
        self.files.join(name).to_str().expect("a plain path").to_owned()
    }
}

/// Looks until there is something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The lines of a file, none if it is not there.
pub fn lines(console: &mut Console, path: &str) -> Vec<String> {
    console.stream(&format!("CAT {path}")).1
}

/// The value of a string or number in a flat JSON line.
pub fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.split(&format!("\"{name}\":")).nth(1)?;
    let rest = rest.trim_start_matches('"');
    rest.split(['"', ',', '}']).next()
}

/// A registry with one model, which is active; gives its directory.
pub fn registry(directory: &Path, model: &str) -> PathBuf {
    let base = directory.join("available").join(model);
    fs::create_dir_all(&base).expect("a registry");
    let manifest = format!("[model]\nid = \"{model}\"\nbase = \"{model}\"\n");
    fs::write(base.join("manifest.toml"), manifest).expect("a model");
    fs::write(directory.join("active"), format!("{model}\n")).expect("an active model");
    directory.to_owned()
}
