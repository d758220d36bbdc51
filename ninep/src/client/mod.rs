//! Uses a server: requests that wait for their replies, many at once.
//!
//! Answers for tags, fids and the matching of replies, and for every request
//! ending: with its reply, or with an error when the connection does. Any future
//! may be dropped: the request is flushed, and a fid it would have made is
//! clunked. Never allocates after [`Client::new`], never retries, never reconnects.

mod calls;
mod error;
mod table;
mod wait;

pub use self::calls::Fid;
pub use self::error::{ClientError, ProtocolError};

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::pin::pin;

use futures::future::select;

use self::calls::{Call, Core};
use self::table::Errand;
use crate::attr::{Attr, Statfs};
use crate::codec::{IO_HEADER_BYTES, MAX_MSIZE, MIN_MSIZE, Names, Rmessage, Tmessage, VERSION};
use crate::dir::DirEntry;
use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::qid::Qid;
use crate::transport::Transport;

/// Bounds of a client. All memory is taken in [`Client::new`]: `(tags + 1) * msize` bytes and the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientConfig {
    /// Bytes in a message, as asked for in `Tversion`; clamped like the server's.
    pub msize: u32,
    /// Files in use at once; one more is [`ClientError::Exhausted`].
    pub fids: usize,
    /// Requests at once; more wait for a tag. At most the server's window.
    pub tags: usize,
    /// Tasks that may wait for a tag; one more is [`ClientError::Exhausted`].
    pub waiters: usize,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            msize: crate::codec::MAX_MSIZE,
            fids: 256,
            tags: 16,
            waiters: 64,
        }
    }
}

/// Most requests at once that a client can be configured for.
pub const MAX_TAGS: usize = 1024;
/// Most fids that a client can be configured for.
pub const MAX_FIDS: usize = 65_536;
/// Bytes of a `Tflush` and of a `Tclunk`, the requests the driver makes itself, at most.
const ERRAND_BYTES: usize = 16;

/// A connection's client side; clones share it.
pub struct Client<C> {
    core: Rc<Core>,
    conn: Rc<C>,
    /// The buffer of `run`.
    buffer: Rc<Cell<Option<Box<[u8]>>>>,
}

impl<C> Clone for Client<C> {
    fn clone(&self) -> Client<C> {
        Client {
            core: self.core.clone(),
            conn: self.conn.clone(),
            buffer: self.buffer.clone(),
        }
    }
}

impl<C: Transport> Client<C> {
    /// A client on a fresh connection. Bounds out of range are moved into it:
    /// `tags` to 1..=[`MAX_TAGS`], `fids` to 1..=[`MAX_FIDS`].
    pub fn new(conn: C, config: ClientConfig) -> Client<C> {
        let config = ClientConfig {
            msize: config.msize.clamp(MIN_MSIZE, MAX_MSIZE),
            fids: config.fids.clamp(1, MAX_FIDS),
            tags: config.tags.clamp(1, MAX_TAGS),
            waiters: config.waiters,
        };
        let buffer = alloc::vec![0; config.msize as usize].into_boxed_slice();
        Client {
            core: Rc::new(Core::new(&config)),
            conn: Rc::new(conn),
            buffer: Rc::new(Cell::new(Some(buffer))),
        }
    }

    /// Receives replies, and sends the flushes and clunks of what was dropped.
    ///
    /// Must run while requests are made. Ends with the connection and returns why;
    /// dropping the future closes the connection. Runs once: a second run returns
    /// `Exhausted` and changes nothing.
    pub async fn run(&self) -> ClientError {
        let Some(mut buffer) = self.buffer.take() else {
            return ClientError::Exhausted;
        };
        let closing = CloseOnDrop(self);
        let receive = pin!(self.receive(&mut buffer));
        let error = select(receive, pin!(self.send_errands())).await.factor_first().0;
        let error = self.core.fail(error);
        drop(closing);
        error
    }

    async fn receive(&self, buffer: &mut Box<[u8]>) -> ClientError {
        loop {
            let Ok(len) = self.conn.recv(buffer).await else {
                return ClientError::Closed;
            };
            if let Err(error) = self.core.answer(buffer, len) {
                return ClientError::Protocol(error);
            }
        }
    }

    async fn send_errands(&self) -> ClientError {
        let mut frame = [0; ERRAND_BYTES];
        loop {
            let emitted = match self.core.errand().await {
                Errand::Flush { tag, old } => Tmessage::Flush { old }.emit(tag, &mut frame),
                Errand::Clunk { tag, fid } => Tmessage::Clunk { fid }.emit(tag, &mut frame),
            };
            let request = emitted.ok().and_then(|len| frame.get(..len)).unwrap_or(&[]);
            if self.conn.send(request).await.is_err() {
                return ClientError::Closed;
            }
        }
    }

    /// Agrees on version and message size, which it returns; the first request.
    pub async fn version(&self) -> Result<u32, ClientError> {
        if let Some(end) = self.core.end() {
            return Err(end);
        }
        if let Some(msize) = self.core.agreed_msize() {
            return Ok(msize);
        }
        let asked = self.core.msize();
        let call = self.core.version_call()?;
        let request = Tmessage::Version {
            msize: asked,
            version: VERSION,
        };
        let (_, msize) = self
            .finish(call, &request, |reply| match reply {
                Rmessage::Version { msize, version } => {
                    let works = version == VERSION && (MIN_MSIZE..=asked).contains(&msize);
                    if works {
                        Ok(msize)
                    } else {
                        Err(ProtocolError::Version)
                    }
                }
                other => Err(ProtocolError::UnexpectedKind(other.kind())),
            })
            .await?;
        self.core.agree(msize);
        Ok(msize)
    }

    /// Begins a session for `uname`; returns its root.
    pub async fn attach(&self, uname: &str, aname: &str) -> Result<Fid, ClientError> {
        let new = self.core.new_fid().await?;
        let mut call = self.core.call().await?;
        let fid = new.number()?;
        call.makes(new, 0);
        let request = Tmessage::Attach {
            fid,
            afid: None,
            uname,
            aname,
            n_uname: u32::MAX,
        };
        let (mut call, qid) = self
            .finish(call, &request, |reply| match reply {
                Rmessage::Attach { qid } => Ok(qid),
                other => Err(ProtocolError::UnexpectedKind(other.kind())),
            })
            .await?;
        Ok(call.keep(&self.core, fid, qid))
    }

    /// Walks from a file; without names that gives a second fid of the same file.
    ///
    /// All names or none: a path that ends on the way is `Remote(ENOENT)`.
    pub async fn walk(&self, from: &Fid, names: &[&str]) -> Result<Fid, ClientError> {
        let (_, file) = self.walk_part(from, names, &mut []).await?;
        file.ok_or(ClientError::Remote(Errno::ENOENT))
    }

    /// Walks from a file as far as `names` lead; returns how many that were, and the
    /// file if all of them. Fills `qids` from the front, with as many as it takes.
    pub async fn walk_part(
        &self,
        from: &Fid,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Fid>), ClientError> {
        let names = Names::new(names)?;
        let start = from.number_on(&self.core)?;
        let new = self.core.new_fid().await?;
        let mut call = self.core.call().await?;
        let newfid = new.number()?;
        call.makes(new, names.len());
        let request = Tmessage::Walk {
            fid: start,
            newfid,
            names,
        };
        let (mut call, (walked, last)) = self
            .finish(call, &request, |reply| match reply {
                Rmessage::Walk { qids } if qids.as_slice().len() > names.len() => Err(ProtocolError::Excess),
                Rmessage::Walk { qids: walked } => {
                    let walked = walked.as_slice();
                    qids.iter_mut().zip(walked).for_each(|(place, qid)| *place = *qid);
                    Ok((walked.len(), walked.last().copied().unwrap_or(from.qid)))
                }
                other => Err(ProtocolError::UnexpectedKind(other.kind())),
            })
            .await?;
        let all = walked == names.len();
        Ok((walked, all.then(|| call.keep(&self.core, newfid, last))))
    }

    /// Opens a file; returns its qid. A fid is opened once. If the future is dropped,
    /// the file may be open or not: clunk it.
    pub async fn open(&self, fid: &mut Fid, flags: OpenFlags) -> Result<Qid, ClientError> {
        let request = Tmessage::Open {
            fid: fid.number_on(&self.core)?,
            flags,
        };
        let (qid, iounit) = self
            .request(&request, |reply| match reply {
                Rmessage::Open { qid, iounit } => Ok((qid, iounit)),
                other => Err(ProtocolError::UnexpectedKind(other.kind())),
            })
            .await?;
        (fid.qid, fid.iounit) = (qid, iounit);
        Ok(qid)
    }

    /// Walks and opens.
    pub async fn walk_open(&self, from: &Fid, names: &[&str], flags: OpenFlags) -> Result<Fid, ClientError> {
        let mut fid = self.walk(from, names).await?;
        self.open(&mut fid, flags).await?;
        Ok(fid)
    }

    /// One read into the front of `buf`; 0 is the end of the file. Moves at most
    /// what fits into one message.
    pub async fn read(&self, fid: &Fid, offset: u64, buf: &mut [u8]) -> Result<usize, ClientError> {
        let count = self.clip(buf.len(), 0);
        let request = Tmessage::Read {
            fid: fid.number_on(&self.core)?,
            offset,
            count,
        };
        self.request(&request, |reply| match reply {
            Rmessage::Read { data } if data.len() <= count as usize => {
                let place = buf.get_mut(..data.len()).ok_or(ProtocolError::Excess)?;
                place.copy_from_slice(data);
                Ok(data.len())
            }
            Rmessage::Read { .. } => Err(ProtocolError::Excess),
            other => Err(ProtocolError::UnexpectedKind(other.kind())),
        })
        .await
    }

    /// Reads from the start until the end of the file or of `buf`; returns how
    /// much. A full `buf` may not be the whole file.
    pub async fn read_all(&self, fid: &Fid, buf: &mut [u8]) -> Result<usize, ClientError> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read(fid, done as u64, rest).await? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    /// One write; returns how many bytes the server took. Moves at most what fits
    /// into one message.
    pub async fn write(&self, fid: &Fid, offset: u64, data: &[u8]) -> Result<usize, ClientError> {
        let count = self.clip(data.len(), fid.iounit);
        let data = data.get(..count as usize).unwrap_or(data);
        let request = Tmessage::Write {
            fid: fid.number_on(&self.core)?,
            offset,
            data,
        };
        self.request(&request, |reply| match reply {
            Rmessage::Write { count: taken } if taken <= count => Ok(taken as usize),
            Rmessage::Write { .. } => Err(ProtocolError::Excess),
            other => Err(ProtocolError::UnexpectedKind(other.kind())),
        })
        .await
    }

    /// Writes all of `data` from `offset` on. A server that takes nothing is `Remote(EIO)`.
    pub async fn write_all(&self, fid: &Fid, offset: u64, data: &[u8]) -> Result<(), ClientError> {
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write(fid, offset.saturating_add(done as u64), rest).await? {
                0 => return Err(ClientError::Remote(Errno::EIO)),
                count => done += count,
            }
        }
        Ok(())
    }

    /// One listing of an open directory from `offset`: 0, or [`DirEntry::next`] of
    /// the last entry. Returns how many entries `visit` has seen, 0 at the end.
    pub async fn readdir(
        &self,
        fid: &Fid,
        offset: u64,
        mut visit: impl FnMut(DirEntry<'_>),
    ) -> Result<usize, ClientError> {
        let count = self.clip(usize::MAX, 0);
        let request = Tmessage::Readdir {
            fid: fid.number_on(&self.core)?,
            offset,
            count,
        };
        self.request(&request, |reply| match reply {
            Rmessage::Readdir { entries } if entries.as_bytes().len() <= count as usize => {
                Ok(entries.iter().map(&mut visit).count())
            }
            Rmessage::Readdir { .. } => Err(ProtocolError::Excess),
            other => Err(ProtocolError::UnexpectedKind(other.kind())),
        })
        .await
    }

    /// What the file says of itself.
    pub async fn getattr(&self, fid: &Fid) -> Result<Attr, ClientError> {
        let request = Tmessage::Getattr {
            fid: fid.number_on(&self.core)?,
            mask: Attr::ALL,
        };
        self.request(&request, |reply| match reply {
            Rmessage::Getattr(attr) => Ok(attr),
            other => Err(ProtocolError::UnexpectedKind(other.kind())),
        })
        .await
    }

    /// What its file system says of itself.
    pub async fn statfs(&self, fid: &Fid) -> Result<Statfs, ClientError> {
        let request = Tmessage::Statfs {
            fid: fid.number_on(&self.core)?,
        };
        self.request(&request, |reply| match reply {
            Rmessage::Statfs(statfs) => Ok(statfs),
            other => Err(ProtocolError::UnexpectedKind(other.kind())),
        })
        .await
    }

    /// Ends a fid and waits until the server has. The fid is gone whatever it returns.
    pub async fn clunk(&self, fid: Fid) -> Result<(), ClientError> {
        let request = Tmessage::Clunk {
            fid: fid.number_on(&self.core)?,
        };
        let mut call = self.core.call().await?;
        call.send(&*self.conn, &request).await?;
        call.ends(fid);
        call.reply().await?;
        call.message().map(|_| ())
    }

    /// The transport.
    pub fn transport(&self) -> &C {
        &self.conn
    }

    /// Closes the connection; every request fails with `Closed`.
    pub fn close(&self) {
        self.core.fail(ClientError::Closed);
        self.conn.close();
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.core.end().is_some()
    }

    /// Bytes of data in one message: at most `len`, what fits, and `iounit` unless it is 0.
    fn clip(&self, len: usize, iounit: u32) -> u32 {
        let room = self.core.msize().saturating_sub(IO_HEADER_BYTES);
        let room = if iounit == 0 { room } else { room.min(iounit) };
        u32::try_from(len).map_or(room, |len| len.min(room))
    }

    /// Makes a request of one reply.
    async fn request<R>(
        &self,
        request: &Tmessage<'_>,
        read: impl FnOnce(Rmessage<'_>) -> Result<R, ProtocolError>,
    ) -> Result<R, ClientError> {
        let call = self.core.call().await?;
        Ok(self.finish(call, request, read).await?.1)
    }

    /// Sends the request, waits for the reply and passes it to `read`.
    async fn finish<'a, R>(
        &'a self,
        mut call: Call<'a>,
        request: &Tmessage<'_>,
        read: impl FnOnce(Rmessage<'_>) -> Result<R, ProtocolError>,
    ) -> Result<(Call<'a>, R), ClientError> {
        call.send(&*self.conn, request).await?;
        call.reply().await?;
        match read(call.message()?) {
            Ok(value) => Ok((call, value)),
            Err(error) => {
                let error = self.core.fail(ClientError::Protocol(error));
                self.conn.close();
                Err(error)
            }
        }
    }
}

/// Ends the connection when the driver is gone: nobody would answer.
struct CloseOnDrop<'a, C: Transport>(&'a Client<C>);

impl<C: Transport> Drop for CloseOnDrop<'_, C> {
    fn drop(&mut self) {
        self.0.close();
    }
}
