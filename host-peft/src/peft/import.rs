//! `coh peft import`: an adapter becomes a model of a registry.
//!
//! Answers for the adapter, the job it was trained on and their base model being held against each other before the
//! registry changes. Never talks to a hive.

use std::path::Path;

use super::export::{BASE, POLICY, TELEMETRY};
use super::{Import, tell_repairs};
use crate::adapter::{Adapter, AdapterError};
use crate::disk::{Disk, read_bounded};
use crate::registry::{
    ADAPTER, FileHash, Hashes, LORA, METRICS, Manifest, NewModel, Registry, hash, manifest,
};
use crate::report::{Failure, Report};

pub(super) fn import(import: &Import, disk: Disk<'_>) -> Result<Report, Failure> {
    // One that is there is repaired even if nothing comes into it; a new one is made only for a good model.
    let opened = Registry::open(&import.registry, disk)?;
    let bundle = Bundle::read(&import.export.join(import.job.as_str()))?;
    let adapter = Adapter::read(&import.from)?;
    if let Some(peft) = &adapter.peft
        && !peft.is_for(&bundle.base)
    {
        return Err(Failure::refused(format!(
            "the adapter is for {}, but job {} is for {}; import it with the job that it was trained on",
            peft.base_model, import.job, bundle.base
        )));
    }
    let registry = match opened {
        Some(registry) => registry,
        None => Registry::open_or_make(&import.registry, disk)?,
    };
    let model = new_model(import, bundle, adapter);
    registry.import(&model)?;

    let mut report = Report::new();
    tell_repairs(&registry, &mut report);
    if let Some(pending) = registry.pending()?
        && let Some(current) = pending.to.current
    {
        report.note(format!(
            "the hive may not know that {current} is active; coh peft activate --model {current} tells it"
        ));
    }
    let id = model.id.as_str();
    let Manifest {
        model: named,
        provenance,
        hashes,
    } = &model.manifest;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (base, lora_id, job) = (text(&named.base), text(&named.lora_id), text(&provenance.job_id));
    let (bytes, sha256) = (model.adapter.len(), text(&hashes.adapter_sha256));
    report.say(format!(
        "peft import model={id} base={base} lora_id={lora_id} job={job} adapter_bytes={bytes} adapter_sha256={sha256}"
    ));
    report.set("model", id);
    report.set("base", base);
    report.set("lora_id", lora_id);
    report.set("job", job);
    report.set("adapter_bytes", bytes);
    report.set("adapter_sha256", sha256);
    report.set("registry", import.registry.display().to_string());
    Ok(report)
}

fn new_model(import: &Import, bundle: Bundle, adapter: Adapter) -> NewModel {
    let (adapter_hash, lora_hash) = (hash(&adapter.weights), hash(&adapter.config));
    let metrics_hash = adapter.metrics.as_deref().map(hash);
    let lora_id = import.lora_id.as_ref().unwrap_or(&import.job);
    NewModel {
        id: import.model.clone(),
        manifest: Manifest {
            model: manifest::Model {
                id: Some(import.model.to_string()),
                base: Some(bundle.base),
                adapter: Some(ADAPTER.to_owned()),
                lora: Some(LORA.to_owned()),
                metrics: metrics_hash.is_some().then(|| METRICS.to_owned()),
                lora_id: Some(lora_id.to_string()),
            },
            provenance: manifest::Provenance {
                job_id: Some(import.job.to_string()),
                approval: Some("pending".to_owned()),
            },
            hashes: Hashes {
                adapter_sha256: Some(adapter_hash.sha256),
                adapter_bytes: Some(adapter_hash.bytes),
                lora_sha256: Some(lora_hash.sha256),
                lora_bytes: Some(lora_hash.bytes),
                metrics_bytes: metrics_hash.as_ref().map(|hash| hash.bytes),
                metrics_sha256: metrics_hash.map(|hash| hash.sha256),
                policy_sha256: Some(bundle.policy.sha256),
                policy_bytes: Some(bundle.policy.bytes),
                telemetry_sha256: Some(bundle.telemetry.sha256),
                telemetry_bytes: Some(bundle.telemetry.bytes),
            },
        },
        adapter: adapter.weights,
        lora: adapter.config,
        metrics: adapter.metrics,
    }
}

/// What a manifest says of an exported job.
struct Bundle {
    base: String,
    policy: FileHash,
    telemetry: FileHash,
}

impl Bundle {
    fn read(dir: &Path) -> Result<Bundle, Failure> {
        if !dir.is_dir() {
            return Err(Failure::local(format!(
                "export job directory {} does not exist; coh peft export makes it",
                dir.display()
            )));
        }
        let file = |(name, max): (&str, usize)| read_bounded(&dir.join(name), max);
        let base = String::from_utf8_lossy(&file(BASE)?).into_owned();
        let base = base.lines().map(str::trim).find(|line| !line.is_empty());
        let base =
            base.ok_or_else(|| Failure::refused(format!("{} is empty", dir.join(BASE.0).display())))?;
        if base.contains(char::is_control) || base.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Failure::refused(format!(
                "{} is no line of text",
                dir.join(BASE.0).display()
            )));
        }
        Ok(Bundle {
            base: base.to_owned(),
            policy: hash(&file(POLICY)?),
            telemetry: hash(&file(TELEMETRY)?),
        })
    }
}

impl From<AdapterError> for Failure {
    fn from(why: AdapterError) -> Self {
        match why {
            AdapterError::File(why) => why.into(),
            AdapterError::NoDirectory(_) | AdapterError::Missing(_) => Failure::local(why),
            why => Failure::refused(why),
        }
    }
}
