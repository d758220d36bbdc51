//! A worker: attaches under its own ticket, reports at each tick, ends.
//!
//! Answers for one slot: it runs one worker after another. A worker whose session breaks attaches again and goes on
//! where its telemetry file ends, so that a tick whose answer was lost is neither lost nor made twice.
//!
//! Never sees more of the namespace than its ticket lets it.

use alloc::rc::Rc;
use core::future::pending;
use core::pin::pin;
use core::time::Duration;

use futures::future::{Either, select};
use ninep::{Client, ClientError, Fid, OpenFlags};
use protocol::refusal::Refusal;
use protocol::telemetry::Heartbeat;
use protocol::worker::EndReason;
use runtime::link::Connection;

use crate::host::Host;
use crate::pulse::{Next, Pulse, Scan};
use crate::slots::Job;
use crate::{ATTACHES, RECORD_BYTES, RETRIES, Report, Session, TICKS, Trade};

/// The longest sleep until a worker's time is over: wall time may be set while it sleeps on another clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Runs the workers of one slot, for as long as the domain lives.
pub(crate) async fn slot<T: Trade>(host: Rc<Host<T>>, slot: usize) {
    loop {
        let job = host.until(|slots| slots.take(slot)).await;
        let outcome = {
            let stopped = pin!(host.until(|slots| slots.is_stopping(slot).then_some(())));
            let life = pin!(live(&host, slot, &job));
            match select(stopped, life).await {
                Either::Left(((), _)) => None,
                Either::Right((reason, _)) => Some(reason),
            }
        };
        host.change(|slots| slots.finished(slot, outcome));
    }
}

/// A worker's life, from its start in this domain to its end.
async fn live<T: Trade>(host: &Host<T>, slot: usize, job: &Job) -> EndReason {
    match select(pin!(time_over(host, job)), pin!(work(host, slot, job))).await {
        Either::Left((reason, _)) | Either::Right((reason, _)) => reason,
    }
}

/// Waits for the end of the worker's time, also while there is no session in which it could notice.
async fn time_over<T>(host: &Host<T>, job: &Job) -> EndReason {
    let Some(expires) = job.limits.expires_unix_ms else {
        return pending().await;
    };
    loop {
        let left = expires.saturating_sub(host.ctx.unix_ms());
        if left == 0 {
            return EndReason::Expired;
        }
        host.ctx
            .sleep(Duration::from_millis(left).min(LONGEST_SLEEP))
            .await;
    }
}

/// One session after another, until the budget is used up or NineDoor refuses the worker for good.
async fn work<T: Trade>(host: &Host<T>, slot: usize, job: &Job) -> EndReason {
    let mut pulse = Pulse::new(job.limits, host.ctx.now());
    let mut pause = host.config.retry_pause;
    loop {
        let before = pulse;
        let client = host.door().await;
        let error = match session(host, &client, slot, job, &mut pulse).await {
            Ok(reason) => return reason,
            Err(error) => error,
        };
        if let Some(reason) = fatal(error) {
            return reason;
        }
        host.ctx.counters().add_custom(RETRIES, 1);
        if pulse != before {
            // The session got somewhere: the pauses begin anew.
            pause = host.config.retry_pause;
        }
        host.ctx.sleep(pause).await;
        pause = (2 * pause).min(host.config.longest_retry_pause);
    }
}

/// What no retry will change.
fn fatal(error: ClientError) -> Option<EndReason> {
    let ClientError::Remote(errno) = error else {
        return None;
    };
    match Refusal::from_errno(errno.raw()) {
        Refusal::TicketExpired => Some(EndReason::Expired),
        Refusal::TicketRejected
        | Refusal::InvalidClaims
        | Refusal::UndecodableClaims
        | Refusal::InvalidRole => Some(EndReason::Refused),
        _ => None,
    }
}

/// Attaches, finds out where the worker was, and reports until it is done or the session breaks.
async fn session<T: Trade>(
    host: &Host<T>,
    client: &Client<Connection>,
    slot: usize,
    job: &Job,
    pulse: &mut Pulse,
) -> Result<EndReason, ClientError> {
    let path = ["worker", job.id.as_str(), "telemetry"];
    let root = client.attach(T::ROLE.label(), &job.ticket).await?;
    let reader = client.walk_open(&root, &path, OpenFlags::RDONLY).await?;
    let last = last_tick::<T>(client, &reader).await?;
    client.clunk(reader).await?;
    let writer = client
        .walk_open(&root, &path, OpenFlags::WRONLY | OpenFlags::APPEND)
        .await?;
    pulse.resume(last, host.ctx.now(), host.ctx.unix_ms());
    host.ctx.counters().add_custom(ATTACHES, 1);
    host.change(|slots| slots.attached(slot));
    let session = Session {
        ctx: &host.ctx,
        client,
        root: &root,
        job,
    };
    loop {
        match pulse.next(host.ctx.now(), host.ctx.unix_ms()) {
            Next::End(reason) => return Ok(reason),
            Next::Wait(until) => host.ctx.sleep_until(until).await,
            Next::Tick(tick) => {
                let mut line = [0; RECORD_BYTES];
                let (room, _) = line.split_at_mut(RECORD_BYTES - 1);
                match host.trade.report(&session, tick, room).await? {
                    Report::Record(len) => {
                        append(client, &writer, &mut line, len).await?;
                        pulse.written(tick, host.ctx.now());
                        host.ctx.counters().add_custom(TICKS, 1);
                    }
                    Report::Nothing => pulse.passed(host.ctx.now()),
                    Report::End(reason) => return Ok(reason),
                }
            }
        }
    }
}

/// The tick of the last record in the telemetry file.
async fn last_tick<T: Trade>(
    client: &Client<Connection>,
    reader: &Fid,
) -> Result<Option<Heartbeat>, ClientError> {
    let (mut scan, mut offset, mut buffer) = (Scan::new(T::tick_of), 0, [0; 512]);
    loop {
        let count = client.read(reader, offset, &mut buffer).await?;
        if count == 0 {
            return Ok(scan.last());
        }
        scan.feed(buffer.get(..count).unwrap_or_default());
        offset += count as u64;
    }
}

/// Appends one record of so many bytes, whole and with a newline.
async fn append(
    client: &Client<Connection>,
    writer: &Fid,
    line: &mut [u8],
    len: usize,
) -> Result<(), ClientError> {
    let Some(end) = line.get_mut(len) else {
        return Err(ClientError::TooLong);
    };
    *end = b'\n';
    let line = line.get(..=len).unwrap_or_default();
    let taken = client.write(writer, 0, line).await?;
    // A server that takes part of a record does not keep records whole; the session begins again and looks.
    if taken == line.len() {
        Ok(())
    } else {
        Err(ClientError::TooLong)
    }
}
