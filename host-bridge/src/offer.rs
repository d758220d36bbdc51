//! What this host has to offer, looked at whenever somebody asks.
//!
//! Answers for putting GPUs and models together, and for what is wrong with them. Never remembers an older look.

use core::fmt;
use std::path::{Path, PathBuf};

use protocol::gpu::SnapshotError;

use crate::registry::{self, RegistryError};
use crate::snapshot::{Payload, Snapshot};
use crate::source::{Sample, Source, SourceError, mock};

/// A source of GPUs, and the registry if there is one.
#[derive(Debug)]
pub(crate) struct Offer {
    source: Source,
    registry: Option<PathBuf>,
}

/// One look.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) snapshot: Snapshot,
    pub(crate) payload: Payload,
    /// What of the registry was left out, and why.
    pub(crate) problems: Vec<String>,
}

/// Why there is nothing to publish.
#[derive(Debug)]
pub(crate) enum OfferError {
    Source(SourceError),
    Registry(RegistryError),
    Snapshot(SnapshotError),
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(why) => write!(f, "{why}"),
            Self::Registry(why) => write!(f, "{why}"),
            Self::Snapshot(why) => write!(f, "cannot publish: {why}"),
        }
    }
}

impl Offer {
    pub(crate) fn new(source: Source, registry: Option<PathBuf>) -> Self {
        Self { source, registry }
    }

    /// The registry's directory.
    pub(crate) fn registry(&self) -> Option<&Path> {
        self.registry.as_deref()
    }

    /// How busy a GPU is; `None` of a mock.
    pub(crate) fn sample(&self, id: &str) -> Result<Option<Sample>, SourceError> {
        self.source.sample(id)
    }

    /// Looks.
    pub(crate) fn look(&self) -> Result<Look, OfferError> {
        let mut problems = Vec::new();
        let mut snapshot = match (&self.registry, &self.source) {
            (Some(root), _) => {
                let contents = registry::read(root).map_err(OfferError::Registry)?;
                problems = contents.problems;
                Snapshot {
                    gpus: Vec::new(),
                    models: contents.models,
                    active: contents.active,
                }
            }
            (None, Source::Mock) => mock::snapshot(),
            (None, Source::Nvml(_)) => Snapshot::default(),
        };
        snapshot.gpus = self.source.gpus().map_err(OfferError::Source)?;
        let payload = snapshot.encode().map_err(OfferError::Snapshot)?;
        problems.extend(
            payload
                .left_out
                .iter()
                .map(|id| format!("model {id} left out: there are more models than a snapshot may carry")),
        );
        Ok(Look {
            snapshot,
            payload,
            problems,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_takes_the_place_of_the_mocks_models() {
        let dir = tempfile::tempdir().unwrap();
        let mock = Offer::new(Source::Mock, None).look().unwrap();
        assert_eq!(mock.snapshot, mock::snapshot());
        let offer = Offer::new(Source::Mock, Some(dir.path().to_owned()));
        let empty = offer.look().unwrap();
        assert_eq!((empty.payload.gpus, empty.payload.models), (2, 0));
        assert_eq!(empty.snapshot.active, None);
        let model = registry::model_dir(dir.path(), "m");
        std::fs::create_dir_all(&model).unwrap();
        std::fs::write(model.join("manifest.toml"), "[model]\n").unwrap();
        std::fs::write(dir.path().join("active"), "m\n").unwrap();
        let look = offer.look().unwrap();
        assert_eq!(
            (look.payload.models, look.payload.active.as_deref()),
            (1, Some("m"))
        );
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(matches!(offer.look(), Err(OfferError::Registry(_))));
    }
}
