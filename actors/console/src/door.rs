//! NineDoor, seen from the console: one 9P connection, made again whenever it ends.
//!
//! Answers for every request ending, with an answer, with a refusal of NineDoor, or as `unavailable` when NineDoor is
//! away or takes too long; and for telling the sessions when it is back. Never repeats a request: a session decides
//! what it does again. Never allocates between two lives of NineDoor.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell};
use core::future::{Future, pending};
use core::pin::pin;
use core::time::Duration;

use futures::future::{Either, select};
use heapless::Vec;
use ninep::{Client, ClientConfig, ClientError, Fid, OpenFlags};
use protocol::limits::PATH_DEPTH;
use protocol::path::Path;
use protocol::refusal::Refusal;
use runtime::Context;
use runtime::link::{Connection, Link};

use crate::count::Count;
use crate::fault::Fault;
use crate::mailbox::Mailbox;

/// Whom the door serves besides the console's sessions: each has a bell of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    /// How many they are.
    pub places: usize,
    /// Fids at once, all together.
    pub fids: usize,
    /// Requests at once, all together.
    pub requests: usize,
}

/// Fids per session at once: its root, a file, and a clunk of each that is still on its way.
pub const FIDS_PER_SESSION: usize = 6;
/// Fids of the console's own, at once: the log and what a refused ATTACH has to look up.
pub const OWN_FIDS: usize = 16;
/// Requests in flight at once; the door's window has room for them.
const TAGS: usize = 16;
/// Pause after a NineDoor that was there but would not agree on the protocol.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A session says this of itself before it goes, if its client's connection broke (WIRE 1.10).
pub const SESSION_CTL: [&str; 4] = ["proc", "9p", "session", "ctl"];

/// The way to NineDoor.
pub struct Door {
    ctx: Context,
    link: Link,
    patience: Duration,
    config: ClientConfig,
    /// The client of NineDoor's present life.
    open: RefCell<Option<Client<Connection>>>,
    /// How many lives of NineDoor were seen.
    life: Cell<u32>,
    /// One for each session that wants to know when NineDoor is back.
    bells: Box<[Mailbox<()>]>,
}

/// A session at NineDoor. Dropping it ends the session there.
pub struct Pass {
    client: Client<Connection>,
    life: u32,
    root: Fid,
}

/// An open file.
pub struct File<'d> {
    door: &'d Door,
    client: Client<Connection>,
    fid: Fid,
}

impl Door {
    /// A door on `link` for so many sessions, and others whose bells come after theirs; `patience` bounds every
    /// request.
    pub fn new(ctx: &Context, link: Link, sessions: usize, others: Crowd, patience: Duration) -> Door {
        let config = ClientConfig {
            msize: u32::try_from(link.frame_bytes()).unwrap_or(u32::MAX),
            fids: sessions * FIDS_PER_SESSION + OWN_FIDS + others.fids,
            tags: TAGS,
            waiters: sessions + OWN_FIDS + others.requests,
        };
        Door {
            ctx: ctx.clone(),
            link,
            patience,
            config,
            open: RefCell::new(None),
            life: Cell::new(0),
            bells: (0..sessions + others.places).map(|_| Mailbox::new()).collect(),
        }
    }

    /// Keeps the connection; never ends.
    pub async fn run(&self) {
        loop {
            let client = Client::new(self.link.connect().await, self.config);
            let driver = pin!(client.run());
            let opening = pin!(async {
                match self.ctx.timeout(self.patience, client.version()).await {
                    Ok(Ok(_)) => {
                        self.opened(client.clone());
                        pending().await
                    }
                    _ => client.close(),
                }
            });
            match select(driver, opening).await {
                Either::Left(_) => self.open.replace(None),
                Either::Right(_) => {
                    self.ctx.sleep(RETRY_PAUSE).await;
                    None
                }
            };
        }
    }

    fn opened(&self, client: Client<Connection>) {
        self.life.set(self.life.get().wrapping_add(1));
        self.open.replace(Some(client));
        Count::DoorOpened.add(&self.ctx);
        for bell in &self.bells {
            bell.put(());
        }
    }

    /// The client of NineDoor's present life.
    pub fn client(&self) -> Result<Client<Connection>, Fault> {
        let open = self.open.borrow();
        let client = open.as_ref().filter(|client| !client.is_closed());
        Ok(client.cloned().ok_or(Refusal::OwnerDown)?)
    }

    /// Whether NineDoor is there.
    pub fn is_open(&self) -> bool {
        self.client().is_ok()
    }

    /// Waits until NineDoor has come, or come back, since the session of that place last asked.
    pub async fn opens(&self, place: usize) {
        match self.bells.get(place) {
            Some(bell) => bell.take().await,
            None => pending().await,
        }
    }

    /// Waits a while for a NineDoor that is not there yet.
    pub async fn wait_open(&self, place: usize, patience: Duration) {
        let open = async {
            while !self.is_open() {
                self.opens(place).await;
            }
        };
        // If it does not come, the next request says so.
        let _ = self.ctx.timeout(patience, open).await;
    }

    /// Begins a session.
    pub async fn attach(&self, uname: &str, aname: &str) -> Result<Pass, Fault> {
        let client = self.client()?;
        let life = self.life.get();
        let root = self.bounded(client.attach(uname, aname)).await?;
        Ok(Pass { client, life, root })
    }

    /// Whether the session is one of NineDoor's present life.
    pub fn knows(&self, pass: &Pass) -> bool {
        pass.life == self.life.get() && !pass.client.is_closed()
    }

    /// Opens a file of the session.
    pub async fn open(&self, pass: &Pass, path: Path<'_>, flags: OpenFlags) -> Result<File<'_>, Fault> {
        let mut names: Vec<&str, PATH_DEPTH> = Vec::new();
        for name in path.components() {
            names.push(name).map_err(|_| Refusal::InvalidPath)?;
        }
        self.open_names(pass, &names, flags).await
    }

    async fn open_names(&self, pass: &Pass, names: &[&str], flags: OpenFlags) -> Result<File<'_>, Fault> {
        let client = pass.client.clone();
        let fid = self.bounded(client.walk_open(&pass.root, names, flags)).await?;
        Ok(File {
            door: self,
            client,
            fid,
        })
    }

    /// Ends a session whose client said so, and waits until NineDoor has heard of it.
    pub async fn leave(&self, pass: Pass) {
        let Pass { client, root, .. } = pass;
        // If NineDoor is away, its session went with it.
        let _ = self.bounded(client.clunk(root)).await;
    }

    /// Ends a session whose client's connection broke: NineDoor is told so first.
    pub async fn lose(&self, pass: Pass) {
        if self.knows(&pass)
            && let Ok(ctl) = self.open_names(&pass, &SESSION_CTL, OpenFlags::WRONLY).await
        {
            // A NineDoor that is gone in between counts the session as lost by itself.
            let _ = ctl.write_all(b"lost").await;
        }
        self.leave(pass).await;
    }

    /// The answer to a request, or `unavailable` when it does not come in time.
    async fn bounded<T>(&self, request: impl Future<Output = Result<T, ClientError>>) -> Result<T, Fault> {
        match self.ctx.timeout(self.patience, request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Refusal::OwnerDown.into()),
        }
    }
}

impl File<'_> {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.fid.qid().is_dir()
    }

    /// One read; 0 is the end.
    pub async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Fault> {
        self.door.bounded(self.client.read(&self.fid, offset, buf)).await
    }

    /// One listing from `offset`; the offset of the next one, `None` at the end.
    pub async fn readdir(&self, offset: u64, visit: &mut impl FnMut(&str)) -> Result<Option<u64>, Fault> {
        let mut next = offset;
        let listing = self.client.readdir(&self.fid, offset, |entry| {
            visit(entry.name.as_str());
            next = entry.next;
        });
        let entries = self.door.bounded(listing).await?;
        Ok((entries > 0 && next != offset).then_some(next))
    }

    /// Writes one record: all of it or, as far as the client is told, nothing.
    pub async fn write_all(&self, record: &[u8]) -> Result<(), Fault> {
        let taken = self.door.bounded(self.client.write(&self.fid, 0, record)).await?;
        if taken == record.len() {
            Ok(())
        } else {
            Err(Refusal::BufferFull.into())
        }
    }
}
