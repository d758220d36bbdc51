//! The wire domain of a simulation: a device with weather in front of a link, and a client's stack on it.
//!
//! Answers for: both directions of a wire whose weather can be changed, read and cut while it is in use.
//! Never: blocks a sender. A network has no back-pressure; what it cannot carry it loses.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use runtime::Context;
use runtime::link::Link;
use runtime::time::Instant;

use super::path::{Path, PathCounts, Weather};
use crate::config::StackConfig;
use crate::device::{Blocked, FrameDevice, Incarnation};
use crate::error::ConfigError;
use crate::link::LinkDevice;
use crate::stack::Stack;

/// A client's stack whose frames reach the domain on the other side of `link` through `weather`, the same in
/// both directions. The seed comes from the context. Spawn [`Stack::run`] to set it going.
pub fn client_stack(
    context: &Context,
    link: Link,
    weather: Weather,
    config: StackConfig,
) -> Result<Stack, ConfigError> {
    Network::new(context, weather, weather).client_stack(LinkDevice::new(link), config)
}

/// A wire with weather. Clones are the same wire.
#[derive(Clone)]
pub struct Network {
    context: Context,
    paths: Rc<RefCell<Paths>>,
}

struct Paths {
    to_guest: Path,
    to_client: Path,
}

impl Network {
    /// A wire with this weather in each direction, seeded by the context.
    pub fn new(context: &Context, to_guest: Weather, to_client: Weather) -> Self {
        let paths = Paths {
            to_guest: Path::new(to_guest, context.random_u64()),
            to_client: Path::new(to_client, context.random_u64()),
        };
        Self {
            context: context.clone(),
            paths: Rc::new(RefCell::new(paths)),
        }
    }

    /// A client's stack on this wire, whose guest end is `device`.
    pub fn client_stack<D: FrameDevice + 'static>(
        &self,
        device: D,
        config: StackConfig,
    ) -> Result<Stack, ConfigError> {
        Stack::new(&self.context, NetworkDevice::new(self.clone(), device), config)
    }

    /// Changes the weather for frames sent from now on.
    pub fn set_weather(&self, to_guest: Weather, to_client: Weather) {
        let mut paths = self.paths.borrow_mut();
        paths.to_guest.set_weather(to_guest);
        paths.to_client.set_weather(to_client);
    }

    /// What became of the frames so far: to the guest, and to the client.
    pub fn counts(&self) -> [PathCounts; 2] {
        let paths = self.paths.borrow();
        [paths.to_guest.counts(), paths.to_client.counts()]
    }
}

/// A device whose frames go through a [`Network`] to and from another device.
pub struct NetworkDevice<D> {
    network: Network,
    guest: D,
    frame: Vec<u8>,
}

impl<D: FrameDevice> NetworkDevice<D> {
    /// The client's end of `network`, with `guest` at the other.
    pub fn new(network: Network, guest: D) -> Self {
        let frame = vec![0; guest.max_frame_bytes()];
        Self {
            network,
            guest,
            frame,
        }
    }

    /// Moves what has arrived at either end.
    fn carry(&mut self, now: Instant) {
        let paths = &mut *self.network.paths.borrow_mut();
        // A guest that takes no more loses frames like any other full queue.
        while paths
            .to_guest
            .arrive(now, |frame| self.guest.transmit(frame))
            .is_some()
        {}
        while let Some(len) = self.guest.receive(&mut self.frame) {
            let frame = self.frame.get(..len).unwrap_or_default();
            paths.to_client.offer(frame, now);
        }
    }
}

impl<D: FrameDevice> FrameDevice for NetworkDevice<D> {
    fn max_frame_bytes(&self) -> usize {
        self.guest.max_frame_bytes()
    }

    fn incarnation(&self) -> Option<Incarnation> {
        self.guest.incarnation()
    }

    fn receive(&mut self, buf: &mut [u8]) -> Option<usize> {
        let now = self.network.context.now();
        self.carry(now);
        self.network.paths.borrow_mut().to_client.arrive(now, |frame| {
            let len = frame.len().min(buf.len());
            buf[..len].copy_from_slice(&frame[..len]);
            len
        })
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), Blocked> {
        if self.guest.incarnation().is_none() {
            return Err(Blocked);
        }
        let now = self.network.context.now();
        self.network.paths.borrow_mut().to_guest.offer(frame, now);
        self.carry(now);
        Ok(())
    }

    async fn ready(&mut self, _room: bool) {
        self.guest.ready(false).await;
    }

    fn deadline(&self) -> Option<Instant> {
        let paths = self.network.paths.borrow();
        [
            paths.to_guest.deadline(),
            paths.to_client.deadline(),
            self.guest.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
