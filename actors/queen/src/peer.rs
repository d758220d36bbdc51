//! Telling a peer what it should have.
//!
//! Answers for one step at a time over an open control file, in the order the table of workers gives, and for what a
//! refusal means.
//!
//! Never opens a connection, never waits for anything but an answer.

use core::fmt;

use ninep::{Client, ClientError, Errno, Fid, Transport};
use protocol::limits::WORKER_RECORD_BYTES;
use protocol::refusal::Refusal;
use protocol::role::Role;
use protocol::ticket::{Claims, MintError, Version, mint};
use protocol::worker::{DoorRequest, EndReason, RecordError, Start, WorkerRequest};

use crate::ledger::CommitError;
use crate::queen::Queen;
use crate::record::{Kind, Spec};
use crate::workers::{Peer, Step, id_of};

/// Why a session with a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// The peer broke off or refused something that it must not.
    Client(ClientError),
    /// The journal would not take what the peer told.
    Journal(CommitError),
    /// The peer said what is not in its language.
    Language,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Client(error) => error.fmt(f),
            SessionError::Journal(error) => error.fmt(f),
            SessionError::Language => f.write_str("the peer said what is no record of the queen's links"),
        }
    }
}

impl From<ClientError> for SessionError {
    fn from(error: ClientError) -> SessionError {
        SessionError::Client(error)
    }
}

impl From<CommitError> for SessionError {
    fn from(error: CommitError) -> SessionError {
        SessionError::Journal(error)
    }
}

/// Takes one step: writes the line, notes the answer.
pub(crate) async fn take<C: Transport>(
    queen: &Queen,
    client: &Client<C>,
    ctl: &Fid,
    peer: Peer,
    step: Step,
) -> Result<(), SessionError> {
    let mut buffer = [0; WORKER_RECORD_BYTES];
    let Some(line) = render(queen, peer, step, &mut buffer).map_err(|Unspeakable| SessionError::Language)?
    else {
        // It was given up in the meantime.
        return Ok(());
    };
    match append(client, ctl, line).await? {
        Ok(()) => queen.change(|ledger| ledger.state.workers.done(peer, step)),
        Err(errno) => refused(queen, peer, step, Refusal::from_errno(errno.raw())).await?,
    }
    Ok(())
}

/// Tells NineDoor or a worker domain to let go of a worker that this queen does not know.
pub(crate) async fn disown<C: Transport>(
    client: &Client<C>,
    ctl: &Fid,
    peer: Peer,
    id: &str,
) -> Result<(), SessionError> {
    let mut buffer = [0; WORKER_RECORD_BYTES];
    let line = unmake(peer, id, &mut buffer).map_err(|_| SessionError::Language)?;
    // Whatever it answers: it is asked again at the next reconnect.
    append(client, ctl, line).await.map(drop)
}

/// Writes one record. The inner error is the server's refusal.
pub(crate) async fn append<C: Transport>(
    client: &Client<C>,
    fid: &Fid,
    record: &str,
) -> Result<Result<(), Errno>, SessionError> {
    match client.write(fid, 0, record.as_bytes()).await {
        Ok(taken) if taken == record.len() => Ok(Ok(())),
        Ok(_) => Err(SessionError::Language),
        Err(ClientError::Remote(errno)) => Ok(Err(errno)),
        Err(error) => Err(error.into()),
    }
}

/// The peer refused a step.
async fn refused(queen: &Queen, peer: Peer, step: Step, refusal: Refusal) -> Result<(), SessionError> {
    match step {
        Step::Unmake(_) if refusal == Refusal::InvalidPath => {
            queen.change(|ledger| ledger.state.workers.done(peer, step));
            return Ok(());
        }
        Step::Unmake(_) => {}
        Step::Make(number) => {
            let being_made = queen.change(|ledger| ledger.state.workers.refused(number, refusal));
            let end = match refusal {
                Refusal::TicketExpired => Some(EndReason::Expired),
                Refusal::TicketRejected | Refusal::InvalidClaims | Refusal::UndecodableClaims => {
                    Some(EndReason::Refused)
                }
                _ => None,
            };
            match end {
                _ if being_made => return Ok(()),
                Some(reason) if queen.look(|ledger| ledger.state.workers.is_wanted(number)) => {
                    return Ok(queen.revoke(number, reason.label())?);
                }
                _ => {}
            }
        }
    }
    // It may have no room yet, or its own peer may be away.
    queen.ctx.sleep(queen.config.retry_pause).await;
    Ok(())
}

/// There is no line that says it.
struct Unspeakable;

impl From<RecordError> for Unspeakable {
    fn from(_: RecordError) -> Unspeakable {
        Unspeakable
    }
}

impl From<MintError> for Unspeakable {
    fn from(_: MintError) -> Unspeakable {
        Unspeakable
    }
}

/// The line that asks for a step; `None` if there is nothing to ask for any more.
fn render<'b>(
    queen: &Queen,
    peer: Peer,
    step: Step,
    buffer: &'b mut [u8],
) -> Result<Option<&'b str>, Unspeakable> {
    match step {
        Step::Unmake(number) => Ok(Some(unmake(peer, &id_of(number), buffer)?)),
        Step::Make(number) => match (peer, queen.look(|ledger| ledger.state.workers.spec(number))) {
            (_, None) => Ok(None),
            (Peer::Door, Some(_)) => Ok(Some(DoorRequest::Create { id: &id_of(number) }.render(buffer)?)),
            (Peer::Heart | Peer::Gpu, Some(spec)) => Ok(Some(start(queen, &spec, buffer)?)),
        },
    }
}

fn unmake<'b>(peer: Peer, id: &str, buffer: &'b mut [u8]) -> Result<&'b str, RecordError> {
    match peer {
        Peer::Door => DoorRequest::End { id }.render(buffer),
        Peer::Heart | Peer::Gpu => WorkerRequest::Stop { id }.render(buffer),
    }
}

/// The line that starts a worker, with a ticket of its own. The same worker always gets the same ticket.
fn start<'b>(queen: &Queen, spec: &Spec, buffer: &'b mut [u8]) -> Result<&'b str, Unspeakable> {
    let id = id_of(spec.number);
    let (role, key, ticks, gpu_id) = match &spec.kind {
        Kind::Heartbeat { ticks } => (
            Role::WorkerHeartbeat,
            &queen.config.heartbeat_key,
            Some(*ticks),
            None,
        ),
        Kind::Gpu(grant) => (
            Role::WorkerGpu,
            &queen.config.gpu_key,
            None,
            Some(grant.gpu.as_str()),
        ),
    };
    let claims = Claims {
        ticks,
        ops: spec.ops,
        ttl_s: Some(spec.ttl_s),
        subject: Some(&id),
        issued_at_ms: spec.issued_ms,
        ..Claims::new(role)
    };
    let ticket = mint(&claims, Version::V1, key)?;
    let request = WorkerRequest::Start(Start {
        id: &id,
        ticket: &ticket,
        ticks,
        ops: spec.ops,
        period_ms: queen.config.tick.as_millis().clamp(1, u32::MAX.into()) as u32,
        expires_unix_ms: Some(spec.expires_ms()),
        gpu_id,
    });
    Ok(request.render(buffer)?)
}
