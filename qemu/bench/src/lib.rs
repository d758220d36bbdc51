//! Two domains and the link between them: bare notifications first, then frames, then 9P.
//!
//! Answers for: both domains changing from the first stage to the second after the same number of rounds.
//! Never: part of a hive; `bench --bin sel4` builds an image of its own around them.

#![no_std]

use core::convert::Infallible;

use sel4_host::Host;
use sel4_microkit::{Channel, ChannelSet, DeferredAction, Handler};

/// The link between the two, and in all stages the channel.
pub const LINK: &str = "files";
const CHANNEL: Channel = Channel::new(0);

/// Rounds before those that are measured: the domains are up and the caches of the emulator are warm.
pub const WARM_UP: u32 = 64;
/// Rounds of each measurement.
pub const ROUNDS: u32 = 1000;
/// Bytes of a small and of a large frame or read.
pub const SMALL: usize = 64;
/// See [`SMALL`].
pub const LARGE: usize = 4096;

/// A domain that answers notifications with notifications, and is a domain of the runtime afterwards.
pub struct Bench<S> {
    stage: S,
    left: u32,
    answer: bool,
    host: Option<Host>,
}

/// What a domain does in the first stage besides answering.
pub trait Stage {
    /// Only the measured rounds are left.
    fn warm(&mut self) {}

    /// The last round is over: the second stage.
    fn next(&mut self) -> Host;
}

impl<S: Stage> Bench<S> {
    /// The first stage.
    pub fn new(stage: S) -> Self {
        Self {
            stage,
            left: WARM_UP + ROUNDS,
            answer: false,
            host: None,
        }
    }
}

/// Signals the other domain.
pub fn notify() {
    CHANNEL.notify();
}

impl<S: Stage> Handler for Bench<S> {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if let Some(host) = &mut self.host {
            return host.notified(channels);
        }
        if !channels.contains(CHANNEL) {
            return Ok(());
        }
        self.left = self.left.saturating_sub(1);
        match self.left {
            0 => self.host = Some(self.stage.next()),
            left => {
                if left == ROUNDS {
                    self.stage.warm();
                }
                self.answer = true;
            }
        }
        Ok(())
    }

    /// The answer rides on the next receive, as a host's signals do.
    fn take_deferred_action(&mut self) -> Option<DeferredAction> {
        match &mut self.host {
            Some(host) => host.take_deferred_action(),
            None => core::mem::take(&mut self.answer).then(|| DeferredAction::new_notify(CHANNEL)),
        }
    }
}
