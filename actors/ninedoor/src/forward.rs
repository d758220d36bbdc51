//! Subtrees that others own: connections to the owners, and files held there for sessions.
//!
//! Answers for finding the owner of a path, for one client per owner that comes back after the owner restarts, and
//! for the fids that walks leave at an owner: each belongs to one life of the connection and is an error afterwards.
//! A session attaches at an owner when it first goes there, and not again until the owner restarts.
//!
//! Never judges a request, never retries one, never keeps one waiting for an owner that is down.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt::Write;
use core::future::Future;
use core::time::Duration;

use ninep::{Attr, Client, ClientConfig, ClientError, DirEntry, Fid, OpenFlags, Qid, QidKind};
use protocol::limits::PATH_DEPTH;
use protocol::refusal::Refusal;
use runtime::Context;
use runtime::link::{Connection, Link};

use crate::audit::Fail;
use crate::binds::{PathBuf, below};
use crate::config::{BootError, Config};

/// Milliseconds that an owner may take to walk, open, write or describe; a read may wait for what is to come.
const PATIENCE: Duration = Duration::from_millis(5000);
/// Milliseconds before an owner that does not speak 9P is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the description of a session that an owner is given.
const ANAME_BYTES: usize = 192;

/// An owner, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerId(u8);

/// On whose behalf an owner is asked: a session's place, and what to attach with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behalf<'a> {
    /// The session's slot; sessions never share what they hold at an owner.
    pub(crate) slot: usize,
    /// Role or identity.
    pub(crate) uname: &'a str,
    /// What the owner's audit may say of it.
    pub(crate) aname: &'a str,
}

/// The connection to an owner, in one life.
#[derive(Clone)]
struct Life {
    number: u32,
    client: Client<Connection>,
}

struct Owner {
    link: Link,
    life: RefCell<Option<Life>>,
    lives: Cell<u32>,
}

/// A file held at an owner.
struct Place {
    holders: Cell<u32>,
    owner: Cell<OwnerId>,
    life: Cell<u32>,
    fid: RefCell<Option<Fid>>,
    path: RefCell<PathBuf>,
}

/// A handle to a file held at an owner; it is let go with the last clone.
pub(crate) struct Held {
    places: Rc<[Place]>,
    at: u16,
}

impl Held {
    fn place(&self) -> Option<&Place> {
        self.places.get(usize::from(self.at))
    }

    fn count(&self, change: impl Fn(u32) -> u32) -> u32 {
        self.place().map_or(0, |place| {
            place.holders.set(change(place.holders.get()));
            place.holders.get()
        })
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        self.count(|holders| holders.saturating_add(1));
        Self {
            places: self.places.clone(),
            at: self.at,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.count(|holders| holders.saturating_sub(1)) == 0
            && let Some(Ok(mut fid)) = self.place().map(|place| place.fid.try_borrow_mut())
        {
            // A dropped fid is clunked by its client's driver.
            *fid = None;
        }
    }
}

/// The owners and what is held at them.
pub(crate) struct Forward {
    ctx: Context,
    /// Prefixes and owners.
    mounts: Vec<(PathBuf, OwnerId)>,
    owners: Vec<Owner>,
    places: Rc<[Place]>,
    /// What each session is attached as: by session slot, then owner. The last slot is the door's own.
    roots: Box<[RefCell<Option<Held>>]>,
    config: ClientConfig,
}

impl Forward {
    /// Finds the links and takes all memory but that of the connections.
    pub(crate) fn new(ctx: &Context, config: &Config) -> Result<Self, BootError> {
        let mut owners: Vec<Owner> = Vec::new();
        let mut mounts = Vec::new();
        for mount in &config.mounts {
            let known = owners.iter().position(|owner| owner.link.name() == mount.link);
            let index = match known {
                Some(index) => index,
                None => {
                    let link = ctx
                        .link(&mount.link)
                        .ok_or_else(|| BootError::NoLink(mount.link.clone()))?;
                    owners.push(Owner {
                        link,
                        life: RefCell::new(None),
                        lives: Cell::new(0),
                    });
                    owners.len() - 1
                }
            };
            let prefix = PathBuf::try_from(mount.prefix.as_str());
            let prefix = prefix.map_err(|_| BootError::Path(mount.prefix.clone()))?;
            mounts.push((prefix, OwnerId(u8::try_from(index).unwrap_or(u8::MAX))));
        }
        let empty = || Place {
            holders: Cell::new(0),
            owner: Cell::new(OwnerId(0)),
            life: Cell::new(0),
            fid: RefCell::new(None),
            path: RefCell::new(PathBuf::new()),
        };
        let sessions = config.limits.sessions + 1;
        let held = config.limits.remote_fids + sessions * owners.len();
        Ok(Self {
            ctx: ctx.clone(),
            mounts,
            places: (0..held.min(usize::from(u16::MAX))).map(|_| empty()).collect(),
            roots: (0..sessions * owners.len()).map(|_| RefCell::new(None)).collect(),
            config: ClientConfig {
                msize: 0,
                fids: held + config.fids(),
                tags: config.handlers().clamp(1, 16),
                waiters: config.handlers() + 1,
            },
            owners,
        })
    }

    /// How many owners there are.
    pub(crate) fn owners(&self) -> usize {
        self.owners.len()
    }

    /// The place of the door's own sessions at owners.
    pub(crate) fn own_slot(&self) -> usize {
        (self.roots.len() / self.owners.len().max(1)).saturating_sub(1)
    }

    /// Who owns a real path.
    pub(crate) fn owner(&self, real: &str) -> Option<OwnerId> {
        let covering = self
            .mounts
            .iter()
            .filter(|(prefix, _)| below(real, prefix).is_some());
        covering
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, owner)| *owner)
    }

    /// The name that the `index`-th mount has directly below a real path.
    pub(crate) fn mount_below(&self, real: &str, index: usize) -> Option<&str> {
        below(&self.mounts.get(index)?.0, real)?
            .split('/')
            .next()
            .filter(|name| !name.is_empty())
    }

    /// How many mounts there are.
    pub(crate) fn mounts(&self) -> usize {
        self.mounts.len()
    }

    /// Whether a real path lies above a mount, so that it exists as a directory at least.
    pub(crate) fn leads_to_mount(&self, real: &str) -> bool {
        self.mounts
            .iter()
            .any(|(prefix, _)| below(prefix, real).is_some_and(|rest| !rest.is_empty()))
    }

    /// Keeps the connection to an owner, life after life.
    pub(crate) async fn drive(self: Rc<Self>, index: usize) {
        let Some(owner) = self.owners.get(index) else {
            return;
        };
        loop {
            let connection = owner.link.connect().await;
            let msize = u32::try_from(connection.frame_bytes()).unwrap_or(u32::MAX);
            let client = Client::new(connection, ClientConfig { msize, ..self.config });
            let greet = async {
                match client.version().await {
                    Ok(_) => {
                        let number = owner.lives.get().wrapping_add(1);
                        owner.lives.set(number);
                        *owner.life.borrow_mut() = Some(Life {
                            number,
                            client: client.clone(),
                        });
                    }
                    Err(_) => client.close(),
                }
            };
            let (error, ()) = futures::future::join(client.run(), greet).await;
            *owner.life.borrow_mut() = None;
            if !matches!(error, ClientError::Closed) {
                self.ctx.sleep(PAUSE).await;
            }
        }
    }

    /// Lets go of what a session's slot is attached as.
    pub(crate) fn release(&self, slot: usize) {
        for index in 0..self.owners.len() {
            if let Some(Ok(mut root)) = self
                .roots
                .get(self.root_at(slot, index))
                .map(RefCell::try_borrow_mut)
            {
                *root = None;
            }
        }
    }

    fn root_at(&self, slot: usize, owner: usize) -> usize {
        slot * self.owners.len() + owner
    }

    fn life(&self, owner: OwnerId) -> Result<Life, Fail> {
        let owner = self
            .owners
            .get(usize::from(owner.0))
            .ok_or(Refusal::InvalidPath)?;
        owner.life.borrow().clone().ok_or(Refusal::OwnerDown.into())
    }

    /// Whether a held file's owner has restarted since.
    pub(crate) fn is_stale(&self, held: &Held) -> bool {
        let place = held.place();
        place.is_none_or(|place| {
            self.life(place.owner.get())
                .is_ok_and(|life| life.number != place.life.get())
        })
    }

    fn hold(&self, owner: OwnerId, life: u32, fid: Fid, path: &str) -> Result<Held, Fail> {
        for (at, place) in self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.holders.get() == 0)
        {
            let (Ok(mut slot), Ok(mut name)) = (place.fid.try_borrow_mut(), place.path.try_borrow_mut())
            else {
                continue;
            };
            *slot = Some(fid);
            *name = PathBuf::try_from(path).map_err(|_| Refusal::InvalidPath)?;
            place.owner.set(owner);
            place.life.set(life);
            place.holders.set(1);
            return Ok(Held {
                places: self.places.clone(),
                at: u16::try_from(at).unwrap_or(u16::MAX),
            });
        }
        Err(Refusal::BufferFull.into())
    }

    /// What a session is attached as at an owner; attaches when it is not yet, or when the owner has restarted.
    async fn root(&self, behalf: Behalf<'_>, owner: OwnerId, life: &Life) -> Result<Held, Fail> {
        let root = self
            .roots
            .get(self.root_at(behalf.slot, usize::from(owner.0)))
            .ok_or(Refusal::OwnerDown)?;
        let current = root
            .borrow()
            .as_ref()
            .filter(|held| !self.is_stale(held))
            .cloned();
        if let Some(held) = current {
            return Ok(held);
        }
        let fid = self
            .within(life.client.attach(behalf.uname, behalf.aname))
            .await?;
        let held = self.hold(owner, life.number, fid, "/")?;
        *root.borrow_mut() = Some(held.clone());
        Ok(held)
    }

    /// Walks from the root of an owner, or from a held file that `path` continues, to a real path.
    pub(crate) async fn walk(
        &self,
        behalf: Behalf<'_>,
        owner: OwnerId,
        from: Option<&Held>,
        path: &str,
    ) -> Result<(Held, QidKind), Fail> {
        let life = self.life(owner)?;
        let (start, names) = match from.and_then(|held| Some((held, self.continues(held, owner, path)?))) {
            Some((held, rest)) => {
                if held.place().is_none_or(|place| place.life.get() != life.number) {
                    return Err(Refusal::OwnerDown.into());
                }
                (held.clone(), rest)
            }
            None => (self.root(behalf, owner, &life).await?, path),
        };
        let names: heapless::Vec<&str, PATH_DEPTH> =
            names.split('/').filter(|name| !name.is_empty()).collect();
        let fid = self
            .using(&start, async |fid| life.client.walk(fid, &names).await)
            .await?;
        let kind = fid.qid().kind;
        Ok((self.hold(owner, life.number, fid, path)?, kind))
    }

    /// What follows a held file's path in `path`, if that file is above it and at that owner.
    fn continues<'p>(&self, held: &Held, owner: OwnerId, path: &'p str) -> Option<&'p str> {
        let place = held.place().filter(|place| place.owner.get() == owner)?;
        let above = place.path.try_borrow().ok()?;
        below(path, &above).filter(|rest| !rest.is_empty())
    }

    /// Opens a second fid of a held file, so that the first can be walked and opened again.
    pub(crate) async fn open(&self, held: &Held, flags: OpenFlags) -> Result<(Fid, Qid), Fail> {
        let life = self.life_of(held)?;
        self.using(held, async |fid| {
            let mut open = life.client.walk(fid, &[]).await?;
            let qid = life.client.open(&mut open, flags).await?;
            Ok((open, qid))
        })
        .await
    }

    /// What a held file says of itself.
    pub(crate) async fn getattr(&self, held: &Held) -> Result<Attr, Fail> {
        let life = self.life_of(held)?;
        self.using(held, async |fid| life.client.getattr(fid).await).await
    }

    /// Reads from an open file; may wait as long as its owner lets it.
    pub(crate) async fn read(&self, held: &Held, fid: &Fid, at: u64, buf: &mut [u8]) -> Result<usize, Fail> {
        self.life_of(held)?.client.read(fid, at, buf).await.map_err(fail)
    }

    /// Writes to an open file.
    pub(crate) async fn write(&self, held: &Held, fid: &Fid, at: u64, data: &[u8]) -> Result<usize, Fail> {
        let life = self.life_of(held)?;
        self.within(life.client.write(fid, at, data)).await
    }

    /// Lists an open directory; gives how many entries were visited.
    pub(crate) async fn readdir(
        &self,
        held: &Held,
        fid: &Fid,
        at: u64,
        visit: impl FnMut(DirEntry<'_>),
    ) -> Result<usize, Fail> {
        let life = self.life_of(held)?;
        self.within(life.client.readdir(fid, at, visit)).await
    }

    /// Reads the beginning of a small file on the door's own behalf.
    pub(crate) async fn peek(&self, path: &str, uname: &str, buf: &mut [u8]) -> Result<usize, Fail> {
        let owner = self.owner(path).ok_or(Refusal::InvalidPath)?;
        let behalf = Behalf {
            slot: self.own_slot(),
            uname,
            aname: "ninedoor",
        };
        let (held, _) = self.walk(behalf, owner, None, path).await?;
        let (fid, _) = self.open(&held, OpenFlags::RDONLY).await?;
        let life = self.life_of(&held)?;
        self.within(life.client.read(&fid, 0, buf)).await
    }

    /// The owner's present life, if it is the one that the file is held in.
    fn life_of(&self, held: &Held) -> Result<Life, Fail> {
        let place = held.place().ok_or(Refusal::InvalidPath)?;
        let life = self.life(place.owner.get())?;
        if life.number == place.life.get() {
            Ok(life)
        } else {
            Err(Refusal::OwnerDown.into())
        }
    }

    /// Lends a held file's fid to a request. The fid is only ever changed while nobody holds the file, and whoever
    /// uses it holds it, so the loan cannot collide with a change.
    #[allow(clippy::await_holding_refcell_ref)]
    async fn using<R>(
        &self,
        held: &Held,
        request: impl AsyncFnOnce(&Fid) -> Result<R, ClientError>,
    ) -> Result<R, Fail> {
        let place = held.place().ok_or(Refusal::InvalidPath)?;
        let fid = place.fid.try_borrow().map_err(|_| Refusal::Busy)?;
        let fid = fid.as_ref().ok_or(Refusal::OwnerDown)?;
        self.within(request(fid)).await
    }

    async fn within<R>(&self, request: impl Future<Output = Result<R, ClientError>>) -> Result<R, Fail> {
        match self.ctx.timeout(PATIENCE, request).await {
            Ok(result) => result.map_err(fail),
            Err(_) => Err(Refusal::OwnerDown.into()),
        }
    }
}

/// A client's error as the door's: a refusal is passed on as it is.
fn fail(error: ClientError) -> Fail {
    match error {
        ClientError::Remote(errno) => Fail::Owner(errno),
        ClientError::Exhausted => Refusal::Busy.into(),
        ClientError::Names(_) => Refusal::InvalidPath.into(),
        ClientError::TooLong => Refusal::TooLong.into(),
        ClientError::Closed | ClientError::Protocol(_) => Refusal::OwnerDown.into(),
    }
}

/// What an owner's audit may say of a session.
pub(crate) fn describe(id: u32, ticket: &str, link: &str) -> heapless::String<ANAME_BYTES> {
    let mut text = heapless::String::new();
    // What does not fit is cut.
    let _ = write!(text, "session={id} ticket={ticket} link={link}");
    text
}
