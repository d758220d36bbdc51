//! What the door's own files say of themselves.
//!
//! Answers for qids and attributes that are true: sizes are what a read gives now, times are those of the last change.
//!
//! Never speaks for an owner's file.

use ninep::{Attr, Qid, QidKind};

use crate::hall::{Hall, Moment};
use crate::place::{Kind, Place, identity};
use crate::procfs::{Count, House, render};

/// Mode bit of a file that only grows at its end, as 9P2000's `DMAPPEND`; Linux cuts it off.
pub(crate) const MODE_APPEND: u32 = 0x4000_0000;

/// The identity of one of the door's own files.
pub(crate) fn own_qid(place: Place, real: &str) -> Qid {
    let kind = match place.kind() {
        Kind::Dir => QidKind::DIR,
        Kind::Grows | Kind::Control => QidKind::APPEND,
        Kind::Generated | Kind::Fixed => QidKind::FILE,
    };
    Qid {
        kind,
        version: 0,
        path: identity(real),
    }
}

/// What one of the door's own files says of itself; `None` when it is gone.
pub(crate) fn own_attr(
    place: Place,
    real: &str,
    hall: &Hall,
    house: &dyn House,
    now: Moment,
) -> Option<Attr> {
    let qid = own_qid(place, real);
    let (mode, size, changed_ms) = match place {
        Place::QueenLog => (
            0o644 | MODE_APPEND,
            hall.log.bytes() as u64,
            hall.log.changed_ms(),
        ),
        Place::Telemetry(worker) => {
            let (from, to) = hall.workers.span(worker).ok()?;
            (
                0o644 | MODE_APPEND,
                to - from,
                hall.workers.changed_ms(worker).ok()?,
            )
        }
        Place::Workers | Place::Shard => (0, 0, hall.workers.table_changed_ms()),
        Place::Boot => (0o444, hall.boot.len() as u64, hall.began.unix_ms),
        Place::Script(script) => (0o444, script.text().len() as u64, hall.began.unix_ms),
        _ => match place.kind() {
            Kind::Control => (0o200 | MODE_APPEND, 0, hall.began.unix_ms),
            Kind::Generated => {
                let mut size = Count::default();
                render(place, hall, house, &mut size);
                (0o444, size.0, now.unix_ms)
            }
            _ => (0, 0, hall.began.unix_ms),
        },
    };
    let changed_s = changed_ms.max(if changed_ms == 0 { hall.began.unix_ms } else { 0 }) / 1000;
    Some(match place.kind() {
        Kind::Dir => Attr::dir(qid, 0o555).at(changed_s),
        _ => {
            let attr = Attr::file(qid, mode, size).at(changed_s);
            Attr {
                mode: attr.mode | (mode & MODE_APPEND),
                ..attr
            }
        }
    })
}
