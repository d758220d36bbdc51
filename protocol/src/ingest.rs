//! What devices send to `/queen/telemetry` (WIRE 4.6, CONTROL 5).
//!
//! Answers for the line that asks for a new [segment](SegmentRequest), for the records with a form of their own (a
//! [push](Push), a [reference](Reference), a GPU's [sample](Sample)), and for the numbers that both sides know. Any other
//! line is a record as well. It never stores one.

mod push;
mod reference;
mod sample;
mod segment;

pub use push::{PUSH_SCHEMA, Push};
pub use reference::{REFERENCE_SCHEMA, Reference};
pub use sample::{Carried, ID_BYTES, SAMPLE_SCHEMA, Sample};
pub use segment::{MIME_BYTES, SegmentId, SegmentRequest};

/// Bytes of one record, its newline not counted (WIRE 4.6).
pub const RECORD_BYTES: usize = 4096;
/// Bytes of a device's name.
pub const DEVICE_BYTES: usize = 64;
