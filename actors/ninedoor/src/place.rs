//! The door's own files and directories: their names, kinds and modes.
//!
//! Answers for which names lead where, in a namespace whose fixed part is the tables below and whose living part
//! (workers, sessions, actors) is asked for through [`Living`].
//!
//! Never reads or writes a file, never knows a session's view: paths here are real ones.

use core::fmt::Write;

use protocol::refusal::Reason;
use protocol::shard::Shard;

use crate::scripts::Script;
use crate::session::SessionId;
use crate::summary::Summary;
use crate::telemetry::WorkerRef;

/// A directory or file that the door serves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/`
    Root,
    /// `/log`
    Log,
    /// `/proc`
    Proc,
    /// `/proc/tests`
    Tests,
    /// `/proc/9p`
    NineP,
    /// `/proc/9p/session`
    SessionDir,
    /// `/proc/9p/session/<id>`
    Session(SessionId),
    /// `/proc/root`
    RootDir,
    /// `/proc/pressure`
    Pressure,
    /// `/proc/actors`
    Actors,
    /// `/proc/actors/<name>`
    Actor(u8),
    /// `/shard`
    Shard,
    /// `/shard/<label>`
    Label(u8),
    /// `/shard/<label>/worker`
    LabelWorkers(u8),
    /// `/worker`
    Workers,
    /// `/worker/<id>` and `/shard/<label>/worker/<id>`
    Worker(WorkerRef),
    /// A directory that exists only because something is mounted or bound below it.
    Above,

    /// `/log/queen.log`
    QueenLog,
    /// `/proc/boot`
    Boot,
    /// `/proc/supervisor`
    Supervisor,
    /// `/proc/tests/selftest_*.coh`
    Script(Script),
    /// `/proc/9p/sessions` and others like it.
    Summary(Summary),
    /// The same as a CBOR map.
    SummaryMap(Summary),
    /// `/proc/9p/session/ctl`
    SessionCtl,
    /// `/proc/9p/session/<id>/state`
    SessionState(SessionId),
    /// `/proc/9p/session/<id>/since_ms`
    SessionSince(SessionId),
    /// `/proc/9p/session/<id>/owner`
    SessionOwner(SessionId),
    /// `/proc/root/reachable`
    Reachable,
    /// `/proc/root/last_seen_ms`
    LastSeen,
    /// `/proc/root/cut_reason`
    CutReason,
    /// `/proc/pressure/<reason>`
    Refusals(Reason),
    /// `/proc/actors/<name>/state`
    ActorState(u8),
    /// `/proc/actors/<name>/counters`
    ActorCounters(u8),
    /// `/proc/actors/<name>/fault`
    ActorFault(u8),
    /// `.../worker/<id>/telemetry`
    Telemetry(WorkerRef),
    /// `/worker/ctl`
    WorkerCtl,
}

/// Real path of the file by which a session says that its connection was lost.
pub(crate) const SESSION_CTL: &str = "/proc/9p/session/ctl";
/// Real path of the file by which the queen makes and removes workers.
pub(crate) const WORKER_CTL: &str = "/worker/ctl";

/// What a file takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Dir,
    /// Rendered when it is read.
    Generated,
    /// The same for the domain's whole life.
    Fixed,
    /// Grows at its end, and can be read.
    Grows,
    /// Takes lines, gives nothing.
    Control,
}

type Table = &'static [(&'static str, Place)];

const ROOT: Table = &[
    ("log", Place::Log),
    ("proc", Place::Proc),
    ("shard", Place::Shard),
    ("worker", Place::Workers),
];
const PROC: Table = &[
    ("9p", Place::NineP),
    ("actors", Place::Actors),
    ("boot", Place::Boot),
    ("pressure", Place::Pressure),
    ("root", Place::RootDir),
    ("supervisor", Place::Supervisor),
    ("tests", Place::Tests),
];
const TESTS: Table = &[
    ("selftest_full.coh", Place::Script(Script::Full)),
    ("selftest_negative.coh", Place::Script(Script::Negative)),
    ("selftest_quick.coh", Place::Script(Script::Quick)),
];
const NINE_P: Table = &[
    ("outstanding", Place::Summary(Summary::Outstanding)),
    ("outstanding.cbor", Place::SummaryMap(Summary::Outstanding)),
    ("session", Place::SessionDir),
    ("sessions", Place::Summary(Summary::Sessions)),
    ("sessions.cbor", Place::SummaryMap(Summary::Sessions)),
    ("short_writes", Place::Summary(Summary::ShortWrites)),
    ("short_writes.cbor", Place::SummaryMap(Summary::ShortWrites)),
];
const SESSION_DIR: Table = &[
    ("active", Place::Summary(Summary::Active)),
    ("active.cbor", Place::SummaryMap(Summary::Active)),
    ("ctl", Place::SessionCtl),
];
const ROOT_DIR: Table = &[
    ("cut_reason", Place::CutReason),
    ("last_seen_ms", Place::LastSeen),
    ("reachable", Place::Reachable),
];
const PRESSURE: Table = &[
    ("busy", Place::Refusals(Reason::Busy)),
    ("cut", Place::Refusals(Reason::Cut)),
    ("policy", Place::Refusals(Reason::Policy)),
    ("quota", Place::Refusals(Reason::Quota)),
];

/// The names that come and go.
pub(crate) trait Living {
    /// The live worker of that id, below one shard label if given.
    fn worker(&self, id: &str, label: Option<u8>) -> Option<WorkerRef>;
    /// The id of the next live worker in the order of text.
    fn next_worker(&self, after: Option<&str>, label: Option<u8>) -> Option<&str>;
    /// The lowest shard label from `from` on that has a live worker.
    fn next_label(&self, from: u16) -> Option<u8>;
    /// Whether that session is at the door.
    fn has_session(&self, id: SessionId) -> bool;
    /// The lowest number from `from` on that a session has.
    fn next_session(&self, from: u32) -> Option<SessionId>;
    /// The name of an actor by its place.
    fn actor(&self, index: u8) -> Option<&str>;
    /// Whether actors have a `fault` file.
    fn faults(&self) -> bool;
    /// Whether this caller may see `/worker/ctl`.
    fn sees_worker_ctl(&self) -> bool;
}

impl Place {
    /// What kind of file it is.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Root
            | Self::Log
            | Self::Proc
            | Self::Tests
            | Self::NineP
            | Self::SessionDir
            | Self::Session(_) => Kind::Dir,
            Self::RootDir | Self::Pressure | Self::Actors | Self::Actor(_) | Self::Shard | Self::Label(_) => {
                Kind::Dir
            }
            Self::LabelWorkers(_) | Self::Workers | Self::Worker(_) | Self::Above => Kind::Dir,
            Self::QueenLog | Self::Telemetry(_) => Kind::Grows,
            Self::Boot | Self::Script(_) => Kind::Fixed,
            Self::SessionCtl | Self::WorkerCtl | Self::ActorFault(_) => Kind::Control,
            Self::Supervisor | Self::Summary(_) | Self::SummaryMap(_) => Kind::Generated,
            Self::SessionState(_) | Self::SessionSince(_) => Kind::Generated,
            Self::SessionOwner(_) | Self::Reachable | Self::LastSeen | Self::CutReason => Kind::Generated,
            Self::Refusals(_) | Self::ActorState(_) | Self::ActorCounters(_) => Kind::Generated,
        }
    }

    /// The file or directory of that name in this directory.
    pub(crate) fn child(self, name: &str, living: &impl Living) -> Option<Place> {
        if let Some((_, place)) = self.table().iter().find(|(fixed, _)| *fixed == name) {
            return Some(*place);
        }
        match self {
            Self::SessionDir => {
                let id = SessionId(canonical(name)?);
                living.has_session(id).then_some(Self::Session(id))
            }
            Self::Session(id) => match name {
                "owner" => Some(Self::SessionOwner(id)),
                "since_ms" => Some(Self::SessionSince(id)),
                "state" => Some(Self::SessionState(id)),
                _ => None,
            },
            Self::Actors => {
                let index = (0..=u8::MAX).take_while(|index| living.actor(*index).is_some());
                index
                    .into_iter()
                    .find(|index| living.actor(*index) == Some(name))
                    .map(Self::Actor)
            }
            Self::Actor(index) => match name {
                "counters" => Some(Self::ActorCounters(index)),
                "fault" if living.faults() => Some(Self::ActorFault(index)),
                "state" => Some(Self::ActorState(index)),
                _ => None,
            },
            Self::Shard => {
                let label = Shard::from_label(name)?.0;
                (living.next_label(u16::from(label)) == Some(label)).then_some(Self::Label(label))
            }
            Self::Label(label) => (name == "worker").then_some(Self::LabelWorkers(label)),
            Self::LabelWorkers(label) => living.worker(name, Some(label)).map(Self::Worker),
            Self::Workers if name == "ctl" => living.sees_worker_ctl().then_some(Self::WorkerCtl),
            Self::Workers => living.worker(name, None).map(Self::Worker),
            Self::Worker(worker) => (name == "telemetry").then_some(Self::Telemetry(worker)),
            _ => None,
        }
    }

    /// The first name after `after` in the order of text, and what it leads to. The names that living things have
    /// are written into `buf`.
    pub(crate) fn next<'a>(
        self,
        after: Option<&str>,
        living: &'a impl Living,
        buf: &'a mut heapless::String<16>,
    ) -> Option<(&'a str, Place)> {
        let later = |name: &str| after.is_none_or(|after| name > after);
        let fixed = self
            .table()
            .iter()
            .filter(|(name, _)| later(name))
            .min_by_key(|(name, _)| *name)
            .copied();
        let alive: Option<(&str, Place)> = match self {
            Self::SessionDir => {
                let mut least: Option<(heapless::String<16>, SessionId)> = None;
                let mut from = 0;
                while let Some(id) = living.next_session(from) {
                    let name = number(id.0);
                    if later(&name) && least.as_ref().is_none_or(|(least, _)| name < *least) {
                        least = Some((name, id));
                    }
                    let Some(next) = id.0.checked_add(1) else { break };
                    from = next;
                }
                least.map(|(name, id)| {
                    *buf = name;
                    (buf.as_str(), Self::Session(id))
                })
            }
            Self::Session(id) => {
                let files = [
                    ("owner", Self::SessionOwner(id)),
                    ("since_ms", Self::SessionSince(id)),
                    ("state", Self::SessionState(id)),
                ];
                files.into_iter().find(|(name, _)| later(name))
            }
            Self::Actors => {
                let all = (0..=u8::MAX).map_while(|index| Some((living.actor(index)?, Self::Actor(index))));
                all.filter(|(name, _)| later(name)).min_by_key(|(name, _)| *name)
            }
            Self::Actor(index) => {
                let files = [
                    ("counters", Self::ActorCounters(index)),
                    ("fault", Self::ActorFault(index)),
                    ("state", Self::ActorState(index)),
                ];
                files
                    .into_iter()
                    .find(|(name, _)| later(name) && (*name != "fault" || living.faults()))
            }
            Self::Shard => {
                let from = after
                    .and_then(Shard::from_label)
                    .map_or(0, |Shard(label)| u16::from(label) + 1);
                living.next_label(from).and_then(|label| {
                    buf.clear();
                    write!(buf, "{}", Shard(label)).ok()?;
                    Some((buf.as_str(), Self::Label(label)))
                })
            }
            Self::Label(label) => later("worker").then_some(("worker", Self::LabelWorkers(label))),
            Self::LabelWorkers(label) => {
                let id = living.next_worker(after, Some(label))?;
                Some((id, Self::Worker(living.worker(id, Some(label))?)))
            }
            Self::Workers => {
                let ctl = (living.sees_worker_ctl() && later("ctl")).then_some(("ctl", Self::WorkerCtl));
                let id = living.next_worker(after, None);
                let worker = id.and_then(|id| Some((id, Self::Worker(living.worker(id, None)?))));
                [ctl, worker].into_iter().flatten().min_by_key(|(name, _)| *name)
            }
            Self::Worker(worker) => later("telemetry").then_some(("telemetry", Self::Telemetry(worker))),
            _ => None,
        };
        [fixed, alive].into_iter().flatten().min_by_key(|(name, _)| *name)
    }

    fn table(self) -> Table {
        match self {
            Self::Root => ROOT,
            Self::Log => &[("queen.log", Self::QueenLog)],
            Self::Proc => PROC,
            Self::Tests => TESTS,
            Self::NineP => NINE_P,
            Self::SessionDir => SESSION_DIR,
            Self::RootDir => ROOT_DIR,
            Self::Pressure => PRESSURE,
            _ => &[],
        }
    }
}

/// The place of a real path, if the door has it.
pub(crate) fn find(path: &str, living: &impl Living) -> Option<Place> {
    path.split('/')
        .filter(|name| !name.is_empty())
        .try_fold(Place::Root, |place, name| place.child(name, living))
}

/// The identity of the file at a real path; both names of a worker's files give the same.
pub(crate) fn identity(path: &str) -> u64 {
    let path = path
        .strip_prefix("/shard/")
        .and_then(|rest| rest.get(2..))
        .filter(|rest| rest.starts_with("/worker/"))
        .unwrap_or(path);
    // FNV-1a, 64 bits: files are told apart, nothing is authenticated.
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn number(number: u32) -> heapless::String<16> {
    let mut text = heapless::String::new();
    // Ten digits fit.
    let _ = write!(text, "{number}");
    text
}

/// A number in its one spelling.
fn canonical(name: &str) -> Option<u32> {
    let value = name.parse().ok()?;
    (number(value) == name).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;
    use crate::telemetry::Workers;

    struct Fake {
        workers: Workers,
        sessions: Vec<u32>,
        all: bool,
    }

    impl Living for Fake {
        fn worker(&self, id: &str, label: Option<u8>) -> Option<WorkerRef> {
            label
                .is_none_or(|label| label == Shard::of(id).0)
                .then(|| self.workers.find(id))?
        }
        fn next_worker(&self, after: Option<&str>, label: Option<u8>) -> Option<&str> {
            self.workers.next_id(after, label)
        }
        fn next_label(&self, from: u16) -> Option<u8> {
            self.workers.next_label(from)
        }
        fn has_session(&self, id: SessionId) -> bool {
            self.sessions.contains(&id.0)
        }
        fn next_session(&self, from: u32) -> Option<SessionId> {
            self.sessions
                .iter()
                .copied()
                .filter(|id| *id >= from)
                .min()
                .map(SessionId)
        }
        fn actor(&self, index: u8) -> Option<&str> {
            ["queen", "ninedoor"].get(usize::from(index)).copied()
        }
        fn faults(&self) -> bool {
            self.all
        }
        fn sees_worker_ctl(&self) -> bool {
            self.all
        }
    }

    fn fake(all: bool) -> Fake {
        let mut workers = Workers::new(4, 64);
        for id in ["worker-1", "worker-2", "a"] {
            workers.create(id, 0).unwrap();
        }
        Fake {
            workers,
            sessions: std::vec![2, 10, 1],
            all,
        }
    }

    fn list(path: &str, living: &Fake) -> Vec<String> {
        let place = find(path, living).unwrap();
        let mut names: Vec<String> = Vec::new();
        loop {
            let mut buf = heapless::String::new();
            let Some((name, child)) = place.next(names.last().map(String::as_str), living, &mut buf) else {
                break;
            };
            assert_eq!(
                place.child(name, living),
                Some(child),
                "{path} lists {name}, which leads elsewhere"
            );
            names.push(name.to_string());
        }
        names
    }

    #[test]
    fn listings_are_sorted_and_lead_where_they_say() {
        let living = fake(false);
        for (path, names) in [
            ("/", &["log", "proc", "shard", "worker"][..]),
            ("/log", &["queen.log"]),
            (
                "/proc",
                &["9p", "actors", "boot", "pressure", "root", "supervisor", "tests"],
            ),
            (
                "/proc/9p/session",
                &["1", "10", "2", "active", "active.cbor", "ctl"],
            ),
            ("/proc/9p/session/10", &["owner", "since_ms", "state"]),
            ("/proc/actors", &["ninedoor", "queen"]),
            ("/proc/actors/queen", &["counters", "state"]),
            ("/shard", &["13", "1c", "ca"]),
            ("/shard/13", &["worker"]),
            ("/shard/13/worker", &["worker-1"]),
            ("/worker", &["a", "worker-1", "worker-2"]),
            ("/worker/worker-1", &["telemetry"]),
        ] {
            assert_eq!(list(path, &living), names, "{path}");
        }
        assert_eq!(list("/worker", &fake(true)), ["a", "ctl", "worker-1", "worker-2"]);
        assert_eq!(
            list("/proc/actors/queen", &fake(true)),
            ["counters", "fault", "state"]
        );
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
        let living = fake(false);
        for path in [
            "/nope",
            "/shard/14",
            "/shard/1C",
            "/shard/14/worker/worker-1",
            "/shard/13/worker/worker-2",
            "/worker/worker-3",
            "/worker/ctl",
            "/proc/9p/session/3",
            "/proc/9p/session/01",
            "/proc/9p/session/+1",
            "/proc/actors/queen/fault",
            "/proc/boot/x",
        ] {
            assert_eq!(find(path, &living), None, "{path}");
        }
        assert!(find("/worker/ctl", &fake(true)).is_some());
        assert!(find("/proc/actors/queen/fault", &fake(true)).is_some());
    }

    #[test]
    fn a_worker_is_the_same_file_under_both_names() {
        let living = fake(false);
        let (shard, alias) = (
            "/shard/13/worker/worker-1/telemetry",
            "/worker/worker-1/telemetry",
        );
        assert_eq!(find(shard, &living), find(alias, &living));
        assert_eq!(identity(shard), identity(alias));
        assert_ne!(identity("/shard/13"), identity("/shard/1c"));
        assert_ne!(identity("/worker/a/telemetry"), identity("/worker/b/telemetry"));
    }
}
