//! The seam between a stack and the wire below it.
//!
//! Answers for: what a stack needs of a wire ([`FrameDevice`]), and smoltcp's view of such a device with two
//! promises: a frame that smoltcp built is never lost for want of room, and nothing is allocated.
//! Never: waits inside smoltcp; a full device shows as "no transmit token".

use alloc::vec;
use alloc::vec::Vec;

use runtime::time::Instant;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant as SmolInstant;

use crate::config::FRAME_BYTES;
use crate::flows::Flows;

/// Which life of the other side a device is talking to: another number says that the other side was
/// started afresh.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Incarnation(pub u64);

/// The device has no room now, or no other side.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Blocked;

/// A wire that moves whole Ethernet frames (without check sequence), at once or not at all.
#[allow(async_fn_in_trait)] // One thread per domain: nobody asks these futures to be `Send`.
pub trait FrameDevice {
    /// The longest frame it carries, in bytes.
    fn max_frame_bytes(&self) -> usize;

    /// Who is on the other side; `None` while nobody is.
    fn incarnation(&self) -> Option<Incarnation>;

    /// Takes the next frame, if there is one: copies it to the front of `buf` (which has room for
    /// [`FrameDevice::max_frame_bytes`]) and returns its length.
    fn receive(&mut self, buf: &mut [u8]) -> Option<usize>;

    /// Sends a frame, or leaves it to the caller to try again after [`FrameDevice::ready`].
    fn transmit(&mut self, frame: &[u8]) -> Result<(), Blocked>;

    /// Completes when a frame may be there to receive, when `room` was asked for and there is some, or when
    /// the other side came or went. May complete too often, never too seldom; safe to drop and call again.
    async fn ready(&mut self, room: bool);

    /// When the device wants [`FrameDevice::receive`] to be called even if `ready` says nothing (a device that
    /// delays frames).
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// The frame buffers of a stack.
pub(crate) struct FrameBuffers {
    received: Vec<u8>,
    pub(crate) outbox: Outbox,
}

impl FrameBuffers {
    pub(crate) fn new(device_frame_bytes: usize) -> Self {
        Self {
            received: vec![0; device_frame_bytes],
            outbox: Outbox::new(),
        }
    }

    /// Takes the next frame from the device.
    pub(crate) fn fill<D: FrameDevice>(&mut self, device: &mut D) -> Option<usize> {
        let len = device.receive(&mut self.received)?;
        Some(len.min(self.received.len()))
    }

    /// The first `len` bytes that [`FrameBuffers::fill`] took.
    pub(crate) fn frame(&self, len: usize) -> &[u8] {
        self.received.get(..len).unwrap_or_default()
    }
}

/// The frame being built, and the one that a full device has not taken yet.
pub(crate) struct Outbox {
    frame: Vec<u8>,
    /// Length of the frame in `frame` that waits for room; 0 if none does.
    waiting: usize,
    /// Where a reply is built that nobody will see, because `frame` is taken.
    spare: Vec<u8>,
    /// Frames the device took.
    pub(crate) sent: u64,
    /// Replies that found the device full. TCP makes up for them.
    pub(crate) dropped: u64,
}

impl Outbox {
    fn new() -> Self {
        Self {
            frame: vec![0; FRAME_BYTES],
            waiting: 0,
            spare: vec![0; FRAME_BYTES],
            sent: 0,
            dropped: 0,
        }
    }

    /// Whether a frame waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Forgets the frame that waits for room: it was for a peer that is gone.
    pub(crate) fn forget(&mut self) {
        self.waiting = 0;
    }

    /// Sends the frame that waits for room, if there is one and there is room now.
    pub(crate) fn flush<D: FrameDevice>(&mut self, device: &mut D) -> Result<(), Blocked> {
        if self.waiting > 0 {
            device.transmit(&self.frame[..self.waiting])?;
            self.waiting = 0;
            self.sent += 1;
        }
        Ok(())
    }

    fn send<D: FrameDevice, R>(
        &mut self,
        device: &mut D,
        flows: &mut Flows,
        len: usize,
        build: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        assert!(len <= FRAME_BYTES, "smoltcp exceeded the MTU it was given");
        if self.flush(device).is_err() {
            self.dropped += 1;
            return build(&mut self.spare[..len]);
        }
        let result = build(&mut self.frame[..len]);
        flows.correct(&mut self.frame[..len]);
        match device.transmit(&self.frame[..len]) {
            Ok(()) => self.sent += 1,
            Err(Blocked) => self.waiting = len,
        }
        result
    }
}

/// smoltcp's view of a device for the length of one poll.
pub(crate) struct Wire<'a, D> {
    device: &'a mut D,
    buffers: &'a mut FrameBuffers,
    flows: &'a mut Flows,
    /// Length of the received frame that smoltcp has not taken yet.
    incoming: Option<usize>,
    /// Whether smoltcp had something to send and found no room.
    pub(crate) blocked: bool,
}

impl<'a, D: FrameDevice> Wire<'a, D> {
    pub(crate) fn new(
        device: &'a mut D,
        buffers: &'a mut FrameBuffers,
        flows: &'a mut Flows,
        incoming: Option<usize>,
    ) -> Self {
        Self {
            device,
            buffers,
            flows,
            incoming,
            blocked: false,
        }
    }
}

impl<D: FrameDevice> Device for Wire<'_, D> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a, D>
    where
        Self: 'a;

    fn receive(&mut self, _: SmolInstant) -> Option<(Incoming<'_>, Outgoing<'_, D>)> {
        let len = self.incoming.take()?;
        let FrameBuffers { received, outbox } = &mut *self.buffers;
        Some((
            Incoming(received.get(..len)?),
            Outgoing {
                device: self.device,
                outbox,
                flows: self.flows,
            },
        ))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Outgoing<'_, D>> {
        if self.buffers.outbox.flush(self.device).is_err() {
            self.blocked = true;
            return None;
        }
        Some(Outgoing {
            device: self.device,
            outbox: &mut self.buffers.outbox,
            flows: self.flows,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.device.max_frame_bytes().min(FRAME_BYTES);
        capabilities
    }
}

/// A received frame on its way into smoltcp.
pub(crate) struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Leave to send one frame.
pub(crate) struct Outgoing<'a, D> {
    device: &'a mut D,
    outbox: &'a mut Outbox,
    flows: &'a mut Flows,
}

impl<D: FrameDevice> TxToken for Outgoing<'_, D> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, build: F) -> R {
        self.outbox.send(self.device, self.flows, len, build)
    }
}
