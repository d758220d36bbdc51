//! Leases: the lines of `/gpu/<id>/lease`.
//!
//! Answers for which line is in force, and for asking the queen for one exactly once: if the connection is lost while
//! the answer is under way, the file is looked at instead of asking twice. Never trusts a line of another GPU or form.

use core::fmt;
use std::time::Duration;

use client::{Error, Exit, Session};
use protocol::control::QueenRequest;
use protocol::gpu::{self, LEASE_BYTES, LeaseState};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::last_line;
use crate::report::Failure;

/// How long a granted lease may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whether it begins or ends.
    pub state: LeaseState,
    /// The GPU.
    pub gpu_id: String,
    /// The worker that has it.
    pub worker_id: String,
    /// Memory in MiB.
    pub mem_mb: u32,
    /// Streams.
    pub streams: u32,
    /// Seconds from its grant.
    pub ttl_s: u64,
    /// Its priority.
    pub priority: u32,
}

/// Why a GPU's file has no lease in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseError {
    /// No line, or a last line that is not `ACTIVE`.
    NoActive {
        /// The GPU.
        gpu: String,
    },
    /// The last line is no lease.
    Form(gpu::LeaseError),
    /// The last line is another GPU's.
    OtherGpu {
        /// The GPU.
        gpu: String,
        /// The line's.
        said: String,
    },
    /// The file is longer than it may be.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoActive { gpu } => write!(
                f,
                "no active lease for gpu {gpu}; take one with coh gpu lease --gpu {gpu}"
            ),
            Self::Form(why) => write!(f, "the last line of the lease file is no lease: {why}"),
            Self::OtherGpu { gpu, said } => {
                write!(f, "lease gpu_id mismatch: expected {gpu} got {said}")
            }
            Self::TooLong { bytes } => {
                write!(f, "the lease file has {bytes} bytes, at most {LEASE_BYTES}")
            }
        }
    }
}

impl std::error::Error for LeaseError {}

impl From<LeaseError> for Failure {
    fn from(why: LeaseError) -> Self {
        Failure::refused(why)
    }
}

/// The lines of a GPU's file.
pub async fn read(session: &Session, gpu: &str) -> Result<Vec<String>, Error> {
    session.cat(&format!("/gpu/{gpu}/lease")).await
}

/// The lease in force: the last line.
pub fn in_force(lines: &[String], gpu: &str) -> Result<Lease, LeaseError> {
    let bytes = lines.iter().map(|line| line.len() + 1).sum();
    if bytes > LEASE_BYTES {
        return Err(LeaseError::TooLong { bytes });
    }
    let no_active = || LeaseError::NoActive { gpu: gpu.to_owned() };
    let line = last_line(lines).ok_or_else(no_active)?;
    let lease = Lease::parse(line)?;
    if lease.state != LeaseState::Active {
        return Err(no_active());
    }
    if lease.gpu_id != gpu {
        return Err(LeaseError::OtherGpu {
            gpu: gpu.to_owned(),
            said: lease.gpu_id,
        });
    }
    Ok(lease)
}

/// The last line of a worker, if the file still has one.
pub fn latest_of(lines: &[String], worker: &str) -> Option<Lease> {
    let leases = lines.iter().rev().filter_map(|line| Lease::parse(line).ok());
    leases.into_iter().find(|lease| lease.worker_id == worker)
}

impl Lease {
    fn parse(line: &str) -> Result<Lease, LeaseError> {
        let line = gpu::Lease::parse(line).map_err(LeaseError::Form)?;
        Ok(Lease {
            state: line.state,
            gpu_id: line.gpu_id.to_owned(),
            worker_id: line.worker_id.to_owned(),
            mem_mb: line.mem_mb,
            streams: line.streams,
            ttl_s: line.ttl_s,
            priority: line.priority,
        })
    }

    /// As a value.
    pub(super) fn json(&self) -> Value {
        json!({
            "state": self.state.label(), "gpu_id": self.gpu_id, "worker_id": self.worker_id, "mem_mb": self.mem_mb,
            "streams": self.streams, "ttl_s": self.ttl_s, "priority": self.priority,
        })
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lease gpu_id={} worker_id={} state={} mem_mb={} streams={} ttl_s={} priority={}",
            self.gpu_id,
            self.worker_id,
            self.state.label(),
            self.mem_mb,
            self.streams,
            self.ttl_s,
            self.priority
        )
    }
}

/// Asks the queen for a lease and waits for its line: an `ACTIVE` one as wanted, of a worker that had none before.
pub(super) async fn grant(
    session: &Session,
    gpu: &str,
    request: &QueenRequest<'_>,
    is_wanted: impl Fn(&Lease) -> bool,
) -> Result<Lease, Failure> {
    let before = read(session, gpu).await?;
    let asked = session.queen(request).await;
    let lost = match &asked {
        Ok(_) => None,
        // Whether it was granted is in the file.
        Err(error @ Error::Interrupted { .. }) => Some(error.to_string()),
        Err(_) => None,
    };
    if let (Err(error), None) = (asked, &lost) {
        return Err(error.into());
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let lines = read(session, gpu).await?;
        let leases = lines.iter().rev().filter_map(|line| Lease::parse(line).ok());
        let new = leases
            .filter(|lease| lease.gpu_id == gpu && lease.state == LeaseState::Active && is_wanted(lease))
            .find(|lease| latest_of(&before, &lease.worker_id).is_none());
        match new {
            Some(lease) => return Ok(lease),
            None if Instant::now() >= until => {
                let why = lost.unwrap_or_else(|| "the hive accepted the request".to_owned());
                let why = format!("no new active lease in /gpu/{gpu}/lease within {PATIENCE:?}: {why}");
                return Err(Failure::new(Exit::Connection, why));
            }
            None => sleep(Duration::from_millis(100)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: &str, gpu: &str, worker: &str) -> String {
        format!(
            r#"{{"schema":"gpu-lease/v1","state":"{state}","gpu_id":"{gpu}","worker_id":"{worker}","mem_mb":1024,"streams":1,"ttl_s":60,"priority":1}}"#
        )
    }

    #[test]
    fn the_last_line_is_in_force() {
        let active = line("ACTIVE", "GPU-0", "worker-2");
        let lines = [
            line("RELEASED", "GPU-0", "worker-1"),
            active.clone(),
            " ".to_owned(),
        ];
        assert_eq!(in_force(&lines, "GPU-0").unwrap().worker_id, "worker-2");
        for (last, why) in [
            (String::new(), "no active lease for gpu GPU-0"),
            (line("RELEASED", "GPU-0", "worker-2"), "no active lease"),
            (line("ACTIVE", "GPU-1", "worker-2"), "expected GPU-0 got GPU-1"),
            (line("ACTIVE", "GPU-0", ""), "numbers above 0"),
            (active.replace("1024", "0"), "numbers above 0"),
            (active.replace("/v1", "/v2"), "not a gpu-lease/v1 line"),
            ("ACTIVE".to_owned(), "not a gpu-lease/v1 line"),
        ] {
            let said = in_force(&[last], "GPU-0").unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        let many = vec![active; 8];
        assert!(matches!(
            in_force(&many, "GPU-0"),
            Err(LeaseError::TooLong { .. })
        ));
    }

    #[test]
    fn a_workers_last_line_decides_for_it() {
        let lines = [
            line("ACTIVE", "GPU-0", "worker-1"),
            line("ACTIVE", "GPU-0", "worker-2"),
            line("RELEASED", "GPU-0", "worker-1"),
        ];
        assert_eq!(latest_of(&lines, "worker-1").unwrap().state, LeaseState::Released);
        assert_eq!(latest_of(&lines, "worker-2").unwrap().state, LeaseState::Active);
        assert_eq!(latest_of(&lines, "worker-3"), None);
    }
}
