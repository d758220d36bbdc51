//! A model comes into the registry.
//!
//! Answers for its directory being there whole, with everything on the disk, or not at all: it is written beside and
//! gets its name by one rename.
//!
//! Never replaces a model that is there.

use std::path::Path;

use super::id::ModelId;
use super::manifest::{MAX_BYTES, Manifest, ManifestError};
use super::{AVAILABLE, MANIFEST, Registry, RegistryError};

/// Name of an adapter in the registry.
pub const ADAPTER: &str = "adapter.safetensors";
/// Name of its configuration.
pub const LORA: &str = "lora.json";
/// Name of its metrics.
pub const METRICS: &str = "metrics.json";

/// Names of files that an import of Python's client, interrupted, leaves in a directory without a manifest.
const FILES: [&str; 4] = [ADAPTER, LORA, METRICS, MANIFEST];

/// A model, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewModel {
    /// Its id.
    pub id: ModelId,
    /// Its manifest, which names the files [`ADAPTER`], [`LORA`] and, if there are metrics, [`METRICS`].
    pub manifest: Manifest,
    /// The adapter.
    pub adapter: Vec<u8>,
    /// Its configuration.
    pub lora: Vec<u8>,
    /// Its metrics.
    pub metrics: Option<Vec<u8>>,
}

impl Registry<'_> {
    /// Adds a model.
    pub fn import(&self, model: &NewModel) -> Result<(), RegistryError> {
        let id = &model.id;
        if self.has(id) {
            return Err(RegistryError::AlreadyImported(id.clone()));
        }
        let manifest = model.manifest.render();
        if manifest.len() > MAX_BYTES {
            return Err(RegistryError::Manifest {
                model: id.clone(),
                why: ManifestError::Toml(format!("{} bytes, at most {MAX_BYTES}", manifest.len())),
            });
        }
        let staged = self.staging().join("import");
        self.disk.make_dir(&staged)?;
        self.disk.write(&staged.join(ADAPTER), &model.adapter)?;
        self.disk.write(&staged.join(LORA), &model.lora)?;
        if let Some(metrics) = &model.metrics {
            self.disk.write(&staged.join(METRICS), metrics)?;
        }
        self.disk.write(&staged.join(MANIFEST), manifest.as_bytes())?;
        self.disk.sync_dir(&staged)?;

        self.disk.make_dir(&self.root.join(AVAILABLE))?;
        self.clear_place(id)?;
        self.disk.rename(&staged, &self.model_dir(id))?;
        Ok(())
    }

    /// Takes away what an interrupted import of another program left in the model's place.
    fn clear_place(&self, id: &ModelId) -> Result<(), RegistryError> {
        let place = self.model_dir(id);
        if place.symlink_metadata().is_err() {
            return Ok(());
        }
        if !is_rest_of_an_import(&place) {
            return Err(RegistryError::Occupied(place));
        }
        let aside = self.staging().join("rest");
        self.disk.rename(&place, &aside)?;
        Ok(self.disk.remove_all(&aside)?)
    }
}

fn is_rest_of_an_import(place: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(place) else {
        return false;
    };
    entries.all(|entry| {
        entry.is_ok_and(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let name = name.strip_suffix(".partial").unwrap_or(&name);
            FILES.contains(&name)
        })
    })
}
