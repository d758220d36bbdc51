//! GPUs on the wire: what a host says of them, and the lines in their files (WIRE 4.8, 5, 6.1).
//!
//! Answers for the ids, for the formats of `info` and `lease`, and for how a host publishes: the
//! [snapshot](Records) and the [session](BridgeRequest) that carries it. It never stores one.

mod bridge;
mod info;
mod lease;
mod report;
mod snapshot;

pub use bridge::{BridgeError, BridgeRequest, BridgeStatus, Digest};
pub use info::{GpuInfo, InfoError};
pub use lease::{Lease, LeaseError, LeaseState};
pub use report::{REPORT_BYTES, Report};
pub use snapshot::{
    Encoded, MANIFEST_BYTES, Record, Records, SNAPSHOT_BYTES, SNAPSHOT_SCHEMA, SnapshotError,
    TELEMETRY_SCHEMA_BYTES, Writer,
};

/// Bytes of a GPU's id (WIRE 5.3).
pub const GPU_ID_BYTES: usize = 32;
/// Bytes of a model's id (WIRE 5.3).
pub const MODEL_ID_BYTES: usize = 128;
/// Bytes of a GPU's `info`: its six fields with names of ordinary length need 200.
pub const INFO_BYTES: usize = 4096;
/// Bytes of `/gpu/<id>/ctl` (WIRE 4.8).
pub const CTL_BYTES: usize = 1024;
/// Bytes of `/gpu/<id>/lease` (WIRE 4.8).
pub const LEASE_BYTES: usize = 1024;
/// Bytes of `/gpu/<id>/status` (WIRE 4.8).
pub const STATUS_BYTES: usize = 32768;
/// Bytes of `/gpu/models/active` (WIRE 4.8).
pub const ACTIVE_BYTES: usize = 4096;

/// Names below `/gpu` that are no GPU's.
const RESERVED: [&str; 3] = ["bridge", "models", "telemetry"];

/// Whether `id` can name a GPU: a name of at most [`GPU_ID_BYTES`] that means nothing else below `/gpu`.
pub fn is_gpu_id(id: &str) -> bool {
    id.len() <= GPU_ID_BYTES && is_name(id) && !RESERVED.contains(&id)
}

/// Whether `id` can name a model: a name of at most [`MODEL_ID_BYTES`].
pub fn is_model_id(id: &str) -> bool {
    id.len() <= MODEL_ID_BYTES && is_name(id)
}

/// Whether a line may stand in a file of JSON lines: it begins with `{`, ends with `}` and is one line.
pub fn is_json_line(line: &str) -> bool {
    line.len() >= 2 && line.starts_with('{') && line.ends_with('}') && !line.bytes().any(|b| b < 0x20)
}

/// Whether a text is one JSON object, of bounded depth, and nothing else.
pub fn is_json_object(text: &str) -> bool {
    crate::json::object(text, |_, _| Some(())).is_some()
}

/// A component of a path that can be typed, and written into JSON as it is.
fn is_name(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'"' | b'\\');
    !id.is_empty() && id.bytes().all(plain) && id != "." && id != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_that_mean_nothing_else() {
        for id in ["GPU-0", "MIG-1:2", "a"] {
            assert!(is_gpu_id(id) && is_model_id(id), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a\0", "a b", "a\n", "é", "a\"", "a\\"] {
            assert!(!is_gpu_id(id) && !is_model_id(id), "{id:?}");
        }
        for id in RESERVED {
            assert!(!is_gpu_id(id) && is_model_id(id), "{id}");
        }
        let long = "x".repeat(MODEL_ID_BYTES + 1);
        assert!(is_gpu_id(&long[..GPU_ID_BYTES]) && !is_gpu_id(&long[..GPU_ID_BYTES + 1]));
        assert!(is_model_id(&long[..MODEL_ID_BYTES]) && !is_model_id(&long));
    }

    #[test]
    fn json_lines_are_one_line_in_braces() {
        for (line, good) in [
            ("{}", true),
            (r#"{"state":"ok"}"#, true),
            ("{", false),
            ("", false),
            ("[1]", false),
            ("{\"a\":\n1}", false),
            (" {}", false),
        ] {
            assert_eq!(is_json_line(line), good, "{line:?}");
        }
    }
}
