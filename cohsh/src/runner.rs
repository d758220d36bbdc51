//! Statements, one after the other: scripts, standard input, and the scripts of `test`.
//!
//! Answers for when a failure ends it. A failed command whose response is an `ERR` waits for the next statement: an
//! `EXPECT` takes the failure over, anything else (and the end) makes it final. Every other failure is final at once.
//!
//! Never prints: the caller shows outcomes as they come.

use client::Exit;

use crate::outcome::Outcome;
use crate::script::{Expect, Located, Statement, expand};
use crate::shell::Shell;

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abort {
    /// The line of the statement that failed.
    pub line: usize,
    /// The statement's kind of failure.
    pub exit: Exit,
    /// What was wrong.
    pub message: String,
}

/// What one statement came to.
#[derive(Debug)]
pub enum Step {
    /// A command was carried out, or failed in a way that the next statement may take over.
    Ran(Outcome),
    /// An expectation held.
    Held,
    /// A pause is over.
    Waited,
}

/// The state of a run between statements.
#[derive(Debug, Default)]
pub struct Runner {
    response: String,
    undecided: Option<Abort>,
}

impl Runner {
    /// Before the first statement.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last command's response.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Whether a command failed, and the next statement says whether that matters.
    pub fn is_undecided(&self) -> bool {
        self.undecided.is_some()
    }

    /// Carries out the next statement. `show` is given the outcome of a command before a failure is final.
    pub async fn statement(
        &mut self,
        shell: &mut Shell,
        at: &Located,
        show: &mut dyn FnMut(&Outcome),
    ) -> Result<Step, Abort> {
        let is_expect = matches!(at.statement, Statement::Expect(_));
        if let Some(abort) = self.undecided.take_if(|_| !is_expect) {
            return Err(abort);
        }
        self.undecided = None;
        match &at.statement {
            Statement::Command(command) => {
                let outcome = shell.line(&expand(command)).await;
                show(&outcome);
                self.note(at.line, command, outcome)
            }
            Statement::Expect(expect) => self.expect(at.line, expect),
            Statement::Wait(time) => {
                tokio::time::sleep(*time).await;
                Ok(Step::Waited)
            }
        }
    }

    /// Ends the run: a failure that nothing took over is final.
    pub fn finish(self) -> Result<(), Abort> {
        self.undecided.map_or(Ok(()), Err)
    }

    fn note(&mut self, line: usize, command: &str, outcome: Outcome) -> Result<Step, Abort> {
        self.response = outcome.last_response().to_owned();
        if let Some(failure) = &outcome.failure {
            let abort = Abort {
                line,
                exit: failure.exit,
                message: format!("{command}: {}", failure.message),
            };
            if !Expect::Err.holds(&self.response) {
                return Err(abort);
            }
            self.undecided = Some(abort);
        }
        Ok(Step::Ran(outcome))
    }

    fn expect(&self, line: usize, expect: &Expect) -> Result<Step, Abort> {
        if expect.holds(&self.response) {
            return Ok(Step::Held);
        }
        let message = format!("{expect} failed; the last response was `{}`", self.response);
        Err(Abort {
            line,
            exit: Exit::Shortfall,
            message,
        })
    }
}
