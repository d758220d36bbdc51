//! A server's identity of a file: its qid.
//!
//! Answers for the type bits, and for what a change of version or path means.
//! Never looks a file up.

/// A server's identity of a file.
///
/// Two fids are the same file if their qids have the same `path`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Qid {
    /// What the file is.
    pub kind: QidKind,
    /// Grows when the file's content changes; 0 where the server does not count.
    pub version: u32,
    /// Unique among all files of the server, of all time.
    pub path: u64,
}

impl Qid {
    /// Bytes of a qid on the wire: `type[1] version[4] path[8]`.
    pub const BYTES: usize = 13;

    /// An ordinary file.
    pub const fn file(path: u64) -> Qid {
        Qid {
            kind: QidKind::FILE,
            version: 0,
            path,
        }
    }

    /// A file that only grows at its end.
    pub const fn append(path: u64) -> Qid {
        Qid {
            kind: QidKind::APPEND,
            version: 0,
            path,
        }
    }

    /// A directory.
    pub const fn dir(path: u64) -> Qid {
        Qid {
            kind: QidKind::DIR,
            version: 0,
            path,
        }
    }

    /// Whether this is a directory.
    pub const fn is_dir(&self) -> bool {
        self.kind.contains(QidKind::DIR)
    }
}

/// The type bits of a qid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct QidKind(pub u8);

impl QidKind {
    /// An ordinary file: no bit.
    pub const FILE: QidKind = QidKind(0x00);
    /// A symbolic link.
    pub const SYMLINK: QidKind = QidKind(0x02);
    /// Not in backups.
    pub const TMP: QidKind = QidKind(0x04);
    /// An authentication file.
    pub const AUTH: QidKind = QidKind(0x08);
    /// One opener at a time.
    pub const EXCL: QidKind = QidKind(0x20);
    /// Only grows at its end.
    pub const APPEND: QidKind = QidKind(0x40);
    /// A directory.
    pub const DIR: QidKind = QidKind(0x80);

    /// Whether every bit of `other` is set here.
    pub const fn contains(self, other: QidKind) -> bool {
        self.0 & other.0 == other.0
    }

    /// The `d_type` Linux wants in a directory entry: 4 directory, 8 file, 10 link.
    pub const fn dirent_type(self) -> u8 {
        if self.contains(QidKind::DIR) {
            4
        } else if self.contains(QidKind::SYMLINK) {
            10
        } else {
            8
        }
    }
}
