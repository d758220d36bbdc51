//! What a directory lists: the door's own names, the mounts', the session's binds, in one sorted order.
//!
//! Answers for a listing that stays as it was while it is being read (it lies in a snapshot, and the offset of an
//! entry is where the next one begins there), and for names that are added behind an owner's own listing.
//!
//! Never lists a name twice, never asks an owner.

use ninep::{DirWriter, Name, Qid, QidKind};
use protocol::refusal::Refusal;

use crate::attr::own_qid;
use crate::audit::Fail;
use crate::binds::{PathBuf, join};
use crate::hall::Hall;
use crate::place::{self, Living, Place};
use crate::policy::{self, Target};
use crate::procfs::House;
use crate::session::SessionId;
use crate::shared::Shared;
use crate::snapshot::Text;
use crate::telemetry::WorkerRef;
use crate::view::Lent;

/// Offsets from here on belong to the names added to an owner's directory.
pub(crate) const ADDED: u64 = 1 << 62;
/// Bytes of an entry in a snapshot besides its name: kind, identity, length of the name.
const ENTRY_BYTES: usize = 10;

/// The living names, as one session sees them.
pub(crate) struct Scene<'a> {
    hall: &'a Hall,
    house: &'a dyn House,
    slot: usize,
}

impl<'a> Scene<'a> {
    /// What a session sees.
    pub(crate) fn new(hall: &'a Hall, house: &'a dyn House, slot: usize) -> Self {
        Self { hall, house, slot }
    }
}

impl Living for Scene<'_> {
    fn worker(&self, id: &str, label: Option<u8>) -> Option<WorkerRef> {
        let worker = self.hall.workers.find(id)?;
        label
            .is_none_or(|label| self.hall.workers.label(worker) == Ok(label))
            .then_some(worker)
    }

    fn next_worker(&self, after: Option<&str>, label: Option<u8>) -> Option<&str> {
        self.hall.workers.next_id(after, label)
    }

    fn next_label(&self, from: u16) -> Option<u8> {
        self.hall.workers.next_label(from)
    }

    fn has_session(&self, id: SessionId) -> bool {
        self.hall.sessions.by_id(id).is_some()
    }

    fn next_session(&self, from: u32) -> Option<SessionId> {
        self.hall
            .sessions
            .iter()
            .map(|session| session.id)
            .filter(|id| id.0 >= from)
            .min()
    }

    fn actor(&self, index: u8) -> Option<&str> {
        self.house.actor(index)
    }

    fn faults(&self) -> bool {
        self.hall.config.fault_injection
    }

    fn sees_worker_ctl(&self) -> bool {
        let session = self.hall.sessions.get(self.slot);
        let asker = session.and_then(|session| self.hall.asker(session).ok());
        let real = place::WORKER_CTL;
        asker.is_some_and(|asker| policy::may_write(asker, Target::Own(Place::WorkerCtl), real).is_ok())
    }
}

/// A directory as one session sees it.
pub(crate) struct Dir<'a> {
    pub(crate) place: Place,
    pub(crate) view: &'a PathBuf,
    pub(crate) real: &'a PathBuf,
    pub(crate) slot: usize,
}

/// Lists one of the door's own directories from an offset; gives the bytes of the names.
pub(crate) fn list(
    dir: &Dir<'_>,
    hall: &Hall,
    shared: &Shared,
    lent: &mut Option<Lent>,
    offset: u64,
    out: &mut DirWriter<'_>,
) -> Result<usize, Fail> {
    if offset == 0 || lent.is_none() {
        *lent = None;
        let taken = shared
            .snapshots
            .borrow_mut()
            .take(dir.slot, |text| write_entries(dir, hall, shared, text));
        *lent = Some(Lent::new(&shared.snapshots, taken.map_err(|_| Fail::Overtaken)?));
    }
    let Some(snapshot) = lent.as_ref().map(Lent::snapshot) else {
        return Ok(0);
    };
    let mut bytes = 0;
    let mut end = true;
    {
        let mut snapshots = shared.snapshots.borrow_mut();
        let all = snapshots.bytes(snapshot).map_err(|_| Fail::Overtaken)?;
        let mut at = usize::try_from(offset).map_err(|_| Refusal::InvalidPayload)?;
        while let Some((qid, name, next)) = entry(all, at) {
            end = false;
            if !out.push(qid, next as u64, name) {
                break;
            }
            bytes += name.as_str().len();
            at = next;
        }
    }
    if end {
        *lent = None;
    }
    Ok(bytes)
}

/// Writes a directory's entries in the order of their names.
fn write_entries(dir: &Dir<'_>, hall: &Hall, shared: &Shared, text: &mut Text<'_>) {
    let scene = Scene::new(hall, shared, dir.slot);
    let mut last: Option<heapless::String<{ ninep::MAX_NAME_BYTES }>> = None;
    loop {
        let after = last.as_deref();
        let mut buf = heapless::String::new();
        let own = dir.place.next(after, &scene, &mut buf);
        let added = next_added(hall, shared, dir.slot, dir.view, dir.real, after);
        let (name, own) = match (own, added) {
            (Some((name, place)), Some(added)) if name <= added => (name, Some(place)),
            (_, Some(added)) => (added, None),
            (Some((name, place)), None) => (name, Some(place)),
            (None, None) => break,
        };
        let qid = match own {
            Some(place) => join(dir.real, name).map(|path| own_qid(place, &path)),
            None => added_qid(hall, &scene, dir, name),
        };
        let Some(qid) = qid else { break };
        let Ok(kept) = name.try_into() else { break };
        let Ok(len) = u8::try_from(name.len()) else { break };
        let fits = text.raw(&[qid.kind.0])
            && text.raw(&qid.path.to_le_bytes())
            && text.raw(&[len])
            && text.raw(name.as_bytes());
        if !fits {
            break;
        }
        text.commit();
        last = Some(kept);
    }
}

/// What a name that was added to a directory leads to; what an owner has there is taken for a directory.
fn added_qid(hall: &Hall, scene: &Scene<'_>, dir: &Dir<'_>, name: &str) -> Option<Qid> {
    let view = join(dir.view, name)?;
    let real = hall.sessions.get(dir.slot)?.binds.rewrite(&view)?;
    let place = place::find(&real, scene).unwrap_or(Place::Above);
    Some(own_qid(place, &real))
}

/// The entry at a position of a snapshot, and where the next one is.
fn entry(all: &[u8], at: usize) -> Option<(Qid, Name<'_>, usize)> {
    let head = all.get(at..at.checked_add(ENTRY_BYTES)?)?;
    let (kind, rest) = head.split_first()?;
    let (path, len) = rest.split_first_chunk::<8>()?;
    let next = at + ENTRY_BYTES + usize::from(*len.first()?);
    let name = core::str::from_utf8(all.get(at + ENTRY_BYTES..next)?).ok()?;
    let qid = Qid {
        kind: QidKind(*kind),
        version: 0,
        path: u64::from_le_bytes(*path),
    };
    Some((qid, Name::new(name).ok()?, next))
}

/// The first name after `after` that a mount or a bind adds to a directory.
fn next_added<'a>(
    hall: &'a Hall,
    shared: &'a Shared,
    slot: usize,
    view: &str,
    real: &str,
    after: Option<&str>,
) -> Option<&'a str> {
    let mounts = (0..shared.forward.mounts()).filter_map(|index| shared.forward.mount_below(real, index));
    let binds = hall.sessions.get(slot).map(|session| &session.binds);
    let binds = binds
        .into_iter()
        .flat_map(|binds| (0..binds.len()).filter_map(|index| binds.target_below(view, index)));
    mounts
        .chain(binds.filter(|name| !name.is_empty()))
        .filter(|name| after.is_none_or(|after| *name > after))
        .min()
}

/// Whether a mount or a bind has that name in a directory.
pub(crate) fn is_added(shared: &Shared, slot: usize, view: &str, real: &str, name: &str) -> bool {
    let hall = shared.hall.borrow();
    let mut after = None;
    while let Some(added) = next_added(&hall, shared, slot, view, real, after) {
        if added == name {
            return true;
        }
        after = Some(added);
    }
    false
}

/// Lists the names that mounts and binds add to an owner's directory; gives their bytes.
pub(crate) fn list_added(
    shared: &Shared,
    slot: usize,
    view: &PathBuf,
    real: &PathBuf,
    offset: u64,
    out: &mut DirWriter<'_>,
) -> Result<usize, Fail> {
    let hall = shared.hall.borrow();
    let scene = Scene::new(&hall, shared, slot);
    let dir = Dir {
        place: Place::Above,
        view,
        real,
        slot,
    };
    let skip = usize::try_from(offset.saturating_sub(ADDED)).unwrap_or(usize::MAX);
    let (mut after, mut index, mut bytes) = (None, 0, 0);
    while let Some(name) = next_added(&hall, shared, slot, view, real, after) {
        index += 1;
        after = Some(name);
        if index <= skip {
            continue;
        }
        let qid = added_qid(&hall, &scene, &dir, name).ok_or(Refusal::InvalidPath)?;
        let name = Name::new(name).map_err(|_| Refusal::InvalidPath)?;
        if !out.push(qid, ADDED + index as u64, name) {
            break;
        }
        bytes += name.as_str().len();
    }
    Ok(bytes)
}
