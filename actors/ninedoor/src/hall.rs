//! The door's state, between two awaits: sessions, log, workers, root, journal.
//!
//! Answers for the order in which a request is judged (WIRE 1.6: alive, root reachable, scope, operation, bandwidth,
//! cursor), for the journal being written before anything is acknowledged, and for the log line of every refusal.
//!
//! Never awaits, never sends, never reads a clock: every moment is an argument.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use ninep::OpenFlags;
use protocol::path::Path;
use protocol::refusal::Refusal;
use protocol::role::Role;
use protocol::ticket::Access;
use protocol::worker::DoorRequest;
use runtime::journal::Recovery;
use runtime::region::Region;

use crate::audit::{AuditLine, Fail, Shown, Verb};
use crate::config::{BootError, Config};
use crate::log::{Log, LogError};
use crate::place::{Place, identity};
use crate::policy::{self, Asker, Target};
use crate::record::{self, Kept, Record, Store};
use crate::restarts::Seen;
use crate::root::{End, Root};
use crate::session::{Session, Sessions, State, Throttle, Who};
use crate::telemetry::{TelemetryError, WorkerId, WorkerRef, Workers, Writer};
use crate::usage::Denial;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// Milliseconds of the host's monotonic clock.
    pub(crate) mono_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) unix_ms: u64,
}

/// The state.
pub(crate) struct Hall {
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
    pub(crate) log: Log,
    pub(crate) workers: Workers,
    pub(crate) root: Root,
    pub(crate) seen: Seen,
    /// When this life of the domain began.
    pub(crate) began: Moment,
    /// The text of `/proc/boot`.
    pub(crate) boot: String,
    pub(crate) short_writes: u64,
    pub(crate) write_retries: u64,
    /// What each door's refused attaches have put into the log lately.
    throttles: Vec<Throttle>,
    store: Store,
}

impl Hall {
    /// Takes all memory, replays the journal and says in the log what came of it.
    pub(crate) fn new(config: Config, region: Option<Region>, now: Moment) -> Result<Self, BootError> {
        config.check()?;
        let least = record::region_bytes(&config.limits);
        if let Some(bytes) = region.as_ref().map(Region::len).filter(|bytes| *bytes < least) {
            return Err(BootError::Journal { bytes, least });
        }
        let limits = config.limits;
        let mut log = Log::new(limits.log_lines, limits.log_bytes);
        let mut workers = Workers::new(limits.workers, limits.ring_bytes);
        let mut seen = Seen::default();
        let mut kept = Kept {
            log: &mut log,
            workers: &mut workers,
            seen: &mut seen,
        };
        let (store, recovery) = Store::open(region, &mut kept);
        let mut hall = Self {
            sessions: Sessions::new(limits.sessions),
            log,
            workers,
            root: Root::new(),
            seen,
            began: now,
            boot: String::new(),
            short_writes: 0,
            write_retries: 0,
            throttles: config.doors.iter().map(|_| Throttle::default()).collect(),
            store,
            config,
        };
        hall.boot = crate::procfs::boot_text(&hall.config, recovery);
        hall.announce(recovery, now);
        Ok(hall)
    }

    /// The first lines of this life: a new boot of the hive, and what the journal had to say.
    fn announce(&mut self, recovery: Option<Recovery>, now: Moment) {
        let boot = identity(&self.config.boot.id);
        if self.seen.boot_hash() != boot {
            let id = self.config.boot.id.clone();
            self.note(format_args!("boot id={}", Shown(&id)), now);
            if self.keep(&Record::Booted { boot }).is_ok() {
                self.seen.boot(boot);
            }
        }
        match recovery {
            Some(recovery) if recovery.is_corrupt() => {
                self.note(
                    format_args!("journal actor=ninedoor outcome={recovery} effect=started-empty"),
                    now,
                );
            }
            None => self.note(
                format_args!("journal actor=ninedoor outcome=none effect=forgets-at-restart"),
                now,
            ),
            Some(_) => {}
        }
    }

    // The journal and the log.

    fn keep(&mut self, record: &Record<'_>) -> Result<(), Refusal> {
        let kept = Kept {
            log: &mut self.log,
            workers: &mut self.workers,
            seen: &mut self.seen,
        };
        self.store.keep(record, &kept)
    }

    /// Puts one line of the door's own into the log. If the journal takes it no more, it is in the log all the same
    /// until the next restart: a line about a refusal must not be lost because something else is full.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>, now: Moment) {
        let line = AuditLine::of(line);
        let _ = self.keep(&Record::Log {
            at_ms: now.unix_ms,
            text: line.as_str(),
        });
        self.log.append(line.as_str(), now.unix_ms);
    }

    /// Puts what somebody wrote into the log.
    fn write_log(&mut self, written: &[u8], now: Moment) -> Result<(), Refusal> {
        let text = Log::check(written).map_err(|error| match error {
            LogError::NotText => Refusal::InvalidPayload,
            LogError::TooLong { .. } => Refusal::TooLong,
        })?;
        self.keep(&Record::Log {
            at_ms: now.unix_ms,
            text,
        })?;
        self.log.append(text, now.unix_ms);
        Ok(())
    }

    /// Notes a restart of a child on the supervisor's page, once.
    pub(crate) fn note_restart(
        &mut self,
        child: usize,
        restarts: u64,
        line: fmt::Arguments<'_>,
        now: Moment,
    ) {
        if self.seen.is_news(child, restarts) {
            self.note(line, now);
            let index = u8::try_from(child).unwrap_or(u8::MAX);
            // Not kept means told again after a restart, which is the better mistake.
            let _ = self.keep(&Record::Restarted {
                child: index,
                restarts,
            });
            self.seen.set(child, restarts);
        }
    }

    // Sessions.

    /// Whom a session speaks for, as log lines and `owner` files show it.
    pub(crate) fn role_label<'a>(&'a self, session: &Session) -> &'a str {
        match session.who {
            Who::Role(role) => role.label(),
            Who::Actor(index) => {
                let door = self.config.doors.get(usize::from(session.door));
                let identity = door.and_then(|door| door.identities.get(usize::from(index)));
                identity.map_or("actor", |identity| &identity.uname)
            }
        }
    }

    /// Whether strangers stand behind a session's link.
    pub(crate) fn is_outside(&self, session: &Session) -> bool {
        self.config
            .doors
            .get(usize::from(session.door))
            .is_some_and(|door| door.outside)
    }

    /// Queens from outside who are still there.
    fn queens(&self) -> usize {
        let here = |session: &&Session| session.is(Role::Queen) && !session.lost && self.is_outside(session);
        self.sessions.iter().filter(here).count()
    }

    /// Judges a request before its path is looked at, and notes a queen's sign of life.
    pub(crate) fn admit(&mut self, slot: usize, now: Moment) -> Result<(), Fail> {
        self.may_leave(slot)?;
        let root = self.root.reachable();
        let session = self.sessions.get(slot).ok_or(Refusal::Unauthenticated)?;
        let outside = self.is_outside(session);
        if let Some((issued_at_ms, ttl_s)) = session.term
            && now.unix_ms >= issued_at_ms.saturating_add(ttl_s.saturating_mul(1000))
        {
            return Err(Denial::Expired {
                issued_at_ms,
                ttl_s,
                now_ms: now.unix_ms,
            }
            .into());
        }
        if outside && session.is_worker() && !root {
            return Err(Refusal::Cut.into());
        }
        if outside && session.is(Role::Queen) {
            self.root.seen(now.unix_ms);
        }
        Ok(())
    }

    /// Judges a request that only says that its session is lost. Neither an expired ticket nor a root that is cut
    /// keeps it from that.
    pub(crate) fn may_leave(&self, slot: usize) -> Result<(), Fail> {
        let session = self.sessions.get(slot).ok_or(Refusal::Unauthenticated)?;
        if session.revoked {
            return Err(Refusal::TicketRejected.into());
        }
        Ok(())
    }

    /// Whether a session's ticket lets it walk to a path: the path, or something below it, is in some scope.
    pub(crate) fn may_walk(&self, slot: usize, real: &str) -> Result<(), Fail> {
        let Some(claims) = self.sessions.get(slot).and_then(Session::claims) else {
            return Ok(());
        };
        let touches = |scope: &str| {
            crate::binds::below(real, scope).is_some() || crate::binds::below(scope, real).is_some()
        };
        if claims.scopes.is_empty() || claims.scopes.iter().any(|scope| touches(scope.path)) {
            return Ok(());
        }
        Err(Denial::Scope.into())
    }

    /// Judges an open: scope and rate of the ticket, then the role's rules. Bandwidth and cursor are the reads' affair.
    pub(crate) fn may_open(
        &mut self,
        slot: usize,
        real: &str,
        place: Option<Place>,
        flags: OpenFlags,
        now: Moment,
    ) -> Result<(), Fail> {
        // A session may always say of itself that it is lost: the root's reachability depends on it.
        if place != Some(Place::SessionCtl) {
            for (wanted, access) in [(flags.reads(), Access::Read), (flags.writes(), Access::Write)] {
                if wanted {
                    self.use_scope(slot, real, access, now)?;
                }
            }
        }
        let worker = match place {
            Some(Place::Telemetry(worker)) => Some(self.worker_id(worker)?),
            _ => None,
        };
        let target = match (place, &worker) {
            (_, Some(id)) => Target::Telemetry(id),
            (Some(place), None) => Target::Own(place),
            (None, None) => Target::Forwarded,
        };
        if flags.reads() {
            policy::may_read(target)?;
        }
        if flags.writes() {
            let session = self.sessions.get(slot).ok_or(Refusal::Unauthenticated)?;
            policy::may_write(self.asker(session)?, target, real)?;
        }
        Ok(())
    }

    fn use_scope(&mut self, slot: usize, real: &str, access: Access, now: Moment) -> Result<(), Fail> {
        let session = self.sessions.get_mut(slot).ok_or(Refusal::Unauthenticated)?;
        let Some(claims) = session.claims().filter(|claims| !claims.scopes.is_empty()) else {
            return Ok(());
        };
        let path = Path::parse(real).map_err(|_| Refusal::InvalidPath)?;
        let index = claims.scope_for(path, access).ok_or(Denial::Scope)?;
        let rate = claims.scopes.get(index).map_or(0, |scope| scope.rate_per_s);
        drop(claims);
        Ok(session.usage.request(index, rate, now.mono_ms)?)
    }

    /// Whom a session speaks for, as the role rules want to know it.
    pub(crate) fn asker<'a>(&'a self, session: &'a Session) -> Result<Asker<'a>, Refusal> {
        match session.who {
            Who::Role(role) => Ok(Asker::client(role, session.subject())),
            Who::Actor(index) => {
                let door = self.config.doors.get(usize::from(session.door));
                let identity = door.and_then(|door| door.identities.get(usize::from(index)));
                identity.map(Asker::Actor).ok_or(Refusal::Denied)
            }
        }
    }

    fn usage(&mut self, slot: usize) -> Result<&mut crate::usage::Usage, Refusal> {
        self.sessions
            .get_mut(slot)
            .map(|session| &mut session.usage)
            .ok_or(Refusal::Unauthenticated)
    }

    /// Takes bytes off a session's bandwidth.
    pub(crate) fn spend(&mut self, slot: usize, bytes: usize) -> Result<(), Fail> {
        Ok(self.usage(slot)?.spend(bytes)?)
    }

    /// Ends the sessions that nobody has a fid of any more. `closed` says whether a door's connection is over.
    pub(crate) fn sweep(&mut self, closed: impl Fn(u8) -> bool, now: Moment, mut ended: impl FnMut(usize)) {
        while let Some((slot, session)) = self.sessions.take_ended() {
            ended(slot);
            let untold = session.throttle.untold();
            if untold > 0 {
                self.note(
                    format_args!("audit suppressed={untold} session={}", session.id),
                    now,
                );
            }
            if session.is(Role::Queen) && self.is_outside(&session) {
                let how = match session.state() {
                    _ if session.lost || closed(session.door) => End::Lost,
                    State::Draining => End::Revoked,
                    State::Active => End::Quit,
                };
                let others = self.queens();
                self.root.ended(how, others);
            }
        }
    }

    // Refusals.

    /// Puts a session's refusal into the log, if it belongs there.
    pub(crate) fn tell(&mut self, slot: usize, verb: Verb, view: &str, fail: Fail, now: Moment) {
        let Some(session) = self.sessions.get_mut(slot).filter(|_| fail.is_loud(verb)) else {
            return;
        };
        if let Fail::Ticket(Denial::Expired { .. }) = fail {
            if session.expired {
                return;
            }
            session.expired = true;
        }
        let (told, suppressed) = session.throttle.admit(now.mono_ms);
        let id = session.id;
        if suppressed > 0 {
            self.note(format_args!("audit suppressed={suppressed} session={id}"), now);
        }
        let Some(session) = self.sessions.get(slot).filter(|_| told) else {
            return;
        };
        let (role, ticket) = (self.role_label(session), Shown(session.ticket_label()));
        let (path, verb) = (Shown(view), verb.label());
        let line = match fail {
            Fail::Ticket(denial) => AuditLine::of(format_args!(
                "ui-ticket outcome=deny reason={} role={role} ticket={ticket} path={path} verb={verb}{denial}",
                denial.reason()
            )),
            _ => {
                let refusal = Refusal::from_errno(fail.errno().raw());
                AuditLine::of(format_args!(
                    "access outcome=deny reason={} detail={} role={role} ticket={ticket} path={path} verb={verb}",
                    refusal.reason(),
                    refusal.detail().unwrap_or("none")
                ))
            }
        };
        self.note(format_args!("{}", line.as_str()), now);
    }

    /// Puts a line about a refused attach into the log, unless the door has too many of them.
    pub(crate) fn tell_attach(&mut self, door: u8, line: fmt::Arguments<'_>, now: Moment) {
        let Some(throttle) = self.throttles.get_mut(usize::from(door)) else {
            return;
        };
        let (told, suppressed) = throttle.admit(now.mono_ms);
        if suppressed > 0 {
            self.note(format_args!("audit suppressed={suppressed} door={door}"), now);
        }
        if told {
            self.note(line, now);
        }
    }

    /// Notes that a queen from outside was turned away.
    pub(crate) fn queen_denied(&mut self) {
        let queens = self.queens();
        self.root.denied(queens);
    }

    // Workers and their telemetry.

    fn worker_id(&self, worker: WorkerRef) -> Result<WorkerId, Refusal> {
        let id = self.workers.id(worker).map_err(|_| Refusal::InvalidPath)?;
        WorkerId::try_from(id).map_err(|_| Refusal::InvalidPath)
    }

    fn write_telemetry(
        &mut self,
        slot: usize,
        worker: WorkerRef,
        bytes: &[u8],
        now: Moment,
    ) -> Result<(), Fail> {
        let id = self.worker_id(worker)?;
        if let Err(TelemetryError::TooLong { quota }) = self.workers.can_append(worker, bytes.len()) {
            self.note(
                format_args!("telemetry quota reject bytes={} quota={quota}", bytes.len()),
                now,
            );
            return Err(Refusal::BufferFull.into());
        }
        let own = self
            .sessions
            .get(slot)
            .is_some_and(|session| session.is_worker() && session.subject() == id);
        self.keep(&Record::Wrote {
            at_ms: now.unix_ms,
            id: &id,
            bytes,
        })?;
        let writer = if own { Writer::Worker } else { Writer::Client };
        let wrap = self
            .workers
            .append(worker, bytes, writer, now.unix_ms)
            .map_err(|_| Refusal::InvalidPath)?;
        if let Some(wrap) = wrap {
            self.note(
                format_args!(
                    "telemetry ring wrap dropped_bytes={} new_base={}",
                    wrap.dropped, wrap.base
                ),
                now,
            );
        }
        Ok(())
    }

    /// Does what a line of `/worker/ctl` says.
    fn change_workers(&mut self, line: &[u8], now: Moment) -> Result<(), Fail> {
        let line = core::str::from_utf8(line).map_err(|_| Refusal::InvalidPayload)?;
        let at_ms = now.unix_ms;
        match DoorRequest::parse(line).map_err(|_| Refusal::InvalidPayload)? {
            DoorRequest::Create { id } => {
                self.workers.can_create(id).map_err(|error| match error {
                    TelemetryError::Full => Refusal::BufferFull,
                    _ => Refusal::InvalidPayload,
                })?;
                if self.workers.find(id).is_none() {
                    self.keep(&Record::Created { at_ms, id, base: 0 })?;
                    // It can be created: that was asked first.
                    let _ = self.workers.create(id, at_ms);
                }
            }
            DoorRequest::End { id } => {
                if self.workers.find(id).is_some() {
                    self.keep(&Record::Ended { at_ms, id })?;
                    self.workers.end(id, at_ms);
                }
                for session in self
                    .sessions
                    .iter_mut()
                    .filter(|s| s.is_worker() && s.subject() == id)
                {
                    session.revoked = true;
                }
            }
        }
        Ok(())
    }

    /// Writes to a file of the door's own.
    pub(crate) fn write(&mut self, slot: usize, place: Place, data: &[u8], now: Moment) -> Result<(), Fail> {
        if data.is_empty() {
            return Ok(());
        }
        if place != Place::SessionCtl {
            self.spend(slot, data.len())?;
        }
        match place {
            Place::QueenLog => Ok(self.write_log(data, now)?),
            Place::Telemetry(worker) => self.write_telemetry(slot, worker, data, now),
            Place::WorkerCtl => self.change_workers(data, now),
            Place::SessionCtl if data.trim_ascii() == b"lost" => {
                let session = self.sessions.get_mut(slot).ok_or(Refusal::Unauthenticated)?;
                session.lost = true;
                Ok(())
            }
            Place::SessionCtl => Err(Refusal::InvalidPayload.into()),
            _ => Err(Refusal::Denied.into()),
        }
    }
}

#[cfg(test)]
mod tests;
