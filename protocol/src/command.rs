//! The console's grammar: one line becomes one command or a parse error (WIRE 1.5, 1.6).
//!
//! Answers for verbs, arguments and their limits, and for the exact `ERR PARSE` texts. It never
//! checks a role, a path's syntax or a payload's meaning.

use core::fmt;

use crate::limits::{CONSOLE_PATH_BYTES, ECHO_BYTES, ROLE_BYTES, SPAWN_BYTES, TICKET_BYTES, WORKER_ID_BYTES};
use crate::line::{Line, NoSpace};

/// A command, its arguments within their limits and otherwise unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `PING`
    Ping,
    /// `HELP`
    Help,
    /// `TEST`
    Test,
    /// `NETTEST`
    NetTest,
    /// `NETSTATS`
    NetStats,
    /// `BI`, acknowledged as `BOOTINFO`
    BootInfo,
    /// `CAPS`
    Caps,
    /// `MEM`
    Mem,
    /// `CACHELOG [n]`
    CacheLog {
        /// Lines wanted.
        count: Option<u32>,
    },
    /// `LOG`
    Log,
    /// `QUIT`
    Quit,
    /// `ATTACH role [ticket]`
    Attach {
        /// The role as written.
        role: &'a str,
        /// The ticket as written.
        ticket: Option<&'a str>,
    },
    /// `LS path`
    Ls {
        /// The directory.
        path: &'a str,
    },
    /// `CAT path`
    Cat {
        /// The file.
        path: &'a str,
    },
    /// `TAIL path`
    Tail {
        /// The file.
        path: &'a str,
    },
    /// `ECHO path payload`
    Echo {
        /// The file.
        path: &'a str,
        /// What to append; not empty.
        payload: &'a str,
    },
    /// `SPAWN json`
    Spawn {
        /// A `/queen/ctl` spawn request.
        json: &'a str,
    },
    /// `KILL id`
    Kill {
        /// The worker.
        id: &'a str,
    },
}

/// An argument, as the error texts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A path.
    Path,
    /// An ECHO or SPAWN payload.
    Payload,
    /// A role.
    Role,
    /// A ticket.
    Ticket,
    /// A worker id.
    Worker,
    /// What follows TEST: nothing may.
    Test,
    /// The line count of CACHELOG.
    Count,
}

/// Why a line is no command; `Display` is the text after `ERR PARSE reason=policy detail=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Nothing but whitespace.
    Empty,
    /// A newline inside the line; nothing of it is executed.
    EmbeddedNewline,
    /// No such verb.
    UnknownVerb,
    /// An argument is not there.
    Missing(Argument),
    /// An argument is over its limit.
    TooLong(Argument),
    /// An argument makes no sense.
    Invalid(Argument),
    /// The line does not fit `scratch`.
    LineTooLong,
}

/// Parses one line. Control characters are dropped as WIRE 1.5 has it; a line that contains some is
/// first copied, without them, into `scratch` (`limits::LINE_BYTES` is enough).
pub fn parse<'a>(line: &'a str, scratch: &'a mut [u8]) -> Result<Command<'a>, ParseError> {
    if let Some((_, last)) = line.rsplit_once('\n') {
        let trailing = without_controls(last, scratch)?.trim_ascii().is_empty();
        return Err(if trailing {
            ParseError::Empty
        } else {
            ParseError::EmbeddedNewline
        });
    }
    let line = without_controls(line, scratch)?.trim_ascii();
    let (verb, rest) = split_word(line);
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    if verb.is_empty() {
        Err(ParseError::Empty)
    } else if is("PING") {
        Ok(Command::Ping)
    } else if is("HELP") {
        Ok(Command::Help)
    } else if is("TEST") {
        if rest.is_empty() {
            Ok(Command::Test)
        } else {
            Err(ParseError::Invalid(Argument::Test))
        }
    } else if is("NETTEST") {
        Ok(Command::NetTest)
    } else if is("NETSTATS") {
        Ok(Command::NetStats)
    } else if is("BI") {
        Ok(Command::BootInfo)
    } else if is("CAPS") {
        Ok(Command::Caps)
    } else if is("MEM") {
        Ok(Command::Mem)
    } else if is("CACHELOG") {
        let (word, _) = split_word(rest);
        let count = if word.is_empty() {
            None
        } else {
            Some(number(word)?)
        };
        Ok(Command::CacheLog { count })
    } else if is("LOG") {
        Ok(Command::Log)
    } else if is("QUIT") {
        Ok(Command::Quit)
    } else if is("ATTACH") {
        let (role, rest) = word(rest, Argument::Role, ROLE_BYTES)?;
        let (ticket, _) = split_word(rest);
        let ticket = if ticket.is_empty() {
            None
        } else {
            Some(bounded(ticket, Argument::Ticket, TICKET_BYTES)?)
        };
        Ok(Command::Attach { role, ticket })
    } else if is("LS") {
        word(rest, Argument::Path, CONSOLE_PATH_BYTES).map(|(path, _)| Command::Ls { path })
    } else if is("CAT") {
        word(rest, Argument::Path, CONSOLE_PATH_BYTES).map(|(path, _)| Command::Cat { path })
    } else if is("TAIL") {
        word(rest, Argument::Path, CONSOLE_PATH_BYTES).map(|(path, _)| Command::Tail { path })
    } else if is("ECHO") {
        let (path, rest) = word(rest, Argument::Path, CONSOLE_PATH_BYTES)?;
        bounded(rest, Argument::Payload, ECHO_BYTES).map(|payload| Command::Echo { path, payload })
    } else if is("SPAWN") {
        bounded(rest, Argument::Payload, SPAWN_BYTES).map(|json| Command::Spawn { json })
    } else if is("KILL") {
        word(rest, Argument::Worker, WORKER_ID_BYTES).map(|(id, _)| Command::Kill { id })
    } else {
        Err(ParseError::UnknownVerb)
    }
}

/// The line itself, or its copy in `scratch` that lacks the control characters.
fn without_controls<'a>(line: &'a str, scratch: &'a mut [u8]) -> Result<&'a str, ParseError> {
    if !line.bytes().any(|b| b.is_ascii_control()) {
        return Ok(line);
    }
    let mut clean = Line::new(scratch);
    for piece in line.split(|c: char| c.is_ascii_control()) {
        clean.push(piece).map_err(|NoSpace| ParseError::LineTooLong)?;
    }
    Ok(clean.finish())
}

/// The first word and what follows it, both without surrounding spaces.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_ascii_start())
}

fn word(text: &str, argument: Argument, max_bytes: usize) -> Result<(&str, &str), ParseError> {
    let (word, rest) = split_word(text);
    Ok((bounded(word, argument, max_bytes)?, rest))
}

fn bounded(text: &str, argument: Argument, max_bytes: usize) -> Result<&str, ParseError> {
    match text.len() {
        0 => Err(ParseError::Missing(argument)),
        bytes if bytes > max_bytes => Err(ParseError::TooLong(argument)),
        _ => Ok(text),
    }
}

fn number(text: &str) -> Result<u32, ParseError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or(ParseError::Invalid(Argument::Count))
}

impl Command<'_> {
    /// The verb as acknowledgements spell it (`BI` is `BOOTINFO`).
    pub const fn verb(&self) -> &'static str {
        match self {
            Command::Ping => "PING",
            Command::Help => "HELP",
            Command::Test => "TEST",
            Command::NetTest => "NETTEST",
            Command::NetStats => "NETSTATS",
            Command::BootInfo => "BOOTINFO",
            Command::Caps => "CAPS",
            Command::Mem => "MEM",
            Command::CacheLog { .. } => "CACHELOG",
            Command::Log => "LOG",
            Command::Quit => "QUIT",
            Command::Attach { .. } => "ATTACH",
            Command::Ls { .. } => "LS",
            Command::Cat { .. } => "CAT",
            Command::Tail { .. } => "TAIL",
            Command::Echo { .. } => "ECHO",
            Command::Spawn { .. } => "SPAWN",
            Command::Kill { .. } => "KILL",
        }
    }
}

impl Argument {
    /// The word in the error texts.
    pub const fn label(self) -> &'static str {
        match self {
            Argument::Path => "path",
            Argument::Payload => "payload",
            Argument::Role => "role",
            Argument::Ticket => "ticket",
            Argument::Worker => "worker",
            Argument::Test => "test",
            Argument::Count => "count",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Empty => f.write_str("empty command"),
            ParseError::EmbeddedNewline => f.write_str("embedded newline"),
            ParseError::UnknownVerb => f.write_str("unsupported console command"),
            ParseError::Missing(argument) => write!(f, "missing required argument: {}", argument.label()),
            ParseError::TooLong(argument) => {
                write!(f, "argument {} exceeds allowed length", argument.label())
            }
            ParseError::Invalid(argument) => write!(f, "invalid value for argument {}", argument.label()),
            ParseError::LineTooLong => f.write_str("console line exceeded maximum length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LINE_BYTES;
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};

    fn check(line: &str, want: Result<Command<'_>, &str>) {
        let mut scratch = [0; LINE_BYTES];
        let got = parse(line, &mut scratch);
        assert_eq!(
            got.map_err(|error| error.to_string()),
            want.map_err(String::from),
            "{line:?}"
        );
    }

    #[test]
    fn verbs_and_arguments() {
        let log = "/log/queen.log";
        for (line, want) in [
            ("PING", Command::Ping),
            ("  ping  ", Command::Ping),
            ("PING please", Command::Ping),
            ("help", Command::Help),
            ("TEST", Command::Test),
            ("NETTEST x", Command::NetTest),
            ("netstats", Command::NetStats),
            ("BI", Command::BootInfo),
            ("CAPS", Command::Caps),
            ("MEM", Command::Mem),
            ("CACHELOG", Command::CacheLog { count: None }),
            ("CACHELOG 12 x", Command::CacheLog { count: Some(12) }),
            ("LOG", Command::Log),
            ("quit", Command::Quit),
            (
                "ATTACH queen ",
                Command::Attach {
                    role: "queen",
                    ticket: None,
                },
            ),
            (
                "ATTACH  Worker  abc  def",
                Command::Attach {
                    role: "Worker",
                    ticket: Some("abc"),
                },
            ),
            ("LS / extra", Command::Ls { path: "/" }),
            ("CAT /log/queen.log", Command::Cat { path: log }),
            ("tail   /log/queen.log", Command::Tail { path: log }),
            (
                "ECHO /log/queen.log   two  words ",
                Command::Echo {
                    path: log,
                    payload: "two  words",
                },
            ),
            (
                "SPAWN {\"spawn\": 1}",
                Command::Spawn {
                    json: "{\"spawn\": 1}",
                },
            ),
            ("KILL worker-1 now", Command::Kill { id: "worker-1" }),
        ] {
            check(line, Ok(want));
            let mut scratch = [0; LINE_BYTES];
            let verb = parse(line, &mut scratch).unwrap().verb();
            assert!(line.trim().to_uppercase().starts_with(verb) || verb == "BOOTINFO");
        }
    }

    #[test]
    fn control_characters_vanish() {
        check("LS /lo\x01g", Ok(Command::Ls { path: "/log" }));
        check(
            "ECHO /a one\ttwo\x7f\0",
            Ok(Command::Echo {
                path: "/a",
                payload: "onetwo",
            }),
        );
        check("PING\r", Ok(Command::Ping));
        check(
            "ECHO /a käse",
            Ok(Command::Echo {
                path: "/a",
                payload: "käse",
            }),
        );
    }

    #[test]
    fn the_texts_of_wire_1_3() {
        let long = |n: usize| "x".repeat(n);
        for (line, want) in [
            (String::new(), "empty command"),
            ("   ".into(), "empty command"),
            ("\t\r".into(), "empty command"),
            ("LS /log\n".into(), "empty command"),
            ("LS /log\r\n ".into(), "empty command"),
            ("PING\nPING".into(), "embedded newline"),
            ("\nPING".into(), "embedded newline"),
            ("FLY".into(), "unsupported console command"),
            ("PINGPONG".into(), "unsupported console command"),
            ("LS".into(), "missing required argument: path"),
            ("cat ".into(), "missing required argument: path"),
            ("TAIL".into(), "missing required argument: path"),
            ("ECHO".into(), "missing required argument: path"),
            ("ECHO /log/queen.log".into(), "missing required argument: payload"),
            (
                "ECHO /log/queen.log  ".into(),
                "missing required argument: payload",
            ),
            ("SPAWN".into(), "missing required argument: payload"),
            ("ATTACH".into(), "missing required argument: role"),
            ("KILL".into(), "missing required argument: worker"),
            (
                format!("LS /{}", long(96)),
                "argument path exceeds allowed length",
            ),
            (
                format!("ECHO /{} x", long(96)),
                "argument path exceeds allowed length",
            ),
            (
                format!("ECHO /a {}", long(2049)),
                "argument payload exceeds allowed length",
            ),
            (
                format!("SPAWN {}", long(193)),
                "argument payload exceeds allowed length",
            ),
            (
                format!("ATTACH {}", long(17)),
                "argument role exceeds allowed length",
            ),
            (
                format!("ATTACH queen {}", long(225)),
                "argument ticket exceeds allowed length",
            ),
            (
                format!("KILL {}", long(33)),
                "argument worker exceeds allowed length",
            ),
            ("TEST full".into(), "invalid value for argument test"),
            ("CACHELOG many".into(), "invalid value for argument count"),
            ("CACHELOG +1".into(), "invalid value for argument count"),
            ("CACHELOG 4294967296".into(), "invalid value for argument count"),
        ] {
            check(&line, Err(want));
        }
        assert_eq!(parse("a\tb", &mut [0; 1]), Err(ParseError::LineTooLong));
    }

    #[test]
    fn arguments_at_their_limits() {
        let long = |n: usize| "x".repeat(n);
        let (path, payload) = (long(96), long(2048));
        check(
            &format!("ECHO {path} {payload}"),
            Ok(Command::Echo {
                path: &path,
                payload: &payload,
            }),
        );
        let (role, ticket) = (long(16), long(224));
        check(
            &format!("ATTACH {role} {ticket}"),
            Ok(Command::Attach {
                role: &role,
                ticket: Some(&ticket),
            }),
        );
    }

    proptest! {
        #[test]
        fn echo_keeps_the_inside_of_its_payload(path in "/[!-~]{1,90}", payload in "[!-~]([ -~]{0,200}[!-~])?") {
            let line = format!("echo {path}  {payload} ");
            let mut scratch = [0; LINE_BYTES];
            prop_assert_eq!(parse(&line, &mut scratch), Ok(Command::Echo { path: &path, payload: &payload }));
        }

        #[test]
        fn arbitrary_lines_never_panic(
            verb in "(ECHO|CAT|ATTACH|SPAWN|KILL|CACHELOG|\\PC{0,6})", rest in "(?s).{0,300}", room in 0usize..400,
        ) {
            let line = format!("{verb} {rest}");
            let mut scratch = std::vec![0; room];
            if let Ok(Command::Echo { path, payload }) = parse(&line, &mut scratch) {
                prop_assert!(!path.is_empty() && !payload.is_empty());
                prop_assert!(!payload.bytes().any(|b| b.is_ascii_control()));
            }
        }
    }
}
