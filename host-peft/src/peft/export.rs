//! `coh peft export`: a job's files, out of the hive.
//!
//! Answers for saving exactly the three files of a job, each whole and on the disk before it has its name. Never
//! replaces a file that is there.

use std::path::Path;

use client::{Exit, Session, binary};

use super::Export;
use crate::connection::Connection;
use crate::disk::Disk;
use crate::report::{Failure, Report};

/// The hive's directory of jobs.
const ROOT: &str = "/queen/export/lora_jobs";

/// The files of a job, and the bytes each may have (WIRE 6.2).
pub(super) const TELEMETRY: (&str, usize) = ("telemetry.cbor", 131_072);
pub(super) const BASE: (&str, usize) = ("base_model.ref", 1024);
pub(super) const POLICY: (&str, usize) = ("policy.toml", 8192);

pub(super) async fn export(
    export: &Export,
    connection: &Connection,
    disk: Disk<'_>,
) -> Result<Report, Failure> {
    let job = export.job.as_str();
    let session = connection.open().await?;
    if !session.ls(ROOT).await?.iter().any(|name| name == job) {
        return Err(Failure::refused(format!("missing export job {job}")));
    }
    let files = [TELEMETRY, BASE, POLICY];
    let mut names = session.ls(&format!("{ROOT}/{job}")).await?;
    names.sort();
    let mut expected = files.map(|(name, _)| name);
    expected.sort_unstable();
    if names != expected {
        return Err(Failure::refused(format!(
            "export job {job} has the files {}, not {}",
            names.join(", "),
            expected.join(", ")
        )));
    }
    let dir = export.out.join(job);
    disk.make_dir(&dir).map_err(Failure::local)?;
    let mut report = Report::new();
    let mut saved = serde_json::Map::new();
    for (name, max) in files {
        let bytes = save(&session, &dir, job, (name, max), disk).await?;
        let (bytes, outcome) = match bytes {
            Some(bytes) => (bytes, "saved"),
            None => (length(&dir.join(name)), "kept"),
        };
        report.say(format!(
            "peft export job={job} file={name} bytes={bytes} {outcome}={}",
            dir.join(name).display()
        ));
        saved.insert(name.to_owned(), bytes.into());
    }
    session.quit().await;
    report.set("job", job);
    report.set("dir", dir.display().to_string());
    report.set("files", saved);
    Ok(report)
}

/// Saves a file and says how long it is; `None` if it is there already.
async fn save(
    session: &Session,
    dir: &Path,
    job: &str,
    (name, max): (&str, usize),
    disk: Disk<'_>,
) -> Result<Option<usize>, Failure> {
    let target = dir.join(name);
    if target.exists() {
        return Ok(None);
    }
    let path = format!("{ROOT}/{job}/{name}");
    let content = content(&session.cat(&path).await?).map_err(|failure| failure.during(&path))?;
    if content.is_empty() {
        return Err(Failure::refused(format!("{path} is empty")));
    }
    if content.len() > max {
        return Err(Failure::refused(format!(
            "{path} exceeds max bytes {max}: {}",
            content.len()
        )));
    }
    disk.replace(&dir.join(format!("{name}.partial")), &target, &content)
        .map_err(Failure::local)?;
    Ok(Some(content.len()))
}

/// A file's bytes out of the lines that the console makes of it.
pub(crate) fn content(lines: &[String]) -> Result<Vec<u8>, Failure> {
    if binary::is_binary(lines) {
        return binary::decode(lines).map_err(|why| Failure::new(Exit::Connection, why));
    }
    Ok(lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect())
}

fn length(path: &Path) -> usize {
    let bytes = std::fs::metadata(path).map_or(0, |found| found.len());
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
