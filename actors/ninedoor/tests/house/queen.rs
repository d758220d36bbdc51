//! A queen that does as little as a queen can: her files, and a memory of what was asked.

use std::sync::{Arc, Mutex};

use ninep::{Attr, DirWriter, Errno, FileTree, Name, OpenFlags, Qid, Server, ServerConfig};
use protocol::control::QueenRequest;
use runtime::Context;

/// What the test and the queen both see; it outlives the queen.
#[derive(Default)]
pub struct Memory {
    /// Lines written to `/queen/ctl`.
    pub lines: Vec<String>,
    /// `uname` and `aname` of each attach.
    pub attaches: Vec<(String, String)>,
    /// The word in `/proc/lifecycle/state`.
    pub state: String,
    /// Writes to `/queen/slow` that have begun and never end.
    pub hanging: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum File {
    Root,
    Queen,
    Ctl,
    Slow,
    Deep,
    Leaf,
    Proc,
    Lifecycle,
    State,
}

const NAMES: [(File, &str, File); 8] = [
    (File::Proc, "proc", File::Root),
    (File::Queen, "queen", File::Root),
    (File::Ctl, "ctl", File::Queen),
    (File::Deep, "deep", File::Queen),
    (File::Slow, "slow", File::Queen),
    (File::Leaf, "telemetry", File::Deep),
    (File::Lifecycle, "lifecycle", File::Proc),
    (File::State, "state", File::Lifecycle),
];

impl File {
    fn qid(self) -> Qid {
        match self {
            File::Ctl | File::Slow => Qid::append(self as u64),
            File::State | File::Leaf => Qid::file(self as u64),
            _ => Qid::dir(self as u64),
        }
    }
}

struct Queen(Arc<Mutex<Memory>>);

/// Spawns her server.
pub fn spawn(ctx: &Context, memory: &Arc<Mutex<Memory>>) {
    let link = ctx.link("ninedoor-queen").expect("the link");
    let server = Server::new(Queen(memory.clone()), ServerConfig::default());
    ctx.spawn(async move {
        loop {
            let connection = link.connect().await;
            server.serve(&connection).await;
        }
    })
    .expect("room for a task");
}

impl FileTree for Queen {
    type Node = File;
    type Open = ();

    async fn attach(&self, uname: &str, aname: &str) -> Result<(File, Qid), Errno> {
        self.0
            .lock()
            .unwrap()
            .attaches
            .push((uname.to_owned(), aname.to_owned()));
        Ok((File::Root, File::Root.qid()))
    }

    async fn walk(
        &self,
        from: &File,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<File>), Errno> {
        let mut file = *from;
        for (done, name) in names.iter().enumerate() {
            match NAMES.iter().find(|entry| entry.2 == file && entry.1 == *name) {
                Some(entry) => file = entry.0,
                None if done == 0 => return Err(Errno::ENOENT),
                None => return Ok((done, None)),
            }
            qids[done] = file.qid();
        }
        Ok((names.len(), Some(file)))
    }

    async fn open(&self, node: &File, flags: OpenFlags) -> Result<((), Qid, u32), Errno> {
        match node {
            File::Ctl if flags.reads() => Err(Errno::ENOENT),
            File::State if flags.writes() => Err(Errno::EPERM),
            _ => Ok(((), node.qid(), 0)),
        }
    }

    async fn read(&self, node: &File, _: &mut (), offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let text = match node {
            File::State => format!("state={}\n", self.0.lock().unwrap().state),
            File::Leaf => "leaf".to_owned(),
            _ => String::new(),
        };
        let rest = text.as_bytes().get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    async fn write(&self, node: &File, _: &mut (), _: u64, data: &[u8]) -> Result<usize, Errno> {
        if *node == File::Slow {
            self.0.lock().unwrap().hanging += 1;
            std::future::pending::<()>().await;
        }
        let line = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        QueenRequest::parse(line).map_err(|_| Errno::EINVAL)?;
        self.0.lock().unwrap().lines.push(line.to_owned());
        Ok(data.len())
    }

    async fn readdir(
        &self,
        node: &File,
        _: &mut (),
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        for (next, (file, name, above)) in (1..).zip(NAMES) {
            if next > offset && above == *node && !out.push(file.qid(), next, Name::new(name).unwrap()) {
                break;
            }
        }
        Ok(())
    }

    async fn getattr(&self, node: &File) -> Result<Attr, Errno> {
        Ok(if node.qid().is_dir() {
            Attr::dir(node.qid(), 0o555)
        } else {
            Attr::file(node.qid(), 0o644, 0)
        })
    }

    async fn clunk(&self, _: File, _: Option<()>) {}
}
