//! What a command came to: what is shown, what scripts test, and what failed.
//!
//! Answers for how acknowledgements are shown (`[console] OK ..`), for what the last response is, and for the exit
//! status of each failure. Never prints by itself.

use client::{Ack, Error, Exit, Reply};

use crate::command::CommandError;

/// The mark of a line that came from the hive's console, as public scripts' readers know it.
pub const CONSOLE: &str = "[console] ";

/// The result of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Lines for standard output.
    pub lines: Vec<String>,
    /// Remarks for standard error; scripts do not see them.
    pub notes: Vec<String>,
    /// The last acknowledgement; none if the command had none.
    pub response: Option<String>,
    /// Why the command failed, if it did.
    pub failure: Option<Failure>,
    /// The shell is to end.
    pub quit: bool,
}

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status that the process ends with if this ends it.
    pub exit: Exit,
    /// What was wrong and what would be right.
    pub message: String,
    /// The message says nothing that `lines` do not show.
    pub shown: bool,
}

impl Outcome {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What `EXPECT` looks at: the last acknowledgement, or else the last line shown; empty if there is neither.
    pub fn last_response(&self) -> &str {
        let last = self.response.as_ref().or(self.lines.last());
        last.map_or("", String::as_str)
    }

    /// Shows a line.
    pub fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Shows a line of this shell that scripts can test.
    pub fn respond(&mut self, line: impl Into<String>) {
        let line = line.into();
        self.lines.push(line.clone());
        self.response = Some(line);
    }

    /// Shows an acknowledgement of the hive; one that says `ERR` is a failure.
    pub fn ack(&mut self, ack: &Ack) {
        self.lines.push(format!("{CONSOLE}{ack}"));
        self.response = Some(ack.line().to_owned());
        if !ack.is_ok() {
            self.fail(Exit::Refused, ack.line(), true);
        }
    }

    /// Shows a whole answer.
    pub fn reply(&mut self, reply: Reply) {
        self.ack(&reply.ack);
        self.lines.extend(reply.lines);
    }

    /// Notes a failure.
    pub fn fail(&mut self, exit: Exit, message: impl Into<String>, shown: bool) {
        self.failure = Some(Failure {
            exit,
            message: message.into(),
            shown,
        });
    }

    /// Shows an `ERR` line of this shell.
    pub fn refuse(&mut self, exit: Exit, line: impl Into<String>) {
        let line = line.into();
        self.fail(exit, line.clone(), true);
        self.respond(line);
    }

    /// Notes an error of the session. Where the hive had words for it, or would have had, they are the response.
    pub fn error(&mut self, error: &Error) {
        match error {
            Error::Refused(refusal) => return self.ack(refusal.ack()),
            Error::AttachRefused(refusal) => self.ack(refusal.ack()),
            Error::AuthRejected { detail } => {
                let line = format!("ERR AUTH {detail}");
                self.lines.push(format!("{CONSOLE}{}", line.trim_end()));
                self.response = Some(line);
            }
            Error::Ticket(why) => self.respond(format!("ERR ATTACH reason=policy detail=denied error={why}")),
            _ => {}
        }
        self.fail(Exit::of(error), error.to_string(), false);
    }

    /// A line that is no command.
    pub fn of_command_error(error: &CommandError) -> Self {
        let mut outcome = Self::new();
        outcome.respond(error.response());
        let exit = match error {
            CommandError::Path { .. } => Exit::Refused,
            CommandError::UnknownVerb(_) | CommandError::Usage { .. } => Exit::Usage,
        };
        outcome.fail(exit, error.to_string(), false);
        outcome
    }
}

impl From<Result<Reply, Error>> for Outcome {
    fn from(result: Result<Reply, Error>) -> Self {
        let mut outcome = Outcome::new();
        match result {
            Ok(reply) => outcome.reply(reply),
            Err(error) => outcome.error(&error),
        }
        outcome
    }
}
