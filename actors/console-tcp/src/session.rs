//! One authenticated client, from `OK AUTH` to the end of its connection.
//!
//! Answers for its frames being answered one by one and in order, and for NineDoor hearing how it ended. What a line does
//! is the crate `console`'s. Never outlives its connection, never reads the next frame before it has answered this one.

use core::pin::pin;

use alloc::boxed::Box;
use console::{Gone, Next, Page, Sink, class};
use futures::future::{Either, select};
use netstack::TcpStream;
use protocol::ack::{FRAME_TOO_LONG, OK_AUTH};
use protocol::frame::{Decoder, Event, Phase};
use protocol::limits::LINE_BYTES;
use protocol::refusal::Reason;

use crate::count::Count;
use crate::house::House;
use crate::wire::Wire;

type Session<'h> = console::Session<'h, House>;

/// The buffers of one place, taken at boot and used by one session after another.
pub(crate) struct Buffers {
    decoder: Box<Decoder<LINE_BYTES>>,
    /// For lines with control characters in them.
    scratch: Box<[u8]>,
    page: Page,
}

/// Bytes of [`Buffers`].
pub(crate) const SESSION_BUFFER_BYTES: usize = size_of::<Decoder<LINE_BYTES>>() + LINE_BYTES + Page::BYTES;

impl Buffers {
    pub(crate) fn new() -> Buffers {
        Buffers {
            decoder: Box::new(Decoder::new(Phase::Session)),
            scratch: alloc::vec![0; LINE_BYTES].into_boxed_slice(),
            page: Page::new(),
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client said QUIT.
    Quit,
    /// The connection ended without.
    Lost,
}

/// Serves one session's place; never ends.
pub(crate) async fn host(house: &House, place: usize, mut buffers: Buffers) {
    loop {
        let stream = house.seats.next(place).await;
        Count::Authenticated.add(&house.ctx);
        let mut session = Session::new(house, place);
        let end = serve(house, &mut session, &stream, &mut buffers).await;
        match end.unwrap_or(End::Lost) {
            End::Quit => session.detach().await,
            End::Lost => session.lose().await,
        }
        // What was said last is still delivered, if the client is there.
        stream.finish();
        house.seats.leave(place);
    }
}

/// What was taken off the connection.
enum Heard<'a> {
    Line(&'a str),
    TooLong,
    /// A part of a frame.
    Part,
    /// No more will come, or nothing that makes sense.
    Over,
}

async fn serve(
    house: &House,
    session: &mut Session<'_>,
    stream: &TcpStream,
    buffers: &mut Buffers,
) -> Result<End, Gone> {
    let mut wire = Wire {
        ctx: &house.ctx,
        stream,
        patience: house.config.idle_timeout,
    };
    wire.line(OK_AUTH).await?;
    let Buffers {
        decoder,
        scratch,
        page,
    } = buffers;
    decoder.reset(Phase::Session);
    loop {
        let heard = stream.try_read_with(|bytes| {
            let mut rest = bytes;
            let heard = match decoder.next(&mut rest) {
                None if bytes.is_empty() => Heard::Over,
                None => Heard::Part,
                Some(Event::Line(line)) => Heard::Line(line),
                Some(Event::TooLong) => Heard::TooLong,
                Some(Event::Broken(_)) => Heard::Over,
            };
            (bytes.len() - rest.len(), heard)
        });
        match heard.map_err(|_| Gone)? {
            Some(Heard::Part) => {}
            Some(Heard::Line(line)) => {
                console::Count::Commands.add(&house.ctx);
                if session.execute(line, scratch, page, &mut wire).await? == Next::Quit {
                    return Ok(End::Quit);
                }
            }
            Some(Heard::TooLong) => {
                console::Count::Commands.add(&house.ctx);
                house.ctx.counters().refused(class(Reason::Policy));
                wire.line(FRAME_TOO_LONG).await?;
            }
            Some(Heard::Over) => return Ok(End::Lost),
            None => wait(house, session, stream).await?,
        }
        // A client that sends without end must not keep the others waiting.
        house.ctx.cooperate().await;
    }
}

/// Waits for the client, and meanwhile for NineDoor to come back.
async fn wait(house: &House, session: &mut Session<'_>, stream: &TcpStream) -> Result<(), Gone> {
    let until = house.ctx.now() + house.config.idle_timeout;
    loop {
        let heard = {
            let readable = pin!(stream.readable());
            let again = pin!(session.time_to_reattach());
            let left = until.since(house.ctx.now());
            let first = house.ctx.timeout(left, select(readable, again)).await;
            matches!(first.map_err(|_| Gone)?, Either::Left(_))
        };
        if heard {
            return Ok(());
        }
        // If NineDoor does not take it back yet, there is another time.
        let _ = session.reattach_if_lost().await;
    }
}
