//! Where the GPUs come from: the NVIDIA driver of this host, or the mock.
//!
//! Answers for what is known of each GPU and, of real ones, for how busy they are. Never falls back from one to the
//! other: GPUs that are not there are published only if somebody asked for them.

pub mod mock;
mod nvml;

pub use self::nvml::{NvmlSource, SourceError};

use crate::snapshot::Gpu;

/// A source of GPUs.
#[derive(Debug)]
pub enum Source {
    /// Two GPUs that do not exist.
    Mock,
    /// The GPUs that the NVIDIA driver has.
    Nvml(Box<NvmlSource>),
}

/// How busy a GPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Percent of the time in which it computed.
    pub util_pct: u32,
    /// Memory in use, MiB.
    pub mem_used_mb: u64,
    /// Memory in all, MiB.
    pub mem_total_mb: u64,
    /// Degrees Celsius; not every GPU says.
    pub temp_c: Option<u32>,
    /// Watts; not every GPU says.
    pub power_w: Option<u32>,
}

impl Source {
    /// The mock, or the driver of this host.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn open(mock: bool) -> Result<Source, SourceError> {
        if mock {
            return Ok(Source::Mock);
        }
        Ok(Source::Nvml(Box::new(NvmlSource::open()?)))
    }

    /// The GPUs, at least one.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn gpus(&self) -> Result<Vec<Gpu>, SourceError> {
        match self {
            Source::Mock => Ok(mock::snapshot().gpus),
            Source::Nvml(nvml) => nvml.gpus(),
        }
    }

    /// How busy the GPU of that id is; `None` of a mock.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn sample(&self, id: &str) -> Result<Option<Sample>, SourceError> {
        match self {
            Source::Mock => Ok(None),
            Source::Nvml(nvml) => nvml.sample(id).map(Some),
        }
    }
}
