//! What one host has published: GPUs, models, the telemetry schema.
//!
//! Answers for the order of ids, for no id being there twice, and for the bounds. All texts lie in one buffer that is
//! taken at boot.
//!
//! Never checks what a text says, never keeps what happens to a GPU afterwards.

use alloc::string::String;
use alloc::vec::Vec;

use super::config::{MAX_GPUS, MAX_MODELS};
use super::record::File;

/// Bytes of all texts: a snapshot cannot carry more, since it spells them longer.
pub(super) const TEXT_BYTES: usize = 131_072;

/// A text in the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    from: usize,
    to: usize,
}

/// A GPU as it was published.
#[derive(Clone, Copy, Debug)]
struct GpuEntry {
    id: Span,
    info: Span,
    ctl: Span,
    status: Span,
}

/// A model as it was published.
#[derive(Clone, Copy, Debug)]
struct ModelEntry {
    id: Span,
    manifest: Span,
}

/// A GPU's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GpuTexts<'a> {
    pub(super) id: &'a str,
    pub(super) info: &'a str,
    /// What `ctl` begins with if the GPU is new.
    pub(super) ctl: &'a str,
    /// What `status` begins with if the GPU is new.
    pub(super) status: &'a str,
}

impl<'a> GpuTexts<'a> {
    /// What a file of the GPU begins with. No host grants a lease.
    pub(super) fn first(self, file: File) -> &'a str {
        match file {
            File::Ctl => self.ctl,
            File::Lease => "",
            File::Status => self.status,
        }
    }
}

/// Everything that is published.
pub(super) struct Published {
    text: String,
    gpus: Vec<GpuEntry>,
    models: Vec<ModelEntry>,
    schema: Option<Span>,
}

/// Why something could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The id, or the schema, is there already.
    Duplicate,
    /// More GPUs or models than there is room for.
    TooMany,
    /// More text than there is room for.
    TooLong,
}

impl Published {
    /// Nothing; all memory is taken here.
    pub(super) fn new() -> Published {
        Published {
            text: String::with_capacity(TEXT_BYTES),
            gpus: Vec::with_capacity(MAX_GPUS),
            models: Vec::with_capacity(MAX_MODELS),
            schema: None,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.gpus.clear();
        self.models.clear();
        self.schema = None;
    }

    /// Adds a GPU. The last line of its `ctl` and `status` may lack its newline.
    pub(super) fn add_gpu(&mut self, texts: GpuTexts<'_>) -> Result<(), Unfit> {
        let found = self
            .gpus
            .binary_search_by(|entry| self.str(entry.id).cmp(texts.id));
        let Err(place) = found else {
            return Err(Unfit::Duplicate);
        };
        if self.gpus.len() >= MAX_GPUS {
            return Err(Unfit::TooMany);
        }
        let entry = GpuEntry {
            id: self.keep(texts.id)?,
            info: self.keep(texts.info)?,
            ctl: self.keep_lines(texts.ctl)?,
            status: self.keep_lines(texts.status)?,
        };
        self.gpus.insert(place, entry);
        Ok(())
    }

    /// Adds a model.
    pub(super) fn add_model(&mut self, id: &str, manifest: &str) -> Result<(), Unfit> {
        let found = self.models.binary_search_by(|entry| self.str(entry.id).cmp(id));
        let Err(place) = found else {
            return Err(Unfit::Duplicate);
        };
        if self.models.len() >= MAX_MODELS {
            return Err(Unfit::TooMany);
        }
        let entry = ModelEntry {
            id: self.keep(id)?,
            manifest: self.keep(manifest)?,
        };
        self.models.insert(place, entry);
        Ok(())
    }

    /// Sets the telemetry schema.
    pub(super) fn set_schema(&mut self, text: &str) -> Result<(), Unfit> {
        if self.schema.is_some() {
            return Err(Unfit::Duplicate);
        }
        self.schema = Some(self.keep(text)?);
        Ok(())
    }

    /// The GPUs, sorted by id.
    pub(super) fn gpus(&self) -> impl Iterator<Item = GpuTexts<'_>> {
        self.gpus.iter().map(|entry| GpuTexts {
            id: self.str(entry.id),
            info: self.str(entry.info),
            ctl: self.str(entry.ctl),
            status: self.str(entry.status),
        })
    }

    /// The texts of the GPU of that id.
    pub(super) fn gpu(&self, id: &str) -> Option<GpuTexts<'_>> {
        self.gpus().find(|gpu| gpu.id == id)
    }

    /// The models' ids and manifests, sorted by id.
    pub(super) fn models(&self) -> impl Iterator<Item = (&str, &str)> {
        self.models
            .iter()
            .map(|entry| (self.str(entry.id), self.str(entry.manifest)))
    }

    /// The telemetry schema.
    pub(super) fn schema(&self) -> Option<&str> {
        self.schema.map(|span| self.str(span))
    }

    fn keep(&mut self, text: &str) -> Result<Span, Unfit> {
        if self.text.len() + text.len() > TEXT_BYTES {
            return Err(Unfit::TooLong);
        }
        let from = self.text.len();
        self.text.push_str(text);
        Ok(Span {
            from,
            to: self.text.len(),
        })
    }

    fn keep_lines(&mut self, text: &str) -> Result<Span, Unfit> {
        let mut span = self.keep(text)?;
        if !text.is_empty() && !text.ends_with('\n') {
            span.to = self.keep("\n")?.to;
        }
        Ok(span)
    }

    fn str(&self, span: Span) -> &str {
        self.text.get(span.from..span.to).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    fn gpu(id: &str) -> GpuTexts<'_> {
        GpuTexts {
            id,
            info: "info",
            ctl: "ctl\n",
            status: "",
        }
    }

    #[test]
    fn a_last_line_gets_its_newline() {
        let mut published = Published::new();
        let texts = GpuTexts {
            ctl: "one\ntwo",
            ..gpu("a")
        };
        published.add_gpu(texts).unwrap();
        let found = published.gpu("a").unwrap();
        assert_eq!((found.ctl, found.status), ("one\ntwo\n", ""));
    }

    #[test]
    fn ids_are_sorted_and_unique() {
        let mut published = Published::new();
        for id in ["b", "c", "a"] {
            published.add_gpu(gpu(id)).unwrap();
            published.add_model(id, "m").unwrap();
        }
        assert_eq!(published.add_gpu(gpu("b")), Err(Unfit::Duplicate));
        assert_eq!(published.add_model("c", ""), Err(Unfit::Duplicate));
        let ids: Vec<&str> = published.gpus().map(|gpu| gpu.id).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert_eq!(published.models().map(|(id, _)| id).collect::<Vec<_>>(), ids);
        assert_eq!(published.gpu("c"), Some(gpu("c")));
        published.clear();
        assert_eq!(published.gpus().count() + published.models().count(), 0);
    }

    #[test]
    fn every_bound_has_an_answer_and_nothing_is_allocated() {
        let mut published = Published::new();
        let before = (published.text.capacity(), published.models.capacity());
        for n in 0..MAX_GPUS {
            published.add_gpu(gpu(&n.to_string())).unwrap();
        }
        assert_eq!(published.add_gpu(gpu("x")), Err(Unfit::TooMany));
        for n in 0..MAX_MODELS {
            published.add_model(&n.to_string(), "m").unwrap();
        }
        assert_eq!(published.add_model("x", ""), Err(Unfit::TooMany));
        let long = "x".repeat(TEXT_BYTES);
        assert_eq!(published.set_schema(&long), Err(Unfit::TooLong));
        published.set_schema("{}").unwrap();
        assert_eq!(published.set_schema("{}"), Err(Unfit::Duplicate));
        assert_eq!((published.text.capacity(), published.models.capacity()), before);
    }
}
