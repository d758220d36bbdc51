//! A GPU's `info`, as its host published it.
//!
//! Answers for the six fields that every host states. Others are the host's own. Never guesses a missing one.

use core::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

/// What a host says of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Streaming multiprocessors.
    pub sm_count: u64,
    /// Version of its driver.
    pub driver_version: String,
    /// Version of CUDA, or what takes its place.
    pub runtime_version: String,
}

/// Why a text is no `info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoError(String);

impl Info {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Info, InfoError> {
        serde_json::from_str(text).map_err(|why| InfoError(why.to_string()))
    }

    /// As a value, by the names that the lines have.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "mem_mb": self.memory_mb, "sm": self.sm_count,
            "driver": self.driver_version, "runtime": self.runtime_version,
        })
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gpu id={} name={} mem_mb={} sm={} driver={} runtime={}",
            self.id, self.name, self.memory_mb, self.sm_count, self.driver_version, self.runtime_version
        )
    }
}

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InfoError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_fields_and_others() {
        let text = "{\n  \"id\": \"GPU-0\",\n  \"name\": \"Mock 4090\",\n  \"memory_mb\": 24576,\n  \"sm_count\": 128,\n  \
                    \"driver_version\": \"1\",\n  \"runtime_version\": \"2\",\n  \"max_streams\": 4\n}";
        assert_eq!(
            Info::parse(text).unwrap().to_string(),
            "gpu id=GPU-0 name=Mock 4090 mem_mb=24576 sm=128 driver=1 runtime=2"
        );
        let said = Info::parse("{\"id\":\"GPU-0\"}").unwrap_err().to_string();
        assert!(said.contains("missing field `name`"), "{said}");
    }
}
