//! What a client's requests, fids and driver share, and how they wait for it.
//!
//! Answers for cancel-safety: what a dropped future held goes back to the table.
//! Every borrow of the table ends before anything waits. Never receives.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::future::poll_fn;
use core::mem;
use core::task::Poll;

use super::table::{CallId, Effect, Errand, Table};
use super::wait::{Ticket, WaitQueue};
use super::{ClientConfig, ClientError, ProtocolError};
use crate::codec::{FidNumber, Rmessage, Tmessage, parse_r};
use crate::qid::Qid;
use crate::transport::Transport;

pub(super) struct Core {
    table: RefCell<Table>,
}

impl Core {
    pub(super) fn new(config: &ClientConfig) -> Core {
        Core {
            table: RefCell::new(Table::new(config)),
        }
    }

    /// Why the connection is over, if it is.
    pub(super) fn end(&self) -> Option<ClientError> {
        self.table.borrow().end
    }

    /// The connection is over; returns why, which is what the first to say so has said.
    pub(super) fn fail(&self, error: ClientError) -> ClientError {
        let mut table = self.table.borrow_mut();
        table.fail(error);
        table.end.unwrap_or(error)
    }

    /// Bytes in a message.
    pub(super) fn msize(&self) -> u32 {
        self.table.borrow().msize
    }

    /// The message size agreed on, if it has been.
    pub(super) fn agreed_msize(&self) -> Option<u32> {
        let table = self.table.borrow();
        table.is_versioned.then_some(table.msize)
    }

    /// Version and message size are agreed on.
    pub(super) fn agree(&self, msize: u32) {
        let mut table = self.table.borrow_mut();
        table.msize = msize;
        table.is_versioned = true;
    }

    /// Takes in a reply.
    pub(super) fn answer(&self, frame: &mut Box<[u8]>, len: usize) -> Result<(), ProtocolError> {
        self.table.borrow_mut().answer(frame, len)
    }

    /// Waits for something the driver has to send.
    pub(super) async fn errand(&self) -> Errand {
        poll_fn(|cx| {
            let mut table = self.table.borrow_mut();
            match table.errand() {
                Some(errand) => Poll::Ready(errand),
                None => {
                    table.driver = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits for a tag.
    pub(super) async fn call(&self) -> Result<Call<'_>, ClientError> {
        let id = self
            .turn(|table| &mut table.tag_queue, |table| Ok(table.take_tag()))
            .await?;
        self.begin(id)
    }

    /// The call of `Tversion`, which has a tag of its own.
    pub(super) fn version_call(&self) -> Result<Call<'_>, ClientError> {
        let id = self.table.borrow().version_call();
        self.begin(id)
    }

    fn begin(&self, id: CallId) -> Result<Call<'_>, ClientError> {
        let frame = self.table.borrow_mut().begin(id).ok_or(ClientError::Exhausted)?;
        Ok(Call {
            core: self,
            id,
            frame,
            len: 0,
        })
    }

    /// Waits for a free fid, if one will be.
    pub(super) async fn new_fid(&self) -> Result<NewFid<'_>, ClientError> {
        let number = self.turn(|table| &mut table.fid_queue, Table::take_fid).await?;
        Ok(NewFid {
            core: self,
            number: Some(number),
        })
    }

    /// Waits until `take` gives something, first come, first served.
    async fn turn<R>(
        &self,
        queue: fn(&mut Table) -> &mut WaitQueue,
        take: impl Fn(&mut Table) -> Result<Option<R>, ClientError>,
    ) -> Result<R, ClientError> {
        let mut turn = Turn {
            core: self,
            queue,
            ticket: Ticket::NONE,
        };
        poll_fn(|cx| {
            let mut table = self.table.borrow_mut();
            if let Some(end) = table.end {
                return Poll::Ready(Err(end));
            }
            if queue(&mut table).is_first(turn.ticket)
                && let Some(taken) = take(&mut table)?
            {
                return Poll::Ready(Ok(taken));
            }
            if queue(&mut table).wait(&mut turn.ticket, cx) {
                Poll::Pending
            } else {
                Poll::Ready(Err(ClientError::Exhausted))
            }
        })
        .await
    }
}

/// A place in a queue, given up when it is dropped.
struct Turn<'a> {
    core: &'a Core,
    queue: fn(&mut Table) -> &mut WaitQueue,
    ticket: Ticket,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        (self.queue)(&mut self.core.table.borrow_mut()).leave(self.ticket);
    }
}

/// A fid number for a request that will make the fid; free again if it is dropped.
pub(super) struct NewFid<'a> {
    core: &'a Core,
    number: Option<FidNumber>,
}

impl NewFid<'_> {
    pub(super) fn number(&self) -> Result<FidNumber, ClientError> {
        self.number.ok_or(ClientError::Exhausted)
    }
}

impl Drop for NewFid<'_> {
    fn drop(&mut self) {
        if let Some(fid) = self.number {
            self.core.table.borrow_mut().free_fid(fid);
        }
    }
}

/// One request, from its tag to its reply. Dropping it is safe at any time.
pub(super) struct Call<'a> {
    core: &'a Core,
    id: CallId,
    /// The request's frame, then the reply's; empty between.
    frame: Box<[u8]>,
    len: usize,
}

impl Call<'_> {
    /// Sends the request.
    pub(super) async fn send<C: Transport>(
        &mut self,
        conn: &C,
        message: &Tmessage<'_>,
    ) -> Result<(), ClientError> {
        let (tag, msize) = {
            let table = self.core.table.borrow();
            (table.tag(self.id), table.msize as usize)
        };
        let room = self.frame.len().min(msize);
        let len = message.emit(tag, self.frame.get_mut(..room).unwrap_or(&mut []))?;
        let sent = conn.send(self.frame.get(..len).unwrap_or(&[])).await;
        if let Some(end) = self.core.end() {
            return Err(end);
        }
        sent.map_err(|_| self.core.fail(ClientError::Closed))?;
        self.core
            .table
            .borrow_mut()
            .sent(self.id, message.kind(), mem::take(&mut self.frame));
        Ok(())
    }

    /// The reply will make the fid, if so many names were walked. Before `send`.
    pub(super) fn makes(&mut self, mut fid: NewFid<'_>, names: usize) {
        if let Some(fid) = fid.number.take() {
            self.core
                .table
                .borrow_mut()
                .set_effect(self.id, Effect::Makes { fid, names });
        }
    }

    /// The reply will end the fid. After `send`.
    pub(super) fn ends(&mut self, mut fid: Fid) {
        if let Some(fid) = fid.number.take() {
            self.core
                .table
                .borrow_mut()
                .set_effect(self.id, Effect::Ends { fid });
        }
    }

    /// Waits for the reply.
    pub(super) async fn reply(&mut self) -> Result<(), ClientError> {
        let core = self.core;
        let (frame, len) = poll_fn(|cx| {
            let mut table = core.table.borrow_mut();
            match (table.take_reply(self.id, cx.waker()), table.end) {
                (Some(reply), _) => Poll::Ready(Ok(reply)),
                (None, Some(end)) => Poll::Ready(Err(end)),
                (None, None) => Poll::Pending,
            }
        })
        .await?;
        (self.frame, self.len) = (frame, len);
        Ok(())
    }

    /// The reply's message, after `reply`.
    pub(super) fn message(&self) -> Result<Rmessage<'_>, ClientError> {
        match parse_r(self.frame.get(..self.len).unwrap_or(&[])) {
            Ok((_, Rmessage::Error(errno))) => Err(ClientError::Remote(errno)),
            Ok((_, message)) => Ok(message),
            Err(malformed) => Err(ClientError::Protocol(ProtocolError::Malformed(malformed))),
        }
    }

    /// The fid was made and belongs to the caller.
    pub(super) fn keep(&mut self, core: &Rc<Core>, fid: FidNumber, qid: Qid) -> Fid {
        self.core.table.borrow_mut().set_effect(self.id, Effect::None);
        Fid {
            core: core.clone(),
            number: Some(fid),
            qid,
            iounit: 0,
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let frame = mem::take(&mut self.frame);
        self.core.table.borrow_mut().drop_call(self.id, frame);
    }
}

/// A file of the server. Dropping it queues a clunk, which [`Client::run`](super::Client::run) sends.
pub struct Fid {
    core: Rc<Core>,
    /// `None` when its clunk is on the way.
    number: Option<FidNumber>,
    pub(super) qid: Qid,
    /// Bytes of data per message as the server wants them; 0 if it does not care.
    pub(super) iounit: u32,
}

impl Fid {
    /// The file's identity, as of the walk or the open.
    pub fn qid(&self) -> Qid {
        self.qid
    }

    /// Bytes that the server moves at once, as it said when the file was opened; 0 if it has not said.
    pub fn iounit(&self) -> u32 {
        self.iounit
    }

    /// Its number, if it belongs to this client and the connection is not over.
    pub(super) fn number_on(&self, core: &Rc<Core>) -> Result<FidNumber, ClientError> {
        let number = self.number.filter(|_| Rc::ptr_eq(&self.core, core));
        number.ok_or(ClientError::Closed)
    }
}

impl core::fmt::Debug for Fid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fid")
            .field("number", &self.number)
            .field("qid", &self.qid)
            .finish_non_exhaustive()
    }
}

impl Drop for Fid {
    fn drop(&mut self) {
        if let Some(fid) = self.number {
            self.core.table.borrow_mut().end_fid(fid);
        }
    }
}
