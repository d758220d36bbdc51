//! Which model an adapter goes on top of.
//!
//! Answers for `base` in the table `[model]` of a model's `manifest.toml`, as `coh` and the public tools write it: a
//! table's header, and a key with its string, on a line each. Never judges the rest of a manifest.

/// Bytes of the longest base.
pub(super) const BASE_BYTES: usize = 256;

/// The base that a manifest names; `None` without one, or if no line of a file can say it.
pub(super) fn base_of(manifest: &str) -> Option<&str> {
    let mut in_model = false;
    manifest.lines().map(str::trim).find_map(|line| {
        if line.starts_with('[') {
            let header = line.split('#').next().unwrap_or_default().trim_end();
            let name = header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            in_model = name.is_some_and(|name| name.trim() == "model");
            return None;
        }
        let (key, value) = line.split_once('=').filter(|_| in_model)?;
        text(value.trim_start()).filter(|base| key.trim_end() == "base" && is_base(base))
    })
}

/// A TOML string without escapes at the beginning of a line's rest.
fn text(value: &str) -> Option<&str> {
    let (quote, rest) = value.split_at_checked(1)?;
    let (text, after) = rest.split_once(quote).filter(|_| quote == "\"" || quote == "'")?;
    let after = after.trim_start();
    let whole = after.is_empty() || after.starts_with('#');
    (whole && (quote == "'" || !text.contains('\\'))).then_some(text)
}

fn is_base(base: &str) -> bool {
    (1..=BASE_BYTES).contains(&base.len()) && !base.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn manifests_with_a_base() {
        for (manifest, base) in [
            (
                "[model]\nid = \"edge\"\nbase = \"vision-base-v1\"\n",
                "vision-base-v1",
            ),
            (
                "# x\n[ model ] # the model\r\n  base='org/name'  # on the hub\r\n",
                "org/name",
            ),
            (
                "[other]\nbase = \"no\"\n[model]\nbase = \"yes\"\n[more]\nbase = \"no\"",
                "yes",
            ),
        ] {
            assert_eq!(base_of(manifest), Some(base), "{manifest}");
        }
    }

    #[test]
    fn manifests_without_one() {
        for manifest in [
            "",
            "base = \"x\"",
            "[model]\nbase = \"\"\n",
            "[model]\nbase = x\n",
            "[model]\nbase = \"x\n",
            "[model]\nbase = \"x\" \"y\"\n",
            "[model]\nbase = \"a\\u0062\"\n",
            "[model]\nbased = \"x\"\n",
            "[model]\n# base = \"x\"\n",
            "[[model]]\nbase = \"x\"\n",
            "[model.old]\nbase = \"x\"\n",
            "[model]\nbase = \"a\u{7}\"\n",
        ] {
            assert_eq!(base_of(manifest), None, "{manifest:?}");
        }
        let long = std::format!("[model]\nbase = \"{}\"", "x".repeat(BASE_BYTES + 1));
        assert_eq!(base_of(&long), None);
    }

    proptest! {
        #[test]
        fn garbage_is_survived(manifest in "[\\[\\]a-z=\"'#\\\\ \né]{0,120}") {
            let _ = base_of(&manifest);
        }
    }
}
