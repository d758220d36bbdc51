//! What a file and its file system say of themselves: `Attr` and `Statfs`.
//!
//! Answers for the fields of `Rgetattr` and `Rstatfs`. Never reads a clock:
//! times are the tree's.

use crate::qid::Qid;

/// A time stamp, since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Time {
    /// Whole seconds.
    pub sec: u64,
    /// Nanoseconds within the second.
    pub nsec: u64,
}

/// What a file says of itself (`Rgetattr`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attr {
    /// Which fields hold a value: [`Attr::BASIC`] for all that `stat` shows.
    pub valid: u64,
    /// The file's identity.
    pub qid: Qid,
    /// Linux `st_mode`: type bits and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u64,
    /// Device number, of a device.
    pub rdev: u64,
    /// Length in bytes; 0 where the length is not known before reading.
    pub size: u64,
    /// Preferred bytes per read or write.
    pub blksize: u64,
    /// Size in units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of attributes.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
    /// Reserved by the protocol.
    pub generation: u64,
    /// Reserved by the protocol.
    pub data_version: u64,
}

impl Attr {
    /// `P9_GETATTR_BASIC`: every field up to `ctime`.
    pub const BASIC: u64 = 0x0000_07ff;
    /// `P9_GETATTR_ALL`: every field.
    pub const ALL: u64 = 0x0000_3fff;
    /// `S_IFDIR`.
    pub const MODE_DIR: u32 = 0o040_000;
    /// `S_IFREG`.
    pub const MODE_FILE: u32 = 0o100_000;

    /// An ordinary file with these permission bits and this length in bytes.
    pub const fn file(qid: Qid, permissions: u32, size: u64) -> Attr {
        Attr::new(qid, Attr::MODE_FILE | (permissions & 0o7777), 1, size)
    }

    /// A directory with these permission bits.
    pub const fn dir(qid: Qid, permissions: u32) -> Attr {
        Attr::new(qid, Attr::MODE_DIR | (permissions & 0o7777), 2, 0)
    }

    /// The same with all three times set to `sec` seconds.
    pub const fn at(mut self, sec: u64) -> Attr {
        let time = Time { sec, nsec: 0 };
        self.atime = time;
        self.mtime = time;
        self.ctime = time;
        self
    }

    const fn new(qid: Qid, mode: u32, nlink: u64, size: u64) -> Attr {
        const ZERO: Time = Time { sec: 0, nsec: 0 };
        Attr {
            valid: Attr::BASIC,
            qid,
            mode,
            uid: 0,
            gid: 0,
            nlink,
            rdev: 0,
            size,
            blksize: 4096,
            blocks: size.div_ceil(512),
            atime: ZERO,
            mtime: ZERO,
            ctime: ZERO,
            btime: ZERO,
            generation: 0,
            data_version: 0,
        }
    }
}

/// What a file system says of itself (`Rstatfs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statfs {
    /// Magic number of the file system's kind.
    pub kind: u32,
    /// Bytes per block.
    pub bsize: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for ordinary users.
    pub bavail: u64,
    /// Files in all.
    pub files: u64,
    /// Files that can still be made.
    pub ffree: u64,
    /// Identity of the file system.
    pub fsid: u64,
    /// Longest file name in bytes.
    pub namelen: u32,
}

impl Default for Statfs {
    /// A synthetic file system: no blocks, names of up to 255 bytes.
    fn default() -> Statfs {
        Statfs {
            kind: 0x0102_1997, // V9FS_MAGIC
            bsize: 4096,
            blocks: 0,
            bfree: 0,
            bavail: 0,
            files: 0,
            ffree: 0,
            fsid: 0,
            namelen: crate::MAX_NAME_BYTES as u32,
        }
    }
}
