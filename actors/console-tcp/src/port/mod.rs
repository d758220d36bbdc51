//! The listener for 9P clients: real 9P2000.L over TCP (CONTROL 8).
//!
//! Answers for a fixed number of places, each with a 9P server of its own that was there from boot; for connections
//! of which nothing is attached having few of them and 5 s; and for the oldest of those giving way to a newer one.
//! Never takes a place from a connection that has attached, never shuts anybody out by address.

mod holds;
mod line;
mod tree;
mod writers;

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;

use console::Crowd;
use netstack::{BindError, Stack, TcpListener};
use ninep::{Server, ServerConfig};

use self::line::Line;
use crate::config::{Ninep, StartError};
use crate::count::Count;
use crate::house::House;

/// Bytes of a message: what the links inside carry. Clients that ask for more are told.
pub(crate) const MSIZE: usize = ninep::codec::MAX_MSIZE as usize;
/// Fids of one connection; one more is refused with `EMFILE`.
const FIDS: usize = 64;
/// Requests of one connection that are not answered yet; one more is refused with `EBUSY`. Linux has one for each
/// process that waits for a file.
const TAGS: usize = 32;
/// Requests of one connection in progress at once.
const HANDLERS: usize = 8;
/// Attaches of one connection at once; one more is refused with `EUSERS`. Linux attaches once for each of its users.
const SESSIONS: usize = 4;
/// Fids at NineDoor that one connection may need at once: each file, each open file, and what is on its way.
const INNER_FIDS: usize = 2 * (FIDS + HANDLERS) + SESSIONS;

/// What the connections need of the door, all together.
pub(crate) fn crowd(ninep: &Ninep) -> Crowd {
    Crowd {
        places: ninep.places(),
        fids: ninep.connections * INNER_FIDS,
        requests: ninep.places() * (HANDLERS + 1),
    }
}

/// What the lines share.
struct Floor {
    /// Connections with an attach, at most.
    most: usize,
    /// Connections with an attach.
    attached: Cell<usize>,
    /// The order in which connections came.
    turn: Cell<u64>,
}

impl Floor {
    fn next_turn(&self) -> u64 {
        self.turn.set(self.turn.get() + 1);
        self.turn.get()
    }
}

/// Listens. Everybody has a place, so that nobody stays in the backlog longer than a turn.
pub(crate) fn listener(stack: &Stack, ninep: &Ninep) -> Result<TcpListener, BindError> {
    let backlog = u16::try_from(Ninep::STRANGERS).unwrap_or(u16::MAX);
    TcpListener::bind(stack, ninep.port, backlog)
}

/// Puts the tasks into the domain: one for each place, and the listener.
pub(crate) fn spawn(house: &Rc<House>, ninep: &Ninep, listener: TcpListener) -> Result<(), StartError> {
    let floor = Rc::new(Floor {
        most: ninep.connections,
        attached: Cell::new(0),
        turn: Cell::new(0),
    });
    // The bells of the console's sessions come first.
    let bells = house.config.sessions..house.config.sessions + ninep.places();
    let lines: Box<[Rc<Line>]> = bells
        .map(|bell| Rc::new(Line::new(house.clone(), floor.clone(), bell)))
        .collect();
    for line in &lines {
        let server = Server::new(
            line.clone(),
            ServerConfig {
                msize: MSIZE as u32,
                fids: FIDS,
                tags: TAGS,
                handlers: HANDLERS,
            },
        );
        house.ctx.spawn(async move {
            loop {
                // A line goes from one connection to the next by itself and never ends.
                server.serve(server.tree()).await;
                server.tree().drop_connection();
            }
        })?;
    }
    let of = house.clone();
    house
        .ctx
        .spawn(async move { listen(&of, &lines, listener).await })?;
    Ok(())
}

/// Gives every connection a place; never ends.
async fn listen(house: &House, lines: &[Rc<Line>], listener: TcpListener) {
    loop {
        let stream = listener.accept().await;
        // There are more places than connections may attach, so that one of the two is always there.
        let free = lines.iter().find(|line| line.is_free());
        let oldest = || {
            lines
                .iter()
                .filter_map(|line| Some((line.stranger()?, line)))
                .min_by_key(|(turn, _)| *turn)
        };
        if let Some(line) = free {
            line.arrive(stream);
        } else if let Some((_, line)) = oldest() {
            Count::Evicted.add(&house.ctx);
            line.arrive(stream);
        }
    }
}
