//! 9P frames: whatever parses is emitted and parsed again as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ninep::codec::{parse_r, parse_t};

fuzz_target!(|frame: &[u8]| {
    let mut buf = [0; 1 << 16];
    if let Ok((tag, message)) = parse_t(frame) {
        if let Ok(len) = message.emit(tag, &mut buf) {
            assert_eq!(parse_t(&buf[..len]), Ok((tag, message)));
        }
    }
    if let Ok((tag, message)) = parse_r(frame) {
        if let Ok(len) = message.emit(tag, &mut buf) {
            assert_eq!(parse_r(&buf[..len]), Ok((tag, message)));
        }
    }
});
