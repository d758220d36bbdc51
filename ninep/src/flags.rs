//! How a file is opened: the Linux `O_*` bits that `Tlopen` carries.
//!
//! Answers for the bits and the access mode. Never refuses: an access mode that
//! Linux does not have is the server engine's `EINVAL`.

use core::ops::BitOr;

/// How a file is opened: Linux `O_*` bits (generic numbering).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// For reading.
    pub const RDONLY: OpenFlags = OpenFlags(0o0);
    /// For writing.
    pub const WRONLY: OpenFlags = OpenFlags(0o1);
    /// For both.
    pub const RDWR: OpenFlags = OpenFlags(0o2);
    /// Cut to length 0 at open.
    pub const TRUNC: OpenFlags = OpenFlags(0o1000);
    /// Every write goes to the end.
    pub const APPEND: OpenFlags = OpenFlags(0o2000);
    /// Do not wait.
    pub const NONBLOCK: OpenFlags = OpenFlags(0o4000);
    /// Must be a directory.
    pub const DIRECTORY: OpenFlags = OpenFlags(0o200_000);

    const ACCESS: u32 = 0o3;

    /// Whether every bit of `other` is set here. Not for access modes: `RDONLY` is zero.
    pub const fn contains(self, other: OpenFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the access mode is one of the three that exist.
    pub const fn has_valid_access(self) -> bool {
        self.0 & OpenFlags::ACCESS != OpenFlags::ACCESS
    }

    /// Opened for reading.
    pub const fn reads(self) -> bool {
        let access = self.0 & OpenFlags::ACCESS;
        access == OpenFlags::RDONLY.0 || access == OpenFlags::RDWR.0
    }

    /// Opened for writing.
    pub const fn writes(self) -> bool {
        let access = self.0 & OpenFlags::ACCESS;
        access == OpenFlags::WRONLY.0 || access == OpenFlags::RDWR.0
    }
}

impl BitOr for OpenFlags {
    type Output = OpenFlags;

    fn bitor(self, other: OpenFlags) -> OpenFlags {
        OpenFlags(self.0 | other.0)
    }
}
