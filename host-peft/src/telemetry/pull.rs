//! `coh telemetry pull`.
//!
//! Answers for the tree of files that the public tools make (WIRE 6.1), each file whole and on the disk before it has
//! its name. Never follows a name that leads out of the directory.

use client::telemetry::{ROOT, SEGMENTS};

use super::Pull;
use crate::connection::Connection;
use crate::disk::Disk;
use crate::gpu::component;
use crate::peft::content;
use crate::report::{Failure, Report};

/// Devices that are pulled at once (WIRE 6.1).
const MAX_DEVICES: usize = 32;
/// Bytes of a segment. The namespace's documents say 32768; later hives hold four times as much.
const MAX_SEGMENT_BYTES: usize = 131_072;

pub(super) async fn pull(pull: &Pull, connection: &Connection, disk: Disk<'_>) -> Result<Report, Failure> {
    let session = connection.open().await?;
    let mut report = Report::new();
    let mut devices = session.ls(ROOT).await?;
    devices.sort();
    let count = devices.len();
    if count > MAX_DEVICES {
        return Err(Failure::refused(format!(
            "telemetry devices {count} exceeds max_devices {MAX_DEVICES}"
        )));
    }
    disk.make_dir(&pull.out).map_err(Failure::local)?;
    let (mut saved, mut kept, mut total) = (0, 0, 0);
    for device in &devices {
        let root = format!("{ROOT}/{}/seg", component(device)?);
        let mut segments = session.ls(&root).await?;
        segments.sort();
        if segments.len() > SEGMENTS {
            return Err(Failure::refused(format!(
                "telemetry segments {} exceeds max_segments_per_device {SEGMENTS} for device {device}",
                segments.len()
            )));
        }
        let dir = pull.out.join(device).join("seg");
        disk.make_dir(&dir).map_err(Failure::local)?;
        for segment in &segments {
            let target = dir.join(component(segment)?);
            let relative = format!("{device}/seg/{segment}");
            if target.exists() {
                report.say(format!(
                    "telemetry device={device} segment={segment} kept={relative}"
                ));
                kept += 1;
                continue;
            }
            let path = format!("{root}/{segment}");
            let content = content(&session.cat(&path).await?).map_err(|failure| failure.during(&path))?;
            if content.len() > MAX_SEGMENT_BYTES {
                return Err(Failure::refused(format!(
                    "{path} has {} bytes, at most {MAX_SEGMENT_BYTES}",
                    content.len()
                )));
            }
            let staged = dir.join(format!("{segment}.partial"));
            disk.replace(&staged, &target, &content).map_err(Failure::local)?;
            let bytes = content.len();
            report.say(format!(
                "telemetry device={device} segment={segment} bytes={bytes} saved={relative}"
            ));
            saved += 1;
            total += bytes;
        }
    }
    session.quit().await;
    if devices.is_empty() {
        report.say("telemetry: none");
    }
    report.set("devices", count);
    report.set("saved", saved);
    report.set("kept", kept);
    report.set("bytes", total);
    Ok(report)
}
