//! What sessions need of the domain they live in.
//!
//! Answers for the seam between the verbs and the transport: what is the same on every console is asked here, and what
//! only the transport knows of itself is told through here. Never carries a line.

use core::cell::Cell;
use core::time::Duration;

use protocol::line::{Line, NoSpace};
use runtime::Context;

use crate::count::COUNTERS;
use crate::door::Door;
use crate::facts::SelfTest;

/// A console's domain.
pub trait House {
    /// Its handle to the runtime.
    fn ctx(&self) -> &Context;
    /// The way to NineDoor.
    fn door(&self) -> &Door;
    /// How long an ATTACH waits for a NineDoor that is not there yet.
    fn attach_patience(&self) -> Duration;
    /// What NETTEST found last.
    fn self_test(&self) -> &Cell<SelfTest>;

    /// The links that CAPS names.
    fn links(&self) -> &'static [&'static str];
    /// What CAPS says of the transport.
    ///
    /// # Errors
    /// The line is full.
    fn capabilities(&self, line: &mut Line<'_>) -> Result<(), NoSpace>;
    /// What MEM says.
    ///
    /// # Errors
    /// The line is full.
    fn memory(&self, line: &mut Line<'_>) -> Result<(), NoSpace>;
    /// One line of what NETSTATS says of the transport; false after the last.
    ///
    /// # Errors
    /// The line is full.
    fn transport(&self, index: usize, line: &mut Line<'_>) -> Result<bool, NoSpace>;
    /// Names of the domain's counters, by index.
    fn counters(&self) -> &'static [&'static str; COUNTERS];
}
