//! GPUs of the NVIDIA driver, by NVML, which is loaded when it is asked for.
//!
//! Answers for the names (`GPU-<index>`, as `nvidia-smi` counts), for the numbers of each GPU, and for saying in one
//! sentence what is missing. Never links against the library: a machine without it builds and runs everything else.

use core::fmt;
use std::ffi::OsStr;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use super::Sample;
use crate::snapshot::Gpu;

/// Names of the library: drivers install the first, toolkits the second.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
const MIB: u64 = 1 << 20;

/// The loaded library.
#[derive(Debug)]
pub struct NvmlSource {
    nvml: Nvml,
}

/// Why the driver's GPUs are not known.
#[derive(Debug)]
pub enum SourceError {
    /// There is no NVML library.
    NoLibrary,
    /// The library is there, and cannot reach a driver.
    NoDriver(NvmlError),
    /// The driver has no GPU.
    NoGpu,
    /// It does not say something that has to be known.
    Unreadable {
        /// What of which GPU.
        what: String,
        /// The library's words.
        why: NvmlError,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLibrary => write!(
                f,
                "no NVIDIA driver on this machine: neither {} nor {} can be loaded",
                LIBRARIES[0], LIBRARIES[1]
            )?,
            Self::NoDriver(why) => write!(f, "the NVIDIA driver of this machine does not answer: {why}")?,
            Self::NoGpu => f.write_str("the NVIDIA driver of this machine has no GPU")?,
            Self::Unreadable { what, why } => {
                return write!(f, "the NVIDIA driver does not tell {what}: {why}");
            }
        }
        f.write_str("; to go on without one, add --mock: two GPUs that do not exist")
    }
}

impl std::error::Error for SourceError {}

impl NvmlSource {
    /// Loads the library and reaches the driver.
    ///
    /// # Errors
    /// [`SourceError::NoLibrary`] or [`SourceError::NoDriver`].
    pub fn open() -> Result<Self, SourceError> {
        for library in LIBRARIES {
            match Nvml::builder().lib_path(OsStr::new(library)).init() {
                Ok(nvml) => return Ok(Self { nvml }),
                Err(NvmlError::LibloadingError(_)) => {}
                Err(why) => return Err(SourceError::NoDriver(why)),
            }
        }
        Err(SourceError::NoLibrary)
    }

    /// The GPUs, at least one.
    ///
    /// # Errors
    /// [`SourceError::NoGpu`] or [`SourceError::Unreadable`].
    pub fn gpus(&self) -> Result<Vec<Gpu>, SourceError> {
        let told = |what: &str, why| unreadable(what, why);
        let count = self
            .nvml
            .device_count()
            .map_err(|why| told("the number of GPUs", why))?;
        if count == 0 {
            return Err(SourceError::NoGpu);
        }
        let driver_version = self
            .nvml
            .sys_driver_version()
            .map_err(|why| told("its version", why))?;
        let cuda = self
            .nvml
            .sys_cuda_driver_version()
            .map_err(|why| told("its CUDA version", why))?;
        let runtime_version = format!(
            "{}.{}",
            cuda_driver_version_major(cuda),
            cuda_driver_version_minor(cuda)
        );
        let gpu = |index| {
            let device = self.device(index)?;
            let of = |what: &str, why| unreadable(&format!("the {what} of GPU {index}"), why);
            let memory = device.memory_info().map_err(|why| of("memory", why))?;
            Ok(Gpu {
                id: format!("GPU-{index}"),
                name: device.name().map_err(|why| of("name", why))?,
                memory_mb: u32::try_from(memory.total / MIB).unwrap_or(u32::MAX),
                sm_count: multiprocessors(&device),
                driver_version: driver_version.clone(),
                runtime_version: runtime_version.clone(),
            })
        };
        (0..count).map(gpu).collect()
    }

    /// How busy a GPU is.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`].
    pub fn sample(&self, id: &str) -> Result<Sample, SourceError> {
        let of = |what: &str, why| unreadable(&format!("the {what} of {id}"), why);
        let index = id.strip_prefix("GPU-").and_then(|index| index.parse().ok());
        let device = self.device(index.ok_or_else(|| of("index", NvmlError::InvalidArg))?)?;
        let memory = device.memory_info().map_err(|why| of("memory", why))?;
        let busy = device.utilization_rates().map_err(|why| of("utilisation", why))?;
        Ok(Sample {
            util_pct: busy.gpu,
            mem_used_mb: memory.used / MIB,
            mem_total_mb: memory.total / MIB,
            temp_c: device.temperature(TemperatureSensor::Gpu).ok(),
            power_w: device.power_usage().ok().map(|milliwatts| milliwatts / 1000),
        })
    }

    fn device(&self, index: u32) -> Result<Device<'_>, SourceError> {
        self.nvml
            .device_by_index(index)
            .map_err(|why| unreadable(&format!("about GPU {index}"), why))
    }
}

fn unreadable(what: &str, why: NvmlError) -> SourceError {
    SourceError::Unreadable {
        what: what.to_owned(),
        why,
    }
}

/// NVML counts cores; how many a multiprocessor has depends on the architecture. 0 if either is not known.
fn multiprocessors(device: &Device<'_>) -> u32 {
    let (Ok(cores), Ok(capability)) = (device.num_cores(), device.cuda_compute_capability()) else {
        return 0;
    };
    cores_of_a_multiprocessor(capability.major, capability.minor).map_or(0, |each| cores / each)
}

/// FP32 cores of a multiprocessor, by compute capability (CUDA C++ Programming Guide, "Compute Capabilities").
fn cores_of_a_multiprocessor(major: i32, minor: i32) -> Option<u32> {
    match (major, minor) {
        (3, _) => Some(192),
        (5, _) | (6, 1 | 2) => Some(128),
        (6, 0) | (7, _) | (8, 0) => Some(64),
        (8, _) | (9, _) | (10..=12, _) => Some(128),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_make_multiprocessors() {
        // RTX 4090: 16384 cores, 8.9. A100: 6912, 8.0. V100: 5120, 7.0. H100 SXM: 16896, 9.0. GTX 1080: 2560, 6.1.
        for (cores, capability, expected) in [
            (16_384, (8, 9), 128),
            (6912, (8, 0), 108),
            (5120, (7, 0), 80),
            (16_896, (9, 0), 132),
            (2560, (6, 1), 20),
        ] {
            let each = cores_of_a_multiprocessor(capability.0, capability.1).unwrap();
            assert_eq!(cores / each, expected, "{capability:?}");
        }
        assert_eq!(cores_of_a_multiprocessor(2, 0), None);
        assert_eq!(cores_of_a_multiprocessor(99, 0), None);
    }

    #[test]
    fn what_is_missing_is_said_with_the_way_on() {
        for error in [
            SourceError::NoLibrary,
            SourceError::NoDriver(NvmlError::DriverNotLoaded),
            SourceError::NoGpu,
        ] {
            let text = error.to_string();
            assert!(
                text.contains("NVIDIA driver") && text.contains("--mock"),
                "{text}"
            );
            assert!(!text.contains('\n'), "{text}");
        }
    }
}
