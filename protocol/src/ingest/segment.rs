//! Segments: their names, and the line that asks for the next one.
//!
//! Answers for `{"new":"segment","mime":"text/plain"}` and for `seg-000001`. It never decides whether there is room.

use core::fmt;

use serde::Deserialize;

use crate::json::plain;
use crate::line::{Line, NoSpace};

/// Bytes of the longest MIME type.
pub const MIME_BYTES: usize = 64;

/// Asks for a device's next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRequest<'a> {
    /// What its records are: 1 to [`MIME_BYTES`] printable ASCII characters. Nothing is made of it.
    pub mime: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    new: &'a str,
    mime: &'a str,
}

impl<'a> SegmentRequest<'a> {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(line: &'a str) -> Option<SegmentRequest<'a>> {
        let (wire, _) = serde_json_core::from_str::<Wire<'a>>(line.trim()).ok()?;
        let request = SegmentRequest { mime: wire.mime };
        (wire.new == "segment" && request.is_good()).then_some(request)
    }

    /// Writes the line, without a newline, into `out`. `None` if it does not fit or the type is not a good one.
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Option<&'o str> {
        let mut line = Line::new(out);
        let written: Result<(), NoSpace> =
            line.put(format_args!(r#"{{"new":"segment","mime":"{}"}}"#, self.mime));
        (self.is_good() && written.is_ok()).then(|| line.finish())
    }

    fn is_good(&self) -> bool {
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        (1..=MIME_BYTES).contains(&self.mime.len()) && self.mime.bytes().all(printable) && plain(self.mime)
    }
}

/// The name of a device's segment: `seg-` and at least six digits, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId(pub u32);

impl SegmentId {
    /// Reads a name in its one spelling.
    pub fn parse(name: &str) -> Option<SegmentId> {
        let digits = name.strip_prefix("seg-")?;
        let ascii = digits.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = digits.len() == 6 || (digits.len() > 6 && !digits.starts_with('0'));
        let number = digits.parse().ok().filter(|number| *number > 0)?;
        (ascii && canonical).then_some(SegmentId(number))
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seg-{:06}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn the_line_of_wire_4_6() {
        let request = SegmentRequest { mime: "text/plain" };
        let line = r#"{"new":"segment","mime":"text/plain"}"#;
        assert_eq!(line.len(), 37, "WIRE 9.3 counts these bytes");
        assert_eq!(request.render(&mut [0; 64]), Some(line));
        assert_eq!(SegmentRequest::parse(&std::format!("{line}\n")), Some(request));
        assert_eq!(request.render(&mut [0; 36]), None);
    }

    #[test]
    fn other_lines_ask_for_nothing() {
        for line in [
            "",
            "segment",
            r#"{"new":"segments","mime":"text/plain"}"#,
            r#"{"new":"segment"}"#,
            r#"{"mime":"text/plain"}"#,
            r#"{"new":"segment","mime":""}"#,
            r#"{"new":"segment","mime":"a\u0062"}"#,
            r#"{"new":"segment","mime":"é"}"#,
            r#"{"new":"segment","mime":"text/plain","size":1}"#,
            r#"{"new":"segment","new":"segment","mime":"text/plain"}"#,
            r#"{"new":"segment","mime":"text/plain"}{}"#,
        ] {
            assert_eq!(SegmentRequest::parse(line), None, "{line}");
        }
        let long = std::format!(r#"{{"new":"segment","mime":"{}"}}"#, "x".repeat(MIME_BYTES + 1));
        assert_eq!(SegmentRequest::parse(&long), None);
    }

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(SegmentId(1).to_string(), "seg-000001");
        for name in [
            "seg-1",
            "seg-0000001",
            "seg-000000",
            "seg-+00001",
            "seg-",
            "seg-00000a",
            "Seg-000001",
            "seg-99999999999",
        ] {
            assert_eq!(SegmentId::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_survives(number in 1..u32::MAX) {
            prop_assert_eq!(SegmentId::parse(&SegmentId(number).to_string()), Some(SegmentId(number)));
        }

        #[test]
        fn a_request_survives(mime in "[ -!#-\\[\\]-~]{1,64}") {
            let mut out = [0; 128];
            let request = SegmentRequest { mime: &mime };
            let line = request.render(&mut out).unwrap();
            prop_assert_eq!(SegmentRequest::parse(line), Some(request));
        }
    }
}
