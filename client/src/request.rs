//! Commands on their way out: the line, and what kind of answer it will get.
//!
//! Answers for which verbs stream up to `END`, which are answered by one line, and which have no end of their own; and
//! for which verbs change nothing, so that they may be sent twice. Never checks arguments: the hive does.

use core::fmt;

/// The kind of answer a verb gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One acknowledgement.
    Line,
    /// An acknowledgement; if it is `OK`, content lines and `END`.
    Stream,
    /// An acknowledgement and text lines without an end. A `PING` is sent behind it: its answer is the end.
    Fenced,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    line: String,
    verb: String,
}

impl Request {
    /// A command as the console takes it. A line break inside is refused: the console has one command a frame.
    pub fn new(line: impl Into<String>) -> Result<Self, RequestError> {
        let line = line.into();
        if let Some(at) = line.find(['\n', '\r']) {
            return Err(RequestError::LineBreak { at });
        }
        let verb = line.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
        // The one verb that is acknowledged by another name.
        let verb = if verb == "BI" { "BOOTINFO".to_owned() } else { verb };
        Ok(Self { line, verb })
    }

    /// The line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The verb as an acknowledgement will name it.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// The kind of answer.
    pub fn shape(&self) -> Shape {
        match self.verb.as_str() {
            "LS" | "CAT" | "TAIL" | "LOG" => Shape::Stream,
            "ECHO" | "SPAWN" | "KILL" | "ATTACH" | "PING" | "QUIT" => Shape::Line,
            _ => Shape::Fenced,
        }
    }

    /// Whether executing it twice is the same as once.
    pub fn is_read(&self) -> bool {
        !matches!(self.verb.as_str(), "ECHO" | "SPAWN" | "KILL" | "NETTEST" | "TEST")
    }

    /// Its bytes on the wire, fence included.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        frame(&self.line, out);
        if self.shape() == Shape::Fenced {
            frame("PING", out);
        }
    }
}

/// Appends the frame of `line`. Lines over a hive's limits are framed as well: the hive answers `ERR FRAME`, and
/// scripts test that it does.
pub(crate) fn frame(line: &str, out: &mut Vec<u8>) {
    let total = u32::try_from(line.len() + protocol::limits::FRAME_HEADER_BYTES).unwrap_or(u32::MAX);
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(line.as_bytes());
}

/// Why a text is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// It has a line break.
    LineBreak {
        /// Its position, bytes from the start.
        at: usize,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineBreak { at } => write!(f, "line break at byte {at}; send one line at a time"),
        }
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_what_answers_them() {
        for (line, verb, shape, read) in [
            ("ls /", "LS", Shape::Stream, true),
            ("CAT /proc/boot", "CAT", Shape::Stream, true),
            ("LOG", "LOG", Shape::Stream, true),
            ("ECHO /log/queen.log x", "ECHO", Shape::Line, false),
            ("ping", "PING", Shape::Line, true),
            ("bi", "BOOTINFO", Shape::Fenced, true),
            ("HELP", "HELP", Shape::Fenced, true),
            ("frobnicate", "FROBNICATE", Shape::Fenced, true),
            ("", "", Shape::Fenced, true),
        ] {
            let request = Request::new(line).unwrap();
            assert_eq!(
                (request.verb(), request.shape(), request.is_read()),
                (verb, shape, read),
                "{line:?}"
            );
        }
    }

    #[test]
    fn one_line_at_a_time() {
        assert_eq!(
            Request::new("PING\nPING").unwrap_err(),
            RequestError::LineBreak { at: 4 }
        );
        assert_eq!(
            Request::new("PING\r").unwrap_err(),
            RequestError::LineBreak { at: 4 }
        );
    }

    #[test]
    fn a_frame_counts_its_own_header() {
        let mut out = Vec::new();
        frame("AUTH changeme", &mut out);
        assert_eq!(out, b"\x11\0\0\0AUTH changeme");
        out.clear();
        Request::new("HELP").unwrap().encode(&mut out);
        assert_eq!(out, b"\x08\0\0\0HELP\x08\0\0\0PING");
    }
}
