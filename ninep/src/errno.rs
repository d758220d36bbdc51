//! Linux error numbers, as `Rlerror` carries them.
//!
//! Answers for the numbers, their names and a sentence for each. Numbers that
//! are not listed pass through unchanged. Never decides which error a refusal
//! deserves: that is the file tree's business.

use core::fmt;

/// A Linux error number (generic numbering), never zero.
///
/// Source: `include/uapi/asm-generic/errno-base.h` and `errno.h`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u32);

macro_rules! errnos {
    ($($name:ident = $number:literal $text:literal,)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno($number);)*
        }
        const TABLE: &[(u32, &str, &str)] = &[$(($number, stringify!($name), $text),)*];
    };
}

impl Errno {
    /// The error of that number. Zero is no error number and becomes `EIO`.
    pub const fn from_raw(number: u32) -> Errno {
        if number == 0 { Errno::EIO } else { Errno(number) }
    }

    /// The number as it goes over the wire.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The symbolic name, such as `ENOENT`; `None` for a number not listed here.
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|(_, name, _)| *name)
    }

    fn entry(self) -> Option<&'static (u32, &'static str, &'static str)> {
        TABLE
            .binary_search_by_key(&self.0, |(number, _, _)| *number)
            .ok()
            .and_then(|at| TABLE.get(at))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            Some((_, name, text)) => write!(f, "{name}: {text}"),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl core::error::Error for Errno {}

errnos! {
    EPERM = 1 "operation not permitted",
    ENOENT = 2 "no such file or directory",
    EINTR = 4 "interrupted",
    EIO = 5 "input/output error",
    ENXIO = 6 "no such device or address",
    E2BIG = 7 "argument list too long",
    EBADF = 9 "bad fid",
    EAGAIN = 11 "try again",
    ENOMEM = 12 "out of memory",
    EACCES = 13 "permission denied",
    EBUSY = 16 "busy",
    EEXIST = 17 "file exists",
    ENODEV = 19 "no such device",
    ENOTDIR = 20 "not a directory",
    EISDIR = 21 "is a directory",
    EINVAL = 22 "invalid argument",
    ENFILE = 23 "file table full",
    EMFILE = 24 "too many open fids",
    EFBIG = 27 "file too large",
    ENOSPC = 28 "no space left",
    ESPIPE = 29 "illegal seek",
    EROFS = 30 "read-only file system",
    EPIPE = 32 "broken pipe",
    ERANGE = 34 "out of range",
    ENAMETOOLONG = 36 "file name too long",
    ENOSYS = 38 "function not implemented",
    ENOTEMPTY = 39 "directory not empty",
    ELOOP = 40 "too many levels",
    EBADE = 52 "invalid exchange",
    EBADR = 53 "invalid request descriptor",
    ENODATA = 61 "no data available",
    ETIME = 62 "timer expired",
    EREMOTE = 66 "object is remote",
    EPROTO = 71 "protocol error",
    EBADMSG = 74 "bad message",
    EOVERFLOW = 75 "value too large",
    EILSEQ = 84 "illegal byte sequence",
    EUSERS = 87 "too many users",
    EMSGSIZE = 90 "message size out of bounds",
    EOPNOTSUPP = 95 "operation not supported",
    ENETDOWN = 100 "network is down",
    ENETUNREACH = 101 "network is unreachable",
    ECONNABORTED = 103 "connection aborted",
    ECONNRESET = 104 "connection reset",
    ENOBUFS = 105 "no buffer space available",
    ENOTCONN = 107 "not connected",
    ESHUTDOWN = 108 "shut down",
    ETIMEDOUT = 110 "timed out",
    ECONNREFUSED = 111 "connection refused",
    EHOSTDOWN = 112 "host is down",
    EALREADY = 114 "already in progress",
    ESTALE = 116 "stale file handle",
    EREMOTEIO = 121 "remote input/output error",
    EDQUOT = 122 "quota exceeded",
    ECANCELED = 125 "cancelled",
    ENOKEY = 126 "required key not available",
    EKEYEXPIRED = 127 "key has expired",
    EKEYREVOKED = 128 "key has been revoked",
    EKEYREJECTED = 129 "key was rejected",
    EOWNERDEAD = 130 "owner died",
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_table_is_sorted_and_free_of_duplicates() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn zero_is_never_an_error_number() {
        assert_eq!(Errno::from_raw(0), Errno::EIO);
        assert_eq!(Errno::from_raw(2), Errno::ENOENT);
    }

    #[test]
    fn names_are_shown_and_unknown_numbers_pass_through() {
        assert_eq!(Errno::ENOENT.to_string(), "ENOENT: no such file or directory");
        assert_eq!(Errno::from_raw(4095).to_string(), "errno 4095");
        assert_eq!(Errno::from_raw(4095).raw(), 4095);
    }
}
