//! Two GPUs and two models that do not exist (WIRE 5.2).
//!
//! Answers for something to publish on a machine without a GPU. Never mixes with what is real.

use crate::snapshot::{Gpu, Model, Snapshot};

/// All of it.
pub fn snapshot() -> Snapshot {
    Snapshot {
        gpus: vec![
            gpu("GPU-0", "Mock 4090", 24_576, 128),
            gpu("GPU-1", "Mock 4060", 8192, 24),
        ],
        models: vec![
            Model {
                id: "vision-base-v1".into(),
                manifest: "[model]\nid = \"vision-base-v1\"\n".into(),
            },
            Model {
                id: "vision-lora-edge".into(),
                manifest: "[model]\nid = \"vision-lora-edge\"\nbase = \"vision-base-v1\"\n\
                           adapter = \"adapter.safetensors\"\nlora = \"lora.json\"\n"
                    .into(),
            },
        ],
        active: Some("vision-lora-edge".into()),
    }
}

fn gpu(id: &str, name: &str, memory_mb: u32, sm_count: u32) -> Gpu {
    Gpu {
        id: id.into(),
        name: name.into(),
        memory_mb,
        sm_count,
        driver_version: "mock".into(),
        runtime_version: "mock".into(),
    }
}
