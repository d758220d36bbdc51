//! What the console's tasks share.
//!
//! Answers for holding it, and for what the transport tells of itself. Never does anything with it.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use console::{Door, SelfTest};
use netstack::{Stack, TcpStream};
use protocol::line::{Line, NoSpace};
use runtime::Context;

use crate::auth::Delay;
use crate::config::Config;
use crate::count::COUNTERS;
use crate::places::Places;
use crate::scribe::Scribe;
use crate::session::SESSION_BUFFER_BYTES;

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

impl console::House for House {
    fn ctx(&self) -> &Context {
        &self.ctx
    }

    fn door(&self) -> &Door {
        &self.door
    }

    fn attach_patience(&self) -> Duration {
        self.config.attach_patience
    }

    fn self_test(&self) -> &Cell<SelfTest> {
        &self.self_test
    }

    fn links(&self) -> &'static [&'static str] {
        &[crate::NET_LINK, crate::DOOR_LINK]
    }

    fn capabilities(&self, line: &mut Line<'_>) -> Result<(), NoSpace> {
        line.field("port", self.config.port)
    }

    fn memory(&self, line: &mut Line<'_>) -> Result<(), NoSpace> {
        let limits = &self.config.stack.limits;
        let (seats, lobby) = (&self.seats, &self.lobby);
        line.field("sessions", format_args!("{}/{}", seats.taken(), seats.len()))?;
        line.field("session_buffer_bytes", SESSION_BUFFER_BYTES)?;
        line.field(
            "unauthenticated",
            format_args!("{}/{}", lobby.taken(), lobby.len()),
        )?;
        let held = self.stack.stats().held;
        line.field("connections", format_args!("{held}/{}", limits.connections))?;
        line.field(
            "connection_buffer_bytes",
            limits.receive_bytes + limits.send_bytes,
        )
    }

    fn transport(&self, index: usize, line: &mut Line<'_>) -> Result<bool, NoSpace> {
        let stats = self.stack.stats();
        match index {
            0 => {
                line.field("frames_received", stats.frames_received)?;
                line.field("frames_sent", stats.frames_sent)?;
                line.field("replies_dropped", stats.replies_dropped)?;
            }
            1 => {
                line.field("accepted", stats.accepted)?;
                line.field("refused", stats.refused)?;
                line.field("evicted", stats.evicted)?;
                line.field("resets", stats.resets)?;
                line.field("timeouts", stats.timeouts)?;
                line.field("link_losses", stats.link_losses)?;
            }
            2 => {
                line.field("held", stats.held)?;
                line.field("half_open", stats.half_open)?;
                line.field("ready", stats.ready)?;
                line.field("closing", stats.closing)?;
                line.field("free", stats.free)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn counters(&self) -> &'static [&'static str; console::COUNTERS] {
        &COUNTERS
    }
}
