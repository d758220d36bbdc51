//! The network card: buffers that are with the device and buffers that are not.
//!
//! Answers for: no buffer being read or written here while the device has it.
//! Never: looks into a frame.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ptr::{self, NonNull};
use core::task::{Context, Poll};

use sel4_host::{Bell, patched};
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};

use crate::dma::{BUFFER_BYTES, BUFFERS, Dma, buffer};

patched!(mmio_vaddr: usize = 0);

/// Where the card's registers lie in the mapped page, and how long they are.
const REGISTERS: usize = 0xe00;
const REGISTER_BYTES: usize = 0x200;
/// Descriptors of each queue, and buffers each way.
const QUEUE: usize = 64;
const _: () = assert!(2 * QUEUE <= BUFFERS);

/// The card.
pub struct Card {
    device: VirtIONetRaw<Dma, MmioTransport<'static>, QUEUE>,
    /// The buffer that belongs to each token of the receive queue.
    receiving: [usize; QUEUE],
    /// Likewise of the transmit queue.
    sending: [usize; QUEUE],
    /// Buffers to send from that are here.
    idle: Vec<usize>,
    header_bytes: usize,
    /// Rung at the card's interrupt.
    bell: Rc<Bell>,
}

/// A received frame that is here.
pub struct Received {
    number: usize,
    start: usize,
    bytes: usize,
}

impl Card {
    /// Resets the card and gives it buffers to receive into. `bell` is its interrupt's.
    pub fn new(bell: Rc<Bell>) -> virtio_drivers::Result<Self> {
        let registers = mmio_vaddr.get() + REGISTERS;
        let header = NonNull::new(ptr::with_exposed_provenance_mut::<VirtIOHeader>(registers));
        let header = header.ok_or(virtio_drivers::Error::InvalidParam)?;
        // SAFETY: the system file maps the card's registers there, uncached, for this domain alone.
        let transport = unsafe { MmioTransport::new(header, REGISTER_BYTES) };
        let transport = transport.map_err(|_| virtio_drivers::Error::Unsupported)?;
        let device = VirtIONetRaw::new(transport)?;
        let header_bytes = device.fill_buffer_header(&mut [0; 16])?;
        let idle = (QUEUE..2 * QUEUE).collect();
        let mut card = Self {
            device,
            receiving: [0; QUEUE],
            sending: [0; QUEUE],
            idle,
            header_bytes,
            bell,
        };
        for number in 0..QUEUE {
            card.receive_into(number)?;
        }
        Ok(card)
    }

    /// Its hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.device.mac_address()
    }

    fn receive_into(&mut self, number: usize) -> virtio_drivers::Result<()> {
        // SAFETY: the buffer is in the region, and not touched before the card is done with it.
        let token = unsafe { self.device.receive_begin(buffer(number).as_mut()) }?;
        self.receiving[usize::from(token) % QUEUE] = number;
        Ok(())
    }
}

impl netstack::Card for Card {
    type Frame = Received;

    fn acknowledge(&mut self) {
        self.device.ack_interrupt();
    }

    fn receive(&mut self) -> Option<Received> {
        let token = self.device.poll_receive()?;
        let number = self.receiving[usize::from(token) % QUEUE];
        // SAFETY: the buffer that was given to the card with this token; the card is done with it.
        let (start, bytes) = unsafe { self.device.receive_complete(token, buffer(number).as_mut()) }.ok()?;
        Some(Received {
            number,
            start,
            bytes: bytes.min(BUFFER_BYTES - start),
        })
    }

    fn bytes<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        // SAFETY: the buffer is here as long as the `Received` is, which `recycle` takes; it was initialised to zero or
        // by the card.
        let whole = unsafe { buffer(received.number).as_ref() };
        &whole[received.start..][..received.bytes]
    }

    fn recycle(&mut self, received: Received) {
        // There is a descriptor for each buffer.
        let given = self.receive_into(received.number);
        debug_assert!(given.is_ok());
    }

    fn can_send(&mut self) -> bool {
        while let Some(token) = self.device.poll_transmit() {
            let number = self.sending[usize::from(token) % QUEUE];
            // SAFETY: the buffer that was given to the card with this token, at the length it was given.
            let sent = unsafe { self.device.transmit_complete(token, buffer(number).as_ref()) };
            if sent.is_err() {
                break;
            }
            self.idle.push(number);
        }
        !self.idle.is_empty()
    }

    fn send<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<Option<usize>, E>) -> Result<bool, E> {
        let Some(number) = self.idle.pop() else {
            return Ok(false);
        };
        // SAFETY: the buffer is here, and taken from the list of those that are.
        let whole = unsafe { buffer(number).as_mut() };
        let (header, frame) = whole.split_at_mut(self.header_bytes);
        header.fill(0);
        let filled = fill(frame);
        let Ok(Some(bytes)) = filled else {
            self.idle.push(number);
            return filled.map(|_| false);
        };
        let bytes = (self.header_bytes + bytes).min(BUFFER_BYTES);
        // SAFETY: the buffer is in the region, and not touched before the card is done with it.
        match unsafe { self.device.transmit_begin(&buffer(number).as_ref()[..bytes]) } {
            Ok(token) => self.sending[usize::from(token) % QUEUE] = number,
            // Lost, as on a wire.
            Err(_) => self.idle.push(number),
        }
        Ok(true)
    }

    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.bell.poll_rung(cx)
    }
}
