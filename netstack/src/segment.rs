//! A first look at a received frame, before smoltcp gets it.
//!
//! Answers for: telling the few TCP segments that change the socket table (SYN, RST) from all others, by their
//! addresses and ports.
//! Never: trusts what it reads. No checksum is verified here, so what it says is a hint that the engine checks
//! against the sockets once smoltcp, which does verify, has processed the frame.

use core::net::SocketAddrV4;

use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, TcpPacket};

/// What a segment asks of the socket table.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A connection request (SYN without ACK).
    Open { from: SocketAddrV4, to: SocketAddrV4 },
    /// A reset.
    Reset { from: SocketAddrV4, to: SocketAddrV4 },
}

impl Segment {
    /// The segment in `frame`, if it is one that changes the socket table.
    pub(crate) fn peek(frame: &[u8]) -> Option<Self> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        if packet.next_header() != IpProtocol::Tcp {
            return None;
        }
        let segment = TcpPacket::new_checked(packet.payload()).ok()?;
        let from = SocketAddrV4::new(packet.src_addr(), segment.src_port());
        let to = SocketAddrV4::new(packet.dst_addr(), segment.dst_port());
        match (segment.rst(), segment.syn(), segment.ack()) {
            (true, ..) => Some(Self::Reset { from, to }),
            (false, true, false) => Some(Self::Open { from, to }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;
    use smoltcp::wire::{EthernetAddress, TcpControl};

    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 5000);
    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 80);

    fn frame(control: TcpControl, ack: bool) -> Vec<u8> {
        let mac = EthernetAddress([2, 0, 0, 0, 0, 2]);
        let segment = frames::segment(control, 7, ack.then_some(9), b"");
        frames::frame((mac, CLIENT), (mac, SERVER), segment)
    }

    #[test]
    fn only_requests_and_resets_are_seen() {
        let (from, to) = (CLIENT, SERVER);
        let table = [
            (TcpControl::Syn, false, Some(Segment::Open { from, to })),
            (TcpControl::Syn, true, None),
            (TcpControl::Rst, false, Some(Segment::Reset { from, to })),
            (TcpControl::Rst, true, Some(Segment::Reset { from, to })),
            (TcpControl::Fin, true, None),
            (TcpControl::None, true, None),
        ];
        for (control, ack, seen) in table {
            assert_eq!(Segment::peek(&frame(control, ack)), seen, "{control:?} ack={ack}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Segment::peek(&bytes);
        }

        #[test]
        fn a_cut_or_bent_frame_is_survived(len in 0usize..54, at in 0usize..54, bits in any::<u8>()) {
            let mut bytes = frame(TcpControl::Syn, false);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
            bytes.truncate(len);
            let _ = Segment::peek(&bytes);
        }
    }
}
