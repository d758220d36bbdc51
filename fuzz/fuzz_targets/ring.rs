//! A link against a peer that writes anything anywhere at any time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    runtime::link::hostile::drive(script);
});
