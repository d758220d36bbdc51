//! A stand-in for NineDoor: files that a test can prepare and look into, and that outlive the domain.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use ninep::{Attr, DirWriter, Errno, FileTree, Name, OpenFlags, Qid, Server, ServerConfig};
use runtime::Context;
use runtime::fault::Fault;

/// What the tests see of the files.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    /// Content by path; a directory is where something lies below it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// `uname` of every session that began.
    pub attached: Vec<String>,
    /// `uname` of every session that is there.
    pub present: Vec<String>,
    /// `uname` of every session that was reported lost.
    pub lost: Vec<String>,
    /// What was written where.
    pub written: Vec<(String, String)>,
    /// Reads served.
    pub reads: usize,
    /// Requests for a path with this beginning are never answered.
    pub hangs: Option<String>,
    /// What every attach of a role is refused with.
    pub refuses: Option<Errno>,
    restarts: BTreeMap<String, u64>,
}

impl World {
    pub fn new() -> World {
        let world = World(Arc::default());
        for (path, content) in [
            ("/log/queen.log", ""),
            ("/proc/boot", "Cohesix boot: a stand-in\nmanifest.schema=1\n"),
            ("/proc/lifecycle/state", "state=ONLINE\n"),
            ("/proc/9p/session/ctl", ""),
            ("/queen/ctl", ""),
            ("/worker/worker-1/telemetry", "{\"tick\":1}\n{\"tick\":2}\n"),
        ] {
            world.set(path, content.as_bytes());
        }
        world
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed has poisoned it; others only look.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn set(&self, path: &str, content: &[u8]) {
        self.state().files.insert(path.to_owned(), content.to_vec());
    }

    pub fn content(&self, path: &str) -> String {
        String::from_utf8(self.state().files[path].clone()).unwrap()
    }

    pub fn expect_restart(&self, domain: &str) {
        *self.state().restarts.entry(domain.to_owned()).or_default() += 1;
    }

    pub fn expected_restarts(&self, domain: &str) -> u64 {
        self.state().restarts.get(domain).copied().unwrap_or_default()
    }

    /// Sessions of clients that are there.
    pub fn clients(&self) -> usize {
        self.state()
            .present
            .iter()
            .filter(|uname| *uname != "console-actor")
            .count()
    }
}

/// Serves the world.
pub fn spawn(ctx: &Context, world: &World) {
    let link = ctx.link("console-ninedoor").unwrap();
    world.state().present.clear();
    let tree = Tree {
        world: world.clone(),
        ctx: ctx.clone(),
    };
    ctx.spawn(async move {
        let server = Server::new(tree, ServerConfig::default());
        loop {
            server.serve(&link.connect().await).await;
        }
    })
    .unwrap();
}

struct Tree {
    world: World,
    ctx: Context,
}

/// One session; it ends with its last handle.
struct Session {
    world: World,
    uname: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let present = &mut self.world.state().present;
        if let Some(at) = present.iter().position(|uname| *uname == self.uname) {
            present.remove(at);
        }
    }
}

#[derive(Clone)]
pub struct Node {
    session: Rc<Session>,
    path: String,
}

impl Tree {
    fn qid(&self, path: &str) -> Option<Qid> {
        let state = self.world.state();
        if let Some(at) = state.files.keys().position(|known| known == path) {
            return Some(Qid::append(1000 + at as u64));
        }
        let below = format!("{}/", path.trim_end_matches('/'));
        let is_dir = state.files.keys().any(|known| known.starts_with(&below));
        is_dir.then(|| Qid::dir(path.len() as u64))
    }

    async fn maybe_hang(&self, node: &Node) {
        let hangs = self.world.state().hangs.clone();
        if hangs.is_some_and(|prefix| node.path.starts_with(&prefix)) {
            std::future::pending().await
        }
    }
}

impl FileTree for Tree {
    type Node = Node;
    /// The content as it was at the open; of a directory the names, longest first: in no useful order.
    type Open = (Vec<u8>, Vec<String>);

    async fn attach(&self, uname: &str, aname: &str) -> Result<(Node, Qid), Errno> {
        let mut state = self.world.state();
        if let Some(errno) = state.refuses.filter(|_| uname != "console-actor") {
            return Err(errno);
        }
        match (uname, aname) {
            ("console-actor" | "queen", "") | (_, "good") => {}
            _ => return Err(Errno::EKEYREJECTED),
        }
        state.attached.push(uname.to_owned());
        state.present.push(uname.to_owned());
        let session = Rc::new(Session {
            world: self.world.clone(),
            uname: uname.to_owned(),
        });
        Ok((
            Node {
                session,
                path: "/".to_owned(),
            },
            Qid::dir(0),
        ))
    }

    async fn walk(
        &self,
        from: &Node,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<Node>), Errno> {
        let mut path = from.path.clone();
        for (at, name) in names.iter().enumerate() {
            path = format!("{}/{name}", path.trim_end_matches('/'));
            match self.qid(&path) {
                Some(qid) => qids[at] = qid,
                None if at == 0 => return Err(Errno::ENOENT),
                None => return Ok((at, None)),
            }
        }
        Ok((
            names.len(),
            Some(Node {
                path,
                session: from.session.clone(),
            }),
        ))
    }

    async fn open(&self, node: &Node, flags: OpenFlags) -> Result<(Self::Open, Qid, u32), Errno> {
        self.maybe_hang(node).await;
        if node.path == "/proc/boot" && flags.writes() {
            return Err(Errno::EPERM);
        }
        let qid = self.qid(&node.path).ok_or(Errno::ENOENT)?;
        let state = self.world.state();
        let content = state.files.get(&node.path).cloned().unwrap_or_default();
        let below = format!("{}/", node.path.trim_end_matches('/'));
        let mut names: Vec<String> = state
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(&below))
            .map(|rest| rest.split('/').next().unwrap().to_owned())
            .collect();
        names.dedup();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Ok(((content, names), qid, 0))
    }

    async fn read(
        &self,
        _: &Node,
        open: &mut Self::Open,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        self.world.state().reads += 1;
        let rest = open.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    async fn write(&self, node: &Node, _: &mut Self::Open, _: u64, data: &[u8]) -> Result<usize, Errno> {
        let text = String::from_utf8(data.to_vec()).map_err(|_| Errno::EINVAL)?;
        if text == "die" {
            self.world.expect_restart("ninedoor");
            self.ctx.inject_fault("ninedoor", Fault::Panic).unwrap();
            std::future::pending().await
        }
        let mut state = self.world.state();
        match node.path.as_str() {
            "/proc/9p/session/ctl" => state.lost.push(node.session.uname.clone()),
            "/queen/ctl" if text.contains("worker-999") => return Err(Errno::ENOENT),
            "/queen/ctl" if text.contains("unicorn") => return Err(Errno::EINVAL),
            _ => {}
        }
        state.written.push((node.path.clone(), text));
        let file = state.files.get_mut(&node.path).ok_or(Errno::ENOENT)?;
        file.extend_from_slice(data);
        file.push(b'\n');
        Ok(data.len())
    }

    async fn readdir(
        &self,
        node: &Node,
        open: &mut Self::Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        for (at, name) in open.1.iter().enumerate().skip(offset as usize) {
            let qid = self
                .qid(&format!("{}/{name}", node.path.trim_end_matches('/')))
                .unwrap();
            if !out.push(qid, at as u64 + 1, Name::new(name).unwrap()) {
                break;
            }
        }
        Ok(())
    }

    async fn getattr(&self, node: &Node) -> Result<Attr, Errno> {
        Ok(Attr::dir(self.qid(&node.path).ok_or(Errno::ENOENT)?, 0o555))
    }

    async fn clunk(&self, _: Node, _: Option<Self::Open>) {}
}
