//! What is published: a host's GPUs, its models, and what their telemetry looks like.
//!
//! Answers for the payload that the hive takes (`protocol::gpu::Writer` writes it), for what gives way if it does not fit,
//! and for the same as JSON. Never looks for a GPU or a model.

use protocol::gpu::{Digest, GpuInfo, Record, SnapshotError, Writer};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// A GPU of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its name in the hive, `/gpu/<id>`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Its memory in MiB.
    pub memory_mb: u32,
    /// Its streaming multiprocessors; 0 if that could not be found out.
    pub sm_count: u32,
    /// Version of the driver.
    pub driver_version: String,
    /// Version of the CUDA runtime that the driver has.
    pub runtime_version: String,
}

/// A model of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its id.
    pub id: String,
    /// The text of its `manifest.toml`.
    pub manifest: String,
}

/// Everything that is published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The GPUs.
    pub gpus: Vec<Gpu>,
    /// The models.
    pub models: Vec<Model>,
    /// The one that is in use; one of `models`.
    pub active: Option<String>,
}

/// A snapshot as the hive takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The text.
    pub text: String,
    /// Its SHA-256.
    pub sha256: Digest,
    /// GPUs in it.
    pub gpus: usize,
    /// Models in it.
    pub models: usize,
    /// The active model.
    pub active: Option<String>,
    /// Ids of models that found no room in it.
    pub left_out: Vec<String>,
}

/// Models that a hive takes (docs/integrator.md); it refuses a snapshot with more.
const MAX_MODELS: usize = 64;

/// What records of GPUs look like (CONTROL 5), as a text for whoever writes them.
#[derive(Serialize)]
struct TelemetrySchema {
    schema: &'static str,
    max_record_bytes: usize,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const TELEMETRY: TelemetrySchema = TelemetrySchema {
    schema: "gpu-telemetry/v1",
    max_record_bytes: 4096,
    required: &[
        "schema_version",
        "device_id",
        "model_id",
        "time_window",
        "token_count",
        "latency_histogram",
    ],
    optional: &["lora_id", "confidence", "entropy", "drift", "feedback_flags"],
};

impl Gpu {
    /// The text of its `info` file.
    fn info(&self) -> String {
        // What a driver says of itself is printable ASCII; in a JSON string a quote or a backslash would need an escape.
        let plain = |text: &str| -> String {
            let stays = |c: char| (c.is_ascii_graphic() && c != '"' && c != '\\') || c == ' ';
            text.chars().map(|c| if stays(c) { c } else { '_' }).collect()
        };
        let (name, driver) = (plain(&self.name), plain(&self.driver_version));
        let runtime = plain(&self.runtime_version);
        let info = GpuInfo {
            id: &self.id,
            name: &name,
            memory_mb: self.memory_mb,
            sm_count: self.sm_count,
            driver_version: &driver,
            runtime_version: &runtime,
            max_streams: None,
        };
        format!("{info}\n")
    }
}

impl Snapshot {
    /// The payload. If not all models fit, the last ones by id are left out; the active one stays.
    ///
    /// # Errors
    /// See [`SnapshotError`]: the GPUs alone do not fit, or something in it is no id.
    pub fn encode(&self) -> Result<Payload, SnapshotError> {
        let mut models: Vec<&Model> = self.models.iter().collect();
        models.sort_by(|a, b| a.id.cmp(&b.id));
        let mut left_out = Vec::new();
        let text = loop {
            let written = match models.len() {
                ..=MAX_MODELS => self.write(&models),
                _ => Err(SnapshotError::TooLong),
            };
            match written {
                Err(SnapshotError::TooLong) => {
                    let is_active = |model: &&Model| Some(&model.id) == self.active.as_ref();
                    let last = models.iter().rposition(|model| !is_active(model));
                    let last = last.ok_or(SnapshotError::TooLong)?;
                    left_out.push(models.remove(last).id.clone());
                }
                written => break written?,
            }
        };
        left_out.reverse();
        Ok(Payload {
            sha256: Digest(Sha256::digest(&text).into()),
            text,
            gpus: self.gpus.len(),
            models: models.len(),
            active: self.active.clone(),
            left_out,
        })
    }

    fn write(&self, models: &[&Model]) -> Result<String, SnapshotError> {
        let mut writer = Writer::new(String::new())?;
        for gpu in &self.gpus {
            writer.put(&Record::Node {
                id: &gpu.id,
                info: &gpu.info(),
                ctl: &format!("LEASE {}\n", gpu.id),
                // The hive grants leases, and what happened to a GPU is in the hive already.
                lease: "",
                status: "",
            })?;
        }
        for Model { id, manifest } in models {
            writer.put(&Record::Model { id, manifest })?;
        }
        if let Some(id) = &self.active {
            writer.put(&Record::Active { id })?;
        }
        let schema = to_json(&TELEMETRY);
        writer.put(&Record::Telemetry { schema: &schema })?;
        writer.finish()
    }

    /// The same as JSON, for people and scripts.
    pub fn list(&self, payload: &Payload) -> String {
        #[derive(Serialize)]
        struct Listed<'a> {
            id: &'a str,
            active: bool,
            manifest_bytes: usize,
            manifest_sha256: String,
        }
        #[derive(Serialize)]
        struct Size {
            bytes: usize,
            sha256: String,
        }
        #[derive(Serialize)]
        struct List<'a> {
            gpus: &'a [Gpu],
            models: Vec<Listed<'a>>,
            active: Option<&'a str>,
            telemetry: TelemetrySchema,
            snapshot: Size,
        }
        let listed = |model: &'_ Model| !payload.left_out.contains(&model.id);
        let models = self
            .models
            .iter()
            .filter(|model| listed(model))
            .map(|model| Listed {
                id: &model.id,
                active: self.active.as_ref() == Some(&model.id),
                manifest_bytes: model.manifest.len(),
                manifest_sha256: Digest(Sha256::digest(&model.manifest).into()).to_string(),
            });
        let list = List {
            gpus: &self.gpus,
            models: models.collect(),
            active: self.active.as_deref(),
            telemetry: TELEMETRY,
            snapshot: Size {
                bytes: payload.text.len(),
                sha256: payload.sha256.to_string(),
            },
        };
        // Names and numbers only: there is nothing in it that JSON could not say.
        serde_json::to_string_pretty(&list).unwrap_or_default()
    }
}

fn to_json(value: &impl Serialize) -> String {
    // As above.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use protocol::gpu::{MANIFEST_BYTES, Records, SNAPSHOT_BYTES};

    use super::*;
    use crate::source::mock;

    /// The records of a payload as lines, their values decoded.
    fn lines(payload: &Payload) -> Vec<String> {
        let text = |value: protocol::gpu::Encoded<'_>| {
            let mut out = vec![0; value.len()];
            value.decode(&mut out).unwrap().to_owned()
        };
        let line = |record: Record<'_>| match record {
            Record::Node {
                id,
                info,
                ctl,
                lease,
                status,
            } => format!(
                "node {id} {}{}{}{}",
                text(info),
                text(ctl),
                text(lease),
                text(status)
            ),
            Record::Model { id, manifest } => format!("model {id} {}", text(manifest)),
            Record::Active { id } => format!("active {id}"),
            Record::Telemetry { schema } => format!("telemetry {}", text(schema)),
        };
        let records = Records::of(payload.text.as_bytes()).unwrap();
        records.map(|record| line(record.unwrap())).collect()
    }

    #[test]
    fn the_mock_is_what_wire_5_2_says() {
        let payload = mock::snapshot().encode().unwrap();
        let lines = lines(&payload);
        for (line, parts) in lines.iter().zip([
            ["node GPU-0 {", "\"name\": \"Mock 4090\"", "LEASE GPU-0\n"],
            ["node GPU-1 {", "\"name\": \"Mock 4060\"", "LEASE GPU-1\n"],
            ["model vision-base-v1 ", "[model]", "id = \"vision-base-v1\""],
            ["model vision-lora-edge ", "[model]", "base = \"vision-base-v1\""],
            ["active vision-lora-edge", "", ""],
            [
                "telemetry {",
                "\"schema\":\"gpu-telemetry/v1\"",
                "\"max_record_bytes\":4096",
            ],
        ]) {
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
        let last = lines.last().unwrap();
        for field in TELEMETRY.required {
            assert!(last.contains(&format!("\"{field}\"")), "{last}");
        }
        assert_eq!((lines.len(), payload.gpus, payload.models), (6, 2, 2));
        assert_eq!(payload.sha256, Digest(Sha256::digest(&payload.text).into()));
    }

    #[test]
    fn an_info_is_one_whatever_a_driver_says() {
        let gpu = Gpu {
            name: "A \"quoted\\ \u{1f600} name\n".into(),
            ..mock::snapshot().gpus.remove(0)
        };
        let info = gpu.info();
        assert_eq!(GpuInfo::parse(&info).unwrap().name, "A _quoted_ _ name_");
    }

    #[test]
    fn models_give_way_and_the_active_one_stays() {
        let model = |n: usize| Model {
            id: format!("m-{n:02}"),
            manifest: "#".repeat(MANIFEST_BYTES),
        };
        let snapshot = Snapshot {
            models: (0..14).map(model).collect(),
            active: Some("m-13".into()),
            ..mock::snapshot()
        };
        let payload = snapshot.encode().unwrap();
        assert!(payload.text.len() <= SNAPSHOT_BYTES);
        assert!(payload.text.contains("active id=m-13\n") && payload.text.contains("model id=m-13 "));
        assert_eq!(payload.models + payload.left_out.len(), 14);
        assert!(payload.models >= 9, "{}", payload.models);
        assert_eq!(payload.left_out.last().unwrap(), "m-12");
        let list: serde_json::Value = serde_json::from_str(&snapshot.list(&payload)).unwrap();
        assert_eq!(list["models"].as_array().unwrap().len(), payload.models);
        assert_eq!(list["models"][payload.models - 1]["active"], true);
    }

    #[test]
    fn there_are_never_more_models_than_a_hive_takes() {
        let model = |n: usize| Model {
            id: format!("m-{n:04}"),
            manifest: "#".repeat(100),
        };
        let snapshot = Snapshot {
            models: (0..1024).map(model).collect(),
            active: Some("m-0500".into()),
            ..mock::snapshot()
        };
        let payload = snapshot.encode().unwrap();
        assert_eq!((payload.models, payload.left_out.len()), (64, 960));
        assert!(payload.text.contains("model id=m-0062 ") && payload.text.contains("model id=m-0500 "));
        assert_eq!(payload.left_out[0], "m-0063");
    }

    #[test]
    fn the_list_has_an_object_a_gpu() {
        let snapshot = mock::snapshot();
        let payload = snapshot.encode().unwrap();
        let list: serde_json::Value = serde_json::from_str(&snapshot.list(&payload)).unwrap();
        assert_eq!(list["gpus"][0]["id"], "GPU-0");
        assert_eq!(list["gpus"][1]["memory_mb"], 8192);
        assert_eq!(list["active"], "vision-lora-edge");
        assert_eq!(list["telemetry"]["max_record_bytes"], 4096);
        assert_eq!(list["snapshot"]["sha256"], payload.sha256.to_string());
    }
}
