//! The two mock GPUs of the profile `dev`.
//!
//! Answers for a hive on which everything can be tried before a host has published anything, and for their `info`
//! saying that they are no GPUs.
//!
//! Never seeds a model: those come from a host.

use core::fmt::Write as _;

use protocol::gpu::GpuInfo;

use super::published::{GpuTexts, Published, Unfit};

/// Id, name, MiB and multiprocessors of each. The name says where it comes from; clients that read `info` strictly know
/// no field for that.
const MOCKS: [(&str, &str, u32, u32); 2] = [
    ("GPU-0", "Mock 4090 (seed of the dev profile)", 24_576, 128),
    ("GPU-1", "Mock 4060 (seed of the dev profile)", 8192, 24),
];

/// Adds the mocks to what is published.
pub(super) fn add_mocks(published: &mut Published) -> Result<(), Unfit> {
    for (id, name, memory_mb, sm_count) in MOCKS {
        let mock = GpuInfo {
            id,
            name,
            memory_mb,
            sm_count,
            driver_version: "mock",
            runtime_version: "mock",
            max_streams: None,
        };
        let mut info = heapless::String::<512>::new();
        writeln!(info, "{mock}").map_err(|_| Unfit::TooLong)?;
        let mut ctl = heapless::String::<64>::new();
        writeln!(ctl, "LEASE {id}").map_err(|_| Unfit::TooLong)?;
        published.add_gpu(GpuTexts {
            id,
            info: &info,
            ctl: &ctl,
            status: "",
        })?;
    }
    Ok(())
}
