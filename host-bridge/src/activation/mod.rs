//! What is done when another model becomes active: a command, once, and a receipt.
//!
//! Answers for "once" whatever dies when:
//!
//! 1. A line with the intent is written and brought to the disk.
//! 2. The command runs.
//! 3. A line with the result is written and brought to the disk.
//!
//! A model is new if it is not the one that the last intent names. An intent without a result, found at the start, gets
//! the result `unknown`: the command may have run, wholly or in part, and is not run again unless that is asked for.
//! One command runs at a time. Never looks at the hive.

mod command;
mod receipts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use self::command::Outcome;
pub use self::receipts::{Last, Receipt, ReceiptError, Receipts, State};

use self::command::Command;

/// What to do, and how far it has come.
#[derive(Debug)]
pub(crate) struct Activator {
    receipts: Receipts,
    command: String,
    timeout: Duration,
    retry_unknown: bool,
    running: Option<Running>,
    // A result that could not be written yet.
    unwritten: Option<Receipt>,
}

#[derive(Debug)]
struct Running {
    seq: u64,
    model_id: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Outcome>,
}

impl Activator {
    /// Opens the receipts of the registry at `root`. Returns what there is to say about them as well.
    pub(crate) fn open(
        root: &Path,
        command: String,
        timeout: Duration,
        retry_unknown: bool,
    ) -> Result<(Self, Vec<String>), ReceiptError> {
        let (mut receipts, mut notes) = Receipts::open(root)?;
        if let Some(last) = receipts.last().filter(|last| last.state.is_none()) {
            let receipt = Receipt::unknown(last.seq, &last.model_id);
            notes.push(format!(
                "nobody knows how the command for model {} ended: this program died while it ran; {}",
                last.model_id,
                if retry_unknown {
                    "it is run again if the model is still active"
                } else {
                    "it is not run again (--retry-unknown does)"
                }
            ));
            receipts.append(&receipt)?;
        }
        let activator = Self {
            receipts,
            command,
            timeout,
            retry_unknown,
            running: None,
            unwritten: None,
        };
        Ok((activator, notes))
    }

    /// The last activation, if its result is known.
    pub(crate) fn last_result(&self) -> Option<&Last> {
        self.receipts.last().filter(|last| last.state.is_some())
    }

    /// Whether this model is to be made active here, and nothing else is under way.
    pub(crate) fn wants(&self, model_id: &str) -> bool {
        if self.running.is_some() || self.unwritten.is_some() {
            return false;
        }
        match self.receipts.last() {
            Some(last) if last.model_id == model_id => {
                self.retry_unknown && matches!(last.state, Some(State::Unknown | State::Stopped))
            }
            _ => true,
        }
    }

    /// Writes the intent and starts the command.
    pub(crate) fn start(&mut self, model_id: &str, path: PathBuf) -> Result<(), ReceiptError> {
        let seq = self.receipts.last().map_or(1, |last| last.seq + 1);
        self.receipts
            .append(&Receipt::intent(seq, model_id, &path, &self.command))?;
        let (stop, stopped) = oneshot::channel();
        let command = Command {
            line: self.command.clone(),
            model_id: model_id.to_owned(),
            path,
            timeout: self.timeout,
        };
        // Asked for once.
        self.retry_unknown = false;
        self.running = Some(Running {
            seq,
            model_id: model_id.to_owned(),
            stop,
            ended: tokio::spawn(command.run(stopped)),
        });
        Ok(())
    }

    /// Waits until the command ends; for ever if none runs. May be dropped at any time.
    pub(crate) async fn ended(&mut self) -> Outcome {
        match &mut self.running {
            Some(running) => match (&mut running.ended).await {
                Ok(outcome) => outcome,
                // The task does not panic, and nobody aborts it.
                Err(_) => Outcome::of(State::Unknown),
            },
            None => std::future::pending().await,
        }
    }

    /// Writes the result of the command that has ended. If that fails, [`Activator::settle`] tries again.
    pub(crate) fn record(&mut self, outcome: &Outcome) -> Result<(), ReceiptError> {
        if let Some(Running { seq, model_id, .. }) = self.running.take() {
            self.unwritten = Some(Receipt::result(seq, &model_id, outcome));
        }
        self.settle()
    }

    /// Writes a result that could not be written before.
    pub(crate) fn settle(&mut self) -> Result<(), ReceiptError> {
        if let Some(receipt) = &self.unwritten {
            self.receipts.append(receipt)?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Ends the command that runs, if one does, and writes that it was stopped.
    pub(crate) async fn stop(&mut self) -> Result<(), ReceiptError> {
        let Some(running) = &mut self.running else {
            return self.settle();
        };
        let (unused, _) = oneshot::channel();
        // Nobody listens any more if the command has just ended.
        let _ = std::mem::replace(&mut running.stop, unused).send(());
        let outcome = self.ended().await;
        self.record(&outcome)
    }
}
