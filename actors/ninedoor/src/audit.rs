//! The words of the log: what is refused, by whom it was asked, and how paths are shown.
//!
//! Answers for the line formats of WIRE 2.7 and 4.3 that the door writes, and for the one error type of its own
//! operations.
//!
//! Never writes the log; never lets a name that a client chose look like a field or a line of its own.

use core::fmt::{self, Write};

use ninep::Errno;
use protocol::refusal::Refusal;

use crate::usage::Denial;

/// Bytes of a line that the door writes itself: a path of 255 bytes, each escaped, and the fields around it.
pub(crate) const AUDIT_BYTES: usize = 1536;

/// What a client wanted to do, in the console's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// To reach a file.
    Walk,
    /// To list a directory.
    List,
    /// To read a file.
    Read,
    /// To read telemetry.
    Tail,
    /// To write.
    Write,
}

impl Verb {
    /// The word after `verb=`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Walk => "WALK",
            Self::List => "LS",
            Self::Read => "CAT",
            Self::Tail => "TAIL",
            Self::Write => "ECHO",
        }
    }
}

/// Why the door did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fail {
    /// It refuses.
    Refused(Refusal),
    /// The session's ticket does not allow it.
    Ticket(Denial),
    /// The view that a fid had is gone: the ring has overtaken it, or its buffer was needed.
    Overtaken,
    /// The owner of the file refused, and has counted it.
    Owner(Errno),
}

impl From<Refusal> for Fail {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Denial> for Fail {
    fn from(denial: Denial) -> Self {
        Self::Ticket(denial)
    }
}

impl Fail {
    /// The door's own refusal, to be counted; `None` for what is none, or not the door's.
    pub(crate) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Ticket(Denial::Scope) => Some(Refusal::TicketScope),
            Self::Ticket(Denial::Expired { .. }) => Some(Refusal::TicketExpired),
            Self::Ticket(_) => Some(Refusal::TicketLimit),
            Self::Overtaken | Self::Owner(_) => None,
        }
    }

    /// What the client is answered.
    pub(crate) fn errno(self) -> Errno {
        match self {
            Self::Overtaken => Errno::ESTALE,
            Self::Owner(errno) => errno,
            _ => self
                .refusal()
                .map_or(Errno::EIO, |refusal| Errno::from_raw(refusal.to_errno())),
        }
    }

    /// Whether it belongs into the log: every denial, and whatever became of a write. Looking for what is not there
    /// and reading while an owner restarts are read traffic.
    pub(crate) fn is_loud(self, verb: Verb) -> bool {
        let quiet = match self {
            Self::Refused(refusal) => {
                matches!(refusal, Refusal::InvalidPath | Refusal::OwnerDown | Refusal::Busy)
            }
            Self::Ticket(_) => false,
            Self::Overtaken | Self::Owner(_) => true,
        };
        verb == Verb::Write || !quiet
    }
}

/// A text shown in a log line: what could end a field or a line is shown as `\xNN`.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() || c.is_whitespace() || c == '\\' {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes)
                    .bytes()
                    .try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// One line being composed. What does not fit is cut; a control character becomes `?`.
#[derive(Default)]
pub(crate) struct AuditLine(heapless::String<AUDIT_BYTES>);

impl AuditLine {
    /// The composed line.
    pub(crate) fn of(line: fmt::Arguments<'_>) -> Self {
        let mut composed = Self::default();
        // A line that is too long is cut, which is what the error says.
        let _ = composed.write_fmt(line);
        composed
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Write for AuditLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| {
            self.0
                .push(if c.is_control() { '?' } else { c })
                .map_err(|_| fmt::Error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_name_can_forge_neither_a_field_nor_a_line() {
        assert_eq!(
            Shown("/a b\nc\\d\u{2003}").to_string(),
            "/a\\x20b\\x0ac\\x5cd\\xe2\\x80\\x83"
        );
        assert_eq!(AuditLine::of(format_args!("a\nb\tc")).as_str(), "a?b?c");
        let long = "é".repeat(AUDIT_BYTES);
        assert_eq!(AuditLine::of(format_args!("{long}")).as_str().len(), AUDIT_BYTES);
    }

    #[test]
    fn denials_travel_as_their_errno() {
        for (fail, errno) in [
            (Fail::Ticket(Denial::Scope), Errno::EACCES),
            (Fail::Ticket(Denial::Rate { limit_per_s: 1 }), Errno::EDQUOT),
            (
                Fail::Ticket(Denial::Expired {
                    issued_at_ms: 0,
                    ttl_s: 0,
                    now_ms: 0,
                }),
                Errno::EKEYEXPIRED,
            ),
            (Fail::Refused(Refusal::InvalidPath), Errno::ENOENT),
            (Fail::Refused(Refusal::Cut), Errno::ENETUNREACH),
            (Fail::Overtaken, Errno::ESTALE),
            (Fail::Owner(Errno::EINVAL), Errno::EINVAL),
        ] {
            assert_eq!(fail.errno(), errno);
        }
    }

    #[test]
    fn looking_for_what_is_not_there_is_quiet_and_writing_to_it_is_not() {
        let missing = Fail::Refused(Refusal::InvalidPath);
        assert!(!missing.is_loud(Verb::Read) && missing.is_loud(Verb::Write));
        assert!(Fail::Refused(Refusal::Denied).is_loud(Verb::List));
        assert!(Fail::Ticket(Denial::Scope).is_loud(Verb::Walk));
    }
}
