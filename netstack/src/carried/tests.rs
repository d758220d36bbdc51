//! Flows as two ends and a wire between them make them.

use alloc::vec::Vec;
use core::net::SocketAddrV4;

use proptest::prelude::*;

use super::*;
use crate::frames;

const OWN: End = End {
    port: 31_337,
    ip: Ipv4Addr::new(10, 77, 0, 2),
    mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
};

fn peer(port: u16) -> End {
    End {
        port,
        ip: Ipv4Addr::new(10, 77, 0, 1),
        mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
    }
}

/// A segment from `own` to `peer`.
fn frame(ends: Ends, control: TcpControl, seq: i32, ack: Option<i32>, payload: &[u8]) -> Vec<u8> {
    let side = |end: End| (end.mac, SocketAddrV4::new(end.ip, end.port));
    frames::frame(
        side(ends.own),
        side(ends.peer),
        frames::segment(control, seq, ack, payload),
    )
}

fn out(port: u16) -> Ends {
    Ends {
        own: OWN,
        peer: peer(port),
    }
}

/// A handshake whose stack begins at `seq`.
fn open(carried: &mut Carried, port: u16, seq: i32) {
    carried.inbound(&frame(out(port).turned(), TcpControl::Syn, 99, None, b""));
    carried.outbound(&frame(out(port), TcpControl::Syn, seq, Some(100), b""));
    carried.inbound(&frame(
        out(port).turned(),
        TcpControl::None,
        100,
        Some(seq.wrapping_add(1)),
        b"",
    ));
}

/// A reset as its peer reads it: who it is for, its number and what it acknowledges.
fn read(frame: &[u8]) -> (u16, i32, Option<i32>) {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    let segment = TcpPacket::new_checked(packet.payload()).unwrap();
    let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
    assert!(packet.verify_checksum() && segment.verify_checksum(&from, &to) && segment.rst());
    let ack = segment.ack().then(|| segment.ack_number().0);
    (segment.dst_port(), segment.seq_number().0, ack)
}

fn resets(carried: &mut Carried) -> Vec<(u16, i32, Option<i32>)> {
    let mut frame = [0; RESET_BYTES];
    core::iter::from_fn(|| carried.reset(&mut frame).map(|len| read(&frame[..len]))).collect()
}

#[test]
fn each_peer_gets_a_reset_with_the_number_that_it_expects() {
    let mut carried = Carried::new(4);
    // Numbers turn negative on the way.
    let start = i32::MAX - 5;
    open(&mut carried, 5000, start);
    open(&mut carried, 5001, 10);
    let next = |len| start.wrapping_add(1 + len);
    carried.outbound(&frame(out(5000), TcpControl::Psh, next(0), Some(107), &[7; 20]));
    // Sent again: what was sent stays sent.
    carried.outbound(&frame(out(5000), TcpControl::Psh, next(0), Some(108), &[7; 10]));
    assert_eq!(carried.open(), 2);
    assert_eq!(
        resets(&mut carried),
        [(5000, next(20), Some(108)), (5001, 11, Some(100))]
    );
    assert_eq!(resets(&mut carried), [], "each once");
}

#[test]
fn what_is_over_needs_no_reset_of_its_own() {
    let mut carried = Carried::new(4);
    for port in [1, 2, 3] {
        open(&mut carried, port, 10);
    }
    carried.outbound(&frame(out(1), TcpControl::Rst, 11, Some(100), b""));
    carried.inbound(&frame(out(2).turned(), TcpControl::Rst, 100, None, b""));
    carried.outbound(&frame(out(3), TcpControl::Fin, 11, Some(100), b""));
    assert_eq!(carried.open(), 1, "half a close leaves the other half");
    carried.inbound(&frame(out(3).turned(), TcpControl::Fin, 100, Some(12), b""));
    assert_eq!(carried.open(), 0);
    // The last acknowledgement of a close opens nothing; a reset that the stack did not believe closes nothing.
    carried.outbound(&frame(out(3), TcpControl::None, 12, Some(101), b""));
    assert_eq!(carried.open(), 0);
    carried.outbound(&frame(out(2), TcpControl::Psh, 11, Some(100), b"x"));
    assert_eq!(carried.open(), 1);
}

#[test]
fn a_request_that_was_not_answered_is_refused() {
    let mut carried = Carried::new(4);
    let request = |port| frame(out(port).turned(), TcpControl::Syn, 99, None, b"");
    for port in [1, 2, 3, 4, 1] {
        carried.inbound(&request(port));
    }
    carried.outbound(&frame(out(2), TcpControl::Syn, 10, Some(100), b""));
    carried.outbound(&frame(out(3), TcpControl::Rst, 0, Some(100), b""));
    carried.inbound(&frame(out(4).turned(), TcpControl::Rst, 100, None, b""));
    assert_eq!(carried.open(), 2);
    assert_eq!(resets(&mut carried), [(2, 11, Some(100)), (1, 0, Some(100))]);
}

#[test]
fn a_flood_pushes_out_requests_and_no_living_connection() {
    let mut carried = Carried::new(4);
    for port in 1..100 {
        carried.inbound(&frame(out(port).turned(), TcpControl::Syn, 99, None, b""));
        carried.inbound(&frame(out(port).turned(), TcpControl::None, 99, Some(1), b"x"));
    }
    assert_eq!(carried.open(), REQUESTS);
    for port in [1, 2, 3] {
        open(&mut carried, port, 10);
    }
    // The stack answers requests that nobody follows up, and short visits come and go.
    for port in 1000..1100 {
        carried.outbound(&frame(out(port), TcpControl::Syn, 10, Some(100), b""));
        open(&mut carried, port + 500, 10);
        carried.inbound(&frame(out(port + 500).turned(), TcpControl::Rst, 100, None, b""));
    }
    let ports: Vec<u16> = resets(&mut carried).into_iter().map(|reset| reset.0).collect();
    assert!([1, 2, 3].iter().all(|port| ports.contains(port)), "{ports:?}");
}

#[test]
fn who_is_met_in_the_middle_is_known_from_then_on() {
    let mut carried = Carried::new(4);
    carried.outbound(&frame(out(7), TcpControl::None, 500, Some(900), b""));
    assert_eq!(resets(&mut carried), [(7, 500, Some(900))]);
}

#[test]
fn a_host_without_a_stack_refuses_as_the_rfc_says() {
    let to_us = out(7).turned();
    let table = [
        (
            frame(to_us, TcpControl::Syn, 99, None, b""),
            Some((7, 0, Some(100))),
        ),
        (
            frame(to_us, TcpControl::None, 99, Some(55), b"data"),
            Some((7, 55, None)),
        ),
        (
            frame(to_us, TcpControl::Fin, 99, None, b"abc"),
            Some((7, 0, Some(103))),
        ),
        (frame(to_us, TcpControl::Rst, 99, Some(55), b""), None),
        (vec![0xff; 60], None),
    ];
    for (frame, expected) in table {
        let mut answer = [0; RESET_BYTES];
        let answered = refusal(&frame, &mut answer).map(|len| read(&answer[..len]));
        assert_eq!(answered, expected);
    }
    assert_eq!(
        refusal(
            &frame(to_us, TcpControl::Syn, 99, None, b""),
            &mut [0; RESET_BYTES - 1]
        ),
        None
    );
}

/// What a stack or its peer may do to a wire; mostly well-formed.
fn frames() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let control = prop_oneof![
        Just(TcpControl::None),
        Just(TcpControl::Psh),
        Just(TcpControl::Syn),
        Just(TcpControl::Fin),
        Just(TcpControl::Rst),
    ];
    let segment = (
        control,
        1_u16..6,
        any::<i32>(),
        proptest::option::of(any::<i32>()),
        0_usize..40,
    );
    let well_formed = segment.prop_map(|(control, port, seq, ack, len)| {
        let bytes = [7; 40];
        frame(out(port), control, seq, ack, bytes.get(..len).unwrap_or_default())
    });
    let bent = (
        well_formed,
        any::<bool>(),
        any::<u16>(),
        any::<u8>(),
        any::<bool>(),
    );
    bent.prop_map(|(mut frame, outbound, at, bits, bend)| {
        if !outbound {
            // The same segment from the other end.
            let turned: Vec<u8> = [&frame[6..12], &frame[..6]].concat();
            frame[..12].copy_from_slice(&turned);
            let (from, to): ([u8; 4], [u8; 4]) = (
                frame[26..30].try_into().unwrap(),
                frame[30..34].try_into().unwrap(),
            );
            frame[26..30].copy_from_slice(&to);
            frame[30..34].copy_from_slice(&from);
            let ports: Vec<u8> = [&frame[36..38], &frame[34..36]].concat();
            frame[34..38].copy_from_slice(&ports);
        }
        if bend {
            let at = usize::from(at) % frame.len();
            frame[at] ^= bits;
        }
        (outbound, frame)
    })
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut carried = Carried::new(2);
        carried.outbound(&bytes);
        carried.inbound(&bytes);
        let _ = refusal(&bytes, &mut [0; RESET_BYTES]);
        let _ = carried.reset(&mut [0; RESET_BYTES]);
    }

    #[test]
    fn whatever_passes_by_every_flow_gets_one_good_reset(frames in proptest::collection::vec(frames(), 0..200)) {
        let mut carried = Carried::new(3);
        for (outbound, frame) in &frames {
            match outbound {
                true => carried.outbound(frame),
                false => carried.inbound(frame),
            }
            prop_assert!(carried.open() <= 3 + REQUESTS);
        }
        // `read` checks each one.
        prop_assert!(resets(&mut carried).len() <= 3 + REQUESTS);
        prop_assert_eq!(carried.open(), 0);
    }
}
