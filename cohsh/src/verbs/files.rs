//! `cat` and `tail`.
//!
//! Answers for what is shown of a file, and for saving one to this machine. Never overwrites a file in part: the
//! content is there before the file is opened.

use std::path::Path;

use client::{Exit, Session, binary, content};

use crate::outcome::Outcome;

/// Reads a file; shows it, or writes it to `out`.
pub(crate) async fn cat(session: &Session, path: &str, out: Option<&Path>) -> Outcome {
    let mut outcome = Outcome::new();
    let reply = match session.command(&format!("CAT {path}")).await {
        Ok(reply) => reply,
        Err(error) => {
            outcome.error(&error);
            return outcome;
        }
    };
    outcome.ack(&reply.ack);
    if !reply.ack.is_ok() {
        return outcome;
    }
    let lines = content(reply);
    match out {
        None => outcome.lines.extend(lines),
        Some(file) => save(&lines, file, &mut outcome),
    }
    outcome
}

fn save(lines: &[String], file: &Path, outcome: &mut Outcome) {
    let bytes = if binary::is_binary(lines) {
        match binary::decode(lines) {
            Ok(bytes) => bytes,
            Err(why) => return outcome.fail(Exit::Connection, why.to_string(), false),
        }
    } else {
        lines
            .iter()
            .flat_map(|line| [line.as_bytes(), b"\n"].concat())
            .collect()
    };
    match std::fs::write(file, &bytes) {
        Ok(()) => outcome.say(format!("{} bytes written to {}", bytes.len(), file.display())),
        Err(why) => outcome.fail(
            Exit::Local,
            format!("cannot write {}: {why}", file.display()),
            false,
        ),
    }
}

/// Reads the last lines of a file; shows at most `lines` of them.
pub(crate) async fn tail(session: &Session, path: &str, lines: Option<usize>) -> Outcome {
    let mut reply = match session.command(&format!("TAIL {path}")).await {
        Ok(reply) => reply,
        Err(error) => return Err(error).into(),
    };
    let surplus = reply.lines.len().saturating_sub(lines.unwrap_or(usize::MAX));
    reply.lines.drain(..surplus);
    Ok(reply).into()
}
