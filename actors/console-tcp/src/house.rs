//! What the console's tasks share.
//!
//! Answers for holding it. Never does anything with it.

use core::cell::{Cell, RefCell};

use netstack::{Stack, TcpStream};
use runtime::Context;

use crate::auth::Delay;
use crate::config::Config;
use crate::door::Door;
use crate::facts::SelfTest;
use crate::places::Places;
use crate::scribe::Scribe;

/// The console.
pub(crate) struct House {
    pub(crate) ctx: Context,
    pub(crate) config: Config,
    pub(crate) stack: Stack,
    pub(crate) door: Door,
    /// Those who have not authenticated.
    pub(crate) lobby: Places<TcpStream>,
    /// Those who have.
    pub(crate) seats: Places<TcpStream>,
    pub(crate) delay: RefCell<Delay>,
    pub(crate) scribe: Scribe,
    pub(crate) self_test: Cell<SelfTest>,
}
