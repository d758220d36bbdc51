//! What a GPU worker reads before it reports.
//!
//! Answers for how its lease stands, which model is active, and which adapter that model's manifest names. A file that
//! is not there is an ordinary answer: nothing is published yet, or not any more.
//!
//! Never writes, never keeps a file open.

use ninep::{ClientError, OpenFlags};
use protocol::gpu::{Lease, LeaseState, is_model_id};
use protocol::refusal::Refusal;
use worker::Session;

use crate::lines::Lines;
use crate::manifest::{Manifest, ModelId};

/// Bytes of one read: most of these files are shorter.
const READ_BYTES: usize = 512;

/// How a worker's lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody publishes its GPU at present.
    NoGpu,
    /// It is in force. The file has a bound, and the oldest lines give way to new ones: a line that is not there any
    /// more was an ACTIVE one, for the queen ends the worker of a lease that she releases.
    InForce,
    /// It is over.
    Released,
}

/// How the worker's lease stands.
pub(crate) async fn lease(session: &Session<'_>, gpu_id: &str) -> Result<Standing, ClientError> {
    let mut state = LeaseState::Active;
    let path = ["gpu", gpu_id, "lease"];
    let found = each_line(session, &path, |line| {
        if let Ok(lease) = Lease::parse(line)
            && lease.worker_id == session.job.id
        {
            state = lease.state;
        }
    });
    Ok(match (found.await?, state) {
        (false, _) => Standing::NoGpu,
        (true, LeaseState::Active) => Standing::InForce,
        (true, LeaseState::Released) => Standing::Released,
    })
}

/// The model that is active: the last line of the file that can name one.
pub(crate) async fn active_model(session: &Session<'_>) -> Result<Option<ModelId>, ClientError> {
    let mut active = None;
    each_line(session, &["gpu", "models", "active"], |line| {
        if is_model_id(line) {
            active = ModelId::try_from(line).ok();
        }
    })
    .await?;
    Ok(active)
}

/// The adapter of a model, if its manifest names one.
pub(crate) async fn adapter(
    session: &Session<'_>,
    model_id: &ModelId,
) -> Result<Option<ModelId>, ClientError> {
    let path = ["gpu", "models", "available", model_id, "manifest.toml"];
    let mut manifest = Manifest::default();
    each_line(session, &path, |line| manifest.line(line)).await?;
    Ok(manifest.lora_id(model_id))
}

/// Shows every line of a file; `false` if there is no such file.
async fn each_line(
    session: &Session<'_>,
    path: &[&str],
    mut show: impl FnMut(&str),
) -> Result<bool, ClientError> {
    let client = session.client;
    let file = match client.walk_open(session.root, path, OpenFlags::RDONLY).await {
        Ok(file) => file,
        Err(ClientError::Remote(errno)) if Refusal::from_errno(errno.raw()) == Refusal::InvalidPath => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let (mut lines, mut piece, mut offset) = (Lines::default(), [0; READ_BYTES], 0);
    loop {
        let count = client.read(&file, offset, &mut piece).await?;
        if count == 0 {
            break;
        }
        lines.feed(piece.get(..count).unwrap_or_default(), &mut show);
        offset += count as u64;
    }
    lines.end(&mut show);
    client.clunk(file).await?;
    Ok(true)
}
