//! What an open fid of the door's own files sees, and how it stays stable.
//!
//! Answers for the three kinds of view. A rendered file is kept whole in a [`snapshot`](crate::snapshot) from the
//! first read at offset 0 to its end. The log and the rings need no copy: their positions name the same byte for
//! ever, so a view is a start and a limit; the limit is the end at the first read, the end of the file is told there,
//! and the next read sees what was added since, which is what `tail -f` wants. What never changes is read as it is.
//!
//! Never shows a byte of another time, never blocks.

use alloc::rc::Rc;
use core::cell::RefCell;

use ninep::Fid;
use protocol::refusal::Refusal;

use crate::audit::Fail;
use crate::hall::Hall;
use crate::place::{Kind, Place};
use crate::procfs::{House, render};
use crate::snapshot::{SnapshotRef, Snapshots, Text};
use crate::telemetry::{TelemetryError, WorkerRef};

/// A snapshot that is given back when it is dropped.
pub(crate) struct Lent {
    snapshots: Rc<RefCell<Snapshots>>,
    snapshot: SnapshotRef,
}

impl Lent {
    /// Takes care of a snapshot.
    pub(crate) fn new(snapshots: &Rc<RefCell<Snapshots>>, snapshot: SnapshotRef) -> Self {
        Self {
            snapshots: snapshots.clone(),
            snapshot,
        }
    }

    /// Which it is.
    pub(crate) fn snapshot(&self) -> SnapshotRef {
        self.snapshot
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Ok(mut snapshots) = self.snapshots.try_borrow_mut() {
            snapshots.release(self.snapshot);
        }
    }
}

/// A window on something that grows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Position of offset 0.
    start: u64,
    /// Where the file ends for this reader, until it was told so.
    limit: Option<u64>,
}

impl Stream {
    fn from(start: u64) -> Self {
        Self { start, limit: None }
    }

    /// The position of an offset and the limit to read up to; `None` is the end of the file.
    fn window(&mut self, offset: u64, end: u64) -> Option<(u64, u64)> {
        if offset == 0 {
            self.limit = None;
        }
        let position = self.start.saturating_add(offset);
        let limit = *self.limit.get_or_insert(end);
        if position >= limit {
            self.limit = None;
            return None;
        }
        Some((position, limit))
    }
}

/// A view of one worker's ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingView {
    worker: WorkerRef,
    stream: Stream,
    /// Whether the session has paid for it: the first read does.
    paid: bool,
    /// Where the last read ended.
    next: u64,
    /// Whether the reads since the last jump are behind the session's cursor, and paid for.
    behind: bool,
}

/// What an open fid sees.
pub(crate) enum View {
    /// A directory, and its listing while it is being read.
    Dir(Option<Lent>),
    /// A rendered file, and its content while it is being read.
    Rendered(Place, Option<Lent>),
    /// A file that never changes.
    Fixed(Place),
    /// The log.
    Log(Stream),
    /// A worker's telemetry.
    Ring(RingView),
    /// Nothing to see: it can only be written.
    Blind,
    /// A file of somebody else.
    Owner(Fid),
}

/// What an open fid keeps.
pub(crate) struct Open {
    pub(crate) view: View,
}

impl Open {
    pub(crate) fn new(view: View) -> Self {
        Self { view }
    }
}

impl View {
    /// The view of one of the door's own files, as it is now.
    pub(crate) fn open(place: Place, hall: &Hall, slot: usize) -> Result<Self, Fail> {
        Ok(match (place, place.kind()) {
            (Place::QueenLog, _) => Self::Log(Stream::from(hall.log.span().0)),
            (Place::Telemetry(worker), _) => {
                let (base, _) = hall.workers.span(worker).map_err(|_| Refusal::InvalidPath)?;
                let session = hall.sessions.get(slot).ok_or(Refusal::Unauthenticated)?;
                let start = session.usage.start(worker, base);
                Self::Ring(RingView {
                    worker,
                    stream: Stream::from(start),
                    paid: false,
                    next: start,
                    behind: false,
                })
            }
            (_, Kind::Dir) => Self::Dir(None),
            (_, Kind::Generated) => Self::Rendered(place, None),
            (_, Kind::Fixed) => Self::Fixed(place),
            (_, Kind::Grows | Kind::Control) => Self::Blind,
        })
    }

    /// Reads one of the door's own files.
    pub(crate) fn read(
        &mut self,
        hall: &mut Hall,
        house: &dyn House,
        snapshots: &Rc<RefCell<Snapshots>>,
        slot: usize,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Fail> {
        match self {
            Self::Rendered(place, lent) => {
                let rendering = |text: &mut Text<'_>| render(*place, hall, house, text);
                let count = read_rendered(lent, snapshots, slot, rendering, offset, buf)?;
                hall.spend(slot, count)?;
                Ok(count)
            }
            Self::Fixed(place) => {
                let text = match place {
                    Place::Boot => hall.boot.as_str(),
                    Place::Script(script) => script.text(),
                    _ => "",
                };
                let count = copy(text.as_bytes(), offset, buf);
                hall.spend(slot, count)?;
                Ok(count)
            }
            // The log costs no bandwidth (WIRE 1.7).
            Self::Log(stream) => {
                let (first, end) = hall.log.span();
                if offset == 0 {
                    *stream = Stream::from(first);
                }
                let Some((position, limit)) = stream.window(offset, end) else {
                    return Ok(0);
                };
                hall.log.read(position, limit, buf).map_err(|_| Fail::Overtaken)
            }
            Self::Ring(view) => read_ring(view, hall, slot, offset, buf),
            Self::Dir(_) | Self::Blind | Self::Owner(_) => Err(Refusal::InvalidPath.into()),
        }
    }
}

fn read_rendered(
    lent: &mut Option<Lent>,
    snapshots: &Rc<RefCell<Snapshots>>,
    slot: usize,
    render: impl FnOnce(&mut Text<'_>),
    offset: u64,
    buf: &mut [u8],
) -> Result<usize, Fail> {
    if offset == 0 {
        *lent = None;
    }
    let view = match lent.take() {
        Some(view) => view,
        None => {
            let taken = snapshots.borrow_mut().take(slot, render);
            Lent::new(snapshots, taken.map_err(|_| Fail::Overtaken)?)
        }
    };
    let count = {
        let mut snapshots = snapshots.borrow_mut();
        let bytes = snapshots.bytes(view.snapshot()).map_err(|_| Fail::Overtaken)?;
        if offset == 0 && bytes.is_empty() {
            // A session or actor that is gone has no file any more.
            return Err(Refusal::InvalidPath.into());
        }
        copy(bytes, offset, buf)
    };
    if count > 0 || buf.is_empty() {
        *lent = Some(view);
    }
    Ok(count)
}

fn read_ring(
    view: &mut RingView,
    hall: &mut Hall,
    slot: usize,
    offset: u64,
    buf: &mut [u8],
) -> Result<usize, Fail> {
    let gone = |error| match error {
        TelemetryError::Overtaken => Fail::Overtaken,
        _ => Refusal::InvalidPath.into(),
    };
    let (_, end) = hall.workers.span(view.worker).map_err(gone)?;
    if !view.paid {
        let session = hall.sessions.get_mut(slot).ok_or(Refusal::Unauthenticated)?;
        session.usage.advance()?;
        view.paid = true;
    }
    let Some((position, limit)) = view.stream.window(offset, end) else {
        return Ok(0);
    };
    let count = hall
        .workers
        .read(view.worker, position, limit, buf)
        .map_err(gone)?;
    let session = hall.sessions.get_mut(slot).ok_or(Refusal::Unauthenticated)?;
    session.usage.spend(count)?;
    if position != view.next {
        view.behind = false;
    }
    if session.usage.goes_back(view.worker, position) && !view.behind {
        session.usage.resume()?;
        view.behind = true;
    }
    view.next = position + count as u64;
    session.usage.seen(view.worker, view.next);
    Ok(count)
}

fn copy(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| bytes.get(offset..))
        .unwrap_or_default();
    let count = rest.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_once_and_then_the_view_goes_on() {
        let mut stream = Stream::from(100);
        assert_eq!(stream.window(0, 110), Some((100, 110)));
        assert_eq!(
            stream.window(10, 150),
            None,
            "what was added since belongs to the next view"
        );
        assert_eq!(stream.window(10, 150), Some((110, 150)));
        assert_eq!(stream.window(50, 150), None);
        assert_eq!(stream.window(50, 150), None);
        assert_eq!(stream.window(0, 160), Some((100, 160)));
    }

    #[test]
    fn copies_stay_inside() {
        let mut buf = [0; 4];
        assert_eq!(copy(b"abcdef", 4, &mut buf), 2);
        assert_eq!(&buf[..2], b"ef");
        assert_eq!(copy(b"abcdef", 6, &mut buf), 0);
        assert_eq!(copy(b"abcdef", u64::MAX, &mut buf), 0);
    }
}
