//! Running without a person: a script, standard input, or one command.
//!
//! Answers for what is printed where (answers on standard output, what ended the run on standard error, with file and
//! line) and for the exit status. Never goes on after a failure that no `EXPECT` takes over.

use std::io::{self, BufRead, Write};
use std::path::Path;

use client::Exit;

use crate::outcome::Outcome;
use crate::runner::{Abort, Runner};
use crate::script::{self, Located, Statement};
use crate::shell::Shell;

/// Name of standard input in messages.
const STDIN: &str = "<stdin>";

/// Prints outcomes. When nobody reads any more, it stops printing and remembers.
#[derive(Debug, Default)]
pub struct Printer {
    closed: bool,
}

impl Printer {
    /// Prints the lines to standard output and the notes to standard error.
    pub fn show(&mut self, outcome: &Outcome) {
        let mut out = io::stdout().lock();
        let written = outcome
            .lines
            .iter()
            .try_for_each(|line| writeln!(out, "{line}"))
            .and_then(|()| out.flush());
        self.closed |= written.is_err();
        for note in &outcome.notes {
            complain(note);
        }
    }
}

/// Prints a message to standard error.
pub fn complain(message: &str) {
    // With standard error gone as well there is nobody left to tell.
    let _ = writeln!(io::stderr(), "cohsh: {message}");
}

/// Runs a script file.
pub async fn script(shell: &mut Shell, file: &Path) -> Exit {
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) => return fail(Exit::Local, &format!("cannot read {name}: {why}")),
    };
    let statements = match script::check(&text).and_then(|_| script::parse(&text)) {
        Ok(statements) => statements,
        Err((line, why)) => return fail(Exit::Usage, &format!("{name}:{line}: {why}")),
    };
    let mut run = Run::new(shell, &name);
    for at in &statements {
        if !run.statement(at).await {
            break;
        }
    }
    run.finish(false).await
}

/// Says whether a script file is one.
pub fn check(file: &Path) -> Exit {
    let name = file.display();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) => return fail(Exit::Local, &format!("cannot read {name}: {why}")),
    };
    match script::check(&text) {
        Ok(count) => {
            let mut outcome = Outcome::new();
            outcome.say(format!("OK CHECK {name} statements={count}"));
            Printer::default().show(&outcome);
            Exit::Ok
        }
        Err((line, why)) => fail(Exit::Usage, &format!("{name}:{line}: {why}")),
    }
}

/// Runs statements from standard input, each as soon as its line is there. With `must_attach` an input without any
/// command still attaches.
pub async fn stdin(shell: &mut Shell, must_attach: bool) -> Exit {
    let mut run = Run::new(shell, STDIN);
    for line in 1.. {
        let read = tokio::task::spawn_blocking(|| {
            let mut text = String::new();
            io::stdin()
                .lock()
                .read_line(&mut text)
                .map(|n| (n > 0).then_some(text))
        });
        let text = match read.await {
            Ok(Ok(Some(text))) => text,
            Ok(Ok(None)) => break,
            Ok(Err(why)) => return fail(Exit::Local, &format!("cannot read standard input: {why}")),
            Err(why) => return fail(Exit::Local, &format!("cannot read standard input: {why}")),
        };
        let goes_on = match script::parse_line(&text) {
            Ok(None) => true,
            Ok(Some(statement)) => run.statement(&Located { line, statement }).await,
            Err(why) => run.abort(Abort {
                line,
                exit: Exit::Usage,
                message: why.to_string(),
            }),
        };
        if !goes_on {
            break;
        }
    }
    run.finish(must_attach).await
}

/// Runs one command.
pub async fn command(shell: &mut Shell, line: &str) -> Exit {
    let mut printer = Printer::default();
    let outcome = shell.line(line).await;
    printer.show(&outcome);
    shell.close().await;
    match outcome.failure {
        Some(failure) => {
            if !failure.shown {
                complain(&failure.message);
            }
            failure.exit
        }
        None if printer.closed => Exit::Local,
        None => Exit::Ok,
    }
}

fn fail(exit: Exit, message: &str) -> Exit {
    complain(message);
    exit
}

/// A run of statements from one source.
struct Run<'a> {
    shell: &'a mut Shell,
    name: &'a str,
    runner: Runner,
    printer: Printer,
    commands: usize,
    aborted: Option<Exit>,
}

impl<'a> Run<'a> {
    fn new(shell: &'a mut Shell, name: &'a str) -> Self {
        Self {
            shell,
            name,
            runner: Runner::new(),
            printer: Printer::default(),
            commands: 0,
            aborted: None,
        }
    }

    /// Carries out one statement; says whether the run goes on.
    async fn statement(&mut self, at: &Located) -> bool {
        self.commands += usize::from(matches!(at.statement, Statement::Command(_)));
        let mut quit = false;
        let printer = &mut self.printer;
        let mut show = |outcome: &Outcome| {
            printer.show(outcome);
            quit = outcome.quit;
        };
        match self.runner.statement(self.shell, at, &mut show).await {
            Ok(_) => !quit && !self.printer.closed,
            Err(abort) => self.abort(abort),
        }
    }

    fn abort(&mut self, abort: Abort) -> bool {
        complain(&format!("{}:{}: {}", self.name, abort.line, abort.message));
        self.aborted = Some(abort.exit);
        false
    }

    async fn finish(mut self, must_attach: bool) -> Exit {
        if self.aborted.is_none()
            && let Err(abort) = std::mem::take(&mut self.runner).finish()
        {
            self.abort(abort);
        }
        if must_attach && self.commands == 0 && self.aborted.is_none() {
            let outcome = self.shell.attach_by_default().await;
            self.printer.show(&outcome);
            if let Some(failure) = outcome.failure {
                self.aborted = Some(fail(failure.exit, &failure.message));
            }
        }
        self.shell.close().await;
        match self.aborted {
            Some(exit) => exit,
            None if self.printer.closed => Exit::Local,
            None => Exit::Ok,
        }
    }
}
