#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod actor;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use actor::{
    Actor, ConsoleTcp, DoorLimits, GateRule, Ingest, Net, NineDoor, Probe, Queen, Serial, TicketLimits,
    Workers,
};

/// Channel numbers that are the same in every domain of the manifest. Its links have the numbers from 0 on.
pub mod channel {
    /// To the serial domain from the first source of its log; the others' follow. Its links have numbers below.
    pub const LOG_SOURCES: u8 = 16;
    /// Interrupt of the domain's device.
    pub const DEVICE: u8 = 58;
    /// To the serial domain: there are new bytes in the log ring.
    pub const LOG: u8 = 59;
    /// To the timer: there is an earlier deadline. From the timer: it has passed.
    pub const TIMER: u8 = 60;
    /// From the supervisor: the status page changed, and a peer may be down.
    pub const SUPERVISION: u8 = 61;
    /// The timer's own interrupt; its other channels are numbered by the domains' order.
    pub const TIMER_IRQ: u8 = 61;
}

/// Bytes of a domain's log ring; a power of two, and one page.
pub const LOG_BYTES: usize = 4096;
/// Bytes of the memory that the network card reads and writes.
pub const DMA_BYTES: usize = 512 * 1024;
/// Bytes of the first region of a link's memory, which holds what its two sides say; one page.
pub const LINK_HEAD_BYTES: usize = 4096;

/// What a domain of the manifest is told. Addresses are virtual, in the domain itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// All domains of the manifest, in its order.
    pub domains: Vec<String>,
    /// Which of them this is.
    pub index: u16,
    /// Address of each domain's counters; 0 where the domain may not see them.
    pub counters: Vec<u64>,
    /// Address of the supervisor's status page.
    pub status: u64,
    /// Address of the wall clock's word.
    pub clock: u64,
    /// Address of the word with this domain's deadline.
    pub deadline: u64,
    /// Its links.
    pub links: Vec<Link>,
    /// Its preserved memory.
    pub regions: Vec<Region>,
    /// Task slots, timers and rounds of polls in one turn.
    pub limits: Limits,
    /// The image's random number, the same in all domains.
    pub seed: u64,
    /// Whether the fault word in the counters is obeyed.
    pub fault_injection: bool,
    /// What its actor is told.
    pub actor: Actor,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The link's name.
    pub name: String,
    /// The domain at its other end.
    pub peer: String,
    /// Whether this domain is at side b.
    pub side_b: bool,
    /// This domain's channel to the other end.
    pub channel: u8,
    /// Frames in flight each way.
    pub slots: u16,
    /// Longest frame, in bytes.
    pub frame_bytes: u32,
    /// Where the memory begins.
    pub address: u64,
}

/// Preserved memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Its name, such as `journal`.
    pub name: String,
    /// Where it begins.
    pub address: u64,
    /// Its size in bytes, a multiple of 8.
    pub bytes: u64,
}

/// Bounds of one domain.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Tasks alive at once.
    pub tasks: u32,
    /// Timers pending at once.
    pub timers: u32,
}

/// What the timer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerBoot {
    /// Address of the wall clock's word, which the timer writes once.
    pub clock: u64,
    /// Address of the PL031's registers.
    pub rtc: u64,
    /// The image's random number, for the boot id that it logs.
    pub seed: u64,
    /// Address of each domain's deadline; the index is also the channel.
    pub sleepers: Vec<u64>,
}

/// What the supervisor is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorBoot {
    /// Its children, in the order of the manifest; the index is child number and channel.
    pub children: Vec<Child>,
    /// Address of the status page.
    pub status: u64,
    /// Restarts of one child within the window that are still ordinary.
    pub intensity: u32,
    /// The window, in seconds.
    pub window_s: u64,
}

/// A child of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Where it is restarted: `_reset` in its own address space.
    pub reset: u64,
    /// Address of the head of each of its links in the supervisor, and whether the child is at side b.
    pub heads: Vec<(u64, bool)>,
}

/// A blob that is none of this build's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct DecodeError;

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the boot blob is not of this build; build the domains and the image together")
    }
}

impl core::error::Error for DecodeError {}

/// The blob of a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Fails only where a sequence has no length; these have one.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// The value of a blob; bytes after it are ignored, since a region is longer than its contents.
///
/// # Errors
/// [`DecodeError`].
pub fn decode<T: DeserializeOwned>(blob: &[u8]) -> Result<T, DecodeError> {
    postcard::take_from_bytes(blob)
        .map(|(value, _)| value)
        .map_err(|_| DecodeError)
}

/// Identity of a boot, from the image's random number and the wall clock's offset in microseconds, which differs from
/// one power-up to the next.
pub fn boot_id(seed: u64, clock_offset_us: u64) -> String {
    let mut value = seed ^ clock_offset_us.rotate_left(20);
    // SplitMix64's finish: every bit of the result depends on every bit of both.
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    alloc::format!("{:016x}", value ^ (value >> 31))
}
