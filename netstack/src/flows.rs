//! The sequence number that an acknowledgement carries.
//!
//! Answers for: acknowledgements and resets going out with the number of the next byte never sent (SND.NXT, RFC
//! 9293 3.10.7.4). After a retransmission timeout smoltcp 0.14 counts anew from the oldest unacknowledged byte and
//! puts that number on its acknowledgements, too. A peer that is past it throws such a segment away together with
//! the acknowledgement in it; if both ends have timed out, neither ever hears the other again.
//! Never: touches a segment that carries data, or one of a connection it does not know.

use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddrV4;

use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, TcpPacket, TcpSeqNumber};

/// What was sent on each connection, by number of its slot.
pub(crate) struct Flows(Vec<Option<Flow>>);

#[derive(Copy, Clone)]
struct Flow {
    peer: SocketAddrV4,
    own_port: u16,
    /// The number after the last byte (or SYN, or FIN) sent; `None` before the first.
    next: Option<TcpSeqNumber>,
}

impl Flows {
    pub(crate) fn new(connections: usize) -> Self {
        Self(vec![None; connections])
    }

    /// A connection begins; it has sent nothing.
    pub(crate) fn open(&mut self, slot: usize, peer: SocketAddrV4, own_port: u16) {
        if let Some(flow) = self.0.get_mut(slot) {
            *flow = Some(Flow {
                peer,
                own_port,
                next: None,
            });
        }
    }

    /// A connection is forgotten.
    pub(crate) fn close(&mut self, slot: usize) {
        if let Some(flow) = self.0.get_mut(slot) {
            *flow = None;
        }
    }

    /// Notes what a frame of ours sends, or gives it the number it should have.
    pub(crate) fn correct(&mut self, frame: &mut [u8]) {
        let Ok(mut frame) = EthernetFrame::new_checked(frame) else {
            return;
        };
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            return;
        }
        let Ok(mut packet) = Ipv4Packet::new_checked(frame.payload_mut()) else {
            return;
        };
        if packet.next_header() != IpProtocol::Tcp {
            return;
        }
        let (own, peer) = (packet.src_addr(), packet.dst_addr());
        let Ok(mut segment) = TcpPacket::new_checked(packet.payload_mut()) else {
            return;
        };
        let (own_port, peer) = (segment.src_port(), SocketAddrV4::new(peer, segment.dst_port()));
        let of_segment = |flow: &&mut Flow| flow.own_port == own_port && flow.peer == peer;
        let Some(flow) = self.0.iter_mut().flatten().find(of_segment) else {
            return;
        };

        let (begin, len) = (segment.seq_number(), segment.segment_len());
        let next = flow.next.unwrap_or(begin);
        if len == 0 && segment.ack() && begin < next {
            segment.set_seq_number(next);
            segment.fill_checksum(&own.into(), &(*peer.ip()).into());
        } else if len != 1 || segment.syn() || segment.fin() {
            // A single byte may be a probe of a zero window, which smoltcp does not count as sent.
            flow.next = Some(next.max(begin + len));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;
    use core::net::Ipv4Addr;
    use smoltcp::wire::{EthernetAddress, TcpControl};

    const OWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 80);
    const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 5_000);

    /// Sends a segment through `flows`; the sequence number it leaves with.
    fn send(flows: &mut Flows, control: TcpControl, seq: i32, payload: &[u8]) -> i32 {
        let mac = EthernetAddress([2, 0, 0, 0, 0, 2]);
        let segment = frames::segment(control, seq, Some(1), payload);
        let mut bytes = frames::frame((mac, OWN), (mac, PEER), segment);
        flows.correct(&mut bytes);
        let packet = Ipv4Packet::new_unchecked(&bytes[14..]);
        let segment = TcpPacket::new_unchecked(packet.payload());
        assert!(segment.verify_checksum(&(*OWN.ip()).into(), &(*PEER.ip()).into()));
        segment.seq_number().0
    }

    #[test]
    fn acknowledgements_carry_the_next_number_never_sent() {
        // Just below the point where sequence numbers turn negative.
        let start = i32::MAX - 50;
        let mut flows = Flows::new(2);
        flows.open(1, PEER, OWN.port());
        let after = |len: i32| start.wrapping_add(len);
        let table = [
            (TcpControl::Syn, 0, &b""[..], 0),
            (TcpControl::Psh, 1, &[7; 100], 1),
            (TcpControl::None, 101, b"", 101),
            // Counting anew after a timeout: data as smoltcp has it, the rest from the frontier.
            (TcpControl::None, 1, &[7; 60], 1),
            (TcpControl::None, 61, b"", 101),
            (TcpControl::Rst, 61, b"", 101),
            // A window probe does not count; a keep-alive keeps its number.
            (TcpControl::None, 101, b"x", 101),
            (TcpControl::None, 100, b"\0", 100),
            (TcpControl::None, 101, b"", 101),
            // A FIN does.
            (TcpControl::Fin, 101, b"", 101),
            (TcpControl::None, 101, b"", 102),
        ];
        for (control, seq, payload, leaves) in table {
            let left = send(&mut flows, control, after(seq), payload);
            assert_eq!(left, after(leaves), "{control:?} {seq} {}", payload.len());
        }
        flows.close(1);
        assert_eq!(
            send(&mut flows, TcpControl::None, 5, b""),
            5,
            "an unknown connection is left alone"
        );
    }
}
