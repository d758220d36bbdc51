//! A link whose memory somebody scribbles on: for fuzzing and property tests.
//!
//! Answers for: driving the code that ships against a peer that writes anything anywhere at any time, and for checking
//! what must hold all the same: no panic, no frame longer than a slot, no byte written beyond the frame, and own books
//! in order.
//! Never: part of a hive.

use super::Violation;
use super::endpoint::{Endpoint, Over, View};
use super::frames::Received;
use super::memory::{LinkMemory, Side};
use super::ring::RING_SIZE;
use crate::sync::{AtomicU64, Ordering};

/// Slots each way. Few, so that a script gets them all out.
const SLOTS: u16 = 3;
/// Longest frame; not a multiple of a slot's stride, so that a length between the two is a violation.
const FRAME_BYTES: usize = 20;

/// What a script brought about. The numbers let a test see that its scripts get anywhere.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Incarnations that both sides agreed on.
    pub connections: u32,
    /// Frames that were sent.
    pub sent: u32,
    /// Frames that were received.
    pub received: u32,
    /// Violations that were found.
    pub violations: u32,
}

/// Reads `script` as a list of events (operations of two sides, each written by the same code, and words overwritten
/// behind their backs) and plays it.
///
/// # Panics
/// If something does not hold: that is the finding.
pub fn drive(script: &[u8]) -> Tally {
    let memory = LinkMemory::new(SLOTS, FRAME_BYTES as u32).expect("a sound shape");
    let views = [Side::A, Side::B].map(|side| memory.view(side));
    let mut endpoints = views.map(Endpoint::new);
    let mut tally = Tally::default();
    let mut script = Script(script);
    while let Some(event) = script.byte() {
        match event {
            0..=95 => {
                let who = usize::from(event % 2);
                operate(
                    &mut endpoints[who],
                    views[who],
                    event / 2 % 8,
                    &mut script,
                    &mut tally,
                );
            }
            96..=127 => {
                // A whole round, so that short scripts get far.
                for who in [0, 1, 0, 1] {
                    endpoints[who].open(views[who]);
                    tally.connections += u32::from(endpoints[who].look(views[who]).begun);
                }
            }
            _ => scribble(memory.words(), event, &mut script),
        }
        for (endpoint, view) in endpoints.iter().zip(views) {
            assert!(endpoint.is_consistent(view), "a slot is in two places or in none");
        }
    }
    tally
}

fn operate(
    endpoint: &mut Endpoint,
    view: View<'_, RING_SIZE>,
    operation: u8,
    script: &mut Script<'_>,
    tally: &mut Tally,
) {
    let over = match operation {
        0 => {
            endpoint.open(view);
            None
        }
        1 => {
            endpoint.close(view);
            None
        }
        2 => {
            let look = endpoint.look(view);
            tally.connections += u32::from(look.begun);
            look.overwritten.then_some(Over::Violation(Violation::Words))
        }
        3 | 4 => {
            let frame = [0xa5; FRAME_BYTES];
            let len = usize::from(script.byte().unwrap_or_default()) % (FRAME_BYTES + 1);
            let sent = endpoint.send(view, &frame[..len]);
            tally.sent += u32::from(matches!(sent, Ok(Some(_))));
            sent.err()
        }
        5 | 6 => receive(endpoint, view, script, tally),
        _ => endpoint
            .await_frame(view)
            .and_then(|_| endpoint.await_space(view))
            .err(),
    };
    if let Some(Over::Violation(_)) = over {
        tally.violations += 1;
        // As a domain does.
        endpoint.close(view);
    }
}

fn receive(
    endpoint: &mut Endpoint,
    view: View<'_, RING_SIZE>,
    script: &mut Script<'_>,
    tally: &mut Tally,
) -> Option<Over> {
    const UNTOUCHED: u8 = 0x5a;
    let mut buffer = [UNTOUCHED; 2 * FRAME_BYTES];
    let room = usize::from(script.byte().unwrap_or_default()) % (FRAME_BYTES + 2);
    let received = endpoint.receive(view, &mut buffer[..room]);
    let written = match received {
        Ok((Received::Frame(len), _)) => {
            assert!(
                len <= room && len <= FRAME_BYTES,
                "a frame of {len} bytes in a buffer of {room}"
            );
            tally.received += 1;
            len
        }
        Ok((Received::TooLong(len), _)) => {
            assert!(
                len > room && len <= FRAME_BYTES,
                "a frame of {len} bytes is too long for {room}"
            );
            0
        }
        _ => 0,
    };
    assert!(
        buffer[written..].iter().all(|&byte| byte == UNTOUCHED),
        "written beyond the frame"
    );
    received.err()
}

/// Overwrites half a word: one that matters, as a rule, with a value that nearly fits.
fn scribble(words: &[AtomicU64], event: u8, script: &mut Script<'_>) {
    const RING_BYTES: usize = 8 + 24 * RING_SIZE;
    const SIDES_BYTES: usize = 2 * 64;
    let place = usize::from(script.byte().unwrap_or_default());
    let offset = match event % 4 {
        // What the sides say, and their flags.
        0 => 64 * (place % 2) + 4 * (place / 2 % 5),
        // An index of one of the four rings.
        1 => SIDES_BYTES + RING_BYTES * (place % 4) + 4 * (place / 4 % 2),
        // A field of one of the first descriptors of one of the four rings.
        2 => SIDES_BYTES + RING_BYTES * (place % 4) + 8 + 4 * (place / 4 % 36),
        // Anything.
        _ => place << 8 | usize::from(script.byte().unwrap_or_default()),
    };
    let value = match script.byte().unwrap_or_default() {
        large @ 224.. => u32::MAX - u32::from(large - 224),
        small => u32::from(small),
    };
    let word = &words[offset / 8 % words.len()];
    let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    bytes[offset / 4 % 2 * 4..][..4].copy_from_slice(&value.to_ne_bytes());
    word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::random::Random;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn nothing_a_peer_writes_does_harm(script in prop::collection::vec(any::<u8>(), 0..600)) {
            drive(&script);
        }
    }

    /// Scripts of bytes that are biased towards conversation get everywhere: connections, frames and violations.
    #[test]
    fn scripts_get_somewhere() {
        let random = Random::new(1);
        let mut total = Tally::default();
        for _ in 0..if cfg!(miri) { 5 } else { 500 } {
            let script: Vec<u8> = (0..400)
                .map(|_| {
                    if random.below(8) == 0 {
                        random.next() as u8
                    } else {
                        random.below(128) as u8
                    }
                })
                .collect();
            let tally = drive(&script);
            total.connections += tally.connections;
            total.sent += tally.sent;
            total.received += tally.received;
            total.violations += tally.violations;
        }
        let Tally {
            connections,
            sent,
            received,
            violations,
        } = total;
        assert!(
            connections > 10 && sent > 10 && received > 10 && violations > 0,
            "{total:?}"
        );
    }
}
