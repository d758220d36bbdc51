//! What is written into the journal of GPUs.
//!
//! Answers for the one form of a record. What a host published is only ever written as a whole, by a compaction, which
//! is there entirely or not at all; lines are appended. Records borrow their texts; reading one allocates nothing.
//!
//! Never changes state: that is [`store`](super::store).

use protocol::gpu::{CTL_BYTES, LEASE_BYTES, STATUS_BYTES};
use runtime::journal::Owner;
use serde::{Deserialize, Serialize};

/// Whose journal it is. Raise the number when [`Record`] changes incompatibly.
pub(super) const OWNER: Owner = Owner::new("queen-gpu", 1);

/// Bytes of a file that one record carries at most.
pub(super) const PIECE_BYTES: usize = 4096;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record<'a> {
    /// Everything before is forgotten; what follows is what is published.
    Published(Origin),
    /// A GPU.
    Gpu {
        /// Its slot, which names it in [`Record::Text`].
        slot: u8,
        /// Its id.
        id: &'a str,
        /// Its `info`.
        info: &'a str,
    },
    /// A model, in the order of their ids.
    Model {
        /// Its id.
        id: &'a str,
        /// Its `manifest.toml`.
        manifest: &'a str,
    },
    /// What telemetry has to look like.
    Schema {
        /// The text of `schema.json`.
        text: &'a str,
    },
    /// A line was added to a file.
    Line {
        /// The GPU's slot.
        slot: u8,
        /// Which file.
        file: File,
        /// The line, without its newline.
        line: &'a str,
    },
    /// A model was activated: a line of `/gpu/models/active`.
    Activated {
        /// Its id.
        id: &'a str,
    },
    /// A piece of a file, of several lines or a part of one.
    Text {
        /// The GPU's slot.
        slot: u8,
        /// Which file.
        file: File,
        /// The piece.
        bytes: &'a [u8],
    },
    /// A piece of `/gpu/models/active`.
    Active {
        /// The piece.
        bytes: &'a [u8],
    },
    /// What the host last said is active; empty if it never did.
    Claimed {
        /// The model's id.
        id: &'a str,
    },
}

/// A file of lines of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum File {
    /// `ctl`
    Ctl,
    /// `lease`
    Lease,
    /// `status`
    Status,
}

impl File {
    /// Every file.
    pub(super) const ALL: [File; 3] = [File::Ctl, File::Lease, File::Status];

    /// Bytes that are kept of it (WIRE 4.8).
    pub(super) const fn bytes(self) -> usize {
        match self {
            File::Ctl => CTL_BYTES,
            File::Lease => LEASE_BYTES,
            File::Status => STATUS_BYTES,
        }
    }
}

/// Where what is published came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Origin {
    /// Nowhere: nothing is published.
    #[default]
    Nothing,
    /// The manifest's profile.
    Seed,
    /// A host.
    Host {
        /// Bytes of its snapshot.
        bytes: u32,
        /// SHA-256 of its snapshot.
        sha256: [u8; 32],
    },
}
