//! `coh telemetry push`.
//!
//! Answers for the form a file is sent in, and for a segment that is refused half way being told as what it is. Never
//! sends the first record before the last is known to fit.

use std::fs::File;
use std::path::Path;

use client::telemetry::{
    REFERENCE_BYTES, ROOT, SEGMENT_BYTES, SEGMENTS, TEXT_TYPES, new_segment, records, reference_records,
    segment_bytes,
};
use client::{Exit, Resend, Session};
use protocol::ingest::{MIME_BYTES, SegmentRequest};
use protocol::limits::ECHO_BYTES;

use super::Push;
use crate::connection::Connection;
use crate::gpu::component;
use crate::report::{Failure, Report};

/// A file, as it goes into segments.
struct Prepared {
    mode: &'static str,
    mime: String,
    /// What each segment gets.
    segments: Vec<Vec<String>>,
    source_bytes: u64,
}

pub(super) async fn push(push: &Push, connection: &Connection) -> Result<Report, Failure> {
    let device = component(&push.device)?;
    let prepared = prepare(push)?;
    let session = connection.open().await?;
    let mut sent = Vec::new();
    for records in &prepared.segments {
        let segment = new_segment(&session, device, &prepared.mime).await?;
        fill(&session, device, &segment, records).await?;
        sent.push(segment);
    }
    session.quit().await;

    let count: usize = prepared.segments.iter().map(Vec::len).sum();
    let bytes: usize = prepared
        .segments
        .iter()
        .map(|records| segment_bytes(records))
        .sum();
    let (mode, source) = (prepared.mode, prepared.source_bytes);
    let mut report = Report::new();
    report.say(format!(
        "telemetry push device={device} seg_id={} records={count} bytes={bytes} source_bytes={source} mode={mode}",
        sent.join(",")
    ));
    report.set("device", device);
    report.set("segments", sent);
    report.set("records", count);
    report.set("bytes", bytes);
    report.set("source_bytes", source);
    report.set("mode", mode);
    Ok(report)
}

/// Sends the records in order; the first that is refused ends it.
async fn fill(session: &Session, device: &str, segment: &str, records: &[String]) -> Result<(), Failure> {
    let path = format!("{ROOT}/{device}/seg/{segment}");
    // A record may be there twice after a lost connection; a file that counts records says so in its lines.
    let session = session.with_resend(Resend::Always);
    let replies = session.echo_all(&path, records).await?;
    for (number, reply) in replies.into_iter().enumerate() {
        if !reply.ack.is_ok() {
            return Err(Failure::refused(format!(
                "record {} of {} was refused in {segment}, and of those behind it some may be there: {}",
                number + 1,
                records.len(),
                reply.ack
            )));
        }
    }
    Ok(())
}

fn prepare(push: &Push) -> Result<Prepared, Failure> {
    let path = push.file.as_path();
    let unreadable = |why: std::io::Error| Failure::local(format!("cannot read {}: {why}", path.display()));
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(Failure::local(format!("{} is no regular file", path.display())));
    }
    let source_bytes = found.len();
    if source_bytes == 0 {
        return Err(Failure::refused(format!("{} is empty", path.display())));
    }
    let mime = push.mime.clone().unwrap_or_else(|| media_type(path).to_owned());
    if (SegmentRequest { mime: &mime })
        .render(&mut [0; ECHO_BYTES])
        .is_none()
    {
        let why =
            format!("{mime:?} is no media type; use one such as text/plain, of at most {MIME_BYTES} bytes");
        return Err(Failure::new(Exit::Usage, why));
    }
    let prepared = |mode, segments| Prepared {
        mode,
        mime: mime.clone(),
        segments,
        source_bytes,
    };
    if push.raw_lines {
        let limit = (SEGMENT_BYTES * SEGMENTS) as u64;
        if source_bytes > limit {
            return Err(Failure::refused(format!(
                "{} has {source_bytes} bytes, and a device keeps {limit}; push it in parts, or without --raw-lines",
                path.display()
            )));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        return Ok(prepared("raw", raw_lines(&text)?));
    }
    if source_bytes <= SEGMENT_BYTES as u64 {
        let content = std::fs::read(path).map_err(unreadable)?;
        if let Ok(text) = String::from_utf8(content) {
            let records = records(&text, &mime);
            if segment_bytes(&records) <= SEGMENT_BYTES {
                return Ok(prepared("inline", vec![records]));
            }
        }
    }
    if source_bytes > REFERENCE_BYTES {
        return Err(Failure::refused(format!(
            "{} has {source_bytes} bytes, and a segment refers to at most {REFERENCE_BYTES}",
            path.display()
        )));
    }
    let records = File::open(path).and_then(reference_records).map_err(unreadable)?;
    Ok(prepared("reference", vec![records]))
}

/// The lines, in as many segments as they need.
fn raw_lines(text: &str) -> Result<Vec<Vec<String>>, Failure> {
    let mut segments: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let wrong = |why: String| Failure::refused(format!("line {}: {why}", number + 1));
        if line.len() > ECHO_BYTES {
            return Err(wrong(format!(
                "{} bytes, a record has at most {ECHO_BYTES}",
                line.len()
            )));
        }
        if line.contains(char::is_control) {
            return Err(wrong(
                "it has a control character, which the console drops".to_owned(),
            ));
        }
        let bytes = line.len() + 1;
        if bytes > room {
            segments.push(Vec::new());
            room = SEGMENT_BYTES;
        }
        room -= bytes;
        if let Some(segment) = segments.last_mut() {
            segment.push(line.to_owned());
        }
    }
    match segments.len() {
        0 => Err(Failure::refused("the file has no line")),
        needed if needed > SEGMENTS => Err(Failure::refused(format!(
            "the lines take {needed} segments, and a device keeps {SEGMENTS}; push them in parts"
        ))),
        _ => Ok(segments),
    }
}

fn media_type(path: &Path) -> &'static str {
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let known = TEXT_TYPES.iter().find(|(known, _)| *known == extension);
    known.map_or("application/octet-stream", |(_, mime)| mime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepared(name: &str, content: &[u8], raw_lines: bool) -> Result<Prepared, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        prepare(&Push {
            file,
            device: "d".into(),
            mime: None,
            raw_lines,
        })
    }

    #[test]
    fn the_form_follows_the_content() {
        let inline = prepared("a.ndjson", b"{}\n", false).unwrap();
        assert_eq!(
            (inline.mode, inline.mime.as_str()),
            ("inline", "application/x-ndjson")
        );
        for content in [
            &[0xff, 0xfe][..],
            &[b'x'; SEGMENT_BYTES],
            &[b'x'; SEGMENT_BYTES + 1],
        ] {
            let reference = prepared("a.bin", content, false).unwrap();
            assert_eq!((reference.mode, reference.segments[0].len()), ("reference", 1));
            assert!(
                reference.segments[0][0].starts_with(r#"{"schema":"coh-ref-c/v1","seq":1,"off":0,"len":"#)
            );
        }
        let raw = prepared("a.ndjson", b" {\"a\":1}\r\n\n{\"b\":2}", true).unwrap();
        assert_eq!(
            (raw.mode, raw.segments),
            ("raw", vec![vec!["{\"a\":1}".to_owned(), "{\"b\":2}".to_owned()]])
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_sent() {
        let refused = |content: &[u8], raw| match prepared("a.txt", content, raw) {
            Err(failure) => failure.why,
            Ok(_) => panic!("it was taken"),
        };
        assert!(refused(b"", false).contains("is empty"));
        assert!(refused(b"\n\n", true).contains("no line"));
        assert!(refused(b"ok\na\tb\n", true).contains("line 2: it has a control character"));
        let long = "x".repeat(ECHO_BYTES + 1);
        assert!(refused(long.as_bytes(), true).contains("line 1: 2049 bytes"));
        let many = format!("{}\n", "x".repeat(2047)).repeat(64);
        assert_eq!(
            prepared("a.txt", many.as_bytes(), true).unwrap().segments.len(),
            4
        );
        assert!(refused(format!("{many}x\n").as_bytes(), true).contains("keeps 131072"));
        let wasteful = format!("{}\n", "x".repeat(2000)).repeat(65);
        assert!(refused(wasteful.as_bytes(), true).contains("the lines take 5 segments"));
    }

    proptest! {
        #[test]
        fn raw_lines_are_the_lines(lines in prop::collection::vec("[!-~]{1,300}", 1..200)) {
            let segments = raw_lines(&lines.join("\n")).unwrap();
            for segment in &segments {
                prop_assert!(segment_bytes(segment) <= SEGMENT_BYTES);
            }
            prop_assert_eq!(segments.concat(), lines);
        }
    }
}
