//! Changes of the file system, one step at a time.
//!
//! Answers for each step being on the disk before the next begins (a file before its name, a name before what relies on
//! it), and for telling a [`Watch`] of each before it is made: that is how the suites kill this program everywhere, and
//! fill its disk.
//! Production has no watch.
//!
//! Never overwrites a file in place: content appears by a rename.

use core::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of a file that one step writes.
const PIECE_BYTES: usize = 256 * 1024;

/// One change, about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A directory is made.
    MakeDir(&'a Path),
    /// An empty file is made.
    Create(&'a Path),
    /// A piece is appended to a file.
    Write(&'a Path),
    /// A file's content is brought to the disk.
    SyncFile(&'a Path),
    /// A directory's entries are brought to the disk.
    SyncDir(&'a Path),
    /// A file or directory gets another name, replacing a file of that name.
    Rename {
        /// The old name.
        from: &'a Path,
        /// The new name.
        to: &'a Path,
    },
    /// A file, or a directory with all in it, is removed.
    Remove(&'a Path),
}

/// Is told of every step before it is made.
pub trait Watch {
    /// The step is made when this returns.
    ///
    /// # Errors
    /// What the step fails with instead: a full disk, in the suites.
    fn before(&self, step: Step<'_>) -> io::Result<()>;
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn before(&self, _: Step<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// The file system.
#[derive(Clone, Copy)]
pub struct Disk<'w> {
    watch: &'w dyn Watch,
}

impl fmt::Debug for Disk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl<'w> Disk<'w> {
    /// The file system, with somebody to tell.
    pub fn new(watch: &'w dyn Watch) -> Self {
        Self { watch }
    }

    /// Makes a directory and those above it, as far as they are missing.
    pub fn make_dir(&self, path: &Path) -> Result<(), DiskError> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = parent(path);
        self.make_dir(parent)?;
        let made = self.watch.before(Step::MakeDir(path));
        made.and_then(|()| fs::create_dir(path))
            .map_err(at("make the directory", path))?;
        self.sync_dir(parent)
    }

    /// Writes a new file to the disk. A file of that name is replaced; whoever reads it by that name may see a part, so
    /// the name should be one that nobody reads: see [`Disk::rename`].
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), DiskError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let created = self.watch.before(Step::Create(path));
        let mut file = created
            .and_then(|()| options.open(path))
            .map_err(at("create", path))?;
        for piece in content.chunks(PIECE_BYTES) {
            let written = self.watch.before(Step::Write(path));
            written
                .and_then(|()| file.write_all(piece))
                .map_err(at("write", path))?;
        }
        let synced = self.watch.before(Step::SyncFile(path));
        synced.and_then(|()| file.sync_all()).map_err(at("sync", path))
    }

    /// Renames, on the disk when it returns. What is renamed has to be there already ([`Disk::write`],
    /// [`Disk::sync_dir`]).
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let renamed = self.watch.before(Step::Rename { from, to });
        renamed
            .and_then(|()| fs::rename(from, to))
            .map_err(at("rename to its place", to))?;
        self.sync_dir(parent(to))?;
        if parent(from) != parent(to) {
            self.sync_dir(parent(from))?;
        }
        Ok(())
    }

    /// Puts a whole file in the place of `path`, by way of `staged`, in a directory of the same file system.
    pub fn replace(&self, staged: &Path, path: &Path, content: &[u8]) -> Result<(), DiskError> {
        self.write(staged, content)?;
        self.rename(staged, path)
    }

    /// Removes a file; one that is not there is fine.
    pub fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let removed = self.watch.before(Step::Remove(path));
        removed
            .and_then(|()| fs::remove_file(path))
            .map_err(at("remove", path))?;
        self.sync_dir(parent(path))
    }

    /// Removes a file or a directory with all in it.
    pub fn remove_all(&self, path: &Path) -> Result<(), DiskError> {
        if !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return self.remove_file(path);
        }
        let removed = self.watch.before(Step::Remove(path));
        removed
            .and_then(|()| fs::remove_dir_all(path))
            .map_err(at("remove", path))?;
        self.sync_dir(parent(path))
    }

    /// Brings a directory's entries to the disk.
    pub fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        let synced = self.watch.before(Step::SyncDir(path));
        synced
            .and_then(|()| File::open(path))
            .and_then(|dir| dir.sync_all())
            .map_err(at("sync", path))
    }
}

/// The directory that a name is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// Reads a file of at most `max` bytes that is not empty. It has to be a regular file, or a link to one.
pub fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>, ReadError> {
    let wrong = |what| ReadError {
        path: path.to_owned(),
        what,
    };
    let found = fs::metadata(path).map_err(|why| wrong(Unfit::Unreadable(why.to_string())))?;
    if !found.is_file() {
        return Err(wrong(Unfit::NoFile));
    }
    let mut content = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, limit), &mut content))
        .map_err(|why| wrong(Unfit::Unreadable(why.to_string())))?;
    match content.len() {
        0 => Err(wrong(Unfit::Empty)),
        len if len > max => Err(wrong(Unfit::TooLong { max })),
        _ => Ok(content),
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |why| DiskError {
        action,
        path,
        why: why.to_string(),
    }
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskError {
    action: &'static str,
    path: PathBuf,
    why: String,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (action, path, why) = (self.action, self.path.display(), &self.why);
        match action {
            "rename to its place" => write!(f, "cannot rename a file to {path}: {why}"),
            _ => write!(f, "cannot {action} {path}: {why}"),
        }
    }
}

impl std::error::Error for DiskError {}

/// A file that is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: Unfit,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The system's words.
    Unreadable(String),
    /// A directory, a pipe or the like.
    NoFile,
    /// No content.
    Empty,
    /// More than may be.
    TooLong {
        /// Bytes it may have.
        max: usize,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.what {
            Unfit::Unreadable(why) => write!(f, "cannot read {path}: {why}"),
            Unfit::NoFile => write!(f, "{path} is no regular file"),
            Unfit::Empty => write!(f, "{path} is empty"),
            Unfit::TooLong { max } => write!(f, "{path} exceeds max bytes {max}"),
        }
    }
}

impl std::error::Error for ReadError {}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[derive(Default)]
    struct Notes(RefCell<Vec<String>>);

    impl Watch for Notes {
        fn before(&self, step: Step<'_>) -> io::Result<()> {
            let name = |path: &Path| {
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            };
            self.0.borrow_mut().push(match step {
                Step::MakeDir(path) => format!("mkdir {}", name(path)),
                Step::Create(path) => format!("create {}", name(path)),
                Step::Write(path) => format!("write {}", name(path)),
                Step::SyncFile(path) => format!("sync {}", name(path)),
                Step::SyncDir(path) => format!("syncdir {}", name(path)),
                Step::Rename { from, to } => format!("rename {} {}", name(from), name(to)),
                Step::Remove(path) => format!("remove {}", name(path)),
            });
            Ok(())
        }
    }

    #[test]
    fn content_is_on_the_disk_before_its_name_and_the_name_before_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let notes = Notes::default();
        let disk = Disk::new(&notes);
        disk.make_dir(&root.join("a/b")).unwrap();
        disk.replace(&root.join("a/new"), &root.join("a/b/file"), b"content")
            .unwrap();
        disk.remove_file(&root.join("a/b/nothing")).unwrap();
        disk.remove_all(&root.join("a/b")).unwrap();
        assert_eq!(
            *notes.0.borrow(),
            [
                "mkdir a",
                "syncdir root",
                "mkdir b",
                "syncdir a",
                "create new",
                "write new",
                "sync new",
                "rename new file",
                "syncdir b",
                "syncdir a",
                "remove b",
                "syncdir a",
            ]
        );
    }

    #[test]
    fn files_have_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert_eq!(
            read_bounded(&path, 4).unwrap_err().what,
            Unfit::TooLong { max: 4 }
        );
        fs::write(&path, "").unwrap();
        assert_eq!(read_bounded(&path, 4).unwrap_err().what, Unfit::Empty);
        assert_eq!(read_bounded(dir.path(), 4).unwrap_err().what, Unfit::NoFile);
        let missing = read_bounded(&dir.path().join("none"), 4).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }
}
