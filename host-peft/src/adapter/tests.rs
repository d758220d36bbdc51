//! Directories with adapters in them, and with what is none.

use std::fs;

use super::*;

const HEADER: &str =
    r#"{"base_model.model.q.lora_A.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
const CONFIG: &str =
    r#"{"r":2,"lora_alpha":4,"target_modules":["q"],"base_model_name_or_path":"base","new":[1]}"#;

fn weights() -> Vec<u8> {
    let mut file = (HEADER.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(HEADER.as_bytes());
    file.extend_from_slice(&[0; 24]);
    file
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn of(files: &[(&str, &[u8])]) -> Dir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        Dir(dir)
    }

    fn read(&self) -> Result<Adapter, AdapterError> {
        Adapter::read(self.0.path())
    }

    fn error(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

#[test]
fn both_namings_and_every_byte_is_kept() {
    let peft = Dir::of(&[
        ("adapter_model.safetensors", &weights()),
        ("adapter_config.json", CONFIG.as_bytes()),
        ("metrics.json", b"{\"loss\":0.1}"),
        ("README.md", b"whatever else there is"),
        ("training_args.bin", b"is not looked at"),
    ])
    .read()
    .unwrap();
    assert_eq!(
        (&peft.weights[..], &peft.config[..]),
        (&weights()[..], CONFIG.as_bytes())
    );
    assert_eq!(peft.metrics.as_deref(), Some(&b"{\"loss\":0.1}"[..]));
    assert_eq!(peft.peft.unwrap().base_model, "base");

    let public = Dir::of(&[
        ("adapter.safetensors", &weights()),
        ("lora.json", b"{\"rank\":8}"),
    ])
    .read()
    .unwrap();
    assert_eq!((public.peft, public.metrics), (None, None));
    assert_eq!(public.config, b"{\"rank\":8}");
}

#[test]
fn what_is_none_is_told() {
    let weights = weights();
    let (weights, config) = (&weights[..], CONFIG.as_bytes());
    for (files, why) in [
        (&[][..], "missing"),
        (
            &[("adapter_model.safetensors", weights)][..],
            "adapter_config.json",
        ),
        (
            &[("adapter.safetensors", weights), ("adapter_config.json", config)],
            "lora.json",
        ),
        (
            &[
                ("adapter_model.safetensors", weights),
                ("adapter_config.json", config),
                ("adapter.safetensors", weights),
                ("lora.json", config),
            ],
            "has both",
        ),
        (
            &[("adapter_model.bin", b"PK"), ("adapter_config.json", config)],
            "adapter_model.bin is a pickle",
        ),
        (&[("weights.PTH", b"PK")], "safe_serialization=True"),
        (
            &[
                ("adapter_model.safetensors", b""),
                ("adapter_config.json", config),
            ],
            "is empty",
        ),
        (
            &[
                ("adapter_model.safetensors", b"PK\x03\x04 no, a zip file"),
                ("adapter_config.json", config),
            ],
            "is no sound safetensors file",
        ),
        (
            &[
                ("adapter_model.safetensors", weights),
                ("adapter_config.json", b"{\"r\":2,\"r\":3}"),
            ],
            "\"r\" stands twice",
        ),
        (
            &[
                ("adapter_model.safetensors", weights),
                ("adapter_config.json", b"{\"r\":2}"),
            ],
            "lora_alpha has to be",
        ),
        (
            &[
                ("adapter_model.safetensors", weights),
                (
                    "adapter_config.json",
                    br#"{"r":3,"lora_alpha":4,"target_modules":["q"],"base_model_name_or_path":"base"}"#,
                ),
            ],
            "r is 3, but base_model.model.q.lora_A.weight has the shape [2, 3]",
        ),
        (
            &[
                ("adapter.safetensors", weights),
                ("lora.json", b"{}"),
                ("metrics.json", b"[]"),
            ],
            "metrics.json: a JSON object is expected",
        ),
        (
            &[("adapter.safetensors", weights), ("lora.json", b"")],
            "lora.json is empty",
        ),
    ] {
        let said = Dir::of(files).error();
        assert!(said.contains(why), "{said}");
    }
    let long = vec![b' '; MAX_LORA_BYTES + 1];
    let said = Dir::of(&[("adapter.safetensors", weights), ("lora.json", &long)]).error();
    assert!(said.contains("exceeds max bytes 65536"), "{said}");
    let said = Adapter::read(Path::new("/nonexistent")).unwrap_err().to_string();
    assert_eq!(said, "adapter directory /nonexistent does not exist");
}

#[test]
fn a_pipe_does_not_hang_and_a_link_is_followed() {
    let dir = Dir::of(&[("lora.json", b"{}"), ("blob", &weights())]);
    let path = dir.0.path().join("adapter.safetensors");
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    assert!(dir.error().contains("is no regular file"));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("blob", &path).unwrap();
    assert_eq!(dir.read().unwrap().weights, weights());
}
