//! A publish, from its first line to its install.
//!
//! Answers for the order (whole, composed, in the journal, in force), for the old snapshot staying whole until then, and
//! for the log saying what began, what was installed and what was refused. A host that publishes again what is in force
//! changes nothing, and nothing is said of it.
//!
//! Never waits: what a line does is done when [`Publisher::write`] returns.

use core::cell::{Cell, RefCell};

use protocol::gpu::{BridgeStatus, Digest};
use protocol::refusal::Refusal;

use super::bridge::{Bridge, Fault, Standing, Step};
use super::compose::Composer;
use super::published::Published;
use super::record::Origin;
use crate::queen::Queen;
use crate::tree::{Session, SessionId};

/// What `/gpu/bridge/status` says.
pub(super) type StatusText = heapless::String<128>;

/// The bridge, and what it makes of what comes over it.
pub(super) struct Publisher {
    bridge: RefCell<Bridge>,
    composer: RefCell<Composer>,
    /// Where the next snapshot is put together.
    next: RefCell<Published>,
    /// What the log calls the session whose turn it is.
    session: Cell<u32>,
}

impl Publisher {
    /// All memory is taken here.
    pub(super) fn new(queen: &Queen) -> Publisher {
        Publisher {
            bridge: RefCell::new(Bridge::new(queen.config.gpu.bridge_timeout)),
            composer: RefCell::new(Composer::new()),
            next: RefCell::new(Published::new()),
            session: Cell::new(0),
        }
    }

    /// Does what a line of `/gpu/bridge/ctl` says. Gives the number of the audit line.
    pub(super) fn write(
        &self,
        queen: &Queen,
        session: &Session,
        line: &str,
    ) -> (Result<(), Refusal>, Option<u64>) {
        if let Err(refusal) = queen.may_operate() {
            return (Err(refusal), None);
        }
        self.expire(queen);
        let step = self
            .bridge
            .borrow_mut()
            .accept(session.id(), queen.ctx.now(), line);
        if !matches!(step, Err(Fault::Busy)) {
            self.session.set(session.door_number());
        }
        let done = match step {
            Ok(Step::Begun { bytes, sha256 }) => Ok(self.begun(queen, bytes, sha256)),
            Ok(Step::More) => Ok(None),
            Ok(Step::Whole { bytes, sha256 }) => self.install(queen, bytes, sha256),
            Err(fault) => Err(fault),
        };
        match done {
            Ok(told) => (Ok(()), told),
            // The door tells of those who have to wait, and of lines that were never part of a transfer.
            Err(fault @ (Fault::Busy | Fault::NoBegin)) => (Err(fault.into()), None),
            Err(fault) => {
                self.bridge.borrow_mut().fail(fault);
                (Err(fault.into()), self.refused(queen, fault))
            }
        }
    }

    /// The line of `/gpu/bridge/status`.
    pub(super) fn status(&self, queen: &Queen) -> StatusText {
        self.expire(queen);
        let origin = queen.gpus.borrow().origin();
        let status = match (self.bridge.borrow().standing(), origin) {
            (Standing::Receiving(bytes), _) => BridgeStatus::Receiving { bytes },
            (Standing::Failed(fault), _) => BridgeStatus::Err {
                reason: fault.label(),
            },
            (Standing::Settled, Origin::Host { bytes, sha256 }) => BridgeStatus::Ok {
                bytes: bytes as usize,
                sha256: Digest(sha256),
            },
            (Standing::Settled, Origin::Nothing | Origin::Seed) => BridgeStatus::Idle,
        };
        let mut text = StatusText::new();
        // The longest has a number of six digits and a SHA-256.
        let _ = core::fmt::write(&mut text, format_args!("{status}\n"));
        text
    }

    /// A session has ended, perhaps in the middle of its turn.
    pub(super) fn ended(&self, queen: &Queen, session: SessionId) {
        if self.bridge.borrow_mut().ended(session) {
            self.refused(queen, Fault::Gone);
        }
    }

    fn expire(&self, queen: &Queen) {
        if self.bridge.borrow_mut().expire(queen.ctx.now()) {
            self.refused(queen, Fault::TimedOut);
        }
    }

    fn begun(&self, queen: &Queen, bytes: usize, sha256: Digest) -> Option<u64> {
        if queen.gpus.borrow().origin() == origin(bytes, sha256) {
            return None;
        }
        let session = self.session.get();
        queen.note(format_args!(
            "gpu-bridge begin session={session} bytes={bytes} sha256={sha256}"
        ))
    }

    fn install(&self, queen: &Queen, bytes: usize, sha256: Digest) -> Result<Option<u64>, Fault> {
        let origin = origin(bytes, sha256);
        if queen.gpus.borrow().origin() == origin {
            return Ok(None);
        }
        let mut next = self.next.borrow_mut();
        let active = {
            let bridge = self.bridge.borrow();
            let mut composer = self.composer.borrow_mut();
            composer.compose(bridge.bytes(bytes), &mut next)?
        };
        let installed = queen
            .gpus
            .borrow_mut()
            .install(&mut next, origin, active.as_deref());
        let activated = installed.map_err(|_| Fault::Journal)?;
        // Leases of GPUs that are gone are released by who hears this.
        queen.bell.ring();
        let gpus = queen.gpus.borrow();
        let lost = next.gpus().filter(|gpu| gpus.find(gpu.id).is_none()).count();
        let (session, published) = (self.session.get(), gpus.published());
        if let Some(id) = active.as_deref().filter(|_| activated) {
            let known = published.models().any(|model| model.0 == id);
            let available = if known { "yes" } else { "no" };
            queen.note(format_args!(
                "model activated id={id} session={session} available={available} by=publish"
            ));
        }
        let (count, models) = (published.gpus().count(), published.models().count());
        Ok(queen.note(format_args!(
            "gpu-bridge installed session={session} bytes={bytes} sha256={sha256} gpus={count} lost={lost} models={models}"
        )))
    }

    fn refused(&self, queen: &Queen, fault: Fault) -> Option<u64> {
        let session = self.session.get();
        queen.note(format_args!(
            "gpu-bridge refused session={session} reason={fault}"
        ))
    }
}

fn origin(bytes: usize, sha256: Digest) -> Origin {
    Origin::Host {
        // A snapshot has at most 131072.
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        sha256: sha256.0,
    }
}
