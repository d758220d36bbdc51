//! `test`: runs the scripts that the hive serves under `/proc/tests`, and reports every statement as a check.
//!
//! Answers for the report. A check can fail: a command is one (it was answered as its script wants), an `EXPECT` is
//! one, and a `WAIT` or `quit` is one because the hive has to answer a `PING` behind it. Never closes the session.

use std::time::{Duration, Instant};

use client::Exit;
use serde::Serialize;
use tokio::time::timeout_at;

use crate::command::{self, Command, Mode};
use crate::outcome::Outcome;
use crate::runner::{Runner, Step};
use crate::script::{self, Located, Statement};
use crate::shell::Shell;

/// Lines of a failed check's output that the report keeps.
const EXCERPT_LINES: usize = 8;

/// The report, in the form of the public shell's `--json`.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    mode: &'static str,
    elapsed_ms: u64,
    checks: Vec<Check>,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript_excerpt: Option<Vec<String>>,
}

impl Check {
    fn passed(name: String, detail: impl Into<String>) -> Self {
        Self {
            name,
            ok: true,
            detail: detail.into(),
            transcript_excerpt: None,
        }
    }

    fn failed(name: String, detail: impl Into<String>, outcome: Option<&Outcome>) -> Self {
        let excerpt = outcome.map(|outcome| outcome.lines.iter().take(EXCERPT_LINES).cloned().collect());
        Self {
            name,
            ok: false,
            detail: detail.into(),
            transcript_excerpt: excerpt,
        }
    }
}

/// Runs the negative script and the mode's.
pub(crate) async fn run(shell: &mut Shell, mode: Mode, json: bool, timeout: Duration) -> Outcome {
    let start = Instant::now();
    let deadline = tokio::time::Instant::now() + timeout;
    let mut checks = Vec::new();
    // Scripts run commands, of which this is one: boxed, since the one future would contain the other.
    let all = Box::pin(run_all(shell, mode, &mut checks));
    if timeout_at(deadline, all).await.is_err() {
        checks.push(Check::failed(
            "timeout".to_owned(),
            format!("not done within {timeout:?}"),
            None,
        ));
    }
    let ok = checks.iter().all(|check| check.ok);
    let elapsed_ms = start.elapsed().as_millis() as u64;
    report(
        Report {
            ok,
            mode: mode.label(),
            elapsed_ms,
            checks,
            version: "1",
        },
        json,
    )
}

async fn run_all(shell: &mut Shell, mode: Mode, checks: &mut Vec<Check>) {
    if !alive(shell, "preflight ping".to_owned(), checks).await {
        return;
    }
    for script in ["negative", mode.label()] {
        let name = format!("selftest_{script}.coh");
        match fetch(shell, &name).await {
            Ok(statements) => run_script(shell, &name, &statements, checks).await,
            Err(why) => checks.push(Check::failed(name, why, None)),
        }
    }
}

/// Reads a script from the hive.
async fn fetch(shell: &mut Shell, name: &str) -> Result<Vec<Located>, String> {
    let Some(session) = shell.session() else {
        return Err("not attached".to_owned());
    };
    let lines = session
        .cat(&format!("/proc/tests/{name}"))
        .await
        .map_err(|error| error.to_string())?;
    script::parse(&lines.join("\n")).map_err(|(line, why)| format!("line {line}: {why}"))
}

async fn run_script(shell: &mut Shell, script: &str, statements: &[Located], checks: &mut Vec<Check>) {
    let mut runner = Runner::new();
    for (i, at) in statements.iter().enumerate() {
        let name = format!("{script}:{} {}", at.line, label(&at.statement));
        if let Statement::Command(text) = &at.statement {
            match command::parse(text) {
                Ok(Command::Quit) => {
                    alive(shell, name, checks).await;
                    return;
                }
                Ok(Command::Test { .. }) => {
                    checks.push(Check::failed(name, "a test script cannot run test", None));
                    return;
                }
                _ => {}
            }
        }
        let mut last = None;
        let step = runner
            .statement(shell, at, &mut |outcome| last = Some(outcome.clone()))
            .await;
        let expected = matches!(
            statements.get(i + 1),
            Some(Located {
                statement: Statement::Expect(_),
                ..
            })
        );
        match step {
            Ok(Step::Ran(outcome)) if runner.is_undecided() && !expected => {
                checks.push(Check::failed(name, outcome.last_response(), Some(&outcome)));
                return;
            }
            Ok(Step::Ran(_)) => checks.push(Check::passed(name, runner.response())),
            Ok(Step::Held) => checks.push(Check::passed(name, "held")),
            Ok(Step::Waited) => {
                if !alive(shell, name, checks).await {
                    return;
                }
            }
            Err(abort) => {
                checks.push(Check::failed(name, abort.message, last.as_ref()));
                return;
            }
        }
    }
}

/// A check that the hive answers on this session.
async fn alive(shell: &mut Shell, name: String, checks: &mut Vec<Check>) -> bool {
    let outcome = shell.line("ping").await;
    let ok = outcome.failure.is_none() && outcome.last_response().starts_with("OK PING");
    let check = match &outcome.failure {
        None if ok => Check::passed(name, outcome.last_response()),
        None => Check::failed(name, outcome.last_response(), Some(&outcome)),
        Some(failure) => Check::failed(name, failure.message.as_str(), Some(&outcome)),
    };
    checks.push(check);
    ok
}

fn label(statement: &Statement) -> String {
    match statement {
        Statement::Command(text) => text.clone(),
        Statement::Expect(expect) => expect.to_string(),
        Statement::Wait(time) => format!("WAIT {}", time.as_millis()),
    }
}

fn report(report: Report, json: bool) -> Outcome {
    let mut outcome = Outcome::new();
    let failed = report.checks.iter().filter(|check| !check.ok).count();
    let status = if report.ok { "OK" } else { "ERR" };
    let summary = format!(
        "{status} TEST mode={} checks={} failed={failed} elapsed_ms={}",
        report.mode,
        report.checks.len(),
        report.elapsed_ms
    );
    if json {
        // A report of strings, numbers and booleans has a JSON form.
        outcome.say(serde_json::to_string(&report).unwrap_or_default());
        outcome.response = Some(summary.clone());
    } else {
        for check in &report.checks {
            let mark = if check.ok { "ok  " } else { "FAIL" };
            outcome.say(format!("{mark} {}", check.name));
            if !check.ok {
                outcome.say(format!("     {}", check.detail));
                outcome.lines.extend(
                    check
                        .transcript_excerpt
                        .iter()
                        .flatten()
                        .map(|line| format!("     | {line}")),
                );
            }
        }
        outcome.respond(summary.clone());
    }
    if !report.ok {
        outcome.fail(Exit::Shortfall, summary, !json);
    }
    outcome
}
