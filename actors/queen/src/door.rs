//! The queen as a client of NineDoor: workers' files and the log.
//!
//! Answers for telling NineDoor, after every reconnect and after every change, which workers there are, and for
//! delivering audit lines in order. What was not delivered before a connection broke is delivered on the next.
//!
//! Never answers anybody: operations wait for what this task notes in the ledger.

use alloc::rc::Rc;
use core::convert::Infallible;
use core::pin::pin;

use futures::future::{Either, select};
use heapless::Vec;
use ninep::{Client, ClientConfig, Fid, OpenFlags, Transport};
use protocol::refusal::{Reason, Refusal};
use protocol::role::QUEEN_ACTOR;
use runtime::link::Link;

use crate::ledger::line;
use crate::peer::{SessionError, append, disown, take};
use crate::queen::Queen;
use crate::record::Change;
use crate::workers::{Peer, Step, WorkerId, number_of};

/// Unknown workers that one pass over a listing takes note of; there are more passes.
const STRANGERS: usize = 16;

/// Bytes of `/proc/boot` that are looked at; it is a dozen short lines.
const BOOT_BYTES: usize = 1024;
/// How the line of `/proc/boot` begins that tells of NineDoor's corrupt journal.
const CORRUPT_DOOR: &str = "journal.ninedoor=corrupt";

/// What to do next.
enum Task {
    Worker(Step),
    Tell,
}

/// Keeps a session with NineDoor, for as long as the domain lives.
pub(crate) async fn run(queen: Rc<Queen>, link: Link) {
    loop {
        let connection = link.connect().await;
        let client = Client::new(connection, client_config(&link));
        let outcome = {
            let session = pin!(session(&queen, &client));
            match select(pin!(client.run()), session).await {
                Either::Left((error, _)) => error.into(),
                Either::Right((Err(error), _)) => error,
            }
        };
        client.close();
        queen.change(|ledger| ledger.state.workers.peer_down(Peer::Door));
        if outcome != SessionError::Client(ninep::ClientError::Closed) {
            queen.ctx.sleep(queen.config.retry_pause).await;
        }
    }
}

/// Bounds of the queen's clients: a handful of files, one request at a time and one that blocks.
pub(crate) fn client_config(link: &Link) -> ClientConfig {
    ClientConfig {
        msize: link.frame_bytes() as u32,
        fids: 8,
        tags: 4,
        waiters: 4,
    }
}

async fn session<C: Transport>(queen: &Queen, client: &Client<C>) -> Result<Infallible, SessionError> {
    let append_only = OpenFlags::WRONLY | OpenFlags::APPEND;
    client.version().await?;
    let root = client.attach(QUEEN_ACTOR, "").await?;
    let ctl = client.walk_open(&root, &["worker", "ctl"], append_only).await?;
    let log = client
        .walk_open(&root, &["log", "queen.log"], append_only)
        .await?;
    // First: a worker that is given up while NineDoor tells what it has would otherwise be forgotten here.
    queen.change(|ledger| ledger.state.workers.peer_up(Peer::Door));
    disown_strangers(queen, client, &root, &ctl).await?;
    ask_for_corruption(queen, client, &root).await?;
    loop {
        match queen.until(|ledger| next(&ledger.state)).await {
            Task::Worker(step) => take(queen, client, &ctl, Peer::Door, step).await?,
            Task::Tell => tell(queen, client, &log).await?,
        }
    }
}

fn next(state: &crate::state::State) -> Option<Task> {
    let step = state.workers.step(Peer::Door).map(Task::Worker);
    step.or_else(|| state.audit.oldest().map(|_| Task::Tell))
}

/// Ends the workers that NineDoor has and this queen does not want: they were given up while it was away, or are from
/// a life that she has forgotten.
async fn disown_strangers<C: Transport>(
    queen: &Queen,
    client: &Client<C>,
    root: &Fid,
    ctl: &Fid,
) -> Result<(), SessionError> {
    loop {
        let directory = client.walk_open(root, &["worker"], OpenFlags::RDONLY).await?;
        let mut strangers: Vec<WorkerId, STRANGERS> = Vec::new();
        let mut offset = 0;
        loop {
            let mut last = offset;
            let visit = |entry: ninep::DirEntry<'_>| {
                last = entry.next;
                let Some(number) = number_of(entry.name.as_str()) else {
                    return;
                };
                let wanted = queen.look(|ledger| ledger.state.workers.is_wanted(number));
                if let (false, Ok(id)) = (wanted, WorkerId::try_from(entry.name.as_str())) {
                    // What finds no place is found again by the next pass.
                    let _ = strangers.push(id);
                }
            };
            if client.readdir(&directory, offset, visit).await? == 0 {
                break;
            }
            offset = last;
        }
        client.clunk(directory).await?;
        for id in &strangers {
            disown(client, ctl, Peer::Door, id).await?;
            if let Some(number) =
                number_of(id).filter(|number| *number >= queen.look(|ledger| ledger.state.next))
            {
                // She has forgotten that number as well; it is not given a second time.
                queen.commit(
                    Some(Change::Next {
                        number: number.saturating_add(1),
                    }),
                    None,
                )?;
            }
        }
        if !strangers.is_full() {
            return Ok(());
        }
    }
}

/// Moves the node to DEGRADED when NineDoor has found its journal corrupt, once.
async fn ask_for_corruption<C: Transport>(
    queen: &Queen,
    client: &Client<C>,
    root: &Fid,
) -> Result<(), SessionError> {
    let boot = client
        .walk_open(root, &["proc", "boot"], OpenFlags::RDONLY)
        .await?;
    let mut text = [0; BOOT_BYTES];
    let count = client.read_all(&boot, &mut text).await?;
    client.clunk(boot).await?;
    let text = text.get(..count).unwrap_or_default();
    let corrupt = text
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(CORRUPT_DOOR.as_bytes()));
    if corrupt != queen.look(|ledger| ledger.state.door_corrupt) {
        let now = queen.ctx.unix_ms();
        queen.change(|ledger| {
            if corrupt {
                ledger.degrade("journal-corrupt", now)?;
            }
            ledger.commit(Some(Change::DoorCorrupt(corrupt)), None)
        })?;
    }
    Ok(())
}

/// Delivers the oldest audit line.
async fn tell<C: Transport>(queen: &Queen, client: &Client<C>, log: &Fid) -> Result<(), SessionError> {
    let oldest = queen.look(|ledger| {
        let audit = &ledger.state.audit;
        audit.oldest().map(|(number, line)| (number, line.clone()))
    });
    let Some((number, text)) = oldest else {
        return Ok(());
    };
    if let Err(errno) = append(client, log, &text).await? {
        let refusal = Refusal::from_errno(errno.raw());
        if refusal.reason() != Reason::Policy {
            queen.ctx.sleep(queen.config.retry_pause).await;
            return Ok(());
        }
        // A line that is refused for what it is would keep all others waiting.
        queen.change(|ledger| ledger.state.audit.lose());
    }
    queen.commit(
        Some(Change::Delivered {
            next: number.saturating_add(1),
        }),
        None,
    )?;
    if let Some(lost) = queen.change(|ledger| ledger.state.audit.take_lost()) {
        queen.commit(None, Some(&line(format_args!("audit lost lines={lost}"))))?;
    }
    Ok(())
}
