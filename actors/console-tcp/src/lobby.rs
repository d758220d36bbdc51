//! From the connection to the session: the listener, and who waits to authenticate.
//!
//! Answers for strangers having a bounded number of places and a bounded time, for the oldest giving way when they
//! run out (those first who have already said something wrong, so that a flood of guesses pushes out guesses and
//! not a right token on its way), for a wrong AUTH being told before its connection ends, and for a right one getting
//! a session at once. Never lets a stranger take a session's place, never shuts anybody out by address.

use core::pin::pin;

use console::{Fault, Gone, Sink, class};
use futures::future::{Either, select};
use netstack::{TcpListener, TcpStream};
use protocol::ack::{ACK_BYTES, AuthError, Report};
use protocol::frame::{Decoder, Event, Phase};
use protocol::limits::PRE_AUTH_LINE_BYTES;
use protocol::refusal::{Reason, Refusal};

use crate::auth::judge;
use crate::count::Count;
use crate::house::House;
use crate::wire::Wire;

/// Gives every connection a place in the lobby; never ends.
pub(crate) async fn listen(house: &House, listener: TcpListener) {
    loop {
        let stream = listener.accept().await;
        if house.lobby.seat_for_sure(stream) {
            Count::Evicted.add(&house.ctx);
            // Who has a place is judged before the next one may take it.
            house.ctx.yield_now().await;
        }
    }
}

/// Serves one place of the lobby; never ends.
pub(crate) async fn usher(house: &House, place: usize) {
    let mut stream = house.lobby.next(place).await;
    loop {
        // If somebody newer takes the place, the one who was there is dropped, which resets the connection.
        let next = match select(pin!(admit(house, place, stream)), pin!(house.lobby.next(place))).await {
            Either::Left(((), _)) => None,
            Either::Right((newer, _)) => Some(newer),
        };
        stream = match next {
            Some(newer) => newer,
            None => {
                house.lobby.leave(place);
                house.lobby.next(place).await
            }
        };
    }
}

/// What a stranger has said.
enum First {
    /// The token.
    Right,
    /// Some other line.
    Wrong(AuthError),
    /// No line.
    Noise,
}

async fn admit(house: &House, place: usize, stream: TcpStream) {
    let ctx = &house.ctx;
    match ctx
        .timeout(
            house.config.auth_timeout,
            first_line(&stream, &house.config.token),
        )
        .await
    {
        Err(_) => {
            Count::AuthTimedOut.add(ctx);
            stream.finish();
        }
        Ok(Err(Gone)) => {}
        Ok(Ok(First::Right)) => {
            if let Err(stream) = house.seats.seat(stream) {
                let fault = Fault::from(Refusal::TooManySessions);
                fault.count(ctx.counters());
                let mut buf = [0; ACK_BYTES];
                say_goodbye(house, stream, Report::new(fault.refusal).render(&mut buf, "AUTH")).await;
            }
        }
        Ok(Ok(First::Wrong(error))) => {
            failed(house, error);
            house.lobby.dismiss(place);
            let delay = house.delay.borrow_mut().failed(ctx.now());
            ctx.sleep(delay).await;
            say_goodbye(house, stream, error.line()).await;
        }
        // Nobody guesses in this way: there is nothing to slow down.
        Ok(Ok(First::Noise)) => {
            failed(house, AuthError::InvalidLength);
            say_goodbye(house, stream, AuthError::InvalidLength.line()).await;
        }
    }
}

/// Counts a failed authentication, and has it logged.
pub(crate) fn failed(house: &House, error: AuthError) {
    Count::AuthFailed.add(&house.ctx);
    house.ctx.counters().refused(class(Reason::Policy));
    house.scribe.note(error);
}

/// Sends a last line. The stack delivers it, whatever the client still sends.
async fn say_goodbye(house: &House, stream: TcpStream, line: &str) {
    let mut wire = Wire {
        ctx: &house.ctx,
        stream: &stream,
        patience: house.config.auth_timeout,
    };
    // There was room: nothing has been sent on this connection.
    let _ = wire.line(line).await;
    stream.finish();
}

/// Reads no more than the first frame: what follows it is for the session.
async fn first_line(stream: &TcpStream, token: &[u8]) -> Result<First, Gone> {
    let mut decoder: Decoder<PRE_AUTH_LINE_BYTES> = Decoder::new(Phase::PreAuth);
    loop {
        let taken = stream.try_read_with(|bytes| {
            let mut rest = bytes;
            let first = match decoder.next(&mut rest) {
                None if bytes.is_empty() => Some(Err(Gone)),
                None => None,
                Some(Event::Line(line)) => {
                    Some(Ok(judge(line, token).map_or_else(First::Wrong, |()| First::Right)))
                }
                Some(Event::TooLong | Event::Broken(_)) => Some(Ok(First::Noise)),
            };
            (bytes.len() - rest.len(), first)
        });
        match taken {
            Ok(Some(Some(first))) => return first,
            Ok(Some(None)) => {}
            Ok(None) => stream.readable().await,
            Err(_) => return Err(Gone),
        }
    }
}
