//! Carrying one connection: host socket on one side, guest connection on the other.
//!
//! Answers for: every byte once and in order, read straight from the socket into the stack's send buffer and
//! written straight from its receive buffer; the end of either direction, and a reset from either side,
//! reaching the other.
//! Never: reads from a side whose bytes the other has no room for: that is the back-pressure.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use mio::net::TcpStream as HostStream;
use runtime::Context;
use runtime::context::Elapsed;
use runtime::hosted::IoSource;
use socket2::SockRef;

use crate::error::TcpError;
use crate::race::{Either, race};
use crate::stream::TcpStream;

/// How a connection ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides closed it.
    Closed,
    /// The guest did not take it.
    Refused,
    /// The guest ended it with a reset, or was lost.
    Guest,
    /// The client ended it with a reset.
    Client,
}

impl End {
    /// Whether the client is to see a reset.
    pub(super) fn resets_client(self) -> bool {
        matches!(self, Self::Refused | Self::Guest)
    }
}

/// Carries a connection to its end.
pub(super) async fn carry(
    context: &Context,
    host: IoSource<HostStream>,
    guest: TcpStream,
) -> (IoSource<HostStream>, End) {
    // Not worth failing for: without it the client's answers are only slower.
    let _ = host.get().set_nodelay(true);
    let end = both_ways(context, &host, &guest).await;
    match end {
        End::Closed => guest.finish(),
        _ => guest.abort(),
    }
    (host, end)
}

/// Makes the client see a reset when its socket is dropped.
pub(super) fn reset(host: &IoSource<HostStream>) {
    // If the system refuses, the client sees an orderly close: the connection is over all the same.
    let _ = SockRef::from(host.get()).set_linger(Some(Duration::ZERO));
}

async fn both_ways(context: &Context, host: &IoSource<HostStream>, guest: &TcpStream) -> End {
    let debt = AckDebt::default();
    let mut up = pin!(to_guest(context, host, guest, &debt));
    let mut down = pin!(to_host(host, guest, &debt));
    let mut lost = pin!(guest.failed());
    let (mut up_done, mut down_done) = (false, false);
    poll_fn(|cx| {
        if !up_done && let Poll::Ready(result) = up.as_mut().poll(cx) {
            match result {
                Ok(()) => up_done = true,
                Err(end) => return Poll::Ready(end),
            }
        }
        if !down_done && let Poll::Ready(result) = down.as_mut().poll(cx) {
            match result {
                Ok(()) => down_done = true,
                Err(end) => return Poll::Ready(end),
            }
        }
        match (up_done, down_done) {
            (true, true) => Poll::Ready(End::Closed),
            // Nobody reads from the guest any more, so somebody has to watch for its reset.
            (false, true) => lost.as_mut().poll(cx).map(|_| End::Guest),
            _ => Poll::Pending,
        }
    })
    .await
}

/// What one look at both sides came to.
enum Moved {
    Bytes,
    End,
    /// The guest's side has nothing to give, or no room, after all.
    Nothing,
    GuestFailed,
}

async fn to_guest(
    context: &Context,
    host: &IoSource<HostStream>,
    guest: &TcpStream,
    debt: &AckDebt,
) -> Result<(), End> {
    loop {
        guest.writable().await;
        let moved = host.read_with(|mut socket| {
            let read = guest.try_write_with(|space| match socket.read(space) {
                Ok(len) => (len, Ok(len)),
                Err(error) => (0, Err(error)),
            });
            outcome(read)
        });
        let moved = match debt.patience() {
            None => moved.await,
            Some(patience) => match context.timeout(patience, moved).await {
                Ok(moved) => moved,
                Err(Elapsed) => {
                    debt.pay_late(host);
                    continue;
                }
            },
        };
        match moved {
            Ok(Moved::Bytes) => debt.incur(host),
            Ok(Moved::Nothing) => {}
            Ok(Moved::End) => {
                guest.shutdown();
                return Ok(());
            }
            Ok(Moved::GuestFailed) => return Err(End::Guest),
            Err(_) => return Err(End::Client),
        }
    }
}

async fn to_host(host: &IoSource<HostStream>, guest: &TcpStream, debt: &AckDebt) -> Result<(), End> {
    loop {
        guest.readable().await;
        let moved = host.write_with(|mut socket| {
            let written = guest.try_read_with(|bytes| match bytes {
                [] => (0, Ok(0)),
                bytes => match socket.write(bytes) {
                    Ok(len) => (len, Ok(len)),
                    Err(error) => (0, Err(error)),
                },
            });
            outcome(written)
        });
        // A client that does not read must not hide a guest that has given up on it.
        match race(moved, guest.failed()).await {
            Either::Left(Ok(Moved::Bytes)) => debt.forgive(),
            Either::Left(Ok(Moved::Nothing)) => {}
            Either::Left(Ok(Moved::End)) => {
                // It fails if the client has gone, which reading from it will show.
                let _ = host.get().shutdown(Shutdown::Write);
                return Ok(());
            }
            Either::Left(Ok(Moved::GuestFailed)) | Either::Right(_) => return Err(End::Guest),
            Either::Left(Err(_)) => return Err(End::Client),
        }
    }
}

fn outcome(moved: Result<Option<io::Result<usize>>, TcpError>) -> io::Result<Moved> {
    Ok(match moved {
        Ok(Some(Ok(0))) => Moved::End,
        Ok(Some(Ok(_))) => Moved::Bytes,
        Ok(Some(Err(error))) if error.kind() == io::ErrorKind::Interrupted => Moved::Nothing,
        Ok(Some(Err(error))) => return Err(error),
        Ok(None) => Moved::Nothing,
        Err(_) => Moved::GuestFailed,
    })
}

/// An acknowledgement that the kernel owes the client.
///
/// Linux keeps it back for up to 40 ms, for an answer to ride on. A client with Nagle's algorithm on that writes a
/// request in pieces (WIRE 1.11: `gpu-bridge-host`) holds the second piece back until then. `TCP_QUICKACK` sends
/// what is owed, and Linux forgets it with every answer. Asking for it with every read would cost a packet for
/// every request of the clients that write theirs in one piece, so the first time an answer is awaited for a
/// moment; a client that turns out to need the acknowledgement has it at once from then on.
#[derive(Default)]
struct AckDebt {
    /// Something was read that no answer has acknowledged.
    owed: Cell<bool>,
    /// Pay at once.
    at_once: Cell<bool>,
}

/// How long an answer may take before the acknowledgement goes alone.
const ACK_PATIENCE: Duration = Duration::from_millis(1);

impl AckDebt {
    /// Something was read.
    fn incur(&self, host: &IoSource<HostStream>) {
        self.owed.set(true);
        if self.at_once.get() {
            self.pay(host);
        }
    }

    /// An answer was written; it carries the acknowledgement.
    fn forgive(&self) {
        self.owed.set(false);
    }

    /// How long to wait before [`AckDebt::pay_late`].
    fn patience(&self) -> Option<Duration> {
        self.owed.get().then_some(ACK_PATIENCE)
    }

    /// No answer came in time.
    fn pay_late(&self, host: &IoSource<HostStream>) {
        if self.owed.get() {
            self.at_once.set(true);
            self.pay(host);
        }
    }

    fn pay(&self, host: &IoSource<HostStream>) {
        self.owed.set(false);
        // A connection that cannot be told is over, which the next read shows.
        let _ = SockRef::from(host.get()).set_tcp_quickack(true);
    }
}
