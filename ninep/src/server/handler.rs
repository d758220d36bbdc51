//! What a handler does with one request: the tree's operation between two frames.
//!
//! Answers for every rule of a message that needs the fid it names, for the answer,
//! and for giving files back to their fids when an operation fails or is given up.
//! Never sends: the frame it leaves behind is the answer.

use core::future::Future;

use super::session::{File, Open, Session, Stop, Task, Work};
use super::window::SlotId;
use super::{MAX_WALK_DEPTH, Server};
use crate::codec::{
    DATA_HEADER_BYTES, FidNumber, IO_HEADER_BYTES, Names, Qids, Rmessage, Tag, Tmessage, kind,
    pack_data_header, parse_t,
};
use crate::dir::DirWriter;
use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::qid::{Qid, QidKind};
use crate::tree::FileTree;

/// One request in progress.
pub(super) struct Handler<'a, T: FileTree> {
    pub(super) server: &'a Server<T>,
    pub(super) session: &'a Session<T>,
    pub(super) task: Task,
    pub(super) id: SlotId,
}

/// An answer: a message, or so many bytes behind the header in the frame.
#[allow(clippy::large_enum_variant)] // lives on the stack, not in an allocation
enum Answer {
    Message(Rmessage<'static>),
    Data { kind: u8, count: usize },
}

impl<T: FileTree> Handler<'_, T> {
    /// Serves the request in `work.frame` and leaves the answer there; returns
    /// its length, or `None` if there is none to be sent.
    pub(super) async fn perform(&self, work: &mut Work) -> Option<usize> {
        let frame = &mut work.frame;
        let (tag, answer) = match parse_t(frame.get(..work.len)?) {
            Ok((tag, message)) => match message {
                // The answer's data goes where the request was.
                Tmessage::Read { fid, offset, count } => (tag, self.read(fid, offset, count, frame).await),
                Tmessage::Readdir { fid, offset, count } => {
                    (tag, self.readdir(fid, offset, count, frame).await)
                }
                other => (tag, self.answer(other).await.map(Answer::Message)),
            },
            // The receiver has parsed this frame before.
            Err(_) => (Tag::NONE, Err(Stop::Refused(Errno::EIO))),
        };
        self.emit(tag, answer, frame)
    }

    fn emit(&self, tag: Tag, answer: Result<Answer, Stop>, frame: &mut [u8]) -> Option<usize> {
        let limit = frame.len().min(self.session.msize() as usize);
        let frame = frame.get_mut(..limit)?;
        let emitted = match answer {
            Ok(Answer::Data { kind, count }) => pack_data_header(kind, tag, count, frame),
            Ok(Answer::Message(message)) => message.emit(tag, frame),
            Err(Stop::Refused(errno)) => Rmessage::Error(errno).emit(tag, frame),
            Err(Stop::Cancelled) => return None,
        };
        // Every answer fits: `MIN_MSIZE` holds the largest, data is clipped.
        emitted
            .or_else(|_| Rmessage::Error(Errno::EMSGSIZE).emit(tag, frame))
            .ok()
    }

    async fn answer(&self, message: Tmessage<'_>) -> Result<Rmessage<'static>, Stop> {
        match message {
            Tmessage::Attach {
                fid,
                afid,
                uname,
                aname,
                ..
            } => self.attach(fid, afid, uname, aname).await,
            Tmessage::Walk { fid, newfid, names } => self.walk(fid, newfid, &names).await,
            Tmessage::Open { fid, flags } => self.open(fid, flags).await,
            Tmessage::Write { fid, offset, data } => self.write(fid, offset, data).await,
            Tmessage::Getattr { fid, .. } => {
                let (node, ..) = self.session.look(fid)?;
                self.run(self.server.tree.getattr(&node))
                    .await
                    .map(Rmessage::Getattr)
            }
            Tmessage::Statfs { fid } => {
                let (node, ..) = self.session.look(fid)?;
                self.run(self.server.tree.statfs(&node))
                    .await
                    .map(Rmessage::Statfs)
            }
            Tmessage::Clunk { fid } => {
                self.server.clunk(self.session.release(fid)?).await;
                Ok(Rmessage::Clunk)
            }
            Tmessage::Remove { fid } => {
                self.server.clunk(self.session.release(fid)?).await; // also when it fails
                Err(Errno::EOPNOTSUPP.into())
            }
            Tmessage::Version { .. }
            | Tmessage::Flush { .. }
            | Tmessage::Read { .. }
            | Tmessage::Readdir { .. }
            | Tmessage::Other(_) => Err(Errno::EOPNOTSUPP.into()),
        }
    }

    async fn attach(
        &self,
        fid: FidNumber,
        afid: Option<FidNumber>,
        uname: &str,
        aname: &str,
    ) -> Result<Rmessage<'static>, Stop> {
        if afid.is_some() {
            return Err(Errno::EOPNOTSUPP.into()); // there are no authentication files
        }
        self.session.reserve(fid)?;
        match self.run(self.server.tree.attach(uname, aname)).await {
            Ok((node, qid)) => {
                self.session.put(
                    fid,
                    File {
                        node,
                        qid,
                        open: None,
                    },
                );
                Ok(Rmessage::Attach { qid })
            }
            Err(stop) => {
                let _empty = self.session.release(fid);
                Err(stop)
            }
        }
    }

    async fn walk(
        &self,
        fid: FidNumber,
        newfid: FidNumber,
        names: &Names<'_>,
    ) -> Result<Rmessage<'static>, Stop> {
        if names.len() > MAX_WALK_DEPTH {
            return Err(Errno::EINVAL.into());
        }
        let (from, qid, is_open) = self.session.look(fid)?;
        if newfid != fid {
            self.session.reserve(newfid)?;
        } else if is_open {
            return Err(Errno::EINVAL.into()); // an open fid stays where it is
        }
        let mut qids = [Qid::default(); MAX_WALK_DEPTH];
        let qids = qids.get_mut(..names.len()).unwrap_or(&mut []);
        let walked = match names.is_empty() {
            true => Ok((0, Some((from, qid)))),
            false => self.walk_names(&from, names.as_slice(), qids).await,
        };
        match walked {
            Ok((count, Some((node, qid)))) => {
                if let Some(replaced) = self.session.put(
                    newfid,
                    File {
                        node,
                        qid,
                        open: None,
                    },
                ) {
                    self.server.clunk(replaced).await;
                }
                walk_reply(qids, count)
            }
            unfinished => {
                if newfid != fid {
                    let _empty = self.session.release(newfid);
                }
                walk_reply(qids, unfinished?.0)
            }
        }
    }

    /// How many names were walked, and the file if all of them were.
    async fn walk_names(
        &self,
        from: &T::Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<(T::Node, Qid)>), Stop> {
        let (count, node) = self.run(self.server.tree.walk(from, names, qids)).await?;
        match (qids.last(), node) {
            (Some(qid), Some(node)) if count == names.len() => Ok((count, Some((node, *qid)))),
            (_, None) if count == 0 => Err(Errno::ENOENT.into()),
            (_, None) if count < names.len() => Ok((count, None)),
            _ => Err(Errno::EIO.into()), // the tree contradicts itself
        }
    }

    async fn open(&self, fid: FidNumber, flags: OpenFlags) -> Result<Rmessage<'static>, Stop> {
        let mut file = self.session.take(fid)?;
        let opened = match file.may_open(flags) {
            Ok(()) => self.run(self.server.tree.open(&file.node, flags)).await,
            Err(errno) => Err(errno.into()),
        };
        let reply = opened.map(|(state, qid, iounit)| {
            file.open = Some(Open { flags, state });
            file.qid = qid;
            let largest = self.session.msize().saturating_sub(IO_HEADER_BYTES);
            let iounit = if iounit == 0 { largest } else { iounit.min(largest) };
            Rmessage::Open { qid, iounit }
        });
        self.session.put(fid, file);
        reply
    }

    async fn read(&self, fid: FidNumber, offset: u64, count: u32, frame: &mut [u8]) -> Result<Answer, Stop> {
        let data = self.data_place(offset, count, frame)?;
        let len = data.len();
        let mut file = self.session.take(fid)?;
        let read = match file.opened_for(OpenFlags::reads, false) {
            Ok((node, open)) => self.run(self.server.tree.read(node, open, offset, data)).await,
            Err(errno) => Err(errno.into()),
        };
        self.session.put(fid, file);
        let count = at_most(read?, len)?;
        Ok(Answer::Data {
            kind: kind::TREAD + 1,
            count,
        })
    }

    async fn write(&self, fid: FidNumber, offset: u64, data: &[u8]) -> Result<Rmessage<'static>, Stop> {
        let mut file = self.session.take(fid)?;
        // Where every write appends, an offset says nothing; some clients send the largest there is for "the end".
        let fits = file.qid.kind.contains(QidKind::APPEND) || offset.checked_add(data.len() as u64).is_some();
        let written = match file.opened_for(OpenFlags::writes, false) {
            Ok(_) if !fits => Err(Errno::EINVAL.into()),
            Ok((node, open)) => self.run(self.server.tree.write(node, open, offset, data)).await,
            Err(errno) => Err(errno.into()),
        };
        self.session.put(fid, file);
        let count = at_most(written?, data.len())?;
        Ok(Rmessage::Write { count: count as u32 }) // at most `msize`
    }

    async fn readdir(
        &self,
        fid: FidNumber,
        offset: u64,
        count: u32,
        frame: &mut [u8],
    ) -> Result<Answer, Stop> {
        let mut out = DirWriter::new(self.data_place(0, count, frame)?);
        let mut file = self.session.take(fid)?;
        let listed = match file.opened_for(OpenFlags::reads, true) {
            Ok((node, open)) => {
                self.run(self.server.tree.readdir(node, open, offset, &mut out))
                    .await
            }
            Err(errno) => Err(errno.into()),
        };
        self.session.put(fid, file);
        listed?;
        if out.is_empty() && out.is_full() {
            return Err(Errno::EINVAL.into()); // an empty answer would be the end of the directory
        }
        Ok(Answer::Data {
            kind: kind::TREADDIR + 1,
            count: out.len(),
        })
    }

    /// Where an answer's data goes: `count` bytes, clipped to the message size.
    fn data_place<'f>(&self, offset: u64, count: u32, frame: &'f mut [u8]) -> Result<&'f mut [u8], Errno> {
        offset.checked_add(u64::from(count)).ok_or(Errno::EINVAL)?;
        let end = DATA_HEADER_BYTES
            .saturating_add(count as usize)
            .min(self.session.msize() as usize);
        let end = end.min(frame.len());
        frame.get_mut(DATA_HEADER_BYTES..end).ok_or(Errno::EIO)
    }

    async fn run<R>(&self, operation: impl Future<Output = Result<R, Errno>>) -> Result<R, Stop> {
        self.session.run(self.task, self.id, operation).await
    }
}

impl<T: FileTree> File<T> {
    fn may_open(&self, flags: OpenFlags) -> Result<(), Errno> {
        if self.open.is_some() || !flags.has_valid_access() {
            Err(Errno::EINVAL)
        } else if self.qid.is_dir() && flags.writes() {
            Err(Errno::EISDIR)
        } else if !self.qid.is_dir() && flags.contains(OpenFlags::DIRECTORY) {
            Err(Errno::ENOTDIR)
        } else {
            Ok(())
        }
    }

    /// The open file, if it was opened that way and is, or is not, a directory.
    fn opened_for(
        &mut self,
        access: impl Fn(OpenFlags) -> bool,
        dir: bool,
    ) -> Result<(&T::Node, &mut T::Open), Errno> {
        match &mut self.open {
            Some(open) if access(open.flags) => match (dir, self.qid.is_dir()) {
                (true, false) => Err(Errno::ENOTDIR),
                (false, true) => Err(Errno::EISDIR),
                _ => Ok((&self.node, &mut open.state)),
            },
            _ => Err(Errno::EBADF),
        }
    }
}

fn walk_reply(qids: &[Qid], count: usize) -> Result<Rmessage<'static>, Stop> {
    let walked = qids.get(..count).and_then(Qids::new).ok_or(Errno::EIO)?;
    Ok(Rmessage::Walk { qids: walked })
}

/// A tree that claims to have moved more than it was given is wrong.
fn at_most(count: usize, limit: usize) -> Result<usize, Errno> {
    if count <= limit {
        Ok(count)
    } else {
        Err(Errno::EIO)
    }
}
