//! Which adapter a model's `manifest.toml` names.
//!
//! Answers for two keys of its table `[model]`: `lora_id`, and whether there is a `lora`. The rest is passed over. It
//! reads the lines that `coh` and `gpu-bridge-host` write: a table's header and a key with its string on a line each.
//!
//! Never judges a manifest: who published it has done so.

use protocol::gpu::{MODEL_ID_BYTES, is_model_id};

/// A model's or an adapter's id.
pub(crate) type ModelId = heapless::String<MODEL_ID_BYTES>;

/// What has been read of a manifest.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    in_model: bool,
    lora_id: Option<ModelId>,
    has_lora: bool,
}

impl Manifest {
    /// Takes the next line.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split(']').next().unwrap_or_default();
            // `[[model]]` is an array of tables, and `[model.x]` another table.
            self.in_model = name.trim() == "model";
            return;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| self.in_model) else {
            return;
        };
        let Some(value) = string(value.trim()) else {
            return;
        };
        match key.trim() {
            "lora_id" if is_model_id(value) => self.lora_id = ModelId::try_from(value).ok(),
            "lora" => self.has_lora = !value.is_empty(),
            _ => {}
        }
    }

    /// The adapter's id: the one that is stated, or the model's own if the model is an adapter.
    pub(crate) fn lora_id(self, model_id: &ModelId) -> Option<ModelId> {
        let own = self.has_lora.then(|| model_id.clone());
        self.lora_id.or(own)
    }
}

/// The content of a TOML string that stands on one line and has no escapes; a comment may follow it.
fn string(value: &str) -> Option<&str> {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (text, rest) = value.get(1..)?.split_once(quote)?;
    let rest = rest.trim_start();
    let whole = rest.is_empty() || rest.starts_with('#');
    (whole && !(quote == '"' && text.contains('\\'))).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lora_id(text: &str) -> Option<ModelId> {
        let mut manifest = Manifest::default();
        text.lines().for_each(|line| manifest.line(line));
        manifest.lora_id(&ModelId::try_from("the-model").unwrap())
    }

    #[test]
    fn what_coh_writes() {
        let text = "[model]\nid = \"edge-7\"\nbase = \"vision-base-v1\"\nadapter = \"adapter.safetensors\"\n\
                    lora = \"lora.json\"\n\n[provenance]\njob_id = \"j\"\n";
        assert_eq!(lora_id(text).as_deref(), Some("the-model"));
    }

    #[test]
    fn a_stated_id_counts_more_than_the_models_own() {
        let text = "[model]\nlora = \"lora.json\"\nlora_id = 'edge-8' # rolled out in May\n";
        assert_eq!(lora_id(text).as_deref(), Some("edge-8"));
        assert_eq!(lora_id("[ model ]\nlora_id=\"x\"").as_deref(), Some("x"));
    }

    #[test]
    fn everything_else_names_no_adapter() {
        for text in [
            "",
            "[model]\nid = \"base\"\n",
            "[model]\nlora = \"\"\n",
            "lora_id = \"x\"\n[model]\n",
            "[model]\n[hashes]\nlora = \"x\"\n",
            "[[model]]\nlora_id = \"x\"\n",
            "[model.old]\nlora_id = \"x\"\n",
            "[model]\n# lora_id = \"x\"\n",
            "[model]\nlora_id = \"a/b\"\n",
            "[model]\nlora_id = \"a\\u0062\"\n",
            "[model]\nlora_id = \"x\" \"y\"\n",
            "[model]\nlora_id = \"\"\"x\"\"\"\n",
            "[model]\nlora_id = x\n",
            "[model]\nlora_id = \"x\n",
            "[model]\nlora_ids = \"x\"\n",
        ] {
            assert_eq!(lora_id(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "[\\[\\]a-z_=\"'#\\\\ \né]{0,120}") {
            let _ = lora_id(&text);
        }
    }
}
