//! The queen's own files: `/queen/ctl`, `/queen/lifecycle/ctl` and `/proc/lifecycle/*`.
//!
//! Answers for what they say, and that a write is answered after its effect.
//!
//! Never decides a request: that is [`control`](crate::control).

use core::fmt::Write as _;

use ninep::{Attr, OpenFlags, Qid};
use protocol::limits::CONTROL_BYTES;
use protocol::refusal::Refusal;

use super::{Session, copy};
use crate::control;
use crate::queen::Queen;

/// The longest content of a file under `/proc/lifecycle`.
type Text = heapless::String<64>;

/// A file of the queen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    Root,
    Queen,
    Ctl,
    QueenLifecycle,
    LifecycleCtl,
    Proc,
    ProcLifecycle,
    State,
    Reason,
    Since,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Open {
    /// What it said when it was opened, so that reads in pieces fit together.
    text: Text,
}

impl File {
    fn is_dir(self) -> bool {
        matches!(
            self,
            File::Root | File::Queen | File::QueenLifecycle | File::Proc | File::ProcLifecycle
        )
    }

    fn is_control(self) -> bool {
        matches!(self, File::Ctl | File::LifecycleCtl)
    }

    pub(super) fn qid(self) -> Qid {
        let path = self as u64 + 1;
        if self.is_dir() {
            Qid::dir(path)
        } else if self.is_control() {
            Qid::append(path)
        } else {
            Qid::file(path)
        }
    }
}

pub(super) fn open(queen: &Queen, session: &Session, file: File, flags: OpenFlags) -> Result<Open, Refusal> {
    match (file.is_control(), flags.reads(), flags.writes()) {
        // A control file has nothing to read.
        (true, true, _) => Err(Refusal::InvalidPath),
        (true, _, true) if !session.is_operator() => Err(Refusal::Denied),
        (false, _, true) => Err(Refusal::Denied),
        _ => Ok(Open {
            text: text(queen, file),
        }),
    }
}

pub(super) fn read(open: &Open, offset: u64, buf: &mut [u8]) -> usize {
    copy(open.text.as_bytes(), offset, buf)
}

/// Does what was written, and waits for its audit line.
pub(super) async fn write(queen: &Queen, file: File, data: &[u8]) -> Result<(), Refusal> {
    if data.len() > CONTROL_BYTES + 1 {
        return Err(Refusal::TooLong);
    }
    let text = core::str::from_utf8(data).map_err(|_| Refusal::InvalidPayload)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.contains('\n') {
        return Err(Refusal::InvalidPayload);
    }
    let (outcome, told) = match file {
        File::Ctl => (Ok(()), control::request(queen, text).await?),
        _ => match control::command(queen, text) {
            Ok(told) => (Ok(()), told),
            Err((refusal, told)) => (Err(refusal), told),
        },
    };
    queen.told(told).await;
    outcome
}

pub(super) fn getattr(queen: &Queen, session: &Session, file: File) -> Attr {
    let qid = file.qid();
    let attr = if file.is_dir() {
        Attr::dir(qid, 0o555)
    } else if file.is_control() {
        Attr::file(qid, if session.is_operator() { 0o200 } else { 0 }, 0)
    } else {
        Attr::file(qid, 0o444, text(queen, file).len() as u64)
    };
    attr.at(queen.look(|ledger| ledger.state.lifecycle.since_ms) / 1000)
}

fn text(queen: &Queen, file: File) -> Text {
    let mut text = Text::new();
    // The capacity is that of the longest label, reason and number.
    let _ = queen.look(|ledger| {
        let standing = &ledger.state.lifecycle;
        match file {
            File::State => writeln!(text, "state={}", standing.state),
            File::Reason => writeln!(text, "reason={}", standing.reason),
            File::Since => writeln!(text, "since_ms={}", standing.since_ms),
            _ => Ok(()),
        }
    });
    text
}
