//! One authenticated client, from `OK AUTH` to the end of its connection.
//!
//! Answers for its frames being answered one by one and in order, for its standing at NineDoor (attached or not,
//! attached again after NineDoor's restart), and for NineDoor hearing how it ended. What a verb does is in
//! [`verbs`](crate::verbs). Never outlives its connection, never reads the next frame before it has answered this one.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;

use alloc::boxed::Box;
use futures::future::{Either, select};
use heapless::String;
use netstack::TcpStream;
use protocol::ack::{FRAME_TOO_LONG, OK_AUTH};
use protocol::frame::{Decoder, Event, Phase};
use protocol::limits::{LINE_BYTES, TICKET_BYTES};
use protocol::refusal::{Reason, Refusal};
use protocol::role::Role;
use protocol::summary::Summary;

use crate::count::Count;
use crate::door::Pass;
use crate::fault::{Fault, Gone, class};
use crate::house::House;
use crate::limiter::Limiter;
use crate::reader::BUFFER_BYTES;
use crate::render::Sink;
use crate::wire::Wire;

/// Pause before a session is attached again that NineDoor was too busy to take back.
const REATTACH_PAUSE: Duration = Duration::from_millis(200);

/// The buffers of one place, taken at boot and used by one session after another.
pub(crate) struct Buffers {
    decoder: Box<Decoder<LINE_BYTES>>,
    /// For lines with control characters in them.
    scratch: Box<[u8]>,
    page: Page,
}

/// A file or directory on its way to the client.
pub(crate) struct Page {
    pub(crate) bytes: Box<[u8]>,
    /// What the ack of CAT says of the file.
    pub(crate) preview: Box<Summary>,
}

/// Bytes of [`Buffers`].
pub(crate) const SESSION_BUFFER_BYTES: usize =
    size_of::<Decoder<LINE_BYTES>>() + LINE_BYTES + BUFFER_BYTES + size_of::<Summary>();

impl Buffers {
    pub(crate) fn new() -> Buffers {
        Buffers {
            decoder: Box::new(Decoder::new(Phase::Session)),
            scratch: alloc::vec![0; LINE_BYTES].into_boxed_slice(),
            page: Page {
                bytes: alloc::vec![0; BUFFER_BYTES].into_boxed_slice(),
                preview: Box::new(Summary::new(0)),
            },
        }
    }
}

/// What a session may do, and as whom.
pub(crate) struct Session<'h> {
    pub(crate) house: &'h House,
    pub(crate) place: usize,
    pub(crate) limiter: Limiter,
    standing: Option<Standing>,
}

/// A session that has attached.
struct Standing {
    role: Role,
    ticket: String<TICKET_BYTES>,
    /// The session at NineDoor; `None` or of a former life while it has to be made again.
    pass: Option<Pass>,
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client said QUIT.
    Quit,
    /// The connection ended without.
    Lost,
}

/// What a line led to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next line.
    GoOn,
    /// The end.
    Quit,
}

/// Serves one session's place; never ends.
pub(crate) async fn host(house: &House, place: usize, mut buffers: Buffers) {
    loop {
        let stream = house.seats.next(place).await;
        Count::Authenticated.add(&house.ctx);
        let mut session = Session {
            house,
            place,
            limiter: Limiter::default(),
            standing: None,
        };
        let end = session.serve(&stream, &mut buffers).await.unwrap_or(End::Lost);
        session.leave(end).await;
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

impl Session<'_> {
    async fn serve(&mut self, stream: &TcpStream, buffers: &mut Buffers) -> Result<End, Gone> {
        let house = self.house;
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
                    Count::Commands.add(&house.ctx);
                    if self.execute(line, scratch, page, &mut wire).await? == Next::Quit {
                        return Ok(End::Quit);
                    }
                }
                Some(Heard::TooLong) => {
                    Count::Commands.add(&house.ctx);
                    house.ctx.counters().refused(class(Reason::Policy));
                    wire.line(FRAME_TOO_LONG).await?;
                }
                Some(Heard::Over) => return Ok(End::Lost),
                None => self.wait(stream).await?,
            }
            // A client that sends without end must not keep the others waiting.
            house.ctx.cooperate().await;
        }
    }

    /// Waits for the client, and meanwhile for NineDoor to come back.
    async fn wait(&mut self, stream: &TcpStream) -> Result<(), Gone> {
        let house = self.house;
        let until = house.ctx.now() + house.config.idle_timeout;
        loop {
            let heard = {
                let readable = pin!(stream.readable());
                let again = pin!(self.time_to_reattach());
                let left = until.since(house.ctx.now());
                let first = house.ctx.timeout(left, select(readable, again)).await;
                matches!(first.map_err(|_| Gone)?, Either::Left(_))
            };
            if heard {
                return Ok(());
            }
            // If NineDoor does not take it back yet, there is another time.
            let _ = self.pass().await;
        }
    }

    /// Ready when the session has to be made again at NineDoor and that may work.
    fn time_to_reattach(&self) -> impl Future<Output = ()> + use<'_> {
        let (door, ctx, place) = (&self.house.door, &self.house.ctx, self.place);
        let attached = self.standing.is_some();
        async move {
            if attached && self.current().is_none() && door.is_open() {
                return ctx.sleep(REATTACH_PAUSE).await;
            }
            loop {
                door.opens(place).await;
                if attached && self.current().is_none() {
                    return;
                }
            }
        }
    }

    /// The session at NineDoor, if it is one of NineDoor's present life.
    fn current(&self) -> Option<&Pass> {
        let pass = self.standing.as_ref()?.pass.as_ref()?;
        self.house.door.knows(pass).then_some(pass)
    }

    /// The session at NineDoor. After NineDoor's restart it is made again, with the same role and ticket.
    pub(crate) async fn pass(&mut self) -> Result<&Pass, Fault> {
        if self.current().is_none() {
            let standing = self.standing.as_mut().ok_or(Refusal::Unauthenticated)?;
            standing.pass = None;
            match self
                .house
                .door
                .attach(standing.role.label(), &standing.ticket)
                .await
            {
                Ok(pass) => {
                    standing.pass = Some(pass);
                    Count::Reattached.add(&self.house.ctx);
                }
                Err(fault) => {
                    if fault.refusal.reason() != Reason::Busy {
                        self.standing = None;
                    }
                    return Err(fault);
                }
            }
        }
        Ok(self.current().ok_or(Refusal::OwnerDown)?)
    }

    /// The role it has attached as.
    pub(crate) fn role(&self) -> Option<Role> {
        self.standing.as_ref().map(|standing| standing.role)
    }

    /// Attaches, after [`Session::detach`].
    pub(crate) async fn attach(&mut self, role: Role, ticket: &str) -> Result<(), Fault> {
        let pass = self.house.door.attach(role.label(), ticket).await?;
        let ticket = String::try_from(ticket).map_err(|_| Refusal::TicketRejected)?;
        self.standing = Some(Standing {
            role,
            ticket,
            pass: Some(pass),
        });
        Ok(())
    }

    /// Gives up what it had attached as.
    pub(crate) async fn detach(&mut self) {
        if let Some(pass) = self.standing.take().and_then(|standing| standing.pass) {
            self.house.door.leave(pass).await;
        }
    }

    async fn leave(&mut self, end: End) {
        if end == End::Lost {
            Count::Lost.add(&self.house.ctx);
            if let Some(pass) = self.standing.take().and_then(|standing| standing.pass) {
                self.house.door.lose(pass).await;
            }
        }
        self.detach().await;
    }
}
