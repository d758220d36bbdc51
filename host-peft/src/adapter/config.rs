//! PEFT's `adapter_config.json`.
//!
//! Answers for the fields without which nobody can use the weights, and for the rank being the one that the weights
//! have. Other fields are the file's own: nobody looks at them, and they are kept. Never changes the file.

use core::fmt;

use serde_json::{Map, Value};

use super::weights::Weights;

/// What a LoRA adapter's configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Rank, at least 1.
    pub r: u64,
    /// Scale, above 0.
    pub lora_alpha: f64,
    /// The modules it is for; one entry if they are given as a pattern.
    pub target_modules: Vec<String>,
    /// The model it was trained on.
    pub base_model: String,
    /// Some modules have another rank.
    pub has_rank_pattern: bool,
}

impl Config {
    /// Reads the fields.
    pub(super) fn of(object: &Map<String, Value>) -> Result<Config, ConfigError> {
        let field = |name: &'static str| object.get(name).filter(|value| !value.is_null());
        let wrong = |field, right| ConfigError::Field { field, right };
        if field("peft_type").is_some_and(|kind| kind.as_str() != Some("LORA")) {
            return Err(wrong(
                "peft_type",
                "\"LORA\"; other kinds of adapters are not supported",
            ));
        }
        let r = field("r").and_then(Value::as_u64).filter(|r| *r >= 1);
        let alpha = field("lora_alpha")
            .and_then(Value::as_f64)
            .filter(|alpha| *alpha > 0.0);
        let base = field("base_model_name_or_path").and_then(Value::as_str);
        Ok(Config {
            r: r.ok_or(wrong("r", "the rank, a whole number of at least 1"))?,
            lora_alpha: alpha.ok_or(wrong("lora_alpha", "a number above 0"))?,
            target_modules: field("target_modules").and_then(modules).ok_or(wrong(
                "target_modules",
                "a list of names, or a pattern, and not empty",
            ))?,
            base_model: base
                .map(str::trim)
                .filter(|base| !base.is_empty() && !base.contains(char::is_control))
                .ok_or(wrong(
                    "base_model_name_or_path",
                    "the base model, a text of one line",
                ))?
                .to_owned(),
            has_rank_pattern: field("rank_pattern")
                .and_then(Value::as_object)
                .is_some_and(|pattern| !pattern.is_empty()),
        })
    }

    /// Whether the weights have the rank. Only PEFT's matrices `lora_A` (rank first) and `lora_B` (rank second) tell.
    pub(super) fn fits(&self, weights: &Weights) -> Result<(), ConfigError> {
        if self.has_rank_pattern {
            return Ok(());
        }
        for (name, shape) in &weights.shapes {
            let rank = if name.contains(".lora_A.") {
                shape.first()
            } else if name.contains(".lora_B.") {
                shape.get(1)
            } else {
                continue;
            };
            if rank.and_then(|rank| u64::try_from(*rank).ok()) != Some(self.r) {
                return Err(ConfigError::OtherRank {
                    tensor: name.clone(),
                    shape: shape.clone(),
                    r: self.r,
                });
            }
        }
        Ok(())
    }

    /// Whether it was trained on `base`: the same name, or a copy of it somewhere (the same last component).
    pub fn is_for(&self, base: &str) -> bool {
        let last = |name: &str| {
            let name = name.trim_end_matches('/');
            name.rsplit('/').next().unwrap_or(name).to_owned()
        };
        last(&self.base_model) == last(base)
    }
}

fn modules(value: &Value) -> Option<Vec<String>> {
    let name = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    match value {
        Value::Array(names) if !names.is_empty() => names.iter().map(name).collect(),
        value => name(value).map(|pattern| vec![pattern]),
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// A field is missing or says something that cannot be.
    Field {
        /// Its name.
        field: &'static str,
        /// What would be right.
        right: &'static str,
    },
    /// The weights have another rank.
    OtherRank {
        /// A tensor that tells.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The rank of the configuration.
        r: u64,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { field, right } => write!(f, "{field} has to be {right}"),
            Self::OtherRank { tensor, shape, r } => write!(
                f,
                "r is {r}, but {tensor} has the shape {shape:?}; configuration and weights are not of one training"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(change: Value) -> Result<Config, ConfigError> {
        let mut config = json!({
            "peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3-8B", "r": 8, "lora_alpha": 16,
            "target_modules": ["q_proj", "v_proj"], "rank_pattern": {}, "something_new": {"x": 1},
        });
        for (key, value) in change.as_object().unwrap() {
            config[key] = value.clone();
        }
        Config::of(config.as_object().unwrap())
    }

    #[test]
    fn the_fields_that_matter() {
        let config = read(json!({})).unwrap();
        assert_eq!(
            (config.r, config.lora_alpha, config.has_rank_pattern),
            (8, 16.0, false)
        );
        assert_eq!(config.target_modules, ["q_proj", "v_proj"]);
        assert_eq!(
            read(json!({"target_modules": "all-linear"}))
                .unwrap()
                .target_modules,
            ["all-linear"]
        );
        for (change, field) in [
            (json!({"r": 0}), "r"),
            (json!({"r": 8.5}), "r"),
            (json!({"r": "8"}), "r"),
            (json!({"r": null}), "r"),
            (json!({"lora_alpha": 0}), "lora_alpha"),
            (json!({"lora_alpha": null}), "lora_alpha"),
            (json!({"target_modules": []}), "target_modules"),
            (json!({"target_modules": [1]}), "target_modules"),
            (json!({"target_modules": ["q", ""]}), "target_modules"),
            (json!({"target_modules": null}), "target_modules"),
            (json!({"base_model_name_or_path": " "}), "base_model_name_or_path"),
            (
                json!({"base_model_name_or_path": null}),
                "base_model_name_or_path",
            ),
            (
                json!({"base_model_name_or_path": "a\nb"}),
                "base_model_name_or_path",
            ),
            (json!({"peft_type": "IA3"}), "peft_type"),
        ] {
            match read(change.clone()) {
                Err(ConfigError::Field { field: said, .. }) => assert_eq!(said, field, "{change}"),
                other => panic!("{change}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_rank_is_the_weights() {
        let weights = |name: &str, shape: &[usize]| Weights {
            shapes: vec![(format!("base_model.model.q_proj.{name}"), shape.to_vec())],
        };
        let config = read(json!({})).unwrap();
        for (name, shape, fits) in [
            ("lora_A.weight", &[8, 64][..], true),
            ("lora_B.weight", &[64, 8], true),
            ("lora_A.weight", &[64, 8], false),
            ("lora_B.weight", &[8, 64], false),
            ("lora_B.weight", &[], false),
            ("lora_embedding_A", &[3, 64], true),
            ("lora_A.weight", &[8, 64, 3, 3], true),
        ] {
            assert_eq!(
                config.fits(&weights(name, shape)).is_ok(),
                fits,
                "{name} {shape:?}"
            );
        }
        let patterned = read(json!({"rank_pattern": {"q_proj": 4}})).unwrap();
        assert_eq!(patterned.fits(&weights("lora_A.weight", &[4, 64])), Ok(()));
    }

    #[test]
    fn a_copy_of_the_base_is_the_base() {
        let config = read(json!({})).unwrap();
        for (base, is) in [
            ("meta-llama/Llama-3-8B", true),
            ("Llama-3-8B", true),
            ("/models/Llama-3-8B/", true),
            ("Llama-3-70B", false),
            ("", false),
        ] {
            assert_eq!(config.is_for(base), is, "{base}");
        }
    }
}
