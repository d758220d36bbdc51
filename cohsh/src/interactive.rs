//! The shell with a person in front of it: prompt, history, completion, hints.
//!
//! Answers for keeping the session alive while the person thinks, and for a failed command never ending the shell.
//! Never writes a ticket into the history.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use client::state::StateDir;
use client::{Exit, Session};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter, HistoryHinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::batch::{Printer, complain};
use crate::complete::{Candidates, candidates};
use crate::help::COMMANDS;
use crate::shell::Shell;

const PROMPT: &str = "coh> ";
/// How long a TAB may take. A person gives up about then.
const COMPLETION: Duration = Duration::from_millis(800);
/// Lines of history that are kept.
const HISTORY_LINES: usize = 1000;

type Lines = Editor<Assistant, FileHistory>;

/// Reads commands and carries them out until `quit` or the end of input.
pub async fn run(shell: &mut Shell) -> Exit {
    let mut printer = Printer::default();
    let mut lines = match editor() {
        Ok(lines) => lines,
        Err(why) => {
            complain(&format!("the terminal cannot be used: {why}"));
            return Exit::Local;
        }
    };
    let history = history_file(shell);
    if let Some(file) = &history {
        // The first time there is none.
        let _ = lines.load_history(file);
    }
    let outcome = shell.attach_by_default().await;
    printer.show(&outcome);
    if let Some(failure) = &outcome.failure {
        complain(&failure.message);
        complain("detached; type attach <role> to connect, or help");
    }
    loop {
        if let Some(assistant) = lines.helper_mut() {
            assistant.session = shell.session().cloned();
        }
        // The driver of the session runs on this thread: a person's pauses must not stop its heartbeat.
        let read = tokio::task::spawn_blocking(move || {
            let line = lines.readline(PROMPT);
            (lines, line)
        });
        let line = match read.await {
            Ok((editor, line)) => {
                lines = editor;
                line
            }
            Err(why) => {
                complain(&format!("the terminal failed: {why}"));
                return Exit::Local;
            }
        };
        let quit = match line {
            Ok(line) => carry_out(shell, &mut lines, &mut printer, line.trim()).await,
            Err(ReadlineError::Interrupted) => false,
            Err(ReadlineError::Eof) => true,
            Err(why) => {
                complain(&format!("the terminal failed: {why}"));
                return Exit::Local;
            }
        };
        if quit {
            break;
        }
    }
    if let Some(file) = &history
        && let Err(why) = lines.save_history(file)
    {
        complain(&format!("the history is not saved in {}: {why}", file.display()));
    }
    printer.show(&shell.close().await);
    Exit::Ok
}

/// Carries out one line; says whether the shell is to end. Ctrl-C stops waiting for the answer.
async fn carry_out(shell: &mut Shell, lines: &mut Lines, printer: &mut Printer, line: &str) -> bool {
    if line.is_empty() || line.starts_with('#') {
        return false;
    }
    if !line.contains(protocol::ticket::PREFIX) {
        // A full or unwritable history is no reason not to carry out the command.
        let _ = lines.add_history_entry(line);
    }
    let outcome = tokio::select! {
        outcome = shell.line(line) => outcome,
        _ = tokio::signal::ctrl_c() => {
            complain("not waiting any more; the hive may carry the command out all the same");
            return false;
        }
    };
    printer.show(&outcome);
    if let Some(failure) = outcome.failure.filter(|failure| !failure.shown) {
        complain(&failure.message);
    }
    outcome.quit
}

fn editor() -> rustyline::Result<Lines> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .build();
    let mut lines = Lines::with_config(config)?;
    lines.set_helper(Some(Assistant {
        runtime: Handle::current(),
        session: None,
        files: FilenameCompleter::new(),
        history: HistoryHinter::new(),
    }));
    Ok(lines)
}

/// `cohsh-history` in the state directory. The library writes it with mode 0600.
fn history_file(shell: &Shell) -> Option<PathBuf> {
    let config = shell.config();
    let state = StateDir::locate(config.state.as_deref(), &config.env).ok()?;
    state.prepare().ok()?;
    Some(state.path().join("cohsh-history"))
}

/// What the line editor asks while a person types. It runs on the editor's thread.
struct Assistant {
    runtime: Handle,
    session: Option<Session>,
    files: FilenameCompleter,
    history: HistoryHinter,
}

impl Assistant {
    fn names(&self, dir: &str) -> Vec<String> {
        let Some(session) = self.session.clone() else {
            return Vec::new();
        };
        let listed = self
            .runtime
            .block_on(async { timeout(COMPLETION, session.ls(dir)).await });
        match listed {
            Ok(Ok(names)) => names,
            // No names to offer: the directory is not there, not ours to list, or the hive is slow.
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, ctx: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, candidates) = candidates(&line[..pos]);
        let names: Vec<String> = match candidates {
            Candidates::Words(words) => words.into_iter().map(str::to_owned).collect(),
            Candidates::Remote { dir } => self.names(&dir),
            Candidates::Local => return self.files.complete(line, pos, ctx),
            Candidates::None => Vec::new(),
        };
        let typed = &line[start..pos];
        let fitting = names.into_iter().filter(|name| name.starts_with(typed));
        Ok((
            start,
            fitting
                .map(|name| Pair {
                    display: name.clone(),
                    replacement: name,
                })
                .collect(),
        ))
    }
}

/// What is shown behind the cursor.
struct Shown {
    text: String,
    /// Whether it can be taken over with the right arrow: an earlier line can, a list of arguments cannot.
    is_text: bool,
}

impl Hint for Shown {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.is_text.then_some(&self.text)
    }
}

impl Hinter for Assistant {
    type Hint = Shown;

    /// The arguments of a verb that was just typed, else the rest of an earlier line.
    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<Shown> {
        let arguments = COMMANDS
            .iter()
            .find_map(|(usage, _)| usage.strip_prefix(line))
            .filter(|_| line.ends_with(' '));
        match arguments {
            Some(arguments) => Some(Shown {
                text: arguments.to_owned(),
                is_text: false,
            }),
            None => self
                .history
                .hint(line, pos, ctx)
                .map(|text| Shown { text, is_text: true }),
        }
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[22m"))
    }
}

impl Validator for Assistant {}
impl Helper for Assistant {}

/// Whether a person is in front of this process.
pub fn is_terminal() -> bool {
    use io::IsTerminal;
    io::stdin().is_terminal()
}
