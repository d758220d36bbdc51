//! `telemetry push`: a text file of this machine becomes records of a telemetry segment.
//!
//! Answers for the records (`cohsh-telemetry-push/v1`): the file's text, cut at characters so that each record fits an
//! ECHO, in order, nothing left out. Never sends a part of a file that does not fit a segment.

use std::path::Path;

use client::{Error, Session};
use protocol::limits::ECHO_BYTES;
use serde::Serialize;

use crate::exit::Exit;
use crate::outcome::Outcome;

/// Bytes a segment holds (WIRE 4.6).
const MAX_SEGMENT_BYTES: usize = 32_768;
const SCHEMA: &str = "cohsh-telemetry-push/v1";

/// A line of a device's `ctl`.
#[derive(Serialize)]
struct NewSegment<'a> {
    new: &'a str,
    mime: &'a str,
}

/// A line of a segment.
#[derive(Serialize)]
struct Record<'a> {
    schema: &'a str,
    seq: usize,
    mime: &'a str,
    payload: &'a str,
}

/// File name extensions that can be pushed, and the type of what is in them.
const TYPES: [(&str, &str); 5] = [
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("json", "application/json"),
    ("ndjson", "application/x-ndjson"),
    ("csv", "text/csv"),
];

/// Appends `file` to a new segment of `device`.
pub(crate) async fn push(session: &Session, file: &Path, device: &str) -> Outcome {
    let mut outcome = Outcome::new();
    let prepared = media_type(file).and_then(|mime| Ok((mime, records(&read(file)?, mime)?)));
    let (mime, records) = match prepared {
        Ok(prepared) => prepared,
        Err((exit, why)) => {
            outcome.refuse(exit, format!("ERR TELEMETRY device={device} {why}"));
            return outcome;
        }
    };
    match send(session, device, mime, &records, &mut outcome).await {
        Ok(segment) if outcome.failure.is_none() => {
            let bytes: usize = records.iter().map(|record| record.len() + 1).sum();
            let count = records.len();
            outcome.respond(format!(
                "OK TELEMETRY device={device} seg_id={segment} records={count} bytes={bytes}"
            ));
        }
        Ok(_) => {}
        Err(error) => outcome.error(&error),
    }
    outcome
}

/// Makes a segment and fills it. A refused record is shown and ends it.
async fn send(
    session: &Session,
    device: &str,
    mime: &str,
    records: &[String],
    outcome: &mut Outcome,
) -> Result<String, Error> {
    let base = format!("/queen/telemetry/{device}");
    let new = session
        .echo(
            &format!("{base}/ctl"),
            &to_line(&NewSegment { new: "segment", mime }),
        )
        .await?;
    let segment = match new.field("seg_id") {
        Some(segment) => segment.to_owned(),
        None => session
            .cat(&format!("{base}/latest"))
            .await?
            .pop()
            .unwrap_or_default(),
    };
    for reply in session
        .echo_all(&format!("{base}/seg/{segment}"), records)
        .await?
    {
        if !reply.ack.is_ok() {
            outcome.ack(&reply.ack);
            break;
        }
    }
    Ok(segment)
}

fn media_type(file: &Path) -> Result<&'static str, (Exit, String)> {
    let extension = file
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    match TYPES.iter().find(|(known, _)| *known == extension) {
        Some((_, mime)) => Ok(mime),
        None => {
            let known = TYPES.map(|(known, _)| known).join(",");
            Err((
                Exit::Usage,
                format!("reason=policy extension={extension} allowed={known}"),
            ))
        }
    }
}

fn read(file: &Path) -> Result<String, (Exit, String)> {
    let unreadable = |why: std::io::Error| {
        (
            Exit::Local,
            format!("reason=policy error={}: {why}", file.display()),
        )
    };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > MAX_SEGMENT_BYTES as u64 {
        return Err(too_big(bytes));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

fn too_big(bytes: u64) -> (Exit, String) {
    (
        Exit::Refused,
        format!("reason=quota bytes={bytes} max_bytes_per_segment={MAX_SEGMENT_BYTES}"),
    )
}

/// Cuts a text into records.
fn records(text: &str, mime: &str) -> Result<Vec<String>, (Exit, String)> {
    let mut records = Vec::new();
    let mut rest = text;
    loop {
        let seq = records.len() + 1;
        let record = |payload: &str| {
            to_line(&Record {
                schema: SCHEMA,
                seq,
                mime,
                payload,
            })
        };
        let part = &rest[..fitting(rest, ECHO_BYTES - record("").len())];
        records.push(record(part));
        rest = &rest[part.len()..];
        if rest.is_empty() {
            break;
        }
    }
    let bytes: usize = records.iter().map(|record| record.len() + 1).sum();
    if bytes > MAX_SEGMENT_BYTES {
        Err(too_big(bytes as u64))
    } else {
        Ok(records)
    }
}

/// The value as one line of JSON without any control character: the console drops them.
fn to_line(value: &impl Serialize) -> String {
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

/// How many bytes of `text` make at most `room` bytes as the inside of a JSON string.
fn fitting(text: &str, room: usize) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_public_fixtures_record() {
        let expected =
            r#"{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"text/plain","payload":"a\nb\n"}"#;
        assert_eq!(records("a\nb\n", "text/plain").unwrap(), [expected]);
        let new = NewSegment {
            new: "segment",
            mime: "text/plain",
        };
        assert_eq!(to_line(&new), r#"{"new":"segment","mime":"text/plain"}"#);
        assert_eq!(records("", "text/plain").unwrap().len(), 1);
    }

    #[test]
    fn only_known_types_and_sizes() {
        assert_eq!(
            media_type(Path::new("x/a.NDJSON")).unwrap(),
            "application/x-ndjson"
        );
        let (exit, why) = media_type(Path::new("a.bin")).unwrap_err();
        assert_eq!(exit, Exit::Usage);
        assert!(why.contains("allowed=txt,log,json,ndjson,csv"), "{why}");
        let (exit, why) = records(&"x".repeat(MAX_SEGMENT_BYTES), "text/plain").unwrap_err();
        assert_eq!(exit, Exit::Refused);
        assert!(why.contains("max_bytes_per_segment=32768"), "{why}");
    }

    proptest! {
        #[test]
        fn records_fit_and_join_to_the_text(text in "[\\PC\n\"\\\\\t\u{1}\u{7f}\u{85}]{0,3000}") {
            let records = records(&text, "text/plain").unwrap();
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
