//! Regions in files mapped into memory: what a hive on Linux remembers after it was killed.
//!
//! Answers for: one private file per region, exclusive to one process, of exactly the size the topology says.
//! Never: resizes or truncates a file that holds anything but zeros: that would be forgetting without being asked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, slice};

use memmap2::{MmapOptions, MmapRaw};

use super::{Memory, Region};
use crate::sync::AtomicU64;
use crate::words::WORD_BYTES;

/// Why a region's file cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// The file cannot be created, opened, grown or mapped.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Another process holds the file.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file has another size than the topology asks for.
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size wanted, in bytes.
        wanted: u64,
    },
}

impl Region {
    /// The region in the file `path`, `len` bytes long (rounded up to a word), zero if it is new. A new file can be
    /// read and written by its owner only.
    ///
    /// # Errors
    /// See [`OpenError`]; an existing file is never changed by a failed call.
    pub fn open_file(path: &Path, len: usize) -> Result<Self, OpenError> {
        let io_error = |error| OpenError::Io {
            path: path.into(),
            error,
        };
        let len = len.next_multiple_of(WORD_BYTES).max(WORD_BYTES);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.into() }),
            Err(TryLockError::Error(error)) => return Err(io_error(error)),
        }
        let wanted = len as u64;
        let found = file.metadata().map_err(io_error)?.len();
        if found < wanted && holds_nothing(&file).map_err(io_error)? {
            fill(&file, len).map_err(io_error)?;
        } else if found != wanted {
            return Err(OpenError::WrongSize {
                path: path.into(),
                found,
                wanted,
            });
        }
        let map = MmapOptions::new().len(len).map_raw(&file).map_err(io_error)?;
        Ok(Self::over(Memory::File(Mapping { map, _locked: file }), len))
    }
}

/// Whether the file is empty or all zeros, as one is that a process did not live to fill.
fn holds_nothing(mut file: &File) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            len if buffer[..len].iter().any(|&byte| byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// Writes `len` zeros, so that the disk's blocks are the file's own: storing into a mapped hole of a full disk would
/// kill the process.
fn fill(mut file: &File, len: usize) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut io::repeat(0).take(len as u64), &mut file)?;
    file.sync_all()
}

/// A file mapped for as long as this lives, and locked for as long.
pub(super) struct Mapping {
    map: MmapRaw,
    _locked: File,
}

impl Mapping {
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, readable and writable, lives as long as `self`, and is only ever
        // reached through these atomics. Its length is a whole number of words (`open_file` rounds up).
        unsafe {
            slice::from_raw_parts(
                self.map.as_mut_ptr().cast::<AtomicU64>(),
                self.map.len() / WORD_BYTES,
            )
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.map.flush()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "cannot use the region file {}: {error}", path.display()),
            Self::InUse { path } => write!(
                f,
                "the region file {} is in use by another hive: give this one a state directory of its own",
                path.display()
            ),
            Self::WrongSize { path, found, wanted } => write!(
                f,
                "the region file {} has {found} bytes where the topology asks for {wanted}: restore the size, or move \
                 the file away to start empty",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_not_filled_to_its_end_is_filled_and_another_is_left_alone() {
        let path = std::env::temp_dir().join(std::format!("region-{}", std::process::id()));
        std::fs::write(&path, [0; 100]).expect("written");
        let region = Region::open_file(&path, 9_998).expect("it holds nothing");
        assert_eq!(region.len(), 10_000);
        region.write_at(9_999, b"!").expect("inside");
        region.sync().expect("written");
        assert!(matches!(
            Region::open_file(&path, 9_998),
            Err(OpenError::InUse { .. })
        ));
        drop(region);
        assert_eq!(std::fs::read(&path).expect("there")[9_999], b'!');
        let larger = Region::open_file(&path, 20_000);
        assert!(matches!(
            larger,
            Err(OpenError::WrongSize {
                found: 10_000,
                wanted: 20_000,
                ..
            })
        ));
        std::fs::remove_file(&path).expect("removed");
    }
}
