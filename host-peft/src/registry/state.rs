//! Which model is active, and which was before: `active` and `active_state.toml`.
//!
//! Answers for reading both as the public Python client writes them and for writing what it reads. Never changes a
//! file: see [`activation`](super::activation).

use std::path::Path;

use serde::Deserialize;

use super::id::ModelId;
use super::{Registry, RegistryError};
use crate::disk::{ReadError, Unfit, read_bounded};

pub(super) const ACTIVE: &str = "active";
pub(super) const STATE: &str = "active_state.toml";

/// Bytes of `active`: an id and a line break. Room for a line break of two bytes and a blank line or two.
const MAX_ACTIVE_BYTES: usize = 160;
/// Bytes of `active_state.toml` (WIRE 6.2).
const MAX_STATE_BYTES: usize = 4096;

/// The active model and the one before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Active {
    /// The active model.
    pub current: Option<ModelId>,
    /// What a rollback would make active.
    pub previous: Option<ModelId>,
}

impl Active {
    /// What it is after `model` has been activated. The active model stays as it is, and so does what was before it.
    pub fn with(&self, model: &ModelId) -> Active {
        if self.current.as_ref() == Some(model) {
            return self.clone();
        }
        Active {
            current: Some(model.clone()),
            previous: self.current.clone(),
        }
    }

    /// What it is after a rollback.
    pub fn rolled_back(&self) -> Result<Active, RegistryError> {
        match &self.previous {
            None => Err(RegistryError::NoPrevious),
            Some(previous) => Ok(Active {
                current: Some(previous.clone()),
                previous: self.current.clone(),
            }),
        }
    }

    /// The text of `active_state.toml`. Ids need no escapes.
    pub(super) fn render(&self) -> String {
        let id = |id: &Option<ModelId>| id.as_ref().map_or("", ModelId::as_str).to_owned();
        format!(
            "current = \"{}\"\nprevious = \"{}\"\n",
            id(&self.current),
            id(&self.previous)
        )
    }
}

#[derive(Deserialize)]
struct Wire {
    current: String,
    #[serde(default)]
    previous: String,
}

impl Registry<'_> {
    /// What is active. After opening, both files agree.
    pub fn active(&self) -> Result<Active, RegistryError> {
        match self.state_file()? {
            Some(state) => Ok(state),
            None => Ok(Active {
                current: self.pointer()?,
                previous: None,
            }),
        }
    }

    /// What `active` says.
    pub(super) fn pointer(&self) -> Result<Option<ModelId>, RegistryError> {
        let path = self.root.join(ACTIVE);
        let Some(text) = read_text(&path, MAX_ACTIVE_BYTES)? else {
            return Ok(None);
        };
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        line.map(|line| id(&path, line)).transpose()
    }

    /// What `active_state.toml` says; `None` if it is not there.
    pub(super) fn state_file(&self) -> Result<Option<Active>, RegistryError> {
        let path = self.root.join(STATE);
        let Some(text) = read_text(&path, MAX_STATE_BYTES)? else {
            return Ok(None);
        };
        let wire: Wire = toml::from_str(&text).map_err(|why| RegistryError::State {
            path: path.clone(),
            why: why.to_string().trim_end().to_owned(),
        })?;
        let optional = |text: &str| (!text.is_empty()).then(|| id(&path, text)).transpose();
        Ok(Some(Active {
            current: optional(&wire.current)?,
            previous: optional(&wire.previous)?,
        }))
    }
}

fn id(path: &Path, text: &str) -> Result<ModelId, RegistryError> {
    ModelId::new(text).map_err(|why| RegistryError::State {
        path: path.to_owned(),
        why: why.to_string(),
    })
}

/// The text of a small file; `None` if it is not there or has nothing in it.
pub(super) fn read_text(path: &Path, max: usize) -> Result<Option<String>, RegistryError> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    match read_bounded(path, max) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| RegistryError::State {
                path: path.to_owned(),
                why: "not UTF-8".to_owned(),
            }),
        Err(ReadError {
            what: Unfit::Empty, ..
        }) => Ok(None),
        Err(why) => Err(why.into()),
    }
}
