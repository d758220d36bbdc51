//! Acknowledgements: `OK <VERB> ..`, `ERR <VERB> reason=..`, `END` (WIRE 1.3).
//!
//! Answers for rendering them on the server and telling them from content on the client. A field is
//! written whole or left out. It never sends anything.

use core::fmt;

use crate::command::ParseError;
use crate::lifecycle::State;
use crate::line::Line;
use crate::refusal::Refusal;

/// The line that ends every stream.
pub const END: &str = "END";
/// The answer to the right token: exactly this line, no detail.
pub const OK_AUTH: &str = "OK AUTH";
/// The answer to a frame over the limits; the session stays.
pub const FRAME_TOO_LONG: &str = "ERR FRAME reason=invalid-length";
/// Bytes that hold any ack of a console path; acks that carry a payload need more.
pub const ACK_BYTES: usize = 512;

/// Why AUTH was refused; the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// A wrong frame, or a line of another length than `AUTH <token>`.
    InvalidLength,
    /// Another verb than AUTH.
    ExpectedToken,
    /// Not the token.
    InvalidToken,
}

impl AuthError {
    /// The line to send.
    pub const fn line(self) -> &'static str {
        match self {
            AuthError::InvalidLength => "ERR AUTH reason=invalid-length",
            AuthError::ExpectedToken => "ERR AUTH reason=expected-token",
            AuthError::InvalidToken => "ERR AUTH reason=invalid-token",
        }
    }
}

/// `OK <VERB>`, to which fields may be added.
pub fn ok<'b>(out: &'b mut [u8], verb: &str) -> Line<'b> {
    start(out, "OK", verb)
}

/// `ERR PARSE reason=policy detail=<text>`.
pub fn parse_error<'b>(out: &'b mut [u8], error: &ParseError) -> &'b str {
    let mut line = start(out, "ERR", "PARSE");
    put(&mut line, "reason", "policy");
    put(&mut line, "detail", error);
    line.finish()
}

/// A refusal with what belongs to this one occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Why.
    pub refusal: Refusal,
    /// The path asked for, told if the refusal concerns it.
    pub path: Option<&'a str>,
    /// Milliseconds to wait, for limiters.
    pub delay_ms: Option<u64>,
    /// The lifecycle state that closed a gate.
    pub state: Option<State>,
    /// The word after `unsupported command: `.
    pub word: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// A refusal without a path.
    pub const fn new(refusal: Refusal) -> Report<'a> {
        Report {
            refusal,
            path: None,
            delay_ms: None,
            state: None,
            word: None,
        }
    }

    /// A refusal that concerns `path`.
    pub const fn of_path(refusal: Refusal, path: &'a str) -> Report<'a> {
        Report {
            path: Some(path),
            ..Report::new(refusal)
        }
    }

    /// `ERR <VERB> reason=.. detail=.. state=.. delay_ms=.. path=.. error=..`, in this order, those
    /// that the refusal has. A field that does not fit `out` is left out whole; [`ACK_BYTES`] hold all.
    pub fn render<'b>(&self, out: &'b mut [u8], verb: &str) -> &'b str {
        let refusal = self.refusal;
        let mut line = start(out, "ERR", verb);
        put(&mut line, "reason", refusal.reason());
        if let Some(detail) = refusal.detail() {
            put(&mut line, "detail", detail);
        }
        if let Some(state) = self.state {
            put(&mut line, "state", state);
        }
        if let Some(delay_ms) = self.delay_ms {
            put(&mut line, "delay_ms", delay_ms);
        }
        if let Some(path) = self.path.filter(|_| refusal.names_path()) {
            put(&mut line, "path", path);
        }
        match (refusal.error_text(), self.word) {
            (Some(error), Some(word)) if refusal == Refusal::Unsupported => {
                put(&mut line, "error", format_args!("{error}: {word}"));
            }
            (Some(error), _) => put(&mut line, "error", error),
            (None, _) => {}
        }
        line.finish()
    }
}

fn start<'b>(out: &'b mut [u8], status: &str, verb: &str) -> Line<'b> {
    let mut line = Line::new(out);
    // A buffer too short for its verb gives an empty line, which no client takes for an ack.
    let _ = line.put(format_args!("{status} {verb}"));
    line
}

/// Adds a field, or leaves it out whole.
fn put(line: &mut Line<'_>, key: &str, value: impl fmt::Display) {
    let _ = line.field(key, value);
}

/// What a client makes of a line from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `OK <VERB> [detail]`
    Ok {
        /// Which command it answers, upper case from our server.
        verb: &'a str,
        /// What follows; may be empty.
        detail: &'a str,
    },
    /// `ERR <VERB> [detail]`
    Err {
        /// Which command it answers, or AUTH, PARSE, FRAME.
        verb: &'a str,
        /// What follows; see [`field`].
        detail: &'a str,
    },
    /// The end of a stream.
    End,
    /// A content line.
    Text(&'a str),
}

impl<'a> Reply<'a> {
    /// Reads a line, carriage returns and newlines at its ends removed.
    pub fn parse(line: &'a str) -> Reply<'a> {
        let line = line.trim_matches(['\r', '\n']);
        if line == END {
            return Reply::End;
        }
        let split = |rest: &'a str| {
            let (verb, detail) = rest.split_once(' ').unwrap_or((rest, ""));
            (!verb.is_empty()).then_some((verb, detail))
        };
        if let Some((verb, detail)) = line.strip_prefix("OK ").and_then(split) {
            return Reply::Ok { verb, detail };
        }
        if let Some((verb, detail)) = line.strip_prefix("ERR ").and_then(split) {
            return Reply::Err { verb, detail };
        }
        Reply::Text(line)
    }
}

/// The value of a field of an ack's detail. `data`, `error` and `payload` are last and go to the end of
/// the line; any other value ends before the next ` key=`.
pub fn field<'a>(detail: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = detail;
    loop {
        let (name, value) = rest.split_once('=')?;
        if matches!(name, "data" | "error" | "payload") {
            return (name == key).then_some(value);
        }
        let end = next_key(value);
        if name == key {
            return value.get(..end);
        }
        rest = value.get(end..)?.strip_prefix(' ')?;
    }
}

/// Where ` key=` begins in `text`, or its end.
fn next_key(text: &str) -> usize {
    let spaces = text.match_indices(' ').map(|(at, _)| at);
    let is_key = |at: &usize| {
        let word = text.get(at + 1..).unwrap_or_default();
        let name = word.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        name.starts_with('=') && !word.starts_with('=')
    };
    let mut keys = spaces.filter(is_key);
    keys.next().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Reason;
    use proptest::prelude::*;

    fn render(report: Report<'_>, verb: &str) -> std::string::String {
        report.render(&mut [0; ACK_BYTES], verb).into()
    }

    /// The examples of WIRE 1.3 and 1.4.
    #[test]
    fn refusals_read_as_documented() {
        let path = Report::of_path;
        for (report, verb, want) in [
            (
                path(Refusal::InvalidPath, "/nope"),
                "CAT",
                "ERR CAT reason=policy detail=invalid-path path=/nope error=invalid path",
            ),
            (
                path(Refusal::Denied, "/queen/lifecycle/ctl"),
                "ECHO",
                "ERR ECHO reason=policy detail=denied path=/queen/lifecycle/ctl error=EPERM",
            ),
            (
                path(Refusal::InvalidPayload, "/queen/ctl"),
                "ECHO",
                "ERR ECHO reason=policy detail=invalid-payload path=/queen/ctl error=invalid payload",
            ),
            (
                path(Refusal::TicketLimit, "/log/queen.log"),
                "CAT",
                "ERR CAT reason=quota path=/log/queen.log error=ELIMIT",
            ),
            (
                path(Refusal::TicketScope, "/log/queen.log"),
                "ECHO",
                "ERR ECHO reason=policy path=/log/queen.log error=EPERM",
            ),
            (
                path(Refusal::Unauthenticated, "/log"),
                "LS",
                "ERR LS reason=policy detail=unauthenticated",
            ),
            (
                path(Refusal::Cut, "/log"),
                "LS",
                "ERR LS reason=cut detail=root-unreachable",
            ),
            (
                Report::new(Refusal::TicketRejected),
                "ATTACH",
                "ERR ATTACH reason=policy detail=denied",
            ),
            (
                Report::new(Refusal::TicketExpired),
                "ATTACH",
                "ERR ATTACH reason=quota detail=expired",
            ),
            (
                Report::new(Refusal::InvalidRole),
                "ATTACH",
                "ERR ATTACH reason=policy detail=invalid-role",
            ),
            (
                Report {
                    delay_ms: Some(250),
                    ..Report::new(Refusal::Throttled)
                },
                "ATTACH",
                "ERR ATTACH reason=quota detail=throttled delay_ms=250",
            ),
            (
                Report {
                    state: Some(State::Draining),
                    ..Report::new(Refusal::LifecycleDenied)
                },
                "ATTACH",
                "ERR ATTACH reason=policy detail=lifecycle-denied state=DRAINING",
            ),
            (
                Report {
                    word: Some("FLY"),
                    ..Report::new(Refusal::Unsupported)
                },
                "CAT",
                "ERR CAT reason=policy detail=unsupported error=unsupported command: FLY",
            ),
            (
                path(Refusal::OwnerDown, "/queen/ctl"),
                "ECHO",
                "ERR ECHO reason=busy detail=unavailable path=/queen/ctl error=owner restarting",
            ),
        ] {
            assert_eq!(render(report, verb), want);
        }
    }

    #[test]
    fn a_field_is_whole_or_absent() {
        let report = Report::of_path(Refusal::InvalidPath, "/a/rather/long/path");
        let want = "ERR LS reason=policy detail=invalid-path error=invalid path";
        assert_eq!(report.render(&mut [0; 64], "LS"), want);
        assert_eq!(report.render(&mut [0; 4], "LS"), "");
    }

    #[test]
    fn the_longest_refusal_of_a_console_path_fits() {
        let path = "x".repeat(crate::limits::CONSOLE_PATH_BYTES);
        for &refusal in Refusal::ALL {
            let report = Report {
                path: Some(&path),
                delay_ms: Some(u64::MAX),
                state: Some(State::Degraded),
                word: Some("UNSUPPORTED"),
                ..Report::new(refusal)
            };
            let line = render(report, "BOOTINFO");
            assert!(line.contains(" delay_ms=") && line.contains(" state="), "{line}");
            let error = field(line.strip_prefix("ERR BOOTINFO ").unwrap(), "error");
            assert_eq!(error.is_some(), refusal.error_text().is_some(), "{line}");
        }
    }

    #[test]
    fn parse_and_other_errors() {
        let mut out = [0; ACK_BYTES];
        assert_eq!(
            parse_error(&mut out, &ParseError::Empty),
            "ERR PARSE reason=policy detail=empty command"
        );
        let mut line = ok(&mut out, "LS");
        assert!(line.field("path", "/").is_ok() && line.field("entries", 3).is_ok());
        assert_eq!(line.finish(), "OK LS path=/ entries=3");
        assert_eq!(AuthError::InvalidToken.line(), "ERR AUTH reason=invalid-token");
    }

    #[test]
    fn clients_tell_acks_from_text() {
        let text = Reply::Text;
        for (line, want) in [
            (
                "OK AUTH",
                Reply::Ok {
                    verb: "AUTH",
                    detail: "",
                },
            ),
            (
                "OK LS path=/ entries=1\r\n",
                Reply::Ok {
                    verb: "LS",
                    detail: "path=/ entries=1",
                },
            ),
            (
                "ERR PARSE reason=policy",
                Reply::Err {
                    verb: "PARSE",
                    detail: "reason=policy",
                },
            ),
            ("END", Reply::End),
            ("END\r", Reply::End),
            ("", text("")),
            ("OK", text("OK")),
            ("OK  X", text("OK  X")),
            ("PONG", text("PONG")),
            (" END", text(" END")),
        ] {
            assert_eq!(Reply::parse(line), want, "{line:?}");
        }
    }

    #[test]
    fn fields() {
        let detail = "reason=policy detail=invalid-path path=/nope error=invalid path=x";
        assert_eq!(field(detail, "reason"), Some("policy"));
        assert_eq!(field(detail, "path"), Some("/nope"));
        assert_eq!(field(detail, "error"), Some("invalid path=x"));
        assert_eq!(field(detail, "data"), None);
        assert_eq!(
            field("reason=policy detail=missing required argument: path", "detail"),
            Some("missing required argument: path")
        );
        assert_eq!(
            field("path=/proc/lifecycle/state data=state=ONLINE", "data"),
            Some("state=ONLINE")
        );
        assert_eq!(field("path=/a data=", "data"), Some(""));
        assert_eq!(field("path=/a data=state=ONLINE", "state"), None);
        assert_eq!(field("", "path"), None);
        assert_eq!(Reason::Busy.label(), "busy");
    }

    proptest! {
        #[test]
        fn whatever_is_rendered_is_read_back(
            refusal in proptest::sample::select(Refusal::ALL), path in "/[a-z/.]{0,40}", delay_ms: Option<u64>,
        ) {
            let line = render(Report { delay_ms, ..Report::of_path(refusal, &path) }, "CAT");
            let Reply::Err { verb: "CAT", detail } = Reply::parse(&line) else { panic!("{line}") };
            prop_assert_eq!(field(detail, "reason"), Some(refusal.reason().label()));
            prop_assert_eq!(field(detail, "detail"), refusal.detail());
            prop_assert_eq!(field(detail, "path"), refusal.names_path().then_some(&path[..]));
            prop_assert_eq!(field(detail, "error"), refusal.error_text());
        }

        #[test]
        fn arbitrary_lines_never_panic(line in "(?s).{0,60}", key in "[a-z]{1,5}") {
            let _ = (Reply::parse(&line), field(&line, &key));
        }

        #[test]
        fn what_a_client_takes_for_an_ack_is_ambiguous(line in "(OK |ERR |END|C1:)?.{0,5}") {
            if !matches!(Reply::parse(&line), Reply::Text(_)) {
                prop_assert!(crate::chunk::is_ambiguous(&line));
            }
        }
    }
}
