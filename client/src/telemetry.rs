//! Telemetry on its way in: texts and files as records of a device's segments.
//!
//! Answers for the envelope `cohsh-telemetry-push/v1` (a text, cut at characters so that each record fits an ECHO, in
//! order, nothing left out), for reference manifests `coh-ref-c/v1` (a file that stays where it is, by hash), and for
//! finding out which segment a device's `ctl` made.
//!
//! Never opens a file, and never decides whether a record may be stored: the hive does.

use std::io::{self, Read};

use protocol::control::ControlError;
use protocol::ingest::{PUSH_SCHEMA, RECORD_BYTES, Reference, SegmentRequest};
use protocol::limits::ECHO_BYTES;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Error, Session};

/// The directory with a directory for each device.
pub const ROOT: &str = "/queen/telemetry";
/// Bytes a segment holds in every hive, each record's newline included (WIRE 4.6); a hive may hold more.
pub const SEGMENT_BYTES: usize = 32_768;
/// Segments a device keeps (WIRE 4.6). A further one makes the hive drop the oldest.
pub const SEGMENTS: usize = 4;
/// Bytes of a file that one line of a reference manifest stands for; the last line may stand for less.
pub const CHUNK_BYTES: u64 = 16 << 20;
/// Bytes that one segment may refer to (CONTROL 5).
pub const REFERENCE_BYTES: u64 = 1 << 30;

/// File name extensions that are text, and the type of what is in such a file.
pub const TEXT_TYPES: [(&str, &str); 5] = [
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("json", "application/json"),
    ("ndjson", "application/x-ndjson"),
    ("csv", "text/csv"),
];

/// A line of a segment: a part of a text.
#[derive(Serialize)]
struct Envelope<'a> {
    schema: &'a str,
    seq: usize,
    mime: &'a str,
    payload: &'a str,
}

/// Makes a new segment for `device` and returns its id.
///
/// # Errors
/// Those of the session, and [`Error::Control`] if `mime` cannot be the type of a segment.
pub async fn new_segment(session: &Session, device: &str, mime: &str) -> Result<String, Error> {
    let base = format!("{ROOT}/{device}");
    let mut line = [0; ECHO_BYTES];
    let request = SegmentRequest { mime };
    let line = request
        .render(&mut line)
        .ok_or(Error::Control(ControlError::Value))?;
    let made = session.echo(&format!("{base}/ctl"), line).await?;
    match made.field("seg_id") {
        Some(segment) => Ok(segment.to_owned()),
        None => Ok(session
            .cat(&format!("{base}/latest"))
            .await?
            .pop()
            .unwrap_or_default()),
    }
}

/// A text as records. An empty text is one record.
pub fn records(text: &str, mime: &str) -> Vec<String> {
    let mut records = Vec::new();
    let mut rest = text;
    loop {
        let seq = records.len() + 1;
        let record = |payload: &str| {
            to_line(&Envelope {
                schema: PUSH_SCHEMA,
                seq,
                mime,
                payload,
            })
        };
        let part = &rest[..fitting(rest, ECHO_BYTES.saturating_sub(record("").len()))];
        records.push(record(part));
        rest = &rest[part.len()..];
        if rest.is_empty() || part.is_empty() {
            return records;
        }
    }
}

/// A file as a manifest: one record for every [`CHUNK_BYTES`] of it.
///
/// # Errors
/// What reading it says.
pub fn reference_records(mut file: impl Read) -> io::Result<Vec<String>> {
    let mut records = Vec::new();
    let mut off = 0;
    loop {
        let mut hash = Sha256::new();
        let len = io::copy(&mut file.by_ref().take(CHUNK_BYTES), &mut hash)?;
        if len == 0 {
            return Ok(records);
        }
        let sha256 = token(&hash.finalize());
        let seq = records.len() as u64 + 1;
        let mut line = [0; RECORD_BYTES];
        let line = Reference::new(seq, off, len, &sha256).render(&mut line);
        records.push(line.unwrap_or_default().to_owned());
        off += len;
    }
}

/// Bytes that records take in a segment: each has a newline.
pub fn segment_bytes(records: &[String]) -> usize {
    records.iter().map(|record| record.len() + 1).sum()
}

/// The value as one line of JSON without any control character: the console drops them.
pub fn to_line(value: &impl Serialize) -> String {
    // Structs of strings and numbers have a JSON form.
    let json = serde_json::to_string(value).unwrap_or_default();
    json.chars()
        .fold(String::with_capacity(json.len()), |mut line, c| {
            if c.is_control() {
                line.push_str(&format!("\\u{:04x}", c as u32))
            } else {
                line.push(c)
            }
            line
        })
}

/// How many bytes of `text`, whole characters, make at most `room` bytes as the inside of a JSON string.
pub fn fitting(text: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += json_bytes(c);
        if used > room {
            return at;
        }
    }
    text.len()
}

fn json_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    }
}

/// A hash as manifests have it: base64 with `-` and `_`, without padding.
fn token(hash: &[u8]) -> String {
    let digits = protocol::b64::Digits(hash).to_string();
    digits.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_public_fixtures_record() {
        let expected =
            r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"text/plain","payload":"a\nb\n"}"#;
        assert_eq!(records("a\nb\n", "text/plain"), [expected]);
        assert_eq!(records("", "text/plain").len(), 1);
        assert_eq!(
            records("x", &"m".repeat(ECHO_BYTES)).len(),
            1,
            "no room, no endless loop"
        );
    }

    #[test]
    fn a_manifest_covers_the_file() {
        // SHA-256 of 16 MiB of zeros, and of "abc", by Python's hashlib and base64.urlsafe_b64encode.
        let zeros = io::repeat(0).take(CHUNK_BYTES);
        let records = reference_records(zeros.chain(&b"abc"[..])).unwrap();
        assert_eq!(
            records,
            [
                r#"{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":16777216,"sha256":"CArPNaUHrJhJz8ukfcKtg-AbdWY6UWJ5yLnSQ7cZZD4"}"#,
                r#"{"schema":"coh-ref-c/v1","seq":2,"off":16777216,"len":3,"sha256":"ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"}"#,
            ]
        );
        assert_eq!(reference_records(io::empty()).unwrap(), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn records_fit_and_join_to_the_text(text in "[\\PC\n\"\\\\\t\u{1}\u{7f}\u{85}]{0,3000}") {
            let records = records(&text, "text/plain");
            let mut joined = String::new();
            for (i, record) in records.iter().enumerate() {
                prop_assert!(record.len() <= ECHO_BYTES, "{} bytes", record.len());
                prop_assert!(!record.contains(char::is_control));
                let value: serde_json::Value = serde_json::from_str(record).unwrap();
                prop_assert_eq!(value["seq"].as_u64(), Some(i as u64 + 1));
                joined.push_str(value["payload"].as_str().unwrap());
            }
            prop_assert_eq!(joined, text);
        }
    }
}
