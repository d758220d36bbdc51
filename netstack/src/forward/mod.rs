//! The host's loopback, carried into the guest.
//!
//! Answers for: the domain `net` on Linux. Every connection to a listener of the host becomes a TCP connection
//! between two smoltcp stacks over the link, so that the guest runs the code it runs on seL4, without
//! privileges. What one side does the other side sees: bytes, back-pressure, half-close, close, reset.
//! Never: holds more of a connection than the buffers of the two sockets and the stack; nothing is stored in
//! between.

mod carry;
mod desk;

use std::io;
use std::net::SocketAddrV4;
use std::prelude::rust_2024::*;
use std::rc::Rc;
use std::time::Duration;
use std::{cell::Cell, fmt};

use mio::net::TcpListener;
use runtime::Context;
use runtime::executor::SpawnError;
use runtime::hosted::{Io, IoSource};

use crate::config::StackConfig;
use crate::error::ConfigError;
use crate::link::LinkDevice;
use crate::stack::Stack;
use carry::carry;
use desk::{Desk, Visitor};

/// How long to wait before accepting again when the system has no descriptor or no memory to spare.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What to forward over which link.
pub struct ForwardConfig {
    /// Name of the link to the guest.
    pub link: String,
    /// Connections carried at once, at least 1. A listener that waits keeps one of them ready; when all are
    /// taken, further clients wait in the listener's backlog in the kernel.
    pub connections: u16,
    /// Connections asked of the guest at once, at least 1. Further clients wait in the kernel, in the order in which
    /// they came. No more than the backlog of each of the guest's listeners: a burst of clients then pushes none of
    /// them out of it.
    pub handshakes: u16,
    /// The stack on this side. It needs at least as many connections as are carried; those beyond are for
    /// connections in TIME-WAIT, which give way when they must.
    pub stack: StackConfig,
}

/// A listener of the host, and where its connections go.
pub struct Route {
    /// Bound and listening.
    pub listener: std::net::TcpListener,
    /// Address and port in the guest.
    pub guest: SocketAddrV4,
}

/// What the forward has done. Totals; read them at any time.
#[derive(Copy, Clone, Default, Debug, PartialEq, Eq)]
pub struct ForwardStats {
    /// Connections taken from the host's listeners.
    pub accepted: u64,
    /// Of those, the ones the guest did not take: the client saw a reset.
    pub refused: u64,
    /// Connections that both sides closed.
    pub closed: u64,
    /// Connections that the guest reset, or lost with its link: the client saw a reset.
    pub reset_by_guest: u64,
    /// Connections that the client reset: the guest saw a reset.
    pub reset_by_client: u64,
    /// Times that accepting failed and was put off.
    pub accept_failures: u64,
    /// Now: connections being carried.
    pub open: u16,
}

/// A running forward. Clones are the same.
#[derive(Clone)]
pub struct Forward {
    context: Context,
    stack: Stack,
    stats: Rc<Cell<ForwardStats>>,
}

impl Forward {
    /// What it has done.
    pub fn stats(&self) -> ForwardStats {
        self.stats.get()
    }

    /// The stack on this side of the link.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }
}

/// Starts forwarding: spawns [`tasks`] tasks in the domain of `context`.
pub fn spawn(
    context: &Context,
    io: &Io,
    routes: Vec<Route>,
    config: ForwardConfig,
) -> Result<Forward, ForwardError> {
    let too_few = config.connections == 0 || config.handshakes == 0;
    if too_few || config.stack.limits.connections < config.connections {
        return Err(ForwardError::Connections);
    }
    let link = context
        .link(&config.link)
        .ok_or(ForwardError::NoLink(config.link))?;
    let stack = Stack::new(context, LinkDevice::new(link), config.stack).map_err(ForwardError::Stack)?;
    let forward = Forward {
        context: context.clone(),
        stack,
        stats: Rc::default(),
    };
    let desk = Rc::new(Desk::new(config.connections, config.handshakes));

    let stack = forward.stack.clone();
    context
        .spawn(async move { stack.run().await })
        .map_err(ForwardError::Spawn)?;
    for place in desk.places() {
        let (forward, desk) = (forward.clone(), desk.clone());
        let serve = async move {
            loop {
                let visitor = desk.next_visitor(place).await;
                forward.serve(visitor, &desk).await;
            }
        };
        context.spawn(serve).map_err(ForwardError::Spawn)?;
    }
    for Route { listener, guest } in routes {
        listener.set_nonblocking(true).map_err(ForwardError::Io)?;
        let listener = io
            .register(TcpListener::from_std(listener))
            .map_err(ForwardError::Io)?;
        let accept = accept(
            context.clone(),
            io.clone(),
            listener,
            guest,
            forward.stats.clone(),
            desk.clone(),
        );
        context.spawn(accept).map_err(ForwardError::Spawn)?;
    }
    Ok(forward)
}

/// How many tasks a forward needs: what the domain's limit must allow.
pub fn tasks(connections: u16, routes: usize) -> usize {
    usize::from(connections) + routes + 1
}

async fn accept(
    context: Context,
    io: Io,
    listener: IoSource<TcpListener>,
    guest: SocketAddrV4,
    stats: Rc<Cell<ForwardStats>>,
    desk: Rc<Desk>,
) {
    loop {
        // First a place, then a client: those without a place wait in the kernel.
        let place = desk.free_place().await;
        let host = loop {
            let accepted = listener.read_with(TcpListener::accept).await;
            match accepted.and_then(|(host, _)| io.register(host)) {
                Ok(host) => break host,
                Err(_) => {
                    count(&stats, |stats| stats.accept_failures += 1);
                    context.sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        count(&stats, |stats| stats.accepted += 1);
        desk.may_enter().await;
        desk.seat(place, Visitor { host, guest });
    }
}

impl Forward {
    async fn serve(&self, visitor: Visitor, desk: &Desk) {
        let Visitor { host, guest } = visitor;
        count(&self.stats, |stats| stats.open += 1);
        let connected = self.stack.connect(*guest.ip(), guest.port()).await;
        desk.arrived();
        let (host, end) = match connected {
            Ok(guest) => carry(&self.context, host, guest).await,
            Err(_) => (host, carry::End::Refused),
        };
        if end.resets_client() {
            carry::reset(&host);
        }
        drop(host);
        count(&self.stats, |stats| {
            stats.open -= 1;
            match end {
                carry::End::Closed => stats.closed += 1,
                carry::End::Refused => stats.refused += 1,
                carry::End::Guest => stats.reset_by_guest += 1,
                carry::End::Client => stats.reset_by_client += 1,
            }
        });
    }
}

fn count(stats: &Cell<ForwardStats>, change: impl FnOnce(&mut ForwardStats)) {
    let mut now = stats.get();
    change(&mut now);
    stats.set(now);
}

/// Why forwarding did not start.
#[derive(Debug)]
pub enum ForwardError {
    /// The domain has no link of that name.
    NoLink(String),
    /// No connections, or more than the stack has; or none at once.
    Connections,
    /// The stack's configuration is wrong.
    Stack(ConfigError),
    /// The domain has too few tasks; see [`tasks`].
    Spawn(SpawnError),
    /// The listener could not be watched.
    Io(io::Error),
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLink(name) => write!(f, "the domain has no link `{name}`; add it to the topology"),
            Self::Connections => f.write_str(
                "a forward needs a connection and a handshake at once, and its stack as many connections as it has",
            ),
            Self::Stack(error) => error.fmt(f),
            Self::Spawn(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the listener cannot be watched: {error}"),
        }
    }
}

impl std::error::Error for ForwardError {}
