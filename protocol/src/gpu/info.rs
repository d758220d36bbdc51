//! A GPU's `info`: what its host knows of it (WIRE 4.8).
//!
//! Answers for the six fields that clients expect and for `max_streams`, which is ours. Hosts of other versions may say
//! more; that is passed on to readers and means nothing here. It never measures a GPU.

use core::fmt;

use serde::Deserialize;

use crate::json::{object, present};

/// What a host says of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct GpuInfo<'a> {
    /// Its id, as in `/gpu/<id>`.
    pub id: &'a str,
    /// What it is called, JSON escapes as they are.
    pub name: &'a str,
    /// Its memory in MiB; at least 1.
    pub memory_mb: u32,
    /// Its streaming multiprocessors.
    pub sm_count: u32,
    /// Version of its driver, JSON escapes as they are.
    pub driver_version: &'a str,
    /// Version of its runtime, JSON escapes as they are.
    pub runtime_version: &'a str,
    /// Streams that may be leased at once, at least 1; none: the hive's manifest says how many.
    #[serde(default, deserialize_with = "present")]
    pub max_streams: Option<u32>,
}

/// Why a text is no `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoError {
    /// Longer than [`INFO_BYTES`](super::INFO_BYTES).
    TooLong,
    /// Not a JSON object with the six fields.
    Syntax,
    /// An id that can name no GPU, or a memory or `max_streams` of 0.
    Value,
}

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InfoError::TooLong => "info is longer than 4096 bytes",
            InfoError::Syntax => {
                "info is not a JSON object with id, name, memory_mb, sm_count, driver_version and runtime_version"
            }
            InfoError::Value => "info needs an id of at most 32 plain characters, and memory_mb and max_streams above 0",
        })
    }
}

impl core::error::Error for InfoError {}

impl<'a> GpuInfo<'a> {
    /// Reads the text of an `info` file: one JSON object, on one line or pretty.
    ///
    /// # Errors
    /// See [`InfoError`].
    pub fn parse(text: &'a str) -> Result<GpuInfo<'a>, InfoError> {
        if text.len() > super::INFO_BYTES {
            return Err(InfoError::TooLong);
        }
        let text = text.trim();
        // Fields that mean nothing here may nest, but not without a bound.
        object(text, |_, _| Some(())).ok_or(InfoError::Syntax)?;
        let (info, used) = serde_json_core::from_str::<GpuInfo<'a>>(text).map_err(|_| InfoError::Syntax)?;
        if used != text.len() {
            return Err(InfoError::Syntax);
        }
        let sound = super::is_gpu_id(info.id) && info.memory_mb > 0 && info.max_streams != Some(0);
        if sound { Ok(info) } else { Err(InfoError::Value) }
    }
}

impl fmt::Display for GpuInfo<'_> {
    /// The file's text: pretty JSON, without a newline at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{\n  \"id\": \"{}\",\n  \"name\": \"{}\",\n  \"memory_mb\": {},\n  \"sm_count\": {},\n  \
             \"driver_version\": \"{}\",\n  \"runtime_version\": \"{}\"",
            self.id, self.name, self.memory_mb, self.sm_count, self.driver_version, self.runtime_version
        )?;
        if let Some(streams) = self.max_streams {
            write!(f, ",\n  \"max_streams\": {streams}")?;
        }
        f.write_str("\n}")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    const MOCK: GpuInfo<'_> = GpuInfo {
        id: "GPU-0",
        name: "Mock 4090",
        memory_mb: 24576,
        sm_count: 128,
        driver_version: "mock",
        runtime_version: "mock",
        max_streams: None,
    };

    #[test]
    fn other_fields_are_the_hosts_own() {
        let text = r#"{"id":"GPU-0","name":"Mock 4090","memory_mb":24576,"sm_count":128,
            "driver_version":"mock","runtime_version":"mock","extra":{"a":[1,"}"]}}"#;
        assert_eq!(GpuInfo::parse(text), Ok(MOCK));
    }

    #[test]
    fn what_is_no_info_is_refused() {
        let good = MOCK.to_string();
        for (from, to, expected) in [
            ("24576", "0", InfoError::Value),
            ("24576", "-1", InfoError::Syntax),
            ("24576", "\"24576\"", InfoError::Syntax),
            ("GPU-0", "a/b", InfoError::Value),
            ("\n}", ",\n \"max_streams\": 0}", InfoError::Value),
            ("\n}", ",\n \"max_streams\": null}", InfoError::Syntax),
            ("\n}", "} x", InfoError::Syntax),
            ("\n}", "", InfoError::Syntax),
            ("\"sm_count\": 128,", "", InfoError::Syntax),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert_eq!(GpuInfo::parse(&bad), Err(expected), "{bad}");
        }
        let deep = std::format!("{{\"id\":{}1{}}}", "[".repeat(2000), "]".repeat(2000));
        assert_eq!(GpuInfo::parse(&deep), Err(InfoError::Syntax));
        assert_eq!(GpuInfo::parse(&" ".repeat(4097)), Err(InfoError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            id in "[A-Za-z0-9._:-]{3,32}",
            name in "[A-Za-z0-9 ().-]{0,64}",
            memory_mb in 1..u32::MAX,
            sm_count in any::<u32>(),
            streams in proptest::option::of(1..u32::MAX),
        ) {
            let info = GpuInfo { id: &id, name: &name, memory_mb, sm_count, max_streams: streams, ..MOCK };
            prop_assume!(super::super::is_gpu_id(&id));
            let text = info.to_string();
            prop_assert_eq!(GpuInfo::parse(&text), Ok(info));
        }

        #[test]
        fn garbage_never_panics(text in "[{}\\[\\]\":,a-z0-9 \\\\]{0,200}") {
            let _ = GpuInfo::parse(&text);
        }
    }
}
