//! The queen as a client of a worker domain: start, stop, hear of ends.
//!
//! Answers for telling the domain, after every reconnect and after every change, which workers are to run, and
//! for giving up a worker that ended by itself.
//!
//! Never answers anybody: operations wait for what this task notes in the ledger.

use alloc::rc::Rc;
use core::convert::Infallible;
use core::pin::pin;

use futures::future::{Either, select};
use ninep::{Client, ClientError, Fid, OpenFlags, Transport};
use protocol::limits::WORKER_RECORD_BYTES;
use protocol::role::QUEEN_ACTOR;
use protocol::worker::WorkerEvent;
use runtime::link::Link;

use crate::door::client_config;
use crate::peer::{SessionError, disown, take};
use crate::queen::Queen;
use crate::workers::{Peer, number_of};

/// Bytes of the list of running workers: more than the domain can host (64 of them).
const LIST_BYTES: usize = 64 * (protocol::limits::WORKER_ID_BYTES + 1);

/// Keeps a session with one worker domain, for as long as this domain lives.
pub(crate) async fn run(queen: Rc<Queen>, link: Link, host: Peer) {
    loop {
        let connection = link.connect().await;
        let client = Client::new(connection, client_config(&link));
        let outcome = {
            let session = pin!(session(&queen, &client, host));
            match select(pin!(client.run()), session).await {
                Either::Left((error, _)) => error.into(),
                Either::Right((Err(error), _)) => error,
            }
        };
        client.close();
        queen.change(|ledger| ledger.state.workers.peer_down(host));
        if outcome != SessionError::Client(ClientError::Closed) {
            queen.ctx.sleep(queen.config.retry_pause).await;
        }
    }
}

async fn session<C: Transport>(
    queen: &Queen,
    client: &Client<C>,
    host: Peer,
) -> Result<Infallible, SessionError> {
    client.version().await?;
    let root = client.attach(QUEEN_ACTOR, "").await?;
    let ctl = client
        .walk_open(&root, &["ctl"], OpenFlags::RDWR | OpenFlags::APPEND)
        .await?;
    let events = client.walk_open(&root, &["events"], OpenFlags::RDONLY).await?;
    // First: a worker that is given up while the domain tells what it has would otherwise be forgotten here.
    queen.change(|ledger| ledger.state.workers.peer_up(host));
    stop_strangers(queen, client, &ctl, host).await?;
    let steps = pin!(steps(queen, client, &ctl, host));
    let ends = pin!(ends(queen, client, &events, host));
    match select(steps, ends).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}

async fn steps<C: Transport>(
    queen: &Queen,
    client: &Client<C>,
    ctl: &Fid,
    host: Peer,
) -> Result<Infallible, SessionError> {
    loop {
        let step = queen.until(|ledger| ledger.state.workers.step(host)).await;
        take(queen, client, ctl, host, step).await?;
    }
}

/// Hears of workers that ended by themselves; each read waits for the next.
async fn ends<C: Transport>(
    queen: &Queen,
    client: &Client<C>,
    events: &Fid,
    host: Peer,
) -> Result<Infallible, SessionError> {
    let mut buffer = [0; WORKER_RECORD_BYTES];
    loop {
        let count = client.read(events, 0, &mut buffer).await?;
        let bytes = buffer.get(..count).unwrap_or_default();
        let text = core::str::from_utf8(bytes).map_err(|_| SessionError::Language)?;
        let WorkerEvent::Ended { id, reason } =
            WorkerEvent::parse(text).map_err(|_| SessionError::Language)?;
        if let Some(number) = number_of(id) {
            queen.ended(host, number, reason)?;
        }
    }
}

/// Stops the workers that run and that this queen does not want: somebody ended them while she could not say so.
async fn stop_strangers<C: Transport>(
    queen: &Queen,
    client: &Client<C>,
    ctl: &Fid,
    host: Peer,
) -> Result<(), SessionError> {
    let mut buffer = [0; LIST_BYTES];
    let count = client.read_all(ctl, &mut buffer).await?;
    let list =
        core::str::from_utf8(buffer.get(..count).unwrap_or_default()).map_err(|_| SessionError::Language)?;
    for id in list.lines() {
        let wanted = number_of(id)
            .is_some_and(|number| queen.look(|ledger| ledger.state.workers.is_wanted_at(host, number)));
        if !wanted {
            disown(client, ctl, host, id).await?;
        }
    }
    Ok(())
}
