//! What the queen writes into her journal.
//!
//! Answers for the one form of a record: a change of state, the audit line that tells of it, or both, so that a
//! crash never leaves one without the other. Records borrow their texts; reading one allocates nothing.
//!
//! Never changes state: that is [`State::apply`](crate::state::State::apply), for new records and old ones alike.

use core::fmt;

use protocol::gpu::GPU_ID_BYTES;
use runtime::journal::Owner;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Whose journal it is. Raise the number when [`Record`] changes incompatibly.
pub(crate) const OWNER: Owner = Owner::new("queen", 2);

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    /// What changed.
    #[serde(borrow)]
    pub(crate) change: Option<Change<'a>>,
    /// What the log is to say of it.
    pub(crate) line: Option<&'a str>,
}

/// A change of what the queen remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change<'a> {
    /// The lifecycle moved.
    Lifecycle {
        /// The new state's label.
        state: &'a str,
        /// What moved it.
        reason: &'a str,
        /// When, Unix milliseconds.
        since_ms: u64,
    },
    /// A worker is being made: nobody was told yet that it exists.
    Spawning(Spec),
    /// The worker exists, and somebody was told.
    Alive {
        /// Its number.
        number: u64,
    },
    /// The worker is to be gone everywhere.
    Gone {
        /// Its number.
        number: u64,
    },
    /// The budget of workers that state none.
    Budget(Budget),
    /// The next worker's number is at least this.
    Next {
        /// That number.
        number: u64,
    },
    /// All audit lines before this one are in the log.
    Delivered {
        /// The first that may not be.
        next: u64,
    },
    /// Which children the supervisor has given up, one bit each in the order of its page.
    Down {
        /// The bits.
        children: u64,
    },
    /// Whether NineDoor, when last asked, had found its own journal corrupt.
    DoorCorrupt(bool),
}

/// How a worker may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The worker's number; its id is `worker-<number>`.
    pub(crate) number: u64,
    /// What it does.
    pub(crate) kind: Kind,
    /// Seconds it may live.
    pub(crate) ttl_s: u64,
    /// Operations it may make; `None`: as many as it likes.
    pub(crate) ops: Option<u64>,
    /// When it was spawned, Unix milliseconds.
    pub(crate) issued_ms: u64,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// It ticks.
    Heartbeat {
        /// Ticks it may make.
        ticks: u64,
    },
    /// It reports of a GPU, of which it has a part for as long as it lives.
    Gpu(Grant),
}

/// A worker's part of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// The GPU.
    pub(crate) gpu: GpuId,
    /// Memory in MiB.
    pub(crate) mem_mb: u32,
    /// Streams.
    pub(crate) streams: u32,
    /// Seconds that were asked for; a budget may end it earlier.
    pub(crate) ttl_s: u64,
    /// As it was asked for.
    pub(crate) priority: u32,
}

/// A GPU's id: 1 to 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GpuId {
    bytes: [u8; GPU_ID_BYTES],
    len: u8,
}

impl GpuId {
    /// The id of that text; `None` if it is too long or empty.
    pub(crate) fn new(text: &str) -> Option<GpuId> {
        let mut bytes = [0; GPU_ID_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let len = u8::try_from(text.len()).ok().filter(|len| *len > 0)?;
        Some(GpuId { bytes, len })
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        // They were a text when it was made.
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for GpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for GpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for GpuId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for GpuId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<GpuId, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        GpuId::new(text).ok_or_else(|| D::Error::custom("a GPU id of 1 to 32 bytes"))
    }
}

impl Spec {
    /// When its time is over, Unix milliseconds.
    pub(crate) fn expires_ms(&self) -> u64 {
        self.issued_ms.saturating_add(self.ttl_s.saturating_mul(1000))
    }

    /// What it has of a GPU, if it is a GPU worker.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        match &self.kind {
            Kind::Heartbeat { .. } => None,
            Kind::Gpu(grant) => Some(grant),
        }
    }
}

/// The limits as the log tells them.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Heartbeat { ticks } => write!(f, "ticks={ticks} ttl={}", self.ttl_s)?,
            Kind::Gpu(grant) => write!(
                f,
                "gpu={} mem_mb={} streams={} priority={} ttl={}",
                grant.gpu, grant.mem_mb, grant.streams, grant.priority, self.ttl_s
            )?,
        }
        match self.ops {
            Some(ops) => write!(f, " ops={ops}"),
            None => Ok(()),
        }
    }
}

/// Limits of workers whose request states none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Budget {
    /// Seconds it may live.
    pub(crate) ttl_s: u64,
    /// Operations it may make.
    pub(crate) ops: u64,
}

impl Budget {
    /// This budget, with what a request states in place of what it has.
    pub(crate) fn with(self, stated: protocol::control::Budget) -> Budget {
        Budget {
            ttl_s: stated.ttl_s.unwrap_or(self.ttl_s),
            ops: stated.ops.unwrap_or(self.ops),
        }
    }
}
