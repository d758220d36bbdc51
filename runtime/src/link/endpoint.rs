//! One side of a link, without tasks: incarnations and frames both ways over shared memory.
//!
//! Answers for: what a side may do in each state, for indices being cleared at the right moments of the handshake, and
//! for telling when the peer must be signalled. A hostile peer ends the incarnation, nothing else.
//! Never: waits, wakes, signals or counts; `End` around it does. Runs unchanged in loom models and fuzz targets.

use super::Violation;
use super::frames::{Direction, Received, Receiver, Transmitter};
use super::handshake::{Handshake, RawSide};
use crate::sleep_flag;

/// A link's memory as one side sees it.
#[derive(Copy, Clone)]
pub struct View<'a, const N: usize> {
    /// What this side says.
    pub mine: &'a RawSide,
    /// What the peer says.
    pub peer: &'a RawSide,
    /// Frames to the peer.
    pub out: Direction<'a, N>,
    /// Frames from the peer.
    pub inn: Direction<'a, N>,
}

/// Why an operation on an incarnation failed: it is over.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// One side ended it, or it has not begun.
    Closed,
    /// The peer broke the discipline just now.
    Violation(Violation),
}

/// What looking at the peer's words came to.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The incarnation that was under way is over.
    pub lost: bool,
    /// A new incarnation has begun.
    pub begun: bool,
    /// The peer must be told that something changed here.
    pub signal: bool,
    /// The peer wrote over what this side says. It is said again, and whoever called should end the incarnation.
    pub overwritten: bool,
}

/// One side of a link.
#[derive(Debug)]
pub struct Endpoint {
    handshake: Handshake,
    agreed: bool,
    out: Transmitter,
    inn: Receiver,
}

impl Endpoint {
    /// The side of a domain that has just been started; whatever an earlier one left in memory is void.
    pub fn new<const N: usize>(view: View<'_, N>) -> Self {
        let mut this = Self {
            handshake: Handshake::default(),
            agreed: false,
            out: Transmitter::new(view.out.shape),
            inn: Receiver::new(view.inn),
        };
        view.mine.mark_down();
        this.clear(view);
        this
    }

    /// Whether an incarnation is under way, as far as this side has looked.
    pub fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// Says hello, unless it is up already; true if the peer must be signalled.
    pub fn open<const N: usize>(&mut self, view: View<'_, N>) -> bool {
        if self.handshake.is_up() {
            return false;
        }
        self.handshake.say_hello(view.mine);
        true
    }

    /// Ends the incarnation, if any, and is down; true if the peer must be signalled.
    pub fn close<const N: usize>(&mut self, view: View<'_, N>) -> bool {
        if !self.handshake.is_up() {
            return false;
        }
        self.agreed = false;
        self.handshake.say_goodbye(view.mine);
        self.clear(view);
        true
    }

    /// Looks what the peer says and answers it.
    pub fn look<const N: usize>(&mut self, view: View<'_, N>) -> Look {
        let mut look = Look::default();
        if !self.handshake.is_mine(view.mine) {
            self.handshake.restate(view.mine);
            look.overwritten = true;
            look.signal = true;
        }
        // Twice at most: a peer that says hello faster than this does not hold up the turn. It signals each time.
        for _ in 0..2 {
            let Some(hello) = self.handshake.news(view.peer) else {
                break;
            };
            look.lost |= self.agreed;
            look.signal = true;
            self.agreed = false;
            self.clear(view);
            self.handshake.acknowledge(view.mine, hello);
        }
        if !self.agreed && self.handshake.is_agreed(view.peer) {
            self.agreed = true;
            look.begun = true;
        }
        look
    }

    /// Sends `frame` (no longer than the shape allows): `None` if there is no space, else whether the peer must be
    /// signalled.
    ///
    /// # Errors
    /// The incarnation is over.
    pub fn send<const N: usize>(&mut self, view: View<'_, N>, frame: &[u8]) -> Result<Option<bool>, Over> {
        self.check(view)?;
        match self.out.send(view.out, frame) {
            Ok(true) => Ok(Some(sleep_flag::take(&view.peer.wants_frames))),
            Ok(false) => Ok(None),
            Err(violation) => Err(self.blame(view, violation)),
        }
    }

    /// Receives a frame into `buf`, and whether the peer must be signalled because a slot went back.
    ///
    /// # Errors
    /// The incarnation is over.
    pub fn receive<const N: usize>(
        &mut self,
        view: View<'_, N>,
        buf: &mut [u8],
    ) -> Result<(Received, bool), Over> {
        self.check(view)?;
        match self.inn.receive(view.inn, buf) {
            Ok(Received::Nothing) => Ok((Received::Nothing, false)),
            Ok(received) => Ok((received, sleep_flag::take(&view.peer.wants_space))),
            Err(violation) => Err(self.blame(view, violation)),
        }
    }

    /// Asks to be signalled when a frame comes; true if one is there already.
    ///
    /// # Errors
    /// The incarnation is over.
    pub fn await_frame<const N: usize>(&mut self, view: View<'_, N>) -> Result<bool, Over> {
        self.check(view)?;
        sleep_flag::raise(&view.mine.wants_frames);
        // The flag stays up even so: another task may be waiting on it.
        self.inn
            .has_frame(view.inn)
            .map_err(|violation| self.blame(view, violation))
    }

    /// Asks to be signalled when a slot comes back; true if there is space already.
    ///
    /// # Errors
    /// The incarnation is over.
    pub fn await_space<const N: usize>(&mut self, view: View<'_, N>) -> Result<bool, Over> {
        self.check(view)?;
        if self.out.has_idle() {
            return Ok(true);
        }
        sleep_flag::raise(&view.mine.wants_space);
        self.out
            .has_space(view.out)
            .map_err(|violation| self.blame(view, violation))
    }

    /// Whether this side's own books are in order.
    #[cfg(any(test, fuzzing, feature = "sim"))]
    pub fn is_consistent<const N: usize>(&self, view: View<'_, N>) -> bool {
        self.out.is_consistent(view.out.shape)
    }

    /// Operations on frames are for an incarnation that both sides still say hello to.
    fn check<const N: usize>(&self, view: View<'_, N>) -> Result<(), Over> {
        if self.agreed && self.handshake.news(view.peer).is_none() {
            Ok(())
        } else {
            Err(Over::Closed)
        }
    }

    /// A peer that has begun anew clears its indices, which is no violation. It says so before it does.
    fn blame<const N: usize>(&self, view: View<'_, N>, violation: Violation) -> Over {
        if self.handshake.news(view.peer).is_some() {
            Over::Closed
        } else {
            Over::Violation(violation)
        }
    }

    fn clear<const N: usize>(&mut self, view: View<'_, N>) {
        self.out.reset(view.out);
        self.inn.reset(view.inn);
        sleep_flag::lower(&view.mine.wants_frames);
        sleep_flag::lower(&view.mine.wants_space);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
