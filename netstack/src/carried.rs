//! The TCP connections that a wire carries for somebody else, and their end when he dies.
//!
//! Answers for: telling every peer of a stack that is gone at once, by a reset that its connection takes, and for
//! refusing what comes while there is no stack, or went to one that died before it answered. Whoever moves a stack's
//! frames outlives it, so this is his.
//! Never: believes more than it must. Frames are read, never changed; a frame that is no TCP over IPv4 is passed over;
//! a peer alone can make and push out requests, and no connection. The tables are made once and allocate nothing
//! afterwards.

use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;

use heapless::Deque;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet, Ipv4Repr,
    TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

/// Bytes of a reset: an Ethernet, an IPv4 and a TCP header without options.
pub const RESET_BYTES: usize = 14 + 20 + 20;

/// Requests that are known while the stack has not answered them; one more pushes out the oldest. More than a stack's
/// backlog, and it answers within a turn.
pub const REQUESTS: usize = 32;

/// Hops that a reset may take.
const HOP_LIMIT: u8 = 64;

/// The connections of a stack whose frames pass by.
///
/// Show it every frame in both directions. It knows as many connections as it was made for; one more pushes out the one
/// that matters least: one that is over, else one that never got beyond its handshake, else the one silent for longest.
/// A stack that has at most so many connections therefore has all its living ones here.
pub struct Carried {
    flows: Box<[Flow]>,
    /// Requests that the stack has not answered, oldest first.
    requests: Deque<Request, REQUESTS>,
    /// Counts frames of the stack, so that the age of flows can be compared.
    clock: u64,
}

/// A peer that asked the stack for a connection.
#[derive(Copy, Clone, Debug)]
struct Request {
    ends: Ends,
    /// The number after its SYN.
    next: TcpSeqNumber,
}

/// One place of the table.
#[derive(Copy, Clone, Debug)]
struct Flow {
    ends: Ends,
    stage: Stage,
    /// The number after the last byte (or SYN, or FIN) that the stack sent: what the peer expects next, unless some of
    /// it is still under way.
    next: TcpSeqNumber,
    /// What the stack acknowledged last.
    acknowledged: TcpSeqNumber,
    fin_out: bool,
    fin_in: bool,
    /// When the stack last spoke, in frames.
    heard: u64,
}

/// Who speaks with whom.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Ends {
    own: End,
    peer: End,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct End {
    port: u16,
    ip: Ipv4Addr,
    mac: EthernetAddress,
}

/// How much a flow matters, least first.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The place is free.
    Free,
    /// Both sides said their last word, or one reset it.
    Over,
    /// The stack answered a request, and the peer has not answered that.
    Opening,
    /// It carries, or may carry, data.
    Open,
}

impl Carried {
    /// A table for so many connections, at least 1.
    pub fn new(connections: u16) -> Self {
        let free = Flow {
            ends: Ends::NONE,
            stage: Stage::Free,
            next: TcpSeqNumber(0),
            acknowledged: TcpSeqNumber(0),
            fin_out: false,
            fin_in: false,
            heard: 0,
        };
        Self {
            flows: vec![free; usize::from(connections.max(1))].into_boxed_slice(),
            requests: Deque::new(),
            clock: 0,
        }
    }

    /// How many connections are open, opening, or asked for.
    pub fn open(&self) -> usize {
        let flows = self.flows.iter();
        flows.filter(|flow| flow.stage >= Stage::Opening).count() + self.requests.len()
    }

    /// A frame of the stack's is on its way out.
    pub fn outbound(&mut self, frame: &[u8]) {
        let Some((ends, segment)) = look(frame) else {
            return;
        };
        self.clock += 1;
        self.requests.retain(|request| !request.ends.is_same(ends));
        let known = self.find(ends);
        if segment.rst() {
            if let Some(flow) = known.and_then(|index| self.flows.get_mut(index)) {
                flow.stage = Stage::Free;
            }
            return;
        }
        if !segment.ack() {
            // A request of the stack's own; its peer's answer is not awaited here.
            return;
        }
        let clock = self.clock;
        let index = known.unwrap_or_else(|| self.least());
        let Some(flow) = self.flows.get_mut(index) else {
            return;
        };
        let after = segment.seq_number() + segment.segment_len();
        if known.is_none() || segment.syn() {
            *flow = Flow {
                ends,
                stage: if segment.syn() {
                    Stage::Opening
                } else {
                    Stage::Open
                },
                next: after,
                acknowledged: segment.ack_number(),
                fin_out: false,
                fin_in: false,
                heard: clock,
            };
        }
        flow.heard = clock;
        flow.next = flow.next.max(after);
        flow.acknowledged = segment.ack_number();
        flow.fin_out |= segment.fin();
        // A reset from outside that the stack does not believe did not end it.
        flow.stage = match flow.stage {
            _ if flow.fin_out && flow.fin_in => Stage::Over,
            Stage::Over => Stage::Open,
            stage => stage,
        };
    }

    /// A frame for the stack came in.
    pub fn inbound(&mut self, frame: &[u8]) {
        let Some((ends, segment)) = look(frame) else {
            return;
        };
        let ends = ends.turned();
        match (segment.rst(), segment.syn(), segment.ack()) {
            (true, ..) => self.requests.retain(|request| !request.ends.is_same(ends)),
            (false, true, false) => self.asked(ends, segment.seq_number() + segment.segment_len()),
            _ => {}
        }
        let Some(index) = self.find(ends) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(index) else {
            return;
        };
        flow.fin_in |= segment.fin();
        flow.stage = match flow.stage {
            _ if segment.rst() || (flow.fin_out && flow.fin_in) => Stage::Over,
            Stage::Opening if segment.ack() && !segment.syn() => Stage::Open,
            stage => stage,
        };
    }

    fn asked(&mut self, ends: Ends, next: TcpSeqNumber) {
        self.requests.retain(|request| !request.ends.is_same(ends));
        if self.requests.is_full() {
            self.requests.pop_front();
        }
        // There is room: the oldest has just made it.
        let _ = self.requests.push_back(Request { ends, next });
    }

    /// The stack is gone: writes a reset for one of its connections' peers, or a refusal of one that asked for a
    /// connection, into `frame` and forgets it. Call it until it gives `None`. The frame's length is [`RESET_BYTES`];
    /// into less nothing is written.
    pub fn reset(&mut self, frame: &mut [u8]) -> Option<usize> {
        frame.get(..RESET_BYTES)?;
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.stage != Stage::Free) {
            flow.stage = Stage::Free;
            let (next, acknowledged) = (flow.next, Some(flow.acknowledged));
            return emit(flow.ends, next, acknowledged, frame);
        }
        let Request { ends, next } = self.requests.pop_front()?;
        emit(ends, TcpSeqNumber(0), Some(next), frame)
    }

    fn find(&self, ends: Ends) -> Option<usize> {
        let same = |flow: &Flow| flow.stage != Stage::Free && flow.ends.is_same(ends);
        self.flows.iter().position(same)
    }

    fn least(&self) -> usize {
        let rank = |(_, flow): &(usize, &Flow)| (flow.stage, flow.heard);
        self.flows
            .iter()
            .enumerate()
            .min_by_key(rank)
            .map_or(0, |(index, _)| index)
    }
}

/// Writes the answer of a host without a stack into `answer`: a reset to a TCP segment, as RFC 9293 3.10.7.1 has it;
/// nothing to anything else, nor to a reset. Its length is [`RESET_BYTES`]; into less nothing is written.
pub fn refusal(frame: &[u8], answer: &mut [u8]) -> Option<usize> {
    answer.get(..RESET_BYTES)?;
    let (ends, segment) = look(frame)?;
    if segment.rst() {
        return None;
    }
    if segment.ack() {
        return emit(ends.turned(), segment.ack_number(), None, answer);
    }
    let acknowledged = segment.seq_number() + segment.segment_len();
    emit(ends.turned(), TcpSeqNumber(0), Some(acknowledged), answer)
}

/// The ends and the segment of a frame, from its sender's view. Checksums are not verified: the stack does that.
fn look(frame: &[u8]) -> Option<(Ends, TcpPacket<&[u8]>)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    // A fragment is not a segment; the stack takes none either.
    if packet.next_header() != IpProtocol::Tcp || packet.more_frags() || packet.frag_offset() != 0 {
        return None;
    }
    let segment = TcpPacket::new_checked(packet.payload()).ok()?;
    let ends = Ends {
        own: End {
            port: segment.src_port(),
            ip: packet.src_addr(),
            mac: ethernet.src_addr(),
        },
        peer: End {
            port: segment.dst_port(),
            ip: packet.dst_addr(),
            mac: ethernet.dst_addr(),
        },
    };
    let is_host = |end: End| end.port != 0 && end.mac.is_unicast() && !unicast_to_nobody(end.ip);
    (is_host(ends.own) && is_host(ends.peer)).then_some((ends, segment))
}

/// Addresses that are nobody's in particular: nothing is ever sent to them from here.
fn unicast_to_nobody(ip: Ipv4Addr) -> bool {
    ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast()
}

fn emit(
    ends: Ends,
    seq_number: TcpSeqNumber,
    ack_number: Option<TcpSeqNumber>,
    frame: &mut [u8],
) -> Option<usize> {
    let frame = frame.get_mut(..RESET_BYTES)?;
    let tcp = TcpRepr {
        src_port: ends.own.port,
        dst_port: ends.peer.port,
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None, None, None],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: ends.own.ip,
        dst_addr: ends.peer.ip,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let ethernet = EthernetRepr {
        src_addr: ends.own.mac,
        dst_addr: ends.peer.mac,
        ethertype: EthernetProtocol::Ipv4,
    };
    debug_assert_eq!(
        ethernet.buffer_len() + ip.buffer_len() + tcp.buffer_len(),
        RESET_BYTES
    );
    let checksums = ChecksumCapabilities::default();
    let mut whole = EthernetFrame::new_unchecked(frame);
    ethernet.emit(&mut whole);
    let mut packet = Ipv4Packet::new_unchecked(whole.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
    tcp.emit(
        &mut segment,
        &ends.own.ip.into(),
        &ends.peer.ip.into(),
        &checksums,
    );
    Some(RESET_BYTES)
}

impl Ends {
    const NONE: Self = Self {
        own: End::NONE,
        peer: End::NONE,
    };

    /// Whether it is the same connection. Whose card carries it may change.
    fn is_same(self, other: Self) -> bool {
        (self.peer.port, self.own.port, self.peer.ip, self.own.ip)
            == (other.peer.port, other.own.port, other.peer.ip, other.own.ip)
    }

    fn turned(self) -> Self {
        Self {
            own: self.peer,
            peer: self.own,
        }
    }
}

impl End {
    const NONE: Self = Self {
        port: 0,
        ip: Ipv4Addr::UNSPECIFIED,
        mac: EthernetAddress([0; 6]),
    };
}

#[cfg(test)]
mod tests;
