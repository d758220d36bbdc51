//! `receipts.jsonl`: what was done for each model that became active.
//!
//! Answers for a line being on the disk when [`Receipts::append`] returns, whole or not there, and for one writer at a
//! time. A torn last line was never relied on and is dropped. Never forgets a line, and never goes on with a file that it
//! cannot read: what was done before could not be known.

use core::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::status::now_ms;

const NAME: &str = "receipts.jsonl";
const SCHEMA: &str = "model-activation/v1";

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    schema: String,
    /// Before the command, or after it.
    pub event: Event,
    /// Which activation of this registry; from 1.
    pub seq: u64,
    /// The model.
    pub model_id: String,
    /// Its directory, in an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The command, in an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How it ended, in a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The command's status, if it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How long it ran, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Unix milliseconds.
    pub ts_ms: u64,
}

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A command is about to run.
    Intent,
    /// It has ended.
    Result,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// With status 0.
    Ok,
    /// With another status, by a signal, or it could not be started.
    Failed,
    /// It was ended because its time was over.
    Timeout,
    /// It was ended because this program was.
    Stopped,
    /// Nobody knows: this program died while it ran.
    Unknown,
}

impl State {
    /// The word in the file.
    pub const fn label(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Failed => "failed",
            State::Timeout => "timeout",
            State::Stopped => "stopped",
            State::Unknown => "unknown",
        }
    }
}

impl Receipt {
    pub(super) fn intent(seq: u64, model_id: &str, path: &Path, command: &str) -> Self {
        Self {
            path: Some(path.to_string_lossy().into_owned()),
            command: Some(command.to_owned()),
            ..Self::new(Event::Intent, seq, model_id)
        }
    }

    pub(super) fn result(seq: u64, model_id: &str, outcome: &Outcome) -> Self {
        Self {
            state: Some(outcome.state),
            exit_code: outcome.exit_code,
            duration_ms: Some(outcome.duration_ms),
            ..Self::new(Event::Result, seq, model_id)
        }
    }

    pub(super) fn unknown(seq: u64, model_id: &str) -> Self {
        Self {
            state: Some(State::Unknown),
            ..Self::new(Event::Result, seq, model_id)
        }
    }

    fn new(event: Event, seq: u64, model_id: &str) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            event,
            seq,
            model_id: model_id.to_owned(),
            path: None,
            command: None,
            state: None,
            exit_code: None,
            duration_ms: None,
            ts_ms: now_ms(),
        }
    }
}

/// The last activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its number.
    pub seq: u64,
    /// The model.
    pub model_id: String,
    /// How it ended; `None` if there is no result.
    pub state: Option<State>,
    /// The command's status, if it ended by itself.
    pub exit_code: Option<i32>,
}

/// The file, open and locked.
#[derive(Debug)]
pub struct Receipts {
    path: PathBuf,
    file: File,
    // Bytes of whole lines.
    len: u64,
    last: Option<Last>,
}

/// Why receipts cannot be read or written.
#[derive(Debug)]
pub enum ReceiptError {
    /// Another process follows this registry.
    InUse(PathBuf),
    /// A line is none of ours.
    NotAReceipt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The system would not.
    Io {
        /// The file.
        path: PathBuf,
        /// Its words.
        why: io::Error,
    },
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another gpu-bridge-host runs commands for this registry ({} is locked); end it first",
                path.display()
            ),
            Self::NotAReceipt { path, line, why } => write!(
                f,
                "{}:{line} is no receipt ({why}): what was run before cannot be known; repair the line or move the file away",
                path.display()
            ),
            Self::Io { path, why } => write!(f, "cannot use {}: {why}", path.display()),
        }
    }
}

impl std::error::Error for ReceiptError {}

impl Receipts {
    /// Opens the receipts of the registry at `root`, or makes them. Returns what there is to say about them as well.
    ///
    /// # Errors
    /// See [`ReceiptError`].
    pub fn open(root: &Path) -> Result<(Self, Vec<String>), ReceiptError> {
        let path = root.join(NAME);
        let io = |why| ReceiptError::Io {
            path: path.clone(),
            why,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ReceiptError::InUse(path)),
            Err(TryLockError::Error(why)) => return Err(io(why)),
        }
        // The file's name is to outlive a crash as well as its lines.
        File::open(root).and_then(|dir| dir.sync_all()).map_err(io)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let last = read(&path, text.get(..whole).unwrap_or_default())?;
        let mut receipts = Self {
            path,
            file,
            len: whole as u64,
            last,
        };
        let mut notes = Vec::new();
        if whole < text.len() {
            receipts.drop_the_rest()?;
            notes.push(format!(
                "dropped a torn line at the end of {}: this program or the machine died while it was written",
                receipts.path.display()
            ));
        }
        Ok((receipts, notes))
    }

    /// The last activation.
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// Adds a line. It is on the disk when this returns; if it fails, the file is as it was.
    ///
    /// # Errors
    /// [`ReceiptError::Io`].
    pub fn append(&mut self, receipt: &Receipt) -> Result<(), ReceiptError> {
        let failed = |path: &Path, why| ReceiptError::Io {
            path: path.to_owned(),
            why,
        };
        let mut line =
            serde_json::to_vec(receipt).map_err(|why| failed(&self.path, io::Error::other(why)))?;
        line.push(b'\n');
        let written = self
            .file
            .seek(SeekFrom::Start(self.len))
            .and_then(|_| self.file.write_all(&line))
            .and_then(|()| self.file.sync_data());
        if let Err(why) = written {
            // If this fails as well, what is torn is dropped when the file is opened again.
            let _ = self.drop_the_rest();
            return Err(failed(&self.path, why));
        }
        self.len += line.len() as u64;
        self.last = Some(next(self.last.take(), receipt));
        Ok(())
    }

    fn drop_the_rest(&mut self) -> Result<(), ReceiptError> {
        let cut = self.file.set_len(self.len).and_then(|()| self.file.sync_data());
        cut.map_err(|why| ReceiptError::Io {
            path: self.path.clone(),
            why,
        })
    }
}

/// The last activation of whole lines.
fn read(path: &Path, text: &[u8]) -> Result<Option<Last>, ReceiptError> {
    let mut last = None;
    for (i, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let wrong = |why: String| ReceiptError::NotAReceipt {
            path: path.to_owned(),
            line: i + 1,
            why,
        };
        let receipt: Receipt = serde_json::from_slice(line).map_err(|why| wrong(why.to_string()))?;
        if receipt.schema != SCHEMA {
            return Err(wrong(format!("schema {:?}, not {SCHEMA:?}", receipt.schema)));
        }
        last = Some(next(last, &receipt));
    }
    Ok(last)
}

/// What the last activation is once `receipt` is there.
fn next(last: Option<Last>, receipt: &Receipt) -> Last {
    match (receipt.event, last) {
        (Event::Result, Some(last)) if last.seq == receipt.seq => Last {
            state: receipt.state,
            exit_code: receipt.exit_code,
            ..last
        },
        _ => Last {
            seq: receipt.seq,
            model_id: receipt.model_id.clone(),
            state: receipt.state,
            exit_code: receipt.exit_code,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(seq: u64) -> Receipt {
        Receipt::intent(seq, "m", Path::new("/r/available/m"), "cmd")
    }

    fn ok(seq: u64) -> Receipt {
        let outcome = Outcome {
            state: State::Ok,
            exit_code: Some(0),
            duration_ms: 5,
        };
        Receipt::result(seq, "m", &outcome)
    }

    fn open(root: &Path) -> (Receipts, Vec<String>) {
        Receipts::open(root).unwrap()
    }

    #[test]
    fn lines_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut receipts, notes) = open(dir.path());
        assert_eq!((receipts.last(), notes.len()), (None, 0));
        receipts.append(&intent(1)).unwrap();
        receipts.append(&ok(1)).unwrap();
        receipts.append(&intent(2)).unwrap();
        let last = receipts.last().unwrap().clone();
        assert_eq!((last.seq, last.state), (2, None));
        drop(receipts);
        assert_eq!(open(dir.path()).0.last(), Some(&last));
        let text = std::fs::read_to_string(dir.path().join(NAME)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0]
                .starts_with(r#"{"schema":"model-activation/v1","event":"intent","seq":1,"model_id":"m""#)
        );
        assert!(lines[1].contains(r#""event":"result","seq":1,"model_id":"m","state":"ok","exit_code":0"#));
    }

    #[test]
    fn a_torn_line_is_dropped_wherever_it_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (mut receipts, _) = open(dir.path());
        receipts.append(&intent(1)).unwrap();
        let before = std::fs::read(&path).unwrap();
        receipts.append(&ok(1)).unwrap();
        drop(receipts);
        let after = std::fs::read(&path).unwrap();
        for len in before.len() + 1..after.len() {
            std::fs::write(&path, &after[..len]).unwrap();
            let (mut receipts, notes) = open(dir.path());
            assert!(notes[0].contains("torn"), "{notes:?}");
            assert_eq!(receipts.last().unwrap().state, None, "{len}");
            receipts.append(&ok(1)).unwrap();
            drop(receipts);
            assert_eq!(open(dir.path()).0.last().unwrap().state, Some(State::Ok));
        }
    }

    #[test]
    fn a_line_that_is_no_receipt_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (mut receipts, _) = open(dir.path());
        receipts.append(&intent(1)).unwrap();
        drop(receipts);
        let good = std::fs::read_to_string(&path).unwrap();
        for bad in [
            "x\n".to_owned(),
            "\n".to_owned(),
            good.replace("/v1", "/v2"),
            good.replace("\"seq\":1", "\"seq\":1,\"more\":2"),
        ] {
            std::fs::write(&path, format!("{good}{bad}")).unwrap();
            let error = Receipts::open(dir.path()).unwrap_err();
            assert!(
                matches!(error, ReceiptError::NotAReceipt { line: 2, .. }),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn one_writer_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = open(dir.path());
        let error = Receipts::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("end it first"), "{error}");
        drop(held);
        open(dir.path());
    }

    #[test]
    fn labels_are_the_words_in_the_file() {
        for state in [
            State::Ok,
            State::Failed,
            State::Timeout,
            State::Stopped,
            State::Unknown,
        ] {
            assert_eq!(
                serde_json::to_string(&state).unwrap(),
                format!("\"{}\"", state.label())
            );
        }
    }
}
