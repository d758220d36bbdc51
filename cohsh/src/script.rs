//! `.coh` scripts: statements, one a line (WIRE 7).
//!
//! Answers for the grammar: comments, `EXPECT`, `WAIT`, commands, and how many there may be. Never runs anything.

use core::fmt;
use std::time::Duration;

use crate::command::{self, CommandError};

/// Statements a script may have.
pub const MAX_STATEMENTS: usize = 256;
/// Longest `WAIT`, milliseconds.
pub const MAX_WAIT_MS: u64 = 2000;
/// Stands for a text that no frame can carry, to test that a hive survives it.
pub const OVERFLOW_MACRO: &str = "{{msize_overflow}}";
/// Bytes of that text: more than the 8192 of a frame.
pub const OVERFLOW_BYTES: usize = 8256;

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// A command of the shell, as written.
    Command(String),
    /// A test of the last response.
    Expect(Expect),
    /// A pause.
    Wait(Duration),
}

/// A test of the last response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It begins with `OK`.
    Ok,
    /// It begins with `ERR`.
    Err,
    /// It contains a text.
    Substr(String),
    /// It does not contain a text.
    Not(String),
}

/// A statement and the line it is on, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The line.
    pub line: usize,
    /// The statement.
    pub statement: Statement,
}

/// Reads one line; `None` if there is nothing on it but a comment.
pub fn parse_line(text: &str) -> Result<Option<Statement>, ScriptError> {
    let text = text.split('#').next().unwrap_or("").trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match word {
        "" => Ok(None),
        "EXPECT" => expect(rest).map(|expect| Some(Statement::Expect(expect))),
        "WAIT" => match rest.parse() {
            Ok(ms) if ms <= MAX_WAIT_MS => Ok(Some(Statement::Wait(Duration::from_millis(ms)))),
            _ => Err(ScriptError::Wait(rest.to_owned())),
        },
        _ => Ok(Some(Statement::Command(text.to_owned()))),
    }
}

fn expect(text: &str) -> Result<Expect, ScriptError> {
    let (kind, pattern) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let pattern = pattern.trim();
    match (kind, pattern.is_empty()) {
        ("OK", true) => Ok(Expect::Ok),
        ("ERR", true) => Ok(Expect::Err),
        ("SUBSTR", false) => Ok(Expect::Substr(pattern.to_owned())),
        ("NOT", false) => Ok(Expect::Not(pattern.to_owned())),
        _ => Err(ScriptError::Expect(text.to_owned())),
    }
}

/// Reads a whole script.
pub fn parse(text: &str) -> Result<Vec<Located>, (usize, ScriptError)> {
    let mut statements = Vec::new();
    for (i, text) in text.lines().enumerate() {
        let line = i + 1;
        let Some(statement) = parse_line(text).map_err(|why| (line, why))? else {
            continue;
        };
        if statements.len() == MAX_STATEMENTS {
            return Err((line, ScriptError::TooMany));
        }
        statements.push(Located { line, statement });
    }
    Ok(statements)
}

/// Reads a whole script and its commands, without running any. A command that is not of its form is allowed where an
/// `EXPECT` follows: the script wants to see it refused.
pub fn check(text: &str) -> Result<usize, (usize, ScriptError)> {
    let statements = parse(text)?;
    let mut has_response = false;
    for (i, at) in statements.iter().enumerate() {
        match &at.statement {
            Statement::Command(command) => {
                has_response = true;
                let expected = matches!(
                    statements.get(i + 1),
                    Some(Located {
                        statement: Statement::Expect(_),
                        ..
                    })
                );
                match command::parse(command) {
                    Err(why) if !expected => return Err((at.line, ScriptError::Command(why))),
                    _ => {}
                }
            }
            Statement::Expect(_) if !has_response => return Err((at.line, ScriptError::NoResponse)),
            Statement::Expect(_) | Statement::Wait(_) => {}
        }
    }
    Ok(statements.len())
}

impl Expect {
    /// Whether `response` is as expected.
    pub fn holds(&self, response: &str) -> bool {
        let status = response.split(' ').next();
        match self {
            Expect::Ok => status == Some("OK"),
            Expect::Err => status == Some("ERR"),
            Expect::Substr(text) => response.contains(text.as_str()),
            Expect::Not(text) => !response.contains(text.as_str()),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Ok => f.write_str("EXPECT OK"),
            Expect::Err => f.write_str("EXPECT ERR"),
            Expect::Substr(text) => write!(f, "EXPECT SUBSTR {text}"),
            Expect::Not(text) => write!(f, "EXPECT NOT {text}"),
        }
    }
}

/// The command with its macros expanded.
pub fn expand(command: &str) -> String {
    if command.contains(OVERFLOW_MACRO) {
        command.replace(OVERFLOW_MACRO, &"x".repeat(OVERFLOW_BYTES))
    } else {
        command.to_owned()
    }
}

/// Why a line is no statement, or a script no script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptError {
    /// What follows `EXPECT` is none of its four forms.
    Expect(String),
    /// What follows `WAIT` is no number of milliseconds up to 2000.
    Wait(String),
    /// More than 256 statements.
    TooMany,
    /// An `EXPECT` before the first command.
    NoResponse,
    /// A command that is not of its form.
    Command(CommandError),
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expect(text) => {
                write!(
                    f,
                    "`EXPECT {text}` is none of EXPECT OK, EXPECT ERR, EXPECT SUBSTR <text>, EXPECT NOT <text>"
                )
            }
            Self::Wait(text) => write!(f, "`WAIT {text}` needs milliseconds from 0 to {MAX_WAIT_MS}"),
            Self::TooMany => write!(
                f,
                "a script has at most {MAX_STATEMENTS} statements; cut it in two"
            ),
            Self::NoResponse => f.write_str("EXPECT before any command; put a command in front of it"),
            Self::Command(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for ScriptError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Statement {
        Statement::Command(text.to_owned())
    }

    #[test]
    fn statements_by_line() {
        let text = "# a comment\n\nattach queen # and another\r\n  EXPECT OK\nWAIT 0\n\tEXPECT SUBSTR  a  b \nEXPECT NOT x\nquit";
        let expected = [
            (3, command("attach queen")),
            (4, Statement::Expect(Expect::Ok)),
            (5, Statement::Wait(Duration::ZERO)),
            (6, Statement::Expect(Expect::Substr("a  b".into()))),
            (7, Statement::Expect(Expect::Not("x".into()))),
            (8, command("quit")),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(line, statement)| Located { line, statement })
            .collect();
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_on_their_line() {
        for (text, line) in [
            ("ping\nEXPECT", 2),
            ("ping\nEXPECT MAYBE", 2),
            ("ping\nEXPECT SUBSTR", 2),
            ("ping\nEXPECT OK really", 2),
            ("WAIT 2001", 1),
            ("WAIT", 1),
            ("WAIT -1", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn two_hundred_and_fifty_six_statements_and_no_more() {
        let text = "ping\n# not counted\n".repeat(256);
        assert_eq!(check(&text), Ok(256));
        assert_eq!(check(&(text + "ping")), Err((513, ScriptError::TooMany)));
    }

    #[test]
    fn checking_reads_the_commands_too() {
        assert_eq!(check("ping\nEXPECT OK"), Ok(2));
        assert_eq!(check("EXPECT OK"), Err((1, ScriptError::NoResponse)));
        assert_eq!(check("ping\nfrobnicate").unwrap_err().0, 2);
        assert_eq!(check("ls relative").unwrap_err().0, 1);
        // Wanted.
        assert_eq!(check("cat /a/b/c/d/e/f/g/h/i/j\nEXPECT ERR"), Ok(2));
    }

    #[test]
    fn what_an_expectation_holds_for() {
        let substr = Expect::Substr("b c".into());
        let not = Expect::Not("b c".into());
        for (response, ok, err, sub) in [
            ("OK LS path=/", true, false, false),
            ("OK", true, false, false),
            ("OKAY", false, false, false),
            ("ERR LS a b c", false, true, true),
            ("pool bench result OK", false, false, false),
            ("", false, false, false),
        ] {
            let held = (
                Expect::Ok.holds(response),
                Expect::Err.holds(response),
                substr.holds(response),
            );
            assert_eq!(held, (ok, err, sub), "{response}");
            assert_eq!(not.holds(response), !sub);
        }
    }

    #[test]
    fn the_overflow_exceeds_every_frame() {
        let expanded = expand("echo {{msize_overflow}} > /queen/ctl");
        assert!(expanded.len() > protocol::limits::FRAME_BYTES);
        assert_eq!(expand("ping"), "ping");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_script_or_an_error(text in "((EXPECT|WAIT|ping|#|[a-z]{1,3})[ A-Z0-9#]{0,8}\n?){0,20}") {
            if let Ok(statements) = parse(&text) {
                proptest::prop_assert!(statements.len() <= MAX_STATEMENTS);
                proptest::prop_assert!(statements.is_sorted_by_key(|at| at.line));
            }
        }
    }
}
