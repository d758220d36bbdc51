//! Telemetry lines of hostile devices: nothing panics, and what is read can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::ingest::{Carried, Push, RECORD_BYTES, Reference, SegmentId, SegmentRequest};

fuzz_target!(|bytes: &[u8]| {
    let _ = Carried::Cbor(bytes).sample();
    let Ok(line) = core::str::from_utf8(bytes) else {
        return;
    };
    let mut scratch = [0; 2 * RECORD_BYTES];
    if let Some(carried) = Carried::of(line, &mut scratch)
        && let Some(sample) = carried.sample()
    {
        assert!(!sample.model_id.is_empty() && !sample.device_id.is_empty());
        assert!(sample.drift.is_none_or(f64::is_finite) && sample.token_count >= 0.0);
    }
    if let Some(push) = Push::parse(line) {
        assert!(push.seq > 0 && !Reference::is_claimed(line));
    }
    let mut out = [0; 512];
    if let Some(reference) = Reference::parse(line) {
        assert!(Reference::is_claimed(line));
        let written = reference.render(&mut out).expect("a good one fits");
        assert_eq!(Reference::parse(written), Some(reference));
    }
    if let Some(request) = SegmentRequest::parse(line) {
        let written = request.render(&mut out).expect("a good one fits");
        assert_eq!(SegmentRequest::parse(written), Some(request));
    }
    if let Some(id) = SegmentId::parse(line) {
        assert_eq!(id.to_string(), line);
    }
});
