//! The domain between a network card and somebody else's stack.
//!
//! Answers for: frames in both directions, each copied once; and for peers that never wait for a stack that died: when
//! its domain does, each of its connections is reset towards its peer at once, and what still comes while there is no
//! stack is refused after [`PATIENCE`].
//! Never: changes a frame or keeps one back. What does not fit on either side is lost, or waits in the card.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context as TaskContext, Poll};
use core::time::Duration;

use runtime::Context;
use runtime::link::{Connection, Link, LinkError, TrySendError};
use runtime::supervision::{ChildState, SupervisionView};

use crate::carried::{Carried, RESET_BYTES, refusal};

/// How long frames wait in the card for a stack that is away. A restart takes less, and a request that comes meanwhile is
/// better answered by the new stack; a stack that stays away must not leave anybody waiting.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A network card, whose buffers are its own.
pub trait Card {
    /// A received frame that is here.
    type Frame;

    /// Tells the card that its interrupt was heard. Look for frames after this.
    fn acknowledge(&mut self);
    /// The next frame that came.
    fn receive(&mut self) -> Option<Self::Frame>;
    /// A frame's bytes.
    fn bytes<'a>(&'a self, frame: &'a Self::Frame) -> &'a [u8];
    /// Gives a frame's buffer back to the card.
    fn recycle(&mut self, frame: Self::Frame);
    /// Whether a frame can be sent. If not, the card interrupts when one can.
    fn can_send(&mut self) -> bool;
    /// Sends the frame that `fill` writes, if it gives a length; whether it did.
    ///
    /// # Errors
    /// What `fill` gives.
    fn send<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<Option<usize>, E>) -> Result<bool, E>;
    /// Ready if the card interrupted since it was last ready.
    fn poll_interrupt(&mut self, cx: &mut TaskContext<'_>) -> Poll<()>;
}

/// Carries frames between `card` and the stack at the other end of `link`, which has at most so many connections, for
/// ever. Everything is allocated before the first wait.
pub async fn drive<C: Card>(context: Context, link: Link, card: C, connections: u16) {
    let mut driver = Driver {
        card,
        held: None,
        carried: Carried::new(connections),
        status: context.supervision(),
        life: None,
        context,
    };
    driver.life = driver.life_of(link.peer());
    loop {
        let connection = driver.connect(&link).await;
        // It ends when the other domain dies, or when a side closes or breaks the discipline.
        let _ = driver.carry(&connection).await;
    }
}

struct Driver<C: Card> {
    context: Context,
    card: C,
    /// A frame that came and did not fit on the link yet.
    held: Option<C::Frame>,
    carried: Carried,
    status: Option<SupervisionView>,
    /// The life of the other domain that the connections belong to.
    life: Option<u64>,
}

/// What ends a wait for a connection.
enum News {
    Connected(Connection),
    Supervision,
    PatienceOver,
    Interrupt,
}

impl<C: Card> Driver<C> {
    async fn connect(&mut self, link: &Link) -> Connection {
        let context = self.context.clone();
        let mut connect = pin!(link.connect());
        let mut patience = pin!(context.sleep(PATIENCE));
        let mut is_patient = true;
        loop {
            self.bury_if_dead(link.peer()).await;
            let news = poll_fn(|cx| {
                if let Poll::Ready(connection) = connect.as_mut().poll(cx) {
                    return Poll::Ready(News::Connected(connection));
                }
                if let Some(status) = &self.status
                    && pin!(status.changed()).poll(cx).is_ready()
                {
                    return Poll::Ready(News::Supervision);
                }
                if is_patient && patience.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(News::PatienceOver);
                }
                self.card.poll_interrupt(cx).map(|()| News::Interrupt)
            });
            match news.await {
                News::Connected(connection) => {
                    self.bury_if_dead(link.peer()).await;
                    return connection;
                }
                News::Supervision => {}
                News::PatienceOver => {
                    is_patient = false;
                    self.refuse_all().await;
                }
                // Frames wait in the card, the interrupt does not: one that nobody acknowledges comes again and again,
                // and the stack, which has a lower priority, would never get to start.
                News::Interrupt if is_patient => self.card.acknowledge(),
                News::Interrupt => self.refuse_all().await,
            }
        }
    }

    /// Carries frames until the connection is over.
    async fn carry(&mut self, connection: &Connection) -> Result<(), LinkError> {
        // A card that is full says nothing of the link, so that is asked too.
        while !connection.is_closed() {
            self.card.acknowledge();
            while let Some(frame) = self.held.take().or_else(|| self.card.receive()) {
                self.held = self.pass(frame, connection)?;
                if self.held.is_some() {
                    break;
                }
                self.context.cooperate().await;
            }
            let Self { card, carried, .. } = self;
            while card.can_send() && card.send(|frame| take(carried, connection, frame))? {
                self.context.cooperate().await;
            }
            let may_send = card.can_send();
            self.news(connection, may_send).await;
        }
        Ok(())
    }

    /// Passes a frame on, or gives it back if the link is full.
    fn pass(&mut self, frame: C::Frame, connection: &Connection) -> Result<Option<C::Frame>, LinkError> {
        let bytes = self.card.bytes(&frame);
        match connection.try_send(bytes) {
            Err(TrySendError::Full) => return Ok(Some(frame)),
            Ok(()) => {
                self.carried.inbound(bytes);
                self.card.recycle(frame);
            }
            // Too long for the link: lost, as on a wire.
            Err(TrySendError::Link(LinkError::TooLong { .. })) => self.card.recycle(frame),
            Err(TrySendError::Link(error)) => {
                self.card.recycle(frame);
                return Err(error);
            }
        }
        Ok(None)
    }

    /// Until the card has news, or the link has a frame that can be sent, or room for one that is held.
    async fn news(&mut self, connection: &Connection, may_send: bool) {
        let mut readable = pin!(connection.readable());
        let mut writable = pin!(connection.writable());
        // A connection that is over makes both ready.
        let mut closed = pin!(connection.closed());
        poll_fn(|cx| {
            let ready = self.card.poll_interrupt(cx).is_ready()
                || closed.as_mut().poll(cx).is_ready()
                || (may_send && readable.as_mut().poll(cx).is_ready())
                || (self.held.is_some() && writable.as_mut().poll(cx).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Which life of the other domain this is; none while it is dead, or if nobody knows.
    fn life_of(&self, peer: &str) -> Option<u64> {
        let status = self.status.as_ref()?;
        let child = status.children().find(|child| child.name == peer)?;
        (child.state == ChildState::Running).then_some(child.restarts)
    }

    /// Resets the connections of a life that is over. A link alone may begin anew without that: its domain lives, and
    /// its connections with it.
    async fn bury_if_dead(&mut self, peer: &str) {
        let life = self.life_of(peer);
        if life.is_some() && life == self.life {
            return;
        }
        self.life = life;
        while self.carried.open() > 0 {
            let carried = &mut self.carried;
            if !self.card.can_send() {
                poll_fn(|cx| self.card.poll_interrupt(cx)).await;
                self.card.acknowledge();
                continue;
            }
            let Ok(_) = self
                .card
                .send(|frame| Ok::<_, core::convert::Infallible>(carried.reset(frame)));
            self.context.cooperate().await;
        }
    }

    /// Refuses all that came, on behalf of a stack that is not there.
    async fn refuse_all(&mut self) {
        self.card.acknowledge();
        while let Some(frame) = self.held.take().or_else(|| self.card.receive()) {
            let mut answer = [0; RESET_BYTES];
            let written = refusal(self.card.bytes(&frame), &mut answer);
            self.card.recycle(frame);
            if written.is_some() && self.card.can_send() {
                let copy = |frame: &mut [u8]| {
                    let to = frame.get_mut(..RESET_BYTES);
                    Ok::<_, core::convert::Infallible>(to.map(|to| {
                        to.copy_from_slice(&answer);
                        RESET_BYTES
                    }))
                };
                // A card that takes no more loses it, as a wire would; the peer asks again.
                let Ok(_) = self.card.send(copy);
            }
            self.context.cooperate().await;
        }
    }
}

/// The next frame of the stack, noted.
fn take(
    carried: &mut Carried,
    connection: &Connection,
    frame: &mut [u8],
) -> Result<Option<usize>, LinkError> {
    let taken = connection.try_recv(frame)?;
    if let Some(bytes) = taken.and_then(|len| frame.get(..len)) {
        carried.outbound(bytes);
    }
    Ok(taken)
}
