//! The registry of models, as `coh peft` and the public Python client keep it: `available/<id>/manifest.toml`, `active`.
//!
//! Answers for which models are there and which one is in use, whatever is under way: both clients put a manifest in
//! its place last and replace `active` by a rename, so that a directory without a manifest is no model yet and `active`
//! is the old one or the new one. What cannot be used is named and left out. Never changes anything, never waits for the
//! registry's lock.

use core::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::gpu::{ACTIVE_BYTES, MANIFEST_BYTES, is_model_id};

use crate::snapshot::Model;

/// Directories that are looked at. More models than this can no snapshot carry, by far.
const MAX_MODELS: usize = 1024;

/// What is in a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The models, sorted by id.
    pub models: Vec<Model>,
    /// The one that is in use; one of `models`.
    pub active: Option<String>,
    /// What was left out, and why.
    pub problems: Vec<String>,
}

/// Why there is no registry to read.
#[derive(Debug)]
pub enum RegistryError {
    /// No such directory.
    NotThere(PathBuf),
    /// It cannot be read.
    Unreadable {
        /// What of it.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere(path) => write!(
                f,
                "no registry at {}: give a directory with available/<model>/manifest.toml; `coh peft import` makes one",
                path.display()
            ),
            Self::Unreadable { path, why } => write!(f, "cannot read {}: {why}", path.display()),
        }
    }
}

impl std::error::Error for RegistryError {}

/// Where a model's files are.
pub fn model_dir(root: &Path, id: &str) -> PathBuf {
    root.join("available").join(id)
}

/// Reads the registry at `root`.
///
/// # Errors
/// See [`RegistryError`].
pub fn read(root: &Path) -> Result<Contents, RegistryError> {
    if !root.is_dir() {
        return Err(RegistryError::NotThere(root.to_owned()));
    }
    let mut contents = Contents::default();
    read_models(&root.join("available"), &mut contents)?;
    read_active(&root.join("active"), &mut contents);
    Ok(contents)
}

fn read_models(available: &Path, contents: &mut Contents) -> Result<(), RegistryError> {
    let unreadable = |why| RegistryError::Unreadable {
        path: available.to_owned(),
        why,
    };
    let entries = match fs::read_dir(available) {
        Ok(entries) => entries,
        // Nothing was imported yet.
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(unreadable(why)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        // A hidden directory is somebody's scratch.
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    if names.len() > MAX_MODELS {
        contents.problems.push(format!(
            "{} has {} entries; only the first {MAX_MODELS} by name are looked at",
            available.display(),
            names.len()
        ));
        names.truncate(MAX_MODELS);
    }
    for name in names {
        let manifest = match read_text(&available.join(&name).join("manifest.toml"), MANIFEST_BYTES) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => continue,
            Err(why) => {
                contents
                    .problems
                    .push(format!("model {} left out: {why}", name.display()));
                continue;
            }
        };
        match name.to_str().filter(|id| is_model_id(id)) {
            Some(id) => contents.models.push(Model {
                id: id.to_owned(),
                manifest,
            }),
            None => contents.problems.push(format!(
                "model {:?} left out: an id is at most 128 printable ASCII characters without space, / \" \\",
                name.display().to_string()
            )),
        }
    }
    Ok(())
}

fn read_active(path: &Path, contents: &mut Contents) {
    let id = match read_text(path, ACTIVE_BYTES) {
        Ok(None) => return,
        Ok(Some(text)) => text.trim_end().to_owned(),
        Err(why) => return contents.problems.push(format!("no active model: {why}")),
    };
    if contents.models.iter().any(|model| model.id == id) {
        contents.active = Some(id);
    } else {
        contents.problems.push(format!(
            "no active model: {} names {id:?}, which is no model that can be published",
            path.display()
        ));
    }
}

/// Why a file was not read.
#[derive(Debug)]
enum TextError {
    /// Not a plain file.
    NoFile(PathBuf),
    /// More bytes than it may have.
    TooLong { path: PathBuf, max: usize },
    /// Not UTF-8.
    NotText(PathBuf),
    /// The system would not.
    Io { path: PathBuf, why: io::Error },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(path) => write!(f, "{} is no plain file", path.display()),
            Self::TooLong { path, max } => write!(f, "{} is longer than {max} bytes", path.display()),
            Self::NotText(path) => write!(f, "{} is not UTF-8", path.display()),
            Self::Io { path, why } => write!(f, "cannot read {}: {why}", path.display()),
        }
    }
}

/// A small text file; `None` if it is not there.
fn read_text(path: &Path, max: usize) -> Result<Option<String>, TextError> {
    let io = |why| TextError::Io {
        path: path.to_owned(),
        why,
    };
    let gone = |why: &io::Error| {
        // A file where a directory was expected: no model either.
        matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    };
    match fs::metadata(path) {
        // To open a pipe may take for ever.
        Ok(meta) if !meta.is_file() => return Err(TextError::NoFile(path.to_owned())),
        Ok(_) => {}
        Err(why) if gone(&why) => return Ok(None),
        Err(why) => return Err(io(why)),
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if gone(&why) => return Ok(None),
        Err(why) => return Err(io(why)),
    };
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > max {
        return Err(TextError::TooLong {
            path: path.to_owned(),
            max,
        });
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| TextError::NotText(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    fn registry(models: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for id in models {
            create_dir_all(model_dir(dir.path(), id)).unwrap();
            write(
                model_dir(dir.path(), id).join("manifest.toml"),
                format!("[model]\nid = \"{id}\"\n"),
            )
            .unwrap();
        }
        dir
    }

    fn ids(contents: &Contents) -> Vec<&str> {
        contents.models.iter().map(|model| model.id.as_str()).collect()
    }

    #[test]
    fn models_and_the_active_one() {
        let dir = registry(&["b", "a"]);
        write(dir.path().join("active"), "b\n").unwrap();
        let contents = read(dir.path()).unwrap();
        assert_eq!(
            (ids(&contents), contents.active.as_deref()),
            (vec!["a", "b"], Some("b"))
        );
        assert_eq!(contents.problems, [""; 0]);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(read(empty.path()).unwrap(), Contents::default());
        let missing = read(&dir.path().join("nowhere")).unwrap_err();
        assert!(missing.to_string().contains("no registry at"), "{missing}");
    }

    #[test]
    fn a_commit_under_way_is_not_seen() {
        let dir = registry(&["old"]);
        let root = dir.path();
        write(root.join("active"), "old\n").unwrap();
        let before = read(root).unwrap();
        // What `coh peft import` has before its rename, and Python's client before its manifest.
        for path in [
            ".staging/import/manifest.toml",
            "available/.new/manifest.toml",
            "available/new/adapter.safetensors",
            "available/new/lora.json.partial",
            "available/new/manifest.toml.partial",
            ".staging/active",
            "active.intent",
            "active.partial",
            "active_state.toml.partial",
            "available/notes.txt",
        ] {
            let path = root.join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, "half").unwrap();
        }
        assert_eq!(read(root).unwrap(), before);
    }

    #[test]
    fn what_cannot_be_published_is_named_and_left_out() {
        let dir = registry(&["good", "long", "binary", "dir", "a b"]);
        let root = dir.path();
        let manifest = |id: &str| model_dir(root, id).join("manifest.toml");
        write(manifest("long"), "x".repeat(MANIFEST_BYTES + 1)).unwrap();
        write(manifest("binary"), b"\xff").unwrap();
        fs::remove_file(manifest("dir")).unwrap();
        create_dir_all(manifest("dir")).unwrap();
        write(root.join("active"), "long\n").unwrap();
        let contents = read(root).unwrap();
        assert_eq!((ids(&contents), &contents.active), (vec!["good"], &None));
        let problems = contents.problems.join("\n");
        for part in [
            "model long left out",
            "longer than 8192 bytes",
            "model binary left out",
            "not UTF-8",
            "model dir left out",
            "no plain file",
            "model \"a b\" left out",
            "names \"long\"",
        ] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
        assert_eq!(contents.problems.len(), 5, "{problems}");
    }

    #[test]
    fn a_pipe_does_not_stop_us() {
        let dir = registry(&["good", "pipe"]);
        let pipe = model_dir(dir.path(), "pipe").join("manifest.toml");
        fs::remove_file(&pipe).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let contents = read(dir.path()).unwrap();
        assert_eq!((ids(&contents), contents.problems.len()), (vec!["good"], 1));
    }
}
