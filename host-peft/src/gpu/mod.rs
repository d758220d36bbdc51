//! `coh gpu`: what GPUs there are, what happens on them, and leases of them.
//!
//! Answers for reading the files below `/gpu` as hosts publish them, and for a lease that is granted exactly once, with
//! the worker that has it. Never decides what a GPU has left: the queen does.

mod info;
mod lease;

use clap::{Args, Subcommand};
use client::{Error, Exit, Session};
use protocol::control::{Budget, GpuLease, QueenRequest};
use protocol::gpu::is_gpu_id;
use serde_json::Value;

pub use self::info::{Info, InfoError};
pub use self::lease::{Lease, LeaseError, in_force, latest_of, read};

use crate::connection::Connection;
use crate::report::{Failure, Report};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Gpu {
    /// One line a GPU: gpu id= name= mem_mb= sm= driver= runtime=
    List,
    /// The last line of a GPU's status, or EMPTY.
    Status(Named),
    /// Lease memory and streams of a GPU; prints the lease and the worker that has it.
    Lease(Wanted),
    /// End the worker that has a lease; the hive releases it.
    Release(Release),
}

/// A GPU.
#[derive(Debug, Args)]
pub struct Named {
    /// Its id, as `coh gpu list` prints it.
    #[arg(long, value_name = "G")]
    pub gpu: String,
}

/// `coh gpu lease`
#[derive(Debug, Args)]
pub struct Wanted {
    /// Id of the GPU.
    #[arg(long, value_name = "G")]
    pub gpu: String,
    /// Memory in MiB.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub mem_mb: u32,
    /// Streams.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub streams: u32,
    /// Seconds until the hive releases it.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub ttl_s: u64,
    /// Its priority.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub priority: u32,
    /// Seconds that the worker may live.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget_ttl_s: Option<u64>,
    /// Operations that the worker may make.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget_ops: Option<u64>,
}

/// `coh gpu release`
#[derive(Debug, Args)]
pub struct Release {
    /// Id of the worker, as `coh gpu lease` prints it.
    #[arg(long, value_name = "ID")]
    pub worker: String,
}

/// Does it.
pub async fn run(gpu: &Gpu, connection: &Connection) -> Result<Report, Failure> {
    let session = connection.open().await?;
    let report = match gpu {
        Gpu::List => list(&session).await,
        Gpu::Status(named) => status(&session, &named.gpu).await,
        Gpu::Lease(wanted) => lease(&session, wanted).await,
        Gpu::Release(release) => end(&session, &release.worker).await,
    };
    session.quit().await;
    report
}

async fn list(session: &Session) -> Result<Report, Failure> {
    let mut report = Report::new();
    let mut gpus = Vec::new();
    for id in session.ls("/gpu").await? {
        if !is_gpu_id(&id) {
            continue;
        }
        let path = format!("/gpu/{id}/info");
        let lines = match session.cat(&path).await {
            Ok(lines) => lines,
            Err(Error::Refused(refusal)) if refusal.detail() == "invalid-path" => {
                report.say(format!("gpu skip id={id} reason=missing-info"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let info = Info::parse(&lines.join("\n")).map_err(|why| {
            Failure::new(
                Exit::Connection,
                format!("invalid gpu info JSON in {path}: {why}"),
            )
        })?;
        report.say(info.to_string());
        gpus.push(info.json());
    }
    if gpus.is_empty() && report.lines.is_empty() {
        report.say("gpu: none");
    }
    report.set("gpus", Value::Array(gpus));
    Ok(report)
}

async fn status(session: &Session, gpu: &str) -> Result<Report, Failure> {
    let gpu = component(gpu)?;
    let lines = session.cat(&format!("/gpu/{gpu}/status")).await?;
    let last = last_line(&lines).unwrap_or("EMPTY");
    let mut report = Report::new();
    report.say(format!("gpu id={gpu} status={last}"));
    report.set("id", gpu);
    let status = serde_json::from_str(last).unwrap_or_else(|_| Value::from(last));
    report.set("status", status);
    Ok(report)
}

async fn lease(session: &Session, wanted: &Wanted) -> Result<Report, Failure> {
    let gpu = component(&wanted.gpu)?;
    let request = QueenRequest::SpawnGpu {
        lease: GpuLease {
            gpu_id: gpu,
            mem_mb: wanted.mem_mb,
            streams: wanted.streams,
            ttl_s: wanted.ttl_s,
            priority: wanted.priority,
        },
        budget: Budget {
            ttl_s: wanted.budget_ttl_s,
            ops: wanted.budget_ops,
        },
    };
    let lease = lease::grant(session, gpu, &request, |lease| {
        lease.mem_mb == wanted.mem_mb
            && lease.streams == wanted.streams
            && lease.ttl_s == wanted.ttl_s
            && lease.priority == wanted.priority
    })
    .await?;
    let mut report = Report::new();
    report.say(lease.to_string());
    report.set("lease", lease.json());
    Ok(report)
}

async fn end(session: &Session, worker: &str) -> Result<Report, Failure> {
    let worker = component(worker)?;
    session.kill(worker).await?;
    let mut report = Report::new();
    report.say(format!("released worker_id={worker}"));
    report.set("worker_id", worker);
    Ok(report)
}

/// Checks a name that becomes a part of a path.
pub fn component(name: &str) -> Result<&str, Failure> {
    let name = name.trim();
    let bad = name.is_empty()
        || name == "."
        || name == ".."
        || name.contains(|c: char| c == '/' || c.is_control() || c == ' ');
    if bad {
        let why = format!("{name:?} is no id; use one name, without / and spaces");
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(name)
}

/// The last line that is not blank.
pub fn last_line(lines: &[String]) -> Option<&str> {
    lines
        .iter()
        .rev()
        .map(|line| line.trim())
        .find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_component() {
        assert_eq!(component(" GPU-0 ").unwrap(), "GPU-0");
        for name in ["", " ", ".", "..", "a/b", "a b", "a\0", "a\nb"] {
            assert_eq!(component(name).unwrap_err().exit, Exit::Usage, "{name:?}");
        }
    }

    #[test]
    fn blank_lines_are_no_last_line() {
        let lines = ["{\"a\":1}", "{\"b\":2} ", " ", ""].map(str::to_owned);
        assert_eq!(last_line(&lines), Some("{\"b\":2}"));
        assert_eq!(last_line(&lines[2..]), None);
    }
}
