//! Carrying one connection: host socket on one side, guest connection on the other.
//!
//! Answers for: every byte once and in order, read straight from the socket into the stack's send buffer and
//! written straight from its receive buffer; the end of either direction, and a reset from either side,
//! reaching the other.
//! Never: reads from a side whose bytes the other has no room for: that is the back-pressure.

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use mio::net::TcpStream as HostStream;
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
pub(super) async fn carry(host: IoSource<HostStream>, guest: TcpStream) -> (IoSource<HostStream>, End) {
    // Not worth failing for: without it the client's answers are only slower.
    let _ = host.get().set_nodelay(true);
    let end = both_ways(&host, &guest).await;
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

async fn both_ways(host: &IoSource<HostStream>, guest: &TcpStream) -> End {
    let mut up = pin!(to_guest(host, guest));
    let mut down = pin!(to_host(host, guest));
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

async fn to_guest(host: &IoSource<HostStream>, guest: &TcpStream) -> Result<(), End> {
    loop {
        guest.writable().await;
        let moved = host.read_with(|mut socket| {
            let read = guest.try_write_with(|space| match socket.read(space) {
                Ok(len) => (len, Ok(len)),
                Err(error) => (0, Err(error)),
            });
            outcome(read)
        });
        match moved.await {
            Ok(Moved::Bytes) => acknowledge(host),
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

async fn to_host(host: &IoSource<HostStream>, guest: &TcpStream) -> Result<(), End> {
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
            Either::Left(Ok(Moved::Bytes | Moved::Nothing)) => {}
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

/// Has the kernel acknowledge what was read, now. Linux would wait up to 40 ms for an answer to ride on, and a
/// client with Nagle's algorithm on (WIRE 1.11: `gpu-bridge-host`) holds the rest of its request back until
/// then. The kernel forgets the wish with every answer, so it is renewed with every read.
fn acknowledge(host: &IoSource<HostStream>) {
    let _ = SockRef::from(host.get()).set_tcp_quickack(true);
}
