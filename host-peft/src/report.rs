//! What a command came to: its lines or its JSON, or why it failed.
//!
//! Answers for the form of both: lines of `key=value` for people and scripts, or with `--json` one object on one line;
//! a failure is `ERR <AREA> reason=<text>` on standard error. Never prints a half of one.

use core::fmt;
use std::io::{self, Write};

use client::{Error, Exit};
use serde_json::{Map, Value, json};

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Lines for standard output.
    pub lines: Vec<String>,
    /// Remarks, already made on standard error.
    pub notes: Vec<String>,
    /// The same as the lines, as the fields of an object.
    pub fields: Map<String, Value>,
}

impl Report {
    /// Nothing to tell yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    pub fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Makes a remark: at once on standard error, since the command may fail yet, and in the object.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        complain(&note);
        self.notes.push(note);
    }

    /// Sets a field.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.fields.insert(key.to_owned(), value.into());
    }
}

/// What a command was about, as failures name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// `coh gpu`
    Gpu,
    /// `coh telemetry`
    Telemetry,
    /// `coh run`
    Run,
    /// `coh peft`
    Peft,
    /// `coh doctor`
    Doctor,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Area::Gpu => "GPU",
            Area::Telemetry => "TELEMETRY",
            Area::Run => "RUN",
            Area::Peft => "PEFT",
            Area::Doctor => "DOCTOR",
        })
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status to end with.
    pub exit: Exit,
    /// What was wrong and what would be right.
    pub why: String,
}

impl Failure {
    /// A failure with that status.
    pub fn new(exit: Exit, why: impl fmt::Display) -> Self {
        Self {
            exit,
            why: why.to_string(),
        }
    }

    /// A check made here failed.
    pub fn refused(why: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, why)
    }

    /// Something on this machine failed.
    pub fn local(why: impl fmt::Display) -> Self {
        Self::new(Exit::Local, why)
    }

    /// The failure, with more said in front of it.
    pub fn during(self, what: impl fmt::Display) -> Self {
        Self {
            why: format!("{what}: {}", self.why),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::of(&error), error)
    }
}

/// Shows the result of a command and says how to end. A reader that went away is a local failure.
pub fn show(area: Area, json: bool, result: Result<Report, Failure>) -> Exit {
    match result {
        Ok(report) => {
            let printed = if json {
                print(&[object(&report)])
            } else {
                print(&report.lines)
            };
            if printed.is_ok() { Exit::Ok } else { Exit::Local }
        }
        Err(failure) => {
            if json {
                let object = json!({"ok": false, "exit": failure.exit.code(), "error": failure.why});
                // With standard output gone the status still tells.
                let _ = print(&[object.to_string()]);
            }
            complain_of(area, &failure);
            failure.exit
        }
    }
}

/// The object for `--json`.
fn object(report: &Report) -> String {
    let mut fields = report.fields.clone();
    fields.insert("ok".into(), Value::Bool(true));
    if !report.notes.is_empty() {
        fields.insert("notes".into(), report.notes.clone().into());
    }
    Value::Object(fields).to_string()
}

fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()
}

/// Prints a failure to standard error.
pub fn complain_of(area: Area, failure: &Failure) {
    // With standard error gone as well there is nobody left to tell.
    let _ = writeln!(io::stderr(), "ERR {area} reason={failure}");
}

/// Prints a remark to standard error.
pub fn complain(note: &str) {
    let _ = writeln!(io::stderr(), "coh: {note}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_tells_everything() {
        let mut report = Report::new();
        report.say("gpu: none");
        report.set("gpus", Vec::<Value>::new());
        assert_eq!(object(&report), r#"{"gpus":[],"ok":true}"#);
        report.note("something else");
        assert_eq!(
            object(&report),
            r#"{"gpus":[],"notes":["something else"],"ok":true}"#
        );
    }

    #[test]
    fn failures_keep_their_status() {
        let failure = Failure::refused("model M is not available").during("activate");
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.to_string(), "activate: model M is not available");
    }
}
