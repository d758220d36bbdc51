//! One session, from its first attach to its end.
//!
//! Answers for its standing at NineDoor (attached or not, attached again after NineDoor's restart), and for NineDoor
//! hearing how it ended. What a verb does is in [`verbs`](crate::verbs). Never reads a line: its transport does, and asks
//! for the next one when this one is answered.

use core::future::Future;
use core::time::Duration;

use alloc::boxed::Box;
use heapless::String;
use protocol::limits::TICKET_BYTES;
use protocol::refusal::{Reason, Refusal};
use protocol::role::Role;
use protocol::summary::Summary;

use crate::count::Count;
use crate::door::Pass;
use crate::fault::Fault;
use crate::house::House;
use crate::limiter::Limiter;
use crate::reader::BUFFER_BYTES;

/// Pause before a session is attached again that NineDoor was too busy to take back.
const REATTACH_PAUSE: Duration = Duration::from_millis(200);

/// A file or directory on its way to the client.
pub struct Page {
    pub(crate) bytes: Box<[u8]>,
    /// What the ack of CAT says of the file.
    pub(crate) preview: Box<Summary>,
}

impl Page {
    /// Bytes of memory that one takes.
    pub const BYTES: usize = BUFFER_BYTES + size_of::<Summary>();

    /// An empty one. Allocates; what comes and goes later uses it again.
    #[allow(clippy::new_without_default)] // it allocates, which nobody should come across by chance
    pub fn new() -> Page {
        Page {
            bytes: alloc::vec![0; BUFFER_BYTES].into_boxed_slice(),
            preview: Box::new(Summary::new(0)),
        }
    }
}

/// What a session may do, and as whom.
pub struct Session<'h, H> {
    pub(crate) house: &'h H,
    /// Its bell at the door.
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

/// What a line led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next line.
    GoOn,
    /// The end.
    Quit,
}

impl<'h, H: House> Session<'h, H> {
    /// A session that has not attached. `place` is its bell at the door.
    pub fn new(house: &'h H, place: usize) -> Self {
        Session {
            house,
            place,
            limiter: Limiter::default(),
            standing: None,
        }
    }

    /// Stands for `role` without a ticket, where that needs none; NineDoor hears of it when it is there, or is asked for
    /// something. For a session that is not attached.
    pub fn assume(&mut self, role: Role) {
        self.standing = Some(Standing {
            role,
            ticket: String::new(),
            pass: None,
        });
    }

    /// Ready when the session has to be made again at NineDoor and that may work.
    pub fn time_to_reattach(&self) -> impl Future<Output = ()> + use<'_, H> {
        let (door, ctx, place) = (self.house.door(), self.house.ctx(), self.place);
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

    /// Makes the session again at NineDoor, if it has to be.
    ///
    /// # Errors
    /// NineDoor is away or does not take it back. While it is only busy, there is another time.
    pub async fn reattach_if_lost(&mut self) -> Result<(), Fault> {
        self.pass().await.map(|_| ())
    }

    /// The session at NineDoor, if it is one of NineDoor's present life.
    fn current(&self) -> Option<&Pass> {
        let pass = self.standing.as_ref()?.pass.as_ref()?;
        self.house.door().knows(pass).then_some(pass)
    }

    /// The session at NineDoor. After NineDoor's restart it is made again, with the same role and ticket.
    pub(crate) async fn pass(&mut self) -> Result<&Pass, Fault> {
        if self.current().is_none() {
            let standing = self.standing.as_mut().ok_or(Refusal::Unauthenticated)?;
            standing.pass = None;
            match self
                .house
                .door()
                .attach(standing.role.label(), &standing.ticket)
                .await
            {
                Ok(pass) => {
                    standing.pass = Some(pass);
                    Count::Reattached.add(self.house.ctx());
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
    pub fn role(&self) -> Option<Role> {
        self.standing.as_ref().map(|standing| standing.role)
    }

    /// Attaches a session that is not attached, or was detached.
    ///
    /// # Errors
    /// NineDoor is away, or refuses.
    pub async fn attach(&mut self, role: Role, ticket: &str) -> Result<(), Fault> {
        let pass = self.house.door().attach(role.label(), ticket).await?;
        let ticket = String::try_from(ticket).map_err(|_| Refusal::TicketRejected)?;
        self.standing = Some(Standing {
            role,
            ticket,
            pass: Some(pass),
        });
        Ok(())
    }

    /// Gives up what it had attached as.
    pub async fn detach(&mut self) {
        if let Some(pass) = self.standing.take().and_then(|standing| standing.pass) {
            self.house.door().leave(pass).await;
        }
    }

    /// Gives up what it had attached as, and has NineDoor know that its client went without a word.
    pub async fn lose(&mut self) {
        Count::Lost.add(self.house.ctx());
        if let Some(pass) = self.standing.take().and_then(|standing| standing.pass) {
            self.house.door().lose(pass).await;
        }
    }
}
