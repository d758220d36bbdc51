//! `telemetry push`: a text file of this machine becomes records of a telemetry segment.
//!
//! Answers for which files are taken: those that are text by their name and fit one segment.
//! Never sends a part of a file that does not fit a segment.

use std::path::Path;

use client::telemetry::{self, ROOT, SEGMENT_BYTES, TEXT_TYPES};
use client::{Error, Exit, Session};

use crate::outcome::Outcome;

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
            let bytes = telemetry::segment_bytes(&records);
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
    let segment = telemetry::new_segment(session, device, mime).await?;
    for reply in session
        .echo_all(&format!("{ROOT}/{device}/seg/{segment}"), records)
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
    match TEXT_TYPES.iter().find(|(known, _)| *known == extension) {
        Some((_, mime)) => Ok(mime),
        None => {
            let known = TEXT_TYPES.map(|(known, _)| known).join(",");
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
    if bytes > SEGMENT_BYTES as u64 {
        return Err(too_big(bytes));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

fn too_big(bytes: u64) -> (Exit, String) {
    (
        Exit::Refused,
        format!("reason=quota bytes={bytes} max_bytes_per_segment={SEGMENT_BYTES}"),
    )
}

fn records(text: &str, mime: &str) -> Result<Vec<String>, (Exit, String)> {
    let records = telemetry::records(text, mime);
    let bytes = telemetry::segment_bytes(&records);
    if bytes > SEGMENT_BYTES {
        Err(too_big(bytes as u64))
    } else {
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_types_and_sizes() {
        assert_eq!(
            media_type(Path::new("x/a.NDJSON")).unwrap(),
            "application/x-ndjson"
        );
        let (exit, why) = media_type(Path::new("a.bin")).unwrap_err();
        assert_eq!(exit, Exit::Usage);
        assert!(why.contains("allowed=txt,log,json,ndjson,csv"), "{why}");
        let (exit, why) = records(&"x".repeat(SEGMENT_BYTES), "text/plain").unwrap_err();
        assert_eq!(exit, Exit::Refused);
        assert!(why.contains("max_bytes_per_segment=32768"), "{why}");
    }
}
