//! The table of carried connections against any frames: no panic, never more entries than places, and one reset for each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netstack::{Carried, REQUESTS, RESET_BYTES, refusal};

const PLACES: u16 = 3;
/// Entries of both kinds.
const MOST: usize = PLACES as usize + REQUESTS;

fuzz_target!(|data: &[u8]| {
    let mut carried = Carried::new(PLACES);
    let mut rest = data;
    // A byte says in which direction the next frame goes and how long it is.
    while let Some((&head, frames)) = rest.split_first() {
        let (frame, left) = frames.split_at(usize::from(head >> 1).min(frames.len()));
        match head & 1 {
            0 => carried.outbound(frame),
            _ => carried.inbound(frame),
        }
        let mut answer = [0; RESET_BYTES];
        if let Some(len) = refusal(frame, &mut answer) {
            assert_eq!(refusal(&answer[..len], &mut [0; RESET_BYTES]), None, "a reset is not answered");
        }
        assert!(carried.open() <= MOST);
        rest = left;
    }
    let mut resets = 0;
    while carried.reset(&mut [0; RESET_BYTES]).is_some() {
        resets += 1;
    }
    assert!(resets <= MOST && carried.open() == 0);
});
