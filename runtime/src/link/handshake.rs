//! How the two sides of a link agree that both have begun anew.
//!
//! Answers for: incarnations. Each side says in `hello` under which epoch it is up (0: it is not) and in `ack` which
//! epoch of the other side it has cleared its own indices for. A connection is one pair of epochs that both sides have
//! acknowledged; it is over as soon as either says hello differently.
//! Never: touches a ring. Its caller clears the indices it writes *before* the new hello or ack is stored; then neither
//! side ever reads an index that is left over from an earlier incarnation.

use crate::sync::{AtomicU32, Ordering};

/// What one side says, as it lies in memory. A side writes its own words only, but takes down the other's flags.
#[repr(C, align(64))]
pub struct RawSide {
    hello: AtomicU32,
    ack: AtomicU32,
    /// The last epoch used; kept here so that a side that lost its memory does not repeat one.
    epoch: AtomicU32,
    /// This side sleeps until a frame comes: see [`crate::sleep_flag`].
    pub wants_frames: AtomicU32,
    /// This side sleeps until a slot comes back.
    pub wants_space: AtomicU32,
}

/// One side's private part.
#[derive(Debug, Default)]
pub struct Handshake {
    /// My epoch while I am up, else 0.
    hello: u32,
    /// The peer's hello that I have acknowledged, 0 if it is down.
    acked: u32,
}

impl RawSide {
    /// Says that this side is down. A host calls it when the side's domain has died; the memory is otherwise the
    /// side's own.
    pub fn mark_down(&self) {
        self.hello.store(0, Ordering::Release);
        self.ack.store(0, Ordering::Release);
        self.wants_frames.store(0, Ordering::Relaxed);
        self.wants_space.store(0, Ordering::Relaxed);
    }

    /// A side that was never up, for models; shared memory starts as zeros anyway.
    #[cfg(loom)]
    pub fn zeroed() -> Self {
        let zero = || AtomicU32::new(0);
        Self {
            hello: zero(),
            ack: zero(),
            epoch: zero(),
            wants_frames: zero(),
            wants_space: zero(),
        }
    }
}

impl Handshake {
    /// Whether this side has said hello.
    pub fn is_up(&self) -> bool {
        self.hello != 0
    }

    /// Says hello under an epoch that was not used before. The caller has cleared its indices since it was last up.
    pub fn say_hello(&mut self, mine: &RawSide) {
        self.hello = mine.epoch.load(Ordering::Relaxed).wrapping_add(1).max(1);
        mine.epoch.store(self.hello, Ordering::Relaxed);
        mine.hello.store(self.hello, Ordering::Release);
    }

    /// Whether memory still holds what this side said last. If not, the peer wrote it.
    pub fn is_mine(&self, mine: &RawSide) -> bool {
        mine.hello.load(Ordering::Relaxed) == self.hello && mine.ack.load(Ordering::Relaxed) == self.acked
    }

    /// Says again what this side said last.
    pub fn restate(&self, mine: &RawSide) {
        mine.hello.store(self.hello, Ordering::Release);
        mine.ack.store(self.acked, Ordering::Release);
    }

    /// Says that this side is down. The caller clears its indices *after* this.
    pub fn say_goodbye(&mut self, mine: &RawSide) {
        self.hello = 0;
        mine.hello.store(0, Ordering::Release);
    }

    /// The peer's hello, if it is not the one acknowledged: its earlier incarnation is over. The caller clears its
    /// indices and then calls [`Handshake::acknowledge`].
    pub fn news(&self, peer: &RawSide) -> Option<u32> {
        let hello = peer.hello.load(Ordering::Acquire);
        (hello != self.acked).then_some(hello)
    }

    /// Acknowledges what [`Handshake::news`] gave.
    pub fn acknowledge(&mut self, mine: &RawSide, hello: u32) {
        self.acked = hello;
        mine.ack.store(hello, Ordering::Release);
    }

    /// Whether both sides are up and have acknowledged each other. Ask after [`Handshake::news`] gave none.
    pub fn is_agreed(&self, peer: &RawSide) -> bool {
        self.hello != 0 && self.acked != 0 && peer.ack.load(Ordering::Acquire) == self.hello
    }
}
