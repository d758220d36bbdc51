//! One direction at a time, wherever its indices stand: at 0, before the ring wraps, before a `u32` does.

use std::collections::VecDeque;
use std::mem::{align_of, offset_of, size_of};

use interop::{DATA_OFFSET, Provider, RING_BYTES, SharedLink, User};
use runtime::link::aged::{AgedReceiver, AgedTransmitter};
use runtime::link::{LinkMemory, MAX_SLOTS, Side, Violation};
use sel4_shared_ring_buffer::roles::{Provide, Use};
use sel4_shared_ring_buffer::{Descriptor, RING_BUFFER_SIZE, RawRingBuffer};
use zerocopy::IntoBytes;

const FRAME_BYTES: u32 = 100;
const STARTS: [u32; 6] = [0, 1, 509, 512, u32::MAX - 700, u32::MAX];
const SHAPES: [u16; 3] = [1, 7, MAX_SLOTS];
const SIDES: [Side; 2] = [Side::A, Side::B];

/// A repeatable sequence of numbers (xorshift).
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % bound
    }
}

/// Every place to start from, every number of slots, either side sending.
fn everywhere(test: impl Fn(u32, u16, Side)) {
    for start in STARTS {
        for slots in SHAPES {
            for from in SIDES {
                test(start, slots, from);
            }
        }
    }
}

fn frame(number: u32) -> Vec<u8> {
    let len = number % (FRAME_BYTES + 1);
    (0..len).map(|at| (number ^ at.wrapping_mul(31)) as u8).collect()
}

fn we_provide(link: &SharedLink, from: Side, start: u32) -> (AgedTransmitter, User<'_>) {
    let user = link.user(from, link.rings_at::<Use>(from, start));
    (AgedTransmitter::new(&link.memory(), from, start), user)
}

fn they_provide(link: &SharedLink, from: Side, start: u32) -> (Provider<'_>, AgedReceiver) {
    let provider = link.provider(from, link.rings_at::<Provide>(from, start));
    (provider, AgedReceiver::new(&link.memory(), from.other(), start))
}

fn receive(receiver: &mut AgedReceiver) -> Option<Vec<u8>> {
    let mut buf = vec![0; FRAME_BYTES as usize];
    let len = receiver.receive(&mut buf).expect("an honest provider")?;
    buf.truncate(len);
    Some(buf)
}

#[test]
fn the_layouts_are_the_same() {
    type Raw = RawRingBuffer<Descriptor>;
    assert_eq!(size_of::<Raw>(), RING_BYTES);
    assert_eq!(size_of::<Descriptor>(), 24);
    assert_eq!(align_of::<Raw>(), 8);
    assert_eq!(RING_BUFFER_SIZE - 1, usize::from(MAX_SLOTS));
    assert_eq!(
        [
            offset_of!(Raw, write_index),
            offset_of!(Raw, read_index),
            offset_of!(Raw, descriptors)
        ],
        [0, 4, 8]
    );
    let link = SharedLink::new(MAX_SLOTS, FRAME_BYTES);
    let bytes = LinkMemory::bytes_needed(MAX_SLOTS, FRAME_BYTES).expect("a sound shape");
    assert_eq!(bytes, DATA_OFFSET + 2 * usize::from(MAX_SLOTS) * link.stride());
}

#[test]
fn a_descriptor_of_ours_is_byte_for_byte_theirs() {
    everywhere(|start, slots, from| {
        let link = SharedLink::new(slots, FRAME_BYTES);
        let (mut transmitter, mut user) = we_provide(&link, from, start);
        for number in 0..u32::from(slots) {
            let sent = frame(number);
            assert!(transmitter.send(&sent).expect("an honest user"));
            let (address, cookie) = (number as usize * link.stride(), number as usize);
            let theirs = Descriptor::new(address, sent.len() as u32, cookie);
            let at = start.wrapping_add(number);
            assert_eq!(link.descriptor_bytes(from, false, at), theirs.as_bytes());
            let (taken, received) = user.take().expect("a frame");
            assert_eq!((taken, received), (theirs, sent));
        }
    });
}

#[test]
fn a_descriptor_of_theirs_comes_back_byte_for_byte() {
    everywhere(|start, slots, from| {
        let link = SharedLink::new(slots, FRAME_BYTES);
        let (mut provider, mut receiver) = they_provide(&link, from, start);
        for number in 0..u32::from(slots) {
            assert!(provider.send(&frame(number)));
            assert_eq!(receive(&mut receiver), Some(frame(number)));
            let at = start.wrapping_add(number);
            let [free, used] = [false, true].map(|used| link.descriptor_bytes(from, used, at));
            assert_eq!(free, used);
        }
    });
}

#[test]
fn frames_that_we_provide_arrive_in_order() {
    everywhere(|start, slots, from| {
        let link = SharedLink::new(slots, FRAME_BYTES);
        let (mut transmitter, mut user) = we_provide(&link, from, start);
        let (mut numbers, mut next) = (Numbers(start | 1), 0);
        let mut in_ring: VecDeque<Vec<u8>> = VecDeque::new();
        let mut kept: Vec<Descriptor> = Vec::new();
        // Enough to go round the ring three times, and past the largest `u32`.
        while next < 3 * RING_BUFFER_SIZE as u32 {
            for _ in 0..numbers.below(2 * u32::from(slots) + 1) {
                let room = in_ring.len() + kept.len() < usize::from(slots);
                assert_eq!(transmitter.send(&frame(next)), Ok(room));
                if room {
                    in_ring.push_back(frame(next));
                    next += 1;
                }
            }
            assert_eq!(user.rings.free_mut().num_filled_slots(), Ok(in_ring.len()));
            assert_eq!(
                user.rings.free_mut().is_full(),
                Ok(in_ring.len() == RING_BUFFER_SIZE - 1)
            );
            for _ in 0..numbers.below(2 * u32::from(slots) + 1) {
                let (taken, received) = user.take().unzip();
                assert_eq!(received, in_ring.pop_front());
                kept.extend(taken);
            }
            // Slots need not go back in the order they came.
            for _ in 0..numbers.below(u32::from(slots) + 1).min(kept.len() as u32) {
                let which = numbers.below(kept.len() as u32);
                user.give_back(kept.swap_remove(which as usize));
            }
        }
    });
}

#[test]
fn frames_that_they_provide_arrive_in_order() {
    everywhere(|start, slots, from| {
        let link = SharedLink::new(slots, FRAME_BYTES);
        let (mut provider, mut receiver) = they_provide(&link, from, start);
        let (mut numbers, mut next) = (Numbers(start | 1), 0);
        let mut in_ring: VecDeque<Vec<u8>> = VecDeque::new();
        while next < 3 * RING_BUFFER_SIZE as u32 {
            for _ in 0..numbers.below(2 * u32::from(slots) + 1) {
                let room = in_ring.len() < usize::from(slots);
                assert_eq!(provider.send(&frame(next)), room);
                if room {
                    in_ring.push_back(frame(next));
                    next += 1;
                }
            }
            assert_eq!(provider.rings.free_mut().num_filled_slots(), Ok(in_ring.len()));
            for _ in 0..numbers.below(2 * u32::from(slots) + 1) {
                assert_eq!(receive(&mut receiver), in_ring.pop_front());
            }
        }
    });
}

#[test]
fn a_ring_that_we_fill_is_full_for_them_and_empty_again() {
    for start in STARTS {
        let link = SharedLink::new(MAX_SLOTS, FRAME_BYTES);
        let (mut transmitter, mut user) = we_provide(&link, Side::A, start);
        assert_eq!(user.rings.free_mut().is_empty(), Ok(true));
        assert!(user.take().is_none());
        for number in 0..u32::from(MAX_SLOTS) {
            assert_eq!(transmitter.send(&frame(number)), Ok(true));
        }
        assert_eq!(transmitter.send(&[]), Ok(false));
        assert_eq!(user.rings.free_mut().is_full(), Ok(true));
        for number in 0..u32::from(MAX_SLOTS) {
            assert_eq!(user.receive(), Some(frame(number)));
        }
        assert!(user.take().is_none());
        // Their used ring is full until we look.
        assert_eq!(user.rings.used_mut().is_full(), Ok(true));
        assert_eq!(transmitter.send(&[]), Ok(true));
        assert_eq!(user.rings.used_mut().is_empty(), Ok(true));
    }
}

#[test]
fn a_ring_that_they_fill_is_full_for_us_and_empty_again() {
    for start in STARTS {
        let link = SharedLink::new(MAX_SLOTS, FRAME_BYTES);
        let (mut provider, mut receiver) = they_provide(&link, Side::A, start);
        assert_eq!(receive(&mut receiver), None);
        for number in 0..u32::from(MAX_SLOTS) {
            assert!(provider.send(&frame(number)));
        }
        let more = Descriptor::new(0, 0, 0);
        assert_eq!(provider.rings.free_mut().enqueue_and_commit(more), Ok(Err(more)));
        for number in 0..u32::from(MAX_SLOTS) {
            assert_eq!(receive(&mut receiver), Some(frame(number)));
        }
        assert_eq!(receive(&mut receiver), None);
        assert_eq!(provider.rings.used_mut().is_full(), Ok(true));
        assert!(provider.send(&[]));
        assert_eq!(provider.rings.used_mut().is_empty(), Ok(true));
    }
}

#[test]
fn a_provider_that_overruns_the_ring_is_found_out() {
    for start in STARTS {
        let link = SharedLink::new(MAX_SLOTS, FRAME_BYTES);
        let (mut provider, mut receiver) = they_provide(&link, Side::A, start);
        for _ in 0..RING_BUFFER_SIZE {
            provider
                .rings
                .free_mut()
                .force_enqueue(Descriptor::new(0, 0, 0), true);
        }
        assert_eq!(receiver.receive(&mut []), Err(Violation::Index));
    }
}
