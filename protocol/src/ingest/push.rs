//! A record in the envelope that `cohsh` and the public clients push.
//!
//! Answers for `{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"text/plain","payload":".."}`. A client may cut what it
//! pushes into several envelopes; each is read alone, and it never puts them together.

use crate::json::{self, unescape};

/// The schema of an envelope.
pub const PUSH_SCHEMA: &str = "cohsh-telemetry-push/v1";

/// An envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push<'a> {
    /// Which of the push's envelopes it is; from 1.
    pub seq: u64,
    /// What the payload is; may hold JSON escapes.
    pub mime: &'a str,
    /// The payload, as it is escaped in the envelope.
    escaped: &'a str,
}

impl<'a> Push<'a> {
    /// Reads one line; a trailing newline is allowed. Fields other than the four are not.
    pub fn parse(line: &'a str) -> Option<Push<'a>> {
        let (mut schema, mut seq, mut mime, mut payload) = (None, None, None, None);
        json::object(line, |name, value| {
            let twice = match name {
                "schema" => schema.replace(value.text()?).is_some(),
                "seq" => seq.replace(whole(value.number()?)?).is_some(),
                "mime" => mime.replace(value.escaped()?).is_some(),
                "payload" => payload.replace(value.escaped()?).is_some(),
                _ => true,
            };
            (!twice).then_some(())
        })?;
        let push = Push {
            seq: seq.filter(|seq| *seq > 0)?,
            mime: mime?,
            escaped: payload?,
        };
        (schema? == PUSH_SCHEMA).then_some(push)
    }

    /// What is in the envelope, written into `out`, for which the line's length is enough. `None` if it does not fit or
    /// is no text.
    pub fn payload<'o>(&self, out: &'o mut [u8]) -> Option<&'o str> {
        unescape(self.escaped, out)
    }
}

/// A number that counts something.
fn whole(number: f64) -> Option<u64> {
    // Every whole number up to 2^53 is itself as an `f64`; `as` saturates, so nothing else is.
    let counts = (0.0..=9_007_199_254_740_992.0).contains(&number) && (number as u64) as f64 == number;
    counts.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_of_wire_4_6() {
        let line = r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"text/plain","payload":"{\"a\":\"\u00e9\"}\n"}"#;
        let push = Push::parse(line).unwrap();
        assert_eq!((push.seq, push.mime), (1, "text/plain"));
        assert_eq!(push.payload(&mut [0; 64]), Some("{\"a\":\"é\"}\n"));
        assert_eq!(push.payload(&mut [0; 4]), None);
    }

    #[test]
    fn other_lines_are_no_envelope() {
        for line in [
            "",
            "payload",
            r#"{"schema":"cohsh-telemetry-push/v2","seq":1,"mime":"a","payload":"b"}"#,
            r#"{"schema":"cohsh-telemetry-push/v1","seq":0,"mime":"a","payload":"b"}"#,
            r#"{"schema":"cohsh-telemetry-push/v1","seq":1.5,"mime":"a","payload":"b"}"#,
            r#"{"schema":"cohsh-telemetry-push/v1","seq":-1,"mime":"a","payload":"b"}"#,
            r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"payload":"b"}"#,
            r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"a","payload":{}}"#,
            r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"a","payload":"b","x":1}"#,
            r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"a","payload":"b","payload":"c"}"#,
        ] {
            assert_eq!(Push::parse(line), None, "{line}");
        }
    }
}
