//! A record that stands for bytes kept elsewhere.
//!
//! Answers for `{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":16777216,"sha256":"<token>"}`. Whether references follow
//! each other as they should is their segment's to say. It never fetches anything.

use serde::Deserialize;

use crate::json;
use crate::line::Line;

/// The schema of a reference.
pub const REFERENCE_SCHEMA: &str = "coh-ref-c/v1";
/// Bytes of the longest hash.
const TOKEN_BYTES: usize = 128;

/// A piece of a large artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference<'a> {
    schema: &'a str,
    /// Which piece it is; from 1.
    pub seq: u64,
    /// Its offset in the artifact, in bytes.
    pub off: u64,
    /// Its length in bytes; at least 1.
    pub len: u64,
    /// Its SHA-256, in hex or base64.
    pub sha256: &'a str,
}

impl<'a> Reference<'a> {
    /// A piece of an artifact.
    pub fn new(seq: u64, off: u64, len: u64, sha256: &'a str) -> Reference<'a> {
        Reference {
            schema: REFERENCE_SCHEMA,
            seq,
            off,
            len,
            sha256,
        }
    }

    /// Whether a line says that it is a reference, well-formed or not.
    pub fn is_claimed(line: &str) -> bool {
        if !line.contains(REFERENCE_SCHEMA) {
            return false;
        }
        let mut claimed = false;
        let walked = json::object(line, |name, value| {
            claimed |= name == "schema" && value.text() == Some(REFERENCE_SCHEMA);
            Some(())
        });
        walked.is_some() && claimed
    }

    /// Reads one line; a trailing newline is allowed.
    pub fn parse(line: &'a str) -> Option<Reference<'a>> {
        let (reference, _) = serde_json_core::from_str::<Reference<'a>>(line.trim()).ok()?;
        reference.is_good().then_some(reference)
    }

    /// Writes the line, without a newline, into `out`. `None` if it does not fit or no such reference can be.
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Option<&'o str> {
        let Reference {
            schema,
            seq,
            off,
            len,
            sha256,
        } = self;
        let mut line = Line::new(out);
        let text = format_args!(
            r#"{{"schema":"{schema}","seq":{seq},"off":{off},"len":{len},"sha256":"{sha256}"}}"#
        );
        (self.is_good() && line.put(text).is_ok()).then(|| line.finish())
    }

    fn is_good(&self) -> bool {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.:".contains(&byte);
        let hash = (1..=TOKEN_BYTES).contains(&self.sha256.len()) && self.sha256.bytes().all(token);
        hash && self.schema == REFERENCE_SCHEMA
            && self.seq > 0
            && self.len > 0
            && self.off.checked_add(self.len).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_line_of_control_5() {
        let line =
            r#"{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":16777216,"sha256":"47DEQpj8HBSa-_TImW"}"#;
        let reference = Reference::new(1, 0, 16_777_216, "47DEQpj8HBSa-_TImW");
        assert_eq!(Reference::parse(line), Some(reference));
        assert_eq!(reference.render(&mut [0; 128]), Some(line));
        assert!(Reference::is_claimed(line));
    }

    #[test]
    fn a_claim_need_not_be_good() {
        for (line, claimed) in [
            (r#"{"schema":"coh-ref-c/v1"}"#, true),
            (
                r#"{"schema":"coh-ref-c/v1","seq":0,"off":0,"len":1,"sha256":"a"}"#,
                true,
            ),
            (
                r#"{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":0,"sha256":"a"}"#,
                true,
            ),
            (
                r#"{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":1,"sha256":""}"#,
                true,
            ),
            (
                r#"{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":1,"sha256":"a b"}"#,
                true,
            ),
            (
                r#"{"schema":"coh-ref-c/v1","seq":1,"off":18446744073709551615,"len":1,"sha256":"a"}"#,
                true,
            ),
            (
                r#"{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":1,"sha256":"a","x":1}"#,
                true,
            ),
            (r#"{"x":{"schema":"coh-ref-c/v1"}}"#, false),
            (r#"{"schema":"coh-ref-c/v2"}"#, false),
            (r#"{"schema":"coh-ref-c/v1""#, false),
            ("coh-ref-c/v1", false),
        ] {
            assert_eq!(
                (Reference::parse(line), Reference::is_claimed(line)),
                (None, claimed),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_reference_survives(seq in 1..u64::MAX, off in 0..u64::MAX / 2, len in 1..u64::MAX / 2, hash in "[A-Za-z0-9_=-]{1,64}") {
            let mut out = [0; 256];
            let reference = Reference::new(seq, off, len, &hash);
            let line = reference.render(&mut out).unwrap();
            prop_assert_eq!(Reference::parse(line), Some(reference));
        }
    }
}
