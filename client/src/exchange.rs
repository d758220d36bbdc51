//! One command's answer, taken line by line from whatever brings the lines.
//!
//! Answers for the console's order of things: the acknowledgement, content, `END`; long records in C1 groups;
//! `ERR PARSE` and `ERR FRAME` as answers to any command; `PONG`s and acknowledgements that belong to nothing. It does
//! no I/O, so the simulator's client can use it as well as the one over TCP.
//!
//! Never sends, never waits, never retries.

use core::fmt;

use protocol::ack::END;
use protocol::chunk::{self, ChunkError, Reassembler};

use crate::reply::{Ack, Reply};
use crate::request::{Request, Shape};

/// Collects the answer to one command.
#[derive(Debug)]
pub struct Exchange<'a> {
    request: &'a Request,
    ack: Option<Ack>,
    lines: Vec<String>,
    bytes: usize,
    max_bytes: usize,
    // From the first line of a C1 group on. Most answers have none.
    groups: Option<Box<Reassembler>>,
}

/// Whether an answer is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More lines are to come.
    Open,
    /// That was its last line.
    Complete,
}

impl<'a> Exchange<'a> {
    /// An exchange whose command is about to be sent, and whose answer may have `max_bytes` of content.
    pub fn new(request: &'a Request, max_bytes: usize) -> Self {
        Self {
            request,
            ack: None,
            lines: Vec::new(),
            bytes: 0,
            max_bytes,
            groups: None,
        }
    }

    /// Takes the next line. `pongs` is the session's account of `PONG`s still due, see [`Pongs`].
    pub fn line(&mut self, line: &str, pongs: &mut Pongs) -> Result<Progress, ProtocolError> {
        let is_pong = line == "PONG" && pongs.take(self.request.verb() == "PING" || self.is_fenced());
        if is_pong {
            return Ok(Progress::Open);
        }
        match parse_ack(line) {
            Some(ack) => Ok(self.acknowledgement(ack, pongs)),
            None => self.text(line),
        }
    }

    /// The answer, once it is complete.
    pub fn finish(self) -> Option<Reply> {
        let ack = self.ack?;
        let lines = if ack.is_ok() { self.lines } else { Vec::new() };
        Some(Reply { ack, lines })
    }

    fn is_fenced(&self) -> bool {
        self.request.shape() == Shape::Fenced
    }

    fn acknowledgement(&mut self, ack: Ack, pongs: &mut Pongs) -> Progress {
        let verb = ack.verb();
        let is_fence = self.is_fenced() && self.ack.is_some() && verb.eq_ignore_ascii_case("PING");
        if verb.eq_ignore_ascii_case("PING") && ack.is_ok() && (is_fence || self.request.verb() == "PING") {
            pongs.owe();
        }
        if is_fence {
            return Progress::Complete;
        }
        let for_any = !ack.is_ok() && (matches!(verb, "PARSE" | "FRAME" | "") || verb.contains('='));
        if !for_any && !verb.eq_ignore_ascii_case(self.request.verb()) {
            // It belongs to a command that nobody waits for any more.
            return Progress::Open;
        }
        let streaming = self.ack.is_some();
        if streaming && ack.is_ok() {
            return Progress::Open;
        }
        let refused = !ack.is_ok();
        self.ack = Some(ack);
        match self.request.shape() {
            Shape::Line => Progress::Complete,
            Shape::Stream if refused => Progress::Complete,
            Shape::Stream | Shape::Fenced => Progress::Open,
        }
    }

    fn text(&mut self, line: &str) -> Result<Progress, ProtocolError> {
        if self.ack.is_none() {
            // Unsolicited text, or the rest of an answer that nobody waits for any more.
            return Ok(Progress::Open);
        }
        if self.is_fenced() {
            return self.keep(line.to_owned());
        }
        if line == END {
            let finished = self.groups.as_ref().map_or(Ok(()), |groups| groups.finish());
            return finished
                .map(|()| Progress::Complete)
                .map_err(ProtocolError::Record);
        }
        if line.starts_with(chunk::PREFIX) {
            self.groups.get_or_insert_default();
        }
        let record = match &mut self.groups {
            Some(groups) => groups
                .push(line)
                .map_err(ProtocolError::Record)?
                .map(str::to_owned),
            None => Some(line.to_owned()),
        };
        match record {
            Some(record) => self.keep(record),
            None => Ok(Progress::Open),
        }
    }

    fn keep(&mut self, line: String) -> Result<Progress, ProtocolError> {
        // A blank line costs memory too.
        self.bytes += line.len() + size_of::<String>();
        if self.bytes > self.max_bytes {
            return Err(ProtocolError::TooLong { max: self.max_bytes });
        }
        self.lines.push(line);
        Ok(Progress::Open)
    }
}

/// How many `PONG` lines are still due. A `PONG` comes behind `OK PING` (before it, say some documents), so the last
/// one of a session is often read during the next command, where it must not be taken for content.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pongs {
    // Negative: PONGs that came before their OK PING.
    due: i32,
}

impl Pongs {
    /// An `OK PING` was seen.
    pub(crate) fn owe(&mut self) {
        self.due = self.due.saturating_add(1);
    }

    /// A `PONG` was seen; says whether it belongs to a `PING`. `may_be_early`: one is being waited for.
    pub(crate) fn take(&mut self, may_be_early: bool) -> bool {
        if self.due <= 0 && !may_be_early {
            return false;
        }
        self.due = self.due.saturating_sub(1);
        true
    }
}

/// The line as an acknowledgement, if it is one. A lone `ERR` counts: some servers say no more.
pub(crate) fn parse_ack(line: &str) -> Option<Ack> {
    let rest = line.strip_prefix("OK ").or_else(|| line.strip_prefix("ERR "));
    (rest.is_some() || line == "ERR").then(|| Ack::new(line))
}

/// How a peer broke the console's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// A frame that no client accepts.
    Frame(protocol::frame::FrameError),
    /// A long record that does not fit together.
    Record(ChunkError),
    /// An answer longer than the session keeps.
    TooLong {
        /// The session's limit, bytes.
        max: usize,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(why) => write!(f, "{why}"),
            Self::Record(why) => write!(f, "{why}"),
            Self::TooLong { max } => write!(
                f,
                "the answer exceeds {max} bytes; read a smaller file or raise the limit"
            ),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `lines`; gives the reply and how many lines it took.
    fn answer(command: &str, lines: &[&str]) -> Option<(Reply, usize)> {
        let request = Request::new(command).unwrap();
        let (mut exchange, mut pongs) = (Exchange::new(&request, 10_000), Pongs::default());
        for (i, line) in lines.iter().enumerate() {
            if exchange.line(line, &mut pongs).unwrap() == Progress::Complete {
                return Some((exchange.finish().unwrap(), i + 1));
            }
        }
        None
    }

    #[test]
    fn where_answers_end() {
        for (command, lines, taken) in [
            ("PING", &["OK PING reply=pong", "PONG"][..], Some(1)),
            ("LS /", &["OK LS path=/ entries=1", "a", "END"], Some(3)),
            ("LS /", &["ERR LS reason=policy", "x"], Some(1)),
            ("LS /", &["OK LS path=/ entries=1", "a"], None),
            ("ls /", &["ok ls", "OK ls path=/", "END"], Some(3)),
            ("ECHO /f x", &["OK ECHO path=/f bytes=1"], Some(1)),
            (
                "ECHO /f x",
                &["ERR PARSE reason=policy detail=empty command"],
                Some(1),
            ),
            ("ECHO /f x", &["ERR FRAME reason=invalid-length"], Some(1)),
            (
                "ECHO /f x",
                &["OK PARSE", "ERR LS reason=policy", "END", "text"],
                None,
            ),
            ("ECHO /f x", &["ERR"], Some(1)),
            ("ECHO /f x", &["ERR reason=policy"], Some(1)),
            (
                "MEM",
                &["OK MEM", "[mem] x", "OK PING reply=pong", "PONG"],
                Some(3),
            ),
            ("x", &["ERR PARSE reason=policy", "OK PING reply=pong"], Some(2)),
            ("bi", &["OK BOOTINFO", "[bi]", "OK PING"], Some(3)),
        ] {
            assert_eq!(
                answer(command, lines).map(|(_, taken)| taken),
                taken,
                "{command}: {lines:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn content_comes_through_whatever_is_strewn_between(
            content in prop::collection::vec("[a-z]{0,4}", 0..8),
            strewn in prop::collection::vec((0usize..9, "(OK|ERR) (LS|ECHO|QUIT)( [a-z]{1,4})?"), 0..6),
        ) {
            let mut lines: Vec<&str> = content.iter().map(String::as_str).collect();
            for (at, line) in &strewn {
                lines.insert((*at).min(lines.len()), line);
            }
            lines.insert(0, "OK CAT path=/f data=x");
            lines.push("END");
            let (reply, taken) = answer("CAT /f", &lines).unwrap();
            prop_assert_eq!(&reply.lines, &content);
            prop_assert_eq!(taken, lines.len());
        }

        #[test]
        fn any_lines_give_an_answer_an_error_or_nothing(
            command in "(LS|PING|HELP|ECHO) /f x",
            lines in prop::collection::vec("(OK |ERR |C1:|END|PONG)?(PING|LS|PARSE)?\\PC{0,9}", 0..20),
        ) {
            let request = Request::new(command).unwrap();
            let (mut exchange, mut pongs) = (Exchange::new(&request, 50), Pongs::default());
            for line in &lines {
                match exchange.line(line, &mut pongs) {
                    Ok(Progress::Open) => {}
                    Ok(Progress::Complete) => {
                        prop_assert!(exchange.finish().is_some());
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }
}
