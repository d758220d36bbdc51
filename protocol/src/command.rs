//! The console's grammar: one line becomes one command or a parse error (WIRE 1.5, 1.6).
//!
//! Answers for verbs, arguments and their limits, and for the exact `ERR PARSE` texts. It never
//! checks a role, a path's syntax or a payload's meaning.

use core::fmt;

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
pub fn parse<'a>(_line: &'a str, _scratch: &'a mut [u8]) -> Result<Command<'a>, ParseError> {
    unimplemented!()
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
