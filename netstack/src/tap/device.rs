//! The TAP device itself: `/dev/net/tun` and the one `ioctl` that names it.
//!
//! Answers for: an open, non-blocking device that gives and takes one Ethernet frame per call, or an error that
//! says what is missing. The only unsafe code of the crate is here.
//! Never: configures addresses or brings the interface up.
#![allow(unsafe_code)]

use std::ffi::c_short;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::prelude::rust_2024::*;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

const PATH: &str = "/dev/net/tun";
/// Bytes of an interface's name with its final zero (`IFNAMSIZ`).
const NAME_BYTES: usize = libc::IFNAMSIZ;

/// An open TAP device. The interface goes when it is dropped, unless it was made persistent.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

/// `struct ifreq` as `TUNSETIFF` reads it: a name, flags, and the rest of a union of 24 bytes.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_BYTES],
    flags: c_short,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<InterfaceRequest>() == size_of::<libc::ifreq>());

impl Tap {
    /// Opens the TAP interface `name`, making it if there is none. That takes `CAP_NET_ADMIN`, or an interface
    /// that was made for this user (`ip tuntap add dev NAME mode tap user USER`).
    pub fn open(name: &str) -> Result<Self, TapError> {
        if name.is_empty() || name.len() >= NAME_BYTES || name.contains(['/', '\0']) {
            return Err(TapError::Name(name.to_owned()));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(PATH)
            .map_err(TapError::Open)?;
        let mut request = InterfaceRequest {
            name: [0; NAME_BYTES],
            flags: (libc::IFF_TAP | libc::IFF_NO_PI) as c_short,
            rest: [0; 22],
        };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the descriptor is open for the length of the call; TUNSETIFF reads and writes a `struct
        // ifreq`, whose size and leading fields `request` has (asserted above), and keeps no pointer to it.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if result < 0 {
            return Err(TapError::Attach(name.to_owned(), io::Error::last_os_error()));
        }
        Ok(Self { file })
    }
}

impl Read for &Tap {
    /// One frame; one that is longer than `buf` is cut.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buf)
    }
}

impl Write for &Tap {
    /// One frame, whole.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        (&self.file).write(frame)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Tap {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.file.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.file.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.file.as_raw_fd()).deregister(registry)
    }
}

/// Why there is no TAP device.
#[derive(Debug)]
pub enum TapError {
    /// Not a name that an interface can have.
    Name(String),
    /// `/dev/net/tun` could not be opened.
    Open(io::Error),
    /// The interface could not be made or attached.
    Attach(String, io::Error),
}

impl fmt::Display for TapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "`{name}` cannot name an interface; use 1 to 15 characters without `/`"
            ),
            Self::Open(error) => write!(f, "{PATH} cannot be opened ({error}); load the `tun` module"),
            Self::Attach(name, error) if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "no right to use the interface {name} ({error}); run as root, or have root make it for you: \
                 ip tuntap add dev {name} mode tap user $USER"
            ),
            Self::Attach(name, error) => write!(f, "the interface {name} cannot be used ({error})"),
        }
    }
}

impl std::error::Error for TapError {}
