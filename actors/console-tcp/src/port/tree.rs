//! NineDoor's files, as a 9P connection's server serves them: each request goes on to NineDoor, fid by fid.
//!
//! Answers for who may attach (the token first, in constant time and with the console's delay for a wrong one; role
//! and ticket are NineDoor's to judge), for every request ending in bounded time, and for passing NineDoor's refusals
//! on as they are. Never decides what a session may do, never tries a request twice.

use core::future::Future;

use console::Fault;
use ninep::{Attr, Client, ClientError, DirWriter, Errno, Fid, FileTree, OpenFlags, Qid, Statfs};
use protocol::refusal::Refusal;
use protocol::role::Role;
use runtime::link::Connection;

use super::SESSIONS;
use super::holds::Hold;
use super::line::Line;
use crate::auth;
use crate::count::Count;
use crate::lobby;

/// A file.
#[derive(Clone)]
pub(super) struct Node {
    session: Hold,
    /// `None`: the session's root.
    file: Option<Hold>,
}

/// An open file: a second fid of it at NineDoor.
pub(super) struct Open(Fid);

/// The token and the ticket in an `aname`. A token may have a colon in it, so its length decides.
fn split<'a>(aname: &'a str, token: &[u8]) -> (&'a str, &'a str) {
    match aname.split_at_checked(token.len()) {
        Some((guess, rest)) => match rest.strip_prefix(':') {
            Some(ticket) => (guess, ticket),
            None => (aname, ""),
        },
        None => (aname, ""),
    }
}

impl Line {
    /// A refusal of the console itself, as the client is told.
    fn refuse(&self, refusal: Refusal) -> Errno {
        let fault = Fault::from(refusal);
        fault.count(self.house.ctx.counters());
        Errno::from_raw(fault.refusal.to_errno())
    }

    fn errno(&self, error: ClientError) -> Errno {
        match error {
            ClientError::Remote(errno) => errno,
            other => self.refuse(Fault::from(other).refusal),
        }
    }

    /// The answer to a request to NineDoor, or `unavailable` when it does not come in time.
    async fn ask<R>(&self, request: impl Future<Output = Result<R, ClientError>>) -> Result<R, Errno> {
        match self
            .house
            .ctx
            .timeout(self.house.config.door_timeout, request)
            .await
        {
            Ok(answer) => answer.map_err(|error| self.errno(error)),
            Err(_) => Err(self.refuse(Refusal::OwnerDown)),
        }
    }

    /// The client of NineDoor's life that the connection's sessions are of.
    fn inner(&self) -> Result<Client<Connection>, Errno> {
        let client = self.client.borrow().clone();
        client.ok_or_else(|| self.refuse(Refusal::OwnerDown))
    }

    /// A request about a file.
    #[allow(clippy::await_holding_refcell_ref)] // see `Hold::fid`
    async fn using<R>(
        &self,
        node: &Node,
        request: impl AsyncFnOnce(&Client<Connection>, &Fid) -> Result<R, ClientError>,
    ) -> Result<R, Errno> {
        let client = self.inner()?;
        let hold = node.file.as_ref().unwrap_or(&node.session);
        let fid = hold.fid().ok_or_else(|| self.refuse(Refusal::OwnerDown))?;
        self.ask(request(&client, &fid)).await
    }

    /// NineDoor's client for an attach. A first one waits a while for a NineDoor that is not there yet; on a
    /// connection whose sessions went with NineDoor nothing can begin any more.
    async fn client_for_attach(&self) -> Result<Client<Connection>, Errno> {
        let present = self.client.borrow().clone();
        if let Some(client) = present {
            return Ok(client);
        }
        let (house, door) = (&self.house, &self.house.door);
        door.wait_open(self.bell, house.config.attach_patience).await;
        door.client().map_err(|fault| self.refuse(fault.refusal))
    }

    async fn enter(&self, uname: &str, aname: &str) -> Result<(Node, Qid), Errno> {
        let house = &self.house;
        let _judging = self.judge().ok_or_else(|| self.refuse(Refusal::Busy))?;
        if self.doomed.get() {
            return Err(Errno::EACCES);
        }
        let token = &house.config.token;
        let (guess, ticket) = split(aname, token);
        if let Err(error) = auth::compare(guess, token) {
            self.doomed.set(true);
            lobby::failed(house, error);
            let delay = house.delay.borrow_mut().failed(house.ctx.now());
            house.ctx.sleep(delay).await;
            return Err(Errno::EACCES);
        }
        let throttled = self.limiter.borrow().check(house.ctx.now()).is_err();
        if throttled {
            return Err(self.refuse(Refusal::Throttled));
        }
        if self.sessions.len() >= SESSIONS || !self.admit() {
            return Err(self.refuse(Refusal::TooManySessions));
        }
        let uname = if uname.is_empty() {
            Role::Queen.label()
        } else {
            uname
        };
        let client = self.client_for_attach().await?;
        let root = match self.ask(client.attach(uname, ticket)).await {
            Ok(root) => root,
            Err(errno) => return Err(self.turned_away(errno)),
        };
        let qid = root.qid();
        let session = self
            .sessions
            .put(root)
            .ok_or_else(|| self.refuse(Refusal::TooManySessions))?;
        if self.client.replace(Some(client)).is_none() {
            Count::Authenticated.add(&house.ctx);
        }
        self.limiter.borrow_mut().succeeded();
        Ok((Node { session, file: None }, qid))
    }

    /// What the client is told of NineDoor's refusal. Who guesses tickets is slowed down, as on the console.
    fn turned_away(&self, errno: Errno) -> Errno {
        let guessed = matches!(
            Refusal::from_errno(errno.raw()),
            Refusal::TicketRejected | Refusal::Denied
        );
        if guessed && self.limiter.borrow_mut().failed(self.house.ctx.now()).is_some() {
            return self.refuse(Refusal::RateLimited);
        }
        errno
    }

    /// Ends a fid at NineDoor, and waits for it if somebody wants to know.
    async fn leave(&self, fid: Fid) {
        let client = self.client.borrow().clone();
        if let Some(client) = client.filter(|_| self.is_connected()) {
            // If NineDoor is away, the fid went with it; a late answer still ends it.
            let _ = self
                .house
                .ctx
                .timeout(self.house.config.door_timeout, client.clunk(fid))
                .await;
        }
    }
}

impl FileTree for Line {
    type Node = Node;
    type Open = Open;

    async fn attach(&self, uname: &str, aname: &str) -> Result<(Node, Qid), Errno> {
        self.enter(uname, aname).await
    }

    async fn walk(
        &self,
        from: &Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Node>), Errno> {
        let walked = self
            .using(from, async |client, fid| client.walk_part(fid, names, qids).await)
            .await?;
        let (count, Some(fid)) = walked else {
            return Ok((walked.0, None));
        };
        let file = self.files.put(fid).ok_or(Errno::EMFILE)?;
        let session = from.session.clone();
        Ok((
            count,
            Some(Node {
                session,
                file: Some(file),
            }),
        ))
    }

    async fn open(&self, node: &Node, flags: OpenFlags) -> Result<(Open, Qid, u32), Errno> {
        // The fid itself can still be walked and opened through its other names.
        let fid = self
            .using(node, async |client, fid| client.walk_open(fid, &[], flags).await)
            .await?;
        let (qid, iounit) = (fid.qid(), fid.iounit());
        Ok((Open(fid), qid, iounit))
    }

    async fn read(&self, _: &Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        self.ask(self.inner()?.read(&open.0, offset, buf)).await
    }

    async fn write(&self, _: &Node, open: &mut Open, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        self.ask(self.inner()?.write(&open.0, offset, data)).await
    }

    async fn readdir(
        &self,
        _: &Node,
        open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        let listing = |entry: ninep::DirEntry<'_>| {
            // What does not fit is asked for again, from the last entry that did.
            out.push(entry.qid, entry.next, entry.name);
        };
        self.ask(self.inner()?.readdir(&open.0, offset, listing)).await?;
        Ok(())
    }

    async fn getattr(&self, node: &Node) -> Result<Attr, Errno> {
        self.using(node, async |client, fid| client.getattr(fid).await)
            .await
    }

    async fn statfs(&self, node: &Node) -> Result<Statfs, Errno> {
        self.using(node, async |client, fid| client.statfs(fid).await)
            .await
    }

    async fn clunk(&self, node: Node, open: Option<Open>) {
        let Node { session, file } = node;
        if let Some(Open(fid)) = open {
            self.leave(fid).await;
        }
        if let Some(fid) = file.and_then(Hold::give_back) {
            self.leave(fid).await;
        }
        if let Some(fid) = session.give_back() {
            self.leave(fid).await;
        }
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_ends_where_its_length_says() {
        for (aname, token, parts) in [
            ("sesame", "sesame", ("sesame", "")),
            ("sesame:cohesix-x.y", "sesame", ("sesame", "cohesix-x.y")),
            ("sesame:", "sesame", ("sesame", "")),
            ("a:b:c", "a:b", ("a:b", "c")),
            ("a:b", "a:b", ("a:b", "")),
            ("sesam:t", "sesame", ("sesam:t", "")),
            ("sesamex:t", "sesame", ("sesamex:t", "")),
            ("", "sesame", ("", "")),
            ("ééé", "12345", ("ééé", "")),
        ] {
            assert_eq!(split(aname, token.as_bytes()), parts, "{aname}");
        }
    }
}
