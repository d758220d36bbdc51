//! A topology made real in one process: memory, channels and who is at their other ends.
//!
//! Answers for: what the hosts of this crate have in common.
//! Never: runs a domain or decides about one.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use crate::badge::Channel;
use crate::domain::{Directory, DomainSetup, LinkSetup, WallClock};
use crate::link::{LinkMemory, Side};
use crate::random::mix;
use crate::region::Region;
use crate::supervision::StatusPage;
use crate::topology::{DomainSpec, Topology, TopologyError};

/// The channel on which every domain is told that the status page changed.
pub(crate) const SUPERVISION: Channel = match Channel::new(Channel::MAX) {
    Some(channel) => channel,
    None => unreachable!(),
};

pub(crate) struct Wiring {
    topology: Topology,
    links: Vec<Wire>,
    pub(crate) directory: Directory,
    pub(crate) status: StatusPage,
    pub(crate) clock: WallClock,
}

struct Wire {
    memory: LinkMemory,
    a: End,
    b: End,
}

/// A channel of a domain.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) domain: usize,
    pub(crate) channel: Channel,
}

impl Wiring {
    pub(crate) fn new(topology: Topology, clock: WallClock) -> Result<Self, TopologyError> {
        topology.check()?;
        let names = || topology.domains.iter().map(|domain| domain.name.clone());
        let mut next_channel = alloc::vec![0; topology.domains.len()];
        let mut end = |name: &String| {
            let unknown = || TopologyError::UnknownDomain {
                link: String::new(),
                domain: name.clone(),
            };
            let domain = topology
                .domains
                .iter()
                .position(|known| known.name == *name)
                .ok_or_else(unknown)?;
            let number = next_channel.get_mut(domain).ok_or_else(unknown)?;
            *number += 1;
            let too_many = || TopologyError::Links { domain: name.clone() };
            Ok(End {
                domain,
                channel: Channel::new(*number - 1).ok_or_else(too_many)?,
            })
        };
        let mut links = Vec::with_capacity(topology.links.len());
        for link in &topology.links {
            let memory = LinkMemory::new(link.slots, link.frame_bytes);
            let memory = memory.map_err(|error| TopologyError::Shape {
                link: link.name.clone(),
                error,
            })?;
            links.push(Wire {
                memory,
                a: end(&link.a)?,
                b: end(&link.b)?,
            });
        }
        let directory = Directory::new(names());
        let status = StatusPage::new(names().collect());
        Ok(Self {
            topology,
            links,
            directory,
            status,
            clock,
        })
    }

    pub(crate) fn domains(&self) -> &[DomainSpec] {
        &self.topology.domains
    }

    #[cfg(feature = "hosted")]
    pub(crate) fn fault_injection(&self) -> bool {
        self.topology.fault_injection
    }

    /// The other end of a channel.
    pub(crate) fn other_end(&self, domain: usize, channel: Channel) -> Option<End> {
        let end = End { domain, channel };
        self.links.iter().find_map(|wire| match wire {
            Wire { a, b, .. } if *a == end => Some(*b),
            Wire { a, b, .. } if *b == end => Some(*a),
            _ => None,
        })
    }

    /// Marks all links of a dead domain down on its side; the ends that are to be signalled.
    pub(crate) fn mark_down(&self, domain: usize) -> impl Iterator<Item = End> {
        self.links.iter().filter_map(move |wire| {
            let (side, other) = match (wire.a.domain == domain, wire.b.domain == domain) {
                (true, _) => (Side::A, wire.b),
                (_, true) => (Side::B, wire.a),
                _ => return None,
            };
            wire.memory.mark_down(side);
            Some(other)
        })
    }

    /// What the `incarnation`-th start of a domain is given. Its random numbers depend on the host's seed, on which
    /// domain it is and on the incarnation. `fault_asked` is passed on if the topology allows faults.
    pub(crate) fn setup(
        &self,
        domain: usize,
        incarnation: u64,
        regions: Vec<(String, Region)>,
        seed: u64,
        fault_asked: Rc<dyn Fn(usize)>,
    ) -> Option<DomainSetup> {
        let spec = self.topology.domains.get(domain)?;
        let ends = self
            .topology
            .links
            .iter()
            .zip(&self.links)
            .filter_map(|(link, wire)| {
                let (side, end, peer) = match (wire.a.domain == domain, wire.b.domain == domain) {
                    (true, _) => (Side::A, wire.a, &link.b),
                    (_, true) => (Side::B, wire.b, &link.a),
                    _ => return None,
                };
                Some(LinkSetup {
                    name: link.name.clone(),
                    peer: peer.clone(),
                    channel: end.channel,
                    memory: wire.memory.clone(),
                    side,
                })
            });
        Some(DomainSetup {
            name: spec.name.clone(),
            limits: spec.limits,
            links: ends.collect(),
            regions,
            counters: self.directory.counters(&spec.name)?.clone(),
            directory: self.directory.clone(),
            supervision: Some((self.status.view(), SUPERVISION)),
            clock: self.clock.clone(),
            seed: mix(mix(seed ^ domain as u64) ^ incarnation),
            fault_injection: self.topology.fault_injection,
            fault_asked: self.topology.fault_injection.then_some(fault_asked),
            // The domains of a process share its address space.
            address_faults: false,
        })
    }
}
