//! The door's rules, one by one, without links and without time.

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use protocol::ticket::{Claims, Key, Quotas, Scope, ScopeVerb, Version, mint};
use runtime::journal::Corruption;

use super::*;
use crate::binds::MAX_BINDS;
use crate::config::Limits;
use crate::procfs::{Child, House, render};
use crate::root::CutReason;
use crate::session::Lease;
use crate::snapshot::Text;
use crate::summary::Summary;
use crate::view::View;

const CONSOLE: u8 = 0;
const HEART: u8 = 1;
const QUEEN: u8 = 2;

fn config() -> Config {
    let keys = [Role::Queen, Role::WorkerHeartbeat, Role::WorkerGpu];
    Config {
        keys: keys.map(|role| (role, Key::from_secret(role.label()))).to_vec(),
        limits: Limits {
            sessions: 16,
            ..Limits::default()
        },
        ..Config::default()
    }
}

fn hall() -> Hall {
    Hall::new(config(), Some(region()), at(1000)).unwrap()
}

fn region() -> Region {
    Region::in_memory(record::region_bytes(&config().limits))
}

fn at(ms: u64) -> Moment {
    Moment {
        mono_ms: ms,
        unix_ms: 1_000_000 + ms,
    }
}

fn token(claims: &Claims<'_>) -> String {
    mint(claims, Version::V1, &Key::from_secret(claims.role.label()))
        .unwrap()
        .to_string()
}

fn worker(id: &str) -> String {
    token(&Claims {
        subject: Some(id),
        ..Claims::new(Role::WorkerHeartbeat)
    })
}

fn enter(hall: &mut Hall, door: u8, uname: &str, aname: &str, now: Moment) -> Result<Lease, Refusal> {
    let session = hall.judge(door, uname, aname, now);
    session
        .and_then(|session| hall.begin(session, now))
        .map_err(|no| {
            hall.turned_away(door, uname, no, now);
            no.fail.refusal().unwrap()
        })
}

fn queen(hall: &mut Hall) -> Lease {
    enter(hall, CONSOLE, "queen", "", at(0)).unwrap()
}

fn queen_with(hall: &mut Hall, change: impl FnOnce(&mut Claims<'_>)) -> Lease {
    let mut claims = Claims::new(Role::Queen);
    change(&mut claims);
    let aname = token(&claims);
    enter(hall, CONSOLE, "queen", &aname, at(0)).unwrap()
}

fn log(hall: &Hall) -> Vec<String> {
    let (mut lines, mut scratch) = (Vec::new(), vec![0; 8192]);
    let _ = hall.log.each_line(&mut scratch, |line| {
        lines.push(line.to_string());
        Ok::<_, ()>(())
    });
    lines
}

fn last(hall: &Hall) -> String {
    log(hall).pop().unwrap_or_default()
}

fn open(
    hall: &mut Hall,
    session: &Lease,
    real: &str,
    place: Place,
    flags: OpenFlags,
    now: Moment,
) -> Result<(), Fail> {
    hall.may_open(session.slot(), real, Some(place), flags, now)
}

fn create(hall: &mut Hall, id: &str) -> WorkerRef {
    let actor = enter(hall, QUEEN, "queen-actor", "", at(0)).unwrap();
    let line = std::format!(r#"{{"create":{{"id":"{id}"}}}}"#);
    hall.write(actor.slot(), Place::WorkerCtl, line.as_bytes(), at(0))
        .unwrap();
    hall.workers.find(id).unwrap()
}

struct Nobody;

impl House for Nobody {
    fn actor(&self, index: u8) -> Option<&str> {
        ["ninedoor", "queen"].get(usize::from(index)).copied()
    }
    fn counters(&self, name: &str) -> Option<runtime::counters::Snapshot> {
        let refusals = if name == "queen" {
            [1, 2, 3, 4]
        } else {
            [10, 20, 30, 40]
        };
        Some(runtime::counters::Snapshot {
            refusals,
            ..Default::default()
        })
    }
    fn each_child(&self, visit: &mut dyn FnMut(Child<'_>)) {
        let state = runtime::supervision::ChildState::Running;
        visit(Child {
            name: "queen",
            state,
            restarts: 2,
            reason: "index out\nof bounds",
        });
    }
    fn degraded(&self) -> bool {
        false
    }
    fn outstanding(&self) -> u32 {
        3
    }
}

fn text(hall: &Hall, place: Place) -> String {
    let mut bytes = vec![0; 8192];
    let mut out = Text::new(&mut bytes);
    render(place, hall, &Nobody, &mut out);
    let len = out.len();
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

// Coming in.

#[test]
fn each_door_lets_in_whom_its_configuration_names() {
    let mut hall = hall();
    let heart = worker("worker-1");
    for (door, uname, aname, expected) in [
        (CONSOLE, "queen", "", None),
        (CONSOLE, "QUEEN", "", None),
        (CONSOLE, "console-actor", "", None),
        (CONSOLE, "queen-actor", "", Some(Refusal::InvalidRole)),
        (CONSOLE, "worker", &heart, None),
        (CONSOLE, "worker-heartbeat", &heart, None),
        (CONSOLE, "worker-heartbeat", "", Some(Refusal::TicketRejected)),
        (CONSOLE, "worker-gpu", &heart, Some(Refusal::TicketRejected)),
        (CONSOLE, "worker-bus", "x", Some(Refusal::TicketRejected)),
        (CONSOLE, "drone", "", Some(Refusal::InvalidRole)),
        (HEART, "worker-heartbeat", &heart, None),
        (HEART, "queen", "", Some(Refusal::Denied)),
        (HEART, "console-actor", "", Some(Refusal::InvalidRole)),
        (QUEEN, "queen-actor", "", None),
        (QUEEN, "queen", "", Some(Refusal::Denied)),
        (QUEEN, "console-actor", "", Some(Refusal::InvalidRole)),
    ] {
        let result = enter(&mut hall, door, uname, aname, at(0));
        assert_eq!(result.err(), expected, "{uname} at door {door}");
    }
}

#[test]
fn tickets_are_judged_as_wire_2_6_says() {
    let mut hall = hall();
    let forged = mint(&Claims::new(Role::Queen), Version::V1, &Key::from_secret("guess")).unwrap();
    let expired = token(&Claims {
        ttl_s: Some(5),
        issued_at_ms: 990_000,
        ..Claims::new(Role::Queen)
    });
    let lasting = token(&Claims {
        ttl_s: Some(11),
        issued_at_ms: 990_000,
        ..Claims::new(Role::Queen)
    });
    let greedy = Quotas {
        bandwidth_bytes: 131_073,
        ..Quotas::default()
    };
    let greedy = token(&Claims {
        quotas: Some(greedy),
        ..Claims::new(Role::Queen)
    });
    let nobody = token(&Claims::new(Role::WorkerHeartbeat));
    for (uname, aname, expected) in [
        ("queen", "cohesix-ticket-", Some(Refusal::TicketRejected)),
        ("queen", &forged, Some(Refusal::TicketRejected)),
        ("queen", &expired, Some(Refusal::TicketExpired)),
        ("queen", &lasting, None),
        ("queen", &greedy, Some(Refusal::InvalidClaims)),
        ("worker", &nobody, Some(Refusal::TicketRejected)),
    ] {
        assert_eq!(
            enter(&mut hall, CONSOLE, uname, aname, at(0)).err(),
            expected,
            "{uname} {aname}"
        );
    }
    let told = log(&hall).join("\n");
    for line in [
        "attach outcome=deny reason=policy role=queen detail=denied error=ticket malformed",
        "attach outcome=deny reason=policy role=queen detail=denied error=ticket MAC validation failed",
        "ui-ticket outcome=deny reason=expired role=queen issued_at_ms=990000 ttl_s=5 now_ms=1000000",
        "ui-ticket outcome=deny reason=invalid-claims role=queen detail=claims exceed the manifest",
    ] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
}

#[test]
fn strangers_never_take_the_last_places() {
    let mut hall = hall();
    let reserved = hall.config.reserved_sessions();
    let held: Vec<Lease> = (reserved..16).map(|_| queen(&mut hall)).collect();
    let refused = enter(&mut hall, CONSOLE, "queen", "", at(0)).unwrap_err();
    assert_eq!(refused, Refusal::TooManySessions);
    assert_eq!(refused.reason().label(), "busy");
    assert!(enter(&mut hall, QUEEN, "queen-actor", "", at(0)).is_ok());
    drop(held);
    hall.sweep(|_| false, at(0), |_| {});
    assert!(enter(&mut hall, CONSOLE, "queen", "", at(0)).is_ok());
}

#[test]
fn a_session_ends_when_its_ticket_expires() {
    let mut hall = hall();
    let session = queen_with(&mut hall, |claims| {
        claims.ttl_s = Some(2);
        claims.issued_at_ms = 1_000_000;
    });
    assert_eq!(hall.admit(session.slot(), at(1999)), Ok(()));
    let fail = hall.admit(session.slot(), at(2000)).unwrap_err();
    assert_eq!(fail.refusal(), Some(Refusal::TicketExpired));
    for _ in 0..3 {
        hall.tell(session.slot(), Verb::Read, "/proc/boot", fail, at(2000));
    }
    let told: Vec<_> = log(&hall)
        .into_iter()
        .filter(|line| line.contains("reason=expired"))
        .collect();
    assert_eq!(
        told,
        [
            "ui-ticket outcome=deny reason=expired role=queen ticket=unnamed path=/proc/boot verb=CAT \
          issued_at_ms=1000000 ttl_s=2 now_ms=1002000"
        ]
    );
    assert_eq!(
        text(&hall, Place::Summary(Summary::Active)),
        "active=0 draining=1\n"
    );
}

// Scopes, rates, quotas.

#[test]
fn the_ticket_of_telemetry_ring_coh() {
    let mut hall = hall();
    let worker = create(&mut hall, "worker-1");
    let session = queen_with(&mut hall, |claims| {
        for (path, verb, rate_per_s) in [
            ("/log", ScopeVerb::Read, 1),
            ("/queen", ScopeVerb::Write, 0),
            ("/shard", ScopeVerb::Write, 0),
        ] {
            claims
                .scopes
                .push(Scope {
                    path,
                    verb,
                    rate_per_s,
                })
                .unwrap();
        }
        claims.quotas = Some(Quotas {
            cursor_advances: 1,
            ..Quotas::default()
        });
    });
    let (read, write) = (OpenFlags::RDONLY, OpenFlags::WRONLY);
    let (log_path, telemetry) = ("/log/queen.log", "/shard/13/worker/worker-1/telemetry");
    let ring = Place::Telemetry(worker);
    let rate = Fail::Ticket(Denial::Rate { limit_per_s: 1 });
    let scope = Fail::Ticket(Denial::Scope);
    for (path, place, flags, ms, expected) in [
        (log_path, Place::QueenLog, write, 0, Err(scope)),
        (log_path, Place::QueenLog, read, 0, Ok(())),
        (log_path, Place::QueenLog, read, 999, Err(rate)),
        (log_path, Place::QueenLog, read, 1000, Ok(())),
        (telemetry, ring, read, 0, Err(scope)),
        (telemetry, ring, write, 0, Ok(())),
        ("/proc/boot", Place::Boot, read, 0, Err(scope)),
    ] {
        assert_eq!(
            open(&mut hall, &session, path, place, flags, at(ms)),
            expected,
            "{path} at {ms}"
        );
    }
    for (path, allowed) in [
        ("/", true),
        ("/log", true),
        ("/log/queen.log", true),
        ("/proc", false),
        ("/logs", false),
        ("/queen/ctl", true),
    ] {
        assert_eq!(
            hall.may_walk(session.slot(), path).is_ok(),
            allowed,
            "walk to {path}"
        );
    }
    hall.tell(session.slot(), Verb::Read, log_path, rate, at(5000));
    assert_eq!(
        last(&hall),
        "ui-ticket outcome=deny reason=rate role=queen ticket=unnamed path=/log/queen.log verb=CAT limit_per_s=1 \
         window_ms=1000"
    );
}

#[test]
fn a_telemetry_read_consumes_an_advance_and_goes_on_at_the_cursor() {
    let mut hall = hall();
    let worker = create(&mut hall, "worker-1");
    let session = queen_with(&mut hall, |claims| {
        claims.quotas = Some(Quotas {
            cursor_advances: 3,
            cursor_resumes: 1,
            ..Quotas::default()
        });
    });
    let (path, place) = ("/worker/worker-1/telemetry", Place::Telemetry(worker));
    let snapshots = alloc::rc::Rc::new(core::cell::RefCell::new(crate::snapshot::Snapshots::new(1)));
    hall.write(session.slot(), place, b"one", at(0)).unwrap();
    let read_on = |hall: &mut Hall, expected: &[u8]| {
        open(hall, &session, path, place, OpenFlags::RDONLY, at(0)).unwrap();
        let mut view = View::open(place, hall, session.slot()).unwrap();
        let mut buf = [0; 64];
        let count = view
            .read(hall, &Nobody, &snapshots, session.slot(), 0, &mut buf)
            .unwrap();
        assert_eq!(&buf[..count], expected);
        view
    };
    let mut first = read_on(&mut hall, b"one");
    hall.write(session.slot(), place, b"two", at(0)).unwrap();
    read_on(&mut hall, b"two");
    read_on(&mut hall, b"");
    // Whoever only opens it has read nothing.
    open(&mut hall, &session, path, place, OpenFlags::RDONLY, at(0)).unwrap();
    let mut fourth = View::open(place, &hall, session.slot()).unwrap();
    let none_left = fourth.read(&mut hall, &Nobody, &snapshots, session.slot(), 0, &mut [0; 64]);
    assert_eq!(none_left, Err(Fail::Ticket(Denial::Advances { limit: 3 })));
    // The first fid goes back to what the session has seen: one resume, then none is left.
    let mut buf = [0; 2];
    let mut again = |hall: &mut Hall, at| first.read(hall, &Nobody, &snapshots, session.slot(), at, &mut buf);
    assert_eq!(again(&mut hall, 0), Ok(2));
    assert_eq!(again(&mut hall, 2), Ok(2), "reading on is the same resume");
    assert_eq!(
        again(&mut hall, 0),
        Err(Fail::Ticket(Denial::Resumes { limit: 1 }))
    );
}

#[test]
fn the_manifests_quotas_bind_strangers_only() {
    let mut hall = hall();
    let token = worker("worker-1");
    let stranger = enter(&mut hall, CONSOLE, "worker", &token, at(0)).unwrap();
    let actor = enter(&mut hall, HEART, "worker", &token, at(0)).unwrap();
    assert!(hall.spend(stranger.slot(), 131_073).is_err());
    assert_eq!(hall.spend(actor.slot(), 10_000_000), Ok(()));
    let free = queen(&mut hall);
    assert_eq!(hall.spend(free.slot(), 10_000_000), Ok(()));
}

// Root.

#[test]
fn workers_of_strangers_wait_for_a_queen_and_are_cut_with_the_last_one() {
    let mut hall = hall();
    let token = worker("worker-1");
    let outside = enter(&mut hall, CONSOLE, "worker", &token, at(0)).unwrap();
    let inside = enter(&mut hall, HEART, "worker", &token, at(0)).unwrap();
    let cut = |hall: &mut Hall| hall.admit(outside.slot(), at(1)) == Err(Fail::Refused(Refusal::Cut));
    assert!(cut(&mut hall));
    assert_eq!(hall.admit(inside.slot(), at(1)), Ok(()));
    let (first, second) = (queen(&mut hall), queen(&mut hall));
    assert!(!cut(&mut hall));
    let lose = |hall: &mut Hall, lease: Lease, now| {
        hall.write(lease.slot(), Place::SessionCtl, b"lost\n", now)
            .unwrap();
        drop(lease);
        hall.sweep(|_| false, now, |_| {});
    };
    lose(&mut hall, first, at(2));
    assert!(!cut(&mut hall), "another queen is there");
    hall.admit(second.slot(), at(7)).unwrap();
    lose(&mut hall, second, at(9));
    assert!(cut(&mut hall));
    assert_eq!(text(&hall, Place::Reachable), "reachable=no\n");
    assert_eq!(text(&hall, Place::CutReason), "cut_reason=network_unreachable\n");
    assert_eq!(text(&hall, Place::LastSeen), "last_seen_ms=1000007\n");
    let quits = queen(&mut hall);
    drop(quits);
    hall.sweep(|_| false, at(10), |_| {});
    assert!(!cut(&mut hall), "a queen who quits cuts nobody");
}

#[test]
fn a_broken_link_loses_every_queen_behind_it() {
    let mut hall = hall();
    let (first, second) = (queen(&mut hall), queen(&mut hall));
    drop((first, second));
    let mut released = Vec::new();
    hall.sweep(|door| door == CONSOLE, at(1), |slot| released.push(slot));
    assert_eq!(hall.root.cut_reason(), CutReason::NetworkUnreachable);
    assert_eq!(released, [0, 1]);
}

#[test]
fn a_denied_queen_is_the_reason_only_while_the_root_is_out_of_reach() {
    let mut hall = hall();
    assert!(enter(&mut hall, CONSOLE, "queen", "forged", at(0)).is_err());
    assert_eq!(hall.root.cut_reason(), CutReason::PolicyDenied);
    let _session = queen(&mut hall);
    assert!(enter(&mut hall, CONSOLE, "queen", "forged", at(0)).is_err());
    assert_eq!(hall.root.cut_reason(), CutReason::None);
}

// The log.

#[test]
fn what_is_refused_and_what_is_quiet() {
    let mut hall = hall();
    let session = queen(&mut hall);
    let before = log(&hall).len();
    let missing = Fail::Refused(Refusal::InvalidPath);
    hall.tell(session.slot(), Verb::Read, "/nope", missing, at(0));
    hall.tell(session.slot(), Verb::Walk, "/nope", missing, at(0));
    assert_eq!(log(&hall).len(), before, "read traffic stays out of the log");
    hall.tell(
        session.slot(),
        Verb::Write,
        "/proc/boot x",
        Fail::Refused(Refusal::Denied),
        at(0),
    );
    assert_eq!(
        last(&hall),
        "access outcome=deny reason=policy detail=denied role=queen ticket=none path=/proc/boot\\x20x verb=ECHO"
    );
    hall.tell(
        session.slot(),
        Verb::Write,
        "/queen/ctl",
        Fail::Owner(ninep::Errno::EINVAL),
        at(0),
    );
    assert!(last(&hall).contains("detail=invalid-payload"));
}

#[test]
fn a_flood_of_refusals_leaves_a_count() {
    let mut hall = hall();
    let session = queen(&mut hall);
    let before = log(&hall).len();
    for _ in 0..1000 {
        hall.tell(
            session.slot(),
            Verb::Write,
            "/proc/boot",
            Fail::Refused(Refusal::Denied),
            at(0),
        );
    }
    assert_eq!(log(&hall).len(), before + 8);
    drop(session);
    hall.sweep(|_| false, at(10), |_| {});
    assert_eq!(last(&hall), "audit suppressed=992 session=1");
}

#[test]
fn a_write_to_the_log_is_whole_lines_of_text() {
    let mut hall = hall();
    let session = queen(&mut hall);
    let mut write = |bytes: &[u8]| hall.write(session.slot(), Place::QueenLog, bytes, at(0));
    assert_eq!(write(b"one"), Ok(()));
    assert_eq!(write(b"two\nthree\n"), Ok(()));
    assert_eq!(write(b""), Ok(()));
    assert_eq!(write(b"\xff"), Err(Fail::Refused(Refusal::InvalidPayload)));
    assert_eq!(write(&[b'x'; 8189]), Err(Fail::Refused(Refusal::TooLong)));
    let lines = log(&hall);
    assert_eq!(lines[lines.len() - 3..], ["one", "two", "three"]);
}

// Workers.

#[test]
fn telemetry_leaves_the_lines_of_wire_4_7() {
    let mut hall = hall();
    let worker = create(&mut hall, "worker-1");
    let session = queen(&mut hall);
    for _ in 0..12 {
        hall.write(session.slot(), Place::Telemetry(worker), &[b'x'; 90], at(0))
            .unwrap();
    }
    assert_eq!(last(&hall), "telemetry ring wrap dropped_bytes=56 new_base=56");
    let refused = hall.write(session.slot(), Place::Telemetry(worker), &[b'x'; 1025], at(0));
    assert_eq!(refused, Err(Fail::Refused(Refusal::BufferFull)));
    assert_eq!(last(&hall), "telemetry quota reject bytes=1025 quota=1024");
}

#[test]
fn only_the_queen_actor_makes_and_ends_workers() {
    let mut hall = hall();
    let worker = create(&mut hall, "worker-1");
    let actor = enter(&mut hall, QUEEN, "queen-actor", "", at(0)).unwrap();
    let own = self::worker("worker-1");
    let session = enter(&mut hall, HEART, "worker", &own, at(0)).unwrap();
    let other = self::worker("worker-2");
    let other = enter(&mut hall, HEART, "worker", &other, at(0)).unwrap();
    let write = OpenFlags::WRONLY;
    for (lease, allowed) in [(&actor, true), (&session, false)] {
        assert_eq!(
            open(&mut hall, lease, "/worker/ctl", Place::WorkerCtl, write, at(0)).is_ok(),
            allowed
        );
    }
    let (telemetry, place) = ("/worker/worker-1/telemetry", Place::Telemetry(worker));
    assert_eq!(open(&mut hall, &session, telemetry, place, write, at(0)), Ok(()));
    assert_eq!(
        open(&mut hall, &other, telemetry, place, write, at(0)),
        Err(Fail::Refused(Refusal::Denied))
    );
    let end = br#"{"end":{"id":"worker-1"}}"#;
    for _ in 0..2 {
        assert_eq!(
            hall.write(actor.slot(), Place::WorkerCtl, end, at(0)),
            Ok(()),
            "ending is idempotent"
        );
    }
    assert_eq!(
        hall.admit(session.slot(), at(0)),
        Err(Fail::Refused(Refusal::TicketRejected))
    );
    assert_eq!(hall.admit(other.slot(), at(0)), Ok(()));
    let gone = open(&mut hall, &actor, telemetry, place, OpenFlags::RDONLY, at(0));
    assert_eq!(gone, Err(Fail::Refused(Refusal::InvalidPath)));
    let nonsense = hall.write(actor.slot(), Place::WorkerCtl, b"{}", at(0));
    assert_eq!(nonsense, Err(Fail::Refused(Refusal::InvalidPayload)));
}

#[test]
fn the_ninth_worker_has_no_place() {
    let mut hall = hall();
    for number in 1..=8 {
        create(&mut hall, &std::format!("worker-{number}"));
    }
    let actor = enter(&mut hall, QUEEN, "queen-actor", "", at(0)).unwrap();
    let ninth = br#"{"create":{"id":"worker-9"}}"#;
    let refused = hall.write(actor.slot(), Place::WorkerCtl, ninth, at(0));
    assert_eq!(refused, Err(Fail::Refused(Refusal::BufferFull)));
}

// What survives.

#[test]
fn a_restart_forgets_sessions_and_nothing_else() {
    let region = region();
    let mut hall = Hall::new(config(), Some(region.clone()), at(0)).unwrap();
    let worker = create(&mut hall, "worker-1");
    create(&mut hall, "worker-2");
    let session = queen(&mut hall);
    hall.write(session.slot(), Place::QueenLog, b"remember me", at(0))
        .unwrap();
    hall.write(session.slot(), Place::Telemetry(worker), b"tick", at(0))
        .unwrap();
    let actor = enter(&mut hall, QUEEN, "queen-actor", "", at(0)).unwrap();
    hall.write(
        actor.slot(),
        Place::WorkerCtl,
        br#"{"end":{"id":"worker-2"}}"#,
        at(0),
    )
    .unwrap();
    let lines = log(&hall);
    let again = Hall::new(config(), Some(region), at(9)).unwrap();
    assert_eq!(log(&again), lines, "the same boot of the hive says nothing new");
    assert_eq!(again.sessions.iter().count(), 0);
    assert!(again.workers.find("worker-2").is_none());
    let mut buf = [0; 16];
    let worker = again.workers.find("worker-1").unwrap();
    assert_eq!(again.workers.read(worker, 0, u64::MAX, &mut buf), Ok(4));
    assert!(again.boot.contains("journal.ninedoor=clean\n"), "{}", again.boot);
}

#[test]
fn a_journal_that_does_not_verify_is_told() {
    let region = region();
    region.write_at(0, &[0xa5; 512]).unwrap();
    let hall = Hall::new(config(), Some(region), at(0)).unwrap();
    let told = std::format!(
        "journal actor=ninedoor outcome=corrupt why={} effect=started-empty",
        Corruption::Header
    );
    assert!(log(&hall).contains(&told), "{:?}", log(&hall));
    assert!(hall.boot.contains("journal.ninedoor=corrupt"));
    let forgetful = Hall::new(config(), None, at(0)).unwrap();
    assert!(forgetful.boot.contains("journal.ninedoor=none\n"));
    let small = Hall::new(config(), Some(Region::in_memory(4096)), at(0))
        .err()
        .unwrap();
    assert!(
        small.to_string().contains("the journal region has 4096 bytes"),
        "{small}"
    );
}

#[test]
fn a_full_journal_is_compacted_and_a_broken_one_refuses() {
    let region = region();
    let mut hall = Hall::new(config(), Some(region.clone()), at(0)).unwrap();
    let session = queen(&mut hall);
    for _ in 0..200 {
        hall.write(session.slot(), Place::QueenLog, &[b'x'; 4000], at(0))
            .unwrap();
    }
    region.crash_at(1, runtime::region::Crash::Refuse);
    let lines = log(&hall);
    let refused = hall.write(session.slot(), Place::QueenLog, b"not kept", at(0));
    assert_eq!(refused, Err(Fail::Refused(Refusal::Busy)));
    assert_eq!(
        log(&hall),
        lines,
        "what was not kept was not acknowledged and is not shown"
    );
}

// Files.

#[test]
fn a_summary_and_its_map_say_the_same() {
    let mut hall = hall();
    let _queen = queen(&mut hall);
    for summary in [
        Summary::Sessions,
        Summary::Outstanding,
        Summary::ShortWrites,
        Summary::Active,
    ] {
        let mut bytes = vec![0; 64];
        let mut out = Text::new(&mut bytes);
        render(Place::SummaryMap(summary), &hall, &Nobody, &mut out);
        let len = out.len();
        let mut map = minicbor::Decoder::new(&bytes[..len]);
        let fields: Vec<String> = map
            .map_iter::<&str, u64>()
            .unwrap()
            .map(|field| {
                let (name, value) = field.unwrap();
                std::format!("{name}={value}")
            })
            .collect();
        assert_eq!(map.position(), len, "{summary:?}");
        let line = text(&hall, Place::Summary(summary));
        assert!(line.ends_with(&(fields.join(" ") + "\n")), "{line:?} {fields:?}");
        assert!(
            core::str::from_utf8(&bytes[..len]).is_err(),
            "a console sends it as base64"
        );
    }
}

#[test]
fn proc_says_what_wire_4_2_and_control_4_want() {
    let mut hall = hall();
    let token = worker("worker-1");
    let (_a, _b) = (
        queen(&mut hall),
        enter(&mut hall, HEART, "worker", &token, at(0)).unwrap(),
    );
    let id = |n| crate::session::SessionId(n);
    for (place, expected) in [
        (
            Place::Summary(Summary::Sessions),
            "sessions total=2 worker=1 shard_bits=8 shard_count=256\nshard 13 1\n",
        ),
        (
            Place::Summary(Summary::Outstanding),
            "outstanding current=3 limit=36\n",
        ),
        (
            Place::Summary(Summary::ShortWrites),
            "short_writes total=0 retries=0\n",
        ),
        (Place::Summary(Summary::Active), "active=2 draining=0\n"),
        (Place::SessionState(id(1)), "state=ACTIVE\n"),
        (Place::SessionSince(id(1)), "since_ms=1000000\n"),
        (Place::SessionOwner(id(1)), "owner=queen\n"),
        (Place::SessionOwner(id(2)), "owner=worker-heartbeat:worker-1\n"),
        (Place::SessionOwner(id(3)), ""),
        (Place::Refusals(protocol::refusal::Reason::Busy), "busy=11\n"),
        (Place::Refusals(protocol::refusal::Reason::Policy), "policy=44\n"),
        (
            Place::Supervisor,
            "degraded=no\nchild=queen state=running restarts=2 reason=index out of bounds\n",
        ),
        (
            Place::ActorState(1),
            "state=running\nrestarts=2\nreason=index out of bounds\n",
        ),
        (Place::ActorState(0), "state=unsupervised\n"),
    ] {
        assert_eq!(text(&hall, place), expected, "{place:?}");
    }
    assert!(text(&hall, Place::ActorCounters(1)).contains("refusals_quota=2\n"));
}

#[test]
fn boot_has_the_lines_of_the_reference_and_ours() {
    let boot = hall().boot;
    let lines: Vec<&str> = boot.lines().collect();
    assert_eq!(lines[0], "Cohesix boot: root-task online");
    for (line, start) in lines.iter().zip([
        "Cohesix boot",
        "manifest.schema=",
        "manifest.profile=dev",
        "manifest.sha256=",
        "telemetry.ring_bytes_per_worker=1024",
        "telemetry.frame_schema=legacy-plaintext",
        "telemetry.cursor.retain_on_boot=false",
        "event_pump.fds=timer,console-ninedoor,",
        "boot.id=",
        "journal.ninedoor=fresh",
    ]) {
        assert!(line.starts_with(start), "{line:?} is not {start:?}");
    }
}

#[test]
fn binds_are_a_sessions_own() {
    let mut hall = hall();
    let (one, two) = (queen(&mut hall), queen(&mut hall));
    let binds = &mut hall.sessions.get_mut(one.slot()).unwrap().binds;
    binds.add("/log", "/shadow", MAX_BINDS).unwrap();
    let seen = |lease: &Lease| {
        hall.sessions
            .get(lease.slot())
            .unwrap()
            .binds
            .rewrite("/shadow/queen.log")
            .unwrap()
    };
    assert_eq!(seen(&one), "/log/queen.log");
    assert_eq!(seen(&two), "/shadow/queen.log");
}
