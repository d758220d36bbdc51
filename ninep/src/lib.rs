//! 9P2000.L codec, async server engine and client, without an allocator in the path.
//!
//! Answers for messages ([`codec`]), for serving a [`FileTree`] to a peer
//! ([`Server`]) and for using one ([`Client`]). What a file means, who may open it
//! and how frames travel are the tree's and the [`Transport`]'s. Never names a
//! clock, a thread or a socket.
//!
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod attr;
pub mod client;
pub mod codec;
pub mod dir;
pub mod errno;
pub mod flags;
pub mod name;
pub mod pipe;
pub mod qid;
pub mod ramtree;
pub mod server;
pub mod transport;
pub mod tree;

pub use attr::{Attr, Statfs, Time};
pub use client::{Client, ClientConfig, ClientError, Fid};
pub use dir::{DirEntry, DirWriter};
pub use errno::Errno;
pub use flags::OpenFlags;
pub use name::{MAX_NAME_BYTES, Name, NameError};
pub use qid::{Qid, QidKind};
pub use server::{Ended, Server, ServerConfig};
pub use transport::{Closed, Transport};
pub use tree::FileTree;
