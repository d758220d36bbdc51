//! A tree whose operations wait when told to, and frames by hand.
#![allow(dead_code)] // each test binary uses its part

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ninep::codec::{FidNumber, Names, Rmessage, Tag, Tmessage, VERSION, parse_r};
use ninep::ramtree::{NodeId, RamTree};
use ninep::server::Feed;
use ninep::{Attr, DirWriter, Ended, Errno, FileTree, OpenFlags, Qid, Server, ServerConfig, Statfs};

/// Something operations wait at until it is opened.
#[derive(Default)]
pub struct Gate {
    open: Cell<bool>,
    waiting: Cell<usize>,
    wakers: RefCell<Vec<Waker>>,
}

impl Gate {
    pub fn open(&self) {
        self.open.set(true);
        self.wakers.borrow_mut().drain(..).for_each(Waker::wake);
    }

    pub fn shut(&self) {
        self.open.set(false);
    }

    /// Operations that wait here now; one that was dropped does not.
    pub fn waiting(&self) -> usize {
        self.waiting.get()
    }

    pub async fn pass(&self) {
        struct Waiting<'a>(&'a Cell<usize>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(&self.waiting);
        poll_fn(|cx| {
            if self.open.get() {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// `/dir/a`, `/dir/b`, `/file`, and `/gate`, whose reads wait. Counts fids and open files.
pub struct TestTree {
    pub ram: RamTree,
    pub gate_file: NodeId,
    pub file: NodeId,
    /// Reads of `/gate` wait here.
    pub reads: Gate,
    /// All clunks wait here.
    pub clunks: Gate,
    /// All walks wait here.
    pub walks: Gate,
    pub clunked: Cell<usize>,
    /// Open files that are not dropped yet.
    pub open_files: Rc<Cell<usize>>,
}

pub struct OpenFile {
    append: bool,
    count: Rc<Cell<usize>>,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
    }
}

impl TestTree {
    pub fn new() -> Rc<TestTree> {
        let ram = RamTree::new();
        let dir = ram.add_dir(RamTree::ROOT, "dir").unwrap();
        ram.add_file(dir, "a", b"alpha", 1 << 16).unwrap();
        ram.add_file(dir, "b", b"beta", 1 << 16).unwrap();
        let file = ram
            .add_file(RamTree::ROOT, "file", b"0123456789", 1 << 16)
            .unwrap();
        let gate_file = ram.add_file(RamTree::ROOT, "gate", b"passed", 64).unwrap();
        let tree = TestTree {
            ram,
            gate_file,
            file,
            reads: Gate::default(),
            clunks: Gate::default(),
            walks: Gate::default(),
            clunked: Cell::new(0),
            open_files: Rc::new(Cell::new(0)),
        };
        tree.clunks.open();
        tree.walks.open();
        Rc::new(tree)
    }
}

impl FileTree for TestTree {
    type Node = NodeId;
    type Open = OpenFile;

    async fn attach(&self, uname: &str, aname: &str) -> Result<(NodeId, Qid), Errno> {
        if uname == "stranger" {
            return Err(Errno::EKEYREJECTED);
        }
        self.ram.attach(uname, aname).await
    }

    async fn walk(
        &self,
        from: &NodeId,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<NodeId>), Errno> {
        self.walks.pass().await;
        self.ram.walk(from, names, qids).await
    }

    async fn open(&self, node: &NodeId, flags: OpenFlags) -> Result<(OpenFile, Qid, u32), Errno> {
        let (append, qid, _) = self.ram.open(node, flags).await?;
        self.open_files.set(self.open_files.get() + 1);
        let iounit = if *node == self.file { 512 } else { 0 };
        Ok((
            OpenFile {
                append,
                count: self.open_files.clone(),
            },
            qid,
            iounit,
        ))
    }

    async fn read(
        &self,
        node: &NodeId,
        open: &mut OpenFile,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        if *node == self.gate_file {
            self.reads.pass().await;
        }
        self.ram.read(node, &mut open.append, offset, buf).await
    }

    async fn write(
        &self,
        node: &NodeId,
        open: &mut OpenFile,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Errno> {
        self.ram.write(node, &mut open.append, offset, data).await
    }

    async fn readdir(
        &self,
        node: &NodeId,
        open: &mut OpenFile,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        self.ram.readdir(node, &mut open.append, offset, out).await
    }

    async fn getattr(&self, node: &NodeId) -> Result<Attr, Errno> {
        self.ram.getattr(node).await
    }

    async fn statfs(&self, node: &NodeId) -> Result<Statfs, Errno> {
        self.ram.statfs(node).await
    }

    async fn clunk(&self, _node: NodeId, open: Option<OpenFile>) {
        self.clunks.pass().await;
        drop(open);
        self.clunked.set(self.clunked.get() + 1);
    }
}

pub fn fid(number: u32) -> FidNumber {
    FidNumber::new(number).unwrap()
}

pub fn walk<'a>(from: u32, newfid: u32, names: &[&'a str]) -> Tmessage<'a> {
    Tmessage::Walk {
        fid: fid(from),
        newfid: fid(newfid),
        names: Names::new(names).unwrap(),
    }
}

pub fn open(number: u32, flags: OpenFlags) -> Tmessage<'static> {
    Tmessage::Open {
        fid: fid(number),
        flags,
    }
}

pub fn read(number: u32, offset: u64, count: u32) -> Tmessage<'static> {
    Tmessage::Read {
        fid: fid(number),
        offset,
        count,
    }
}

pub fn write(number: u32, offset: u64, data: &[u8]) -> Tmessage<'_> {
    Tmessage::Write {
        fid: fid(number),
        offset,
        data,
    }
}

pub fn readdir(number: u32, offset: u64, count: u32) -> Tmessage<'static> {
    Tmessage::Readdir {
        fid: fid(number),
        offset,
        count,
    }
}

pub fn getattr(number: u32) -> Tmessage<'static> {
    Tmessage::Getattr {
        fid: fid(number),
        mask: Attr::ALL,
    }
}

pub fn statfs(number: u32) -> Tmessage<'static> {
    Tmessage::Statfs { fid: fid(number) }
}

pub fn clunk(number: u32) -> Tmessage<'static> {
    Tmessage::Clunk { fid: fid(number) }
}

pub fn flush(old: u16) -> Tmessage<'static> {
    Tmessage::Flush { old: Tag(old) }
}

pub fn attach(number: u32) -> Tmessage<'static> {
    Tmessage::Attach {
        fid: fid(number),
        afid: None,
        uname: "queen",
        aname: "",
        n_uname: 0,
    }
}

/// What a test expects or has received; a reply that borrows nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Error(Errno),
    Version(u32, String),
    Attach(Qid),
    Walk(Vec<Qid>),
    Open(Qid, u32),
    Read(Vec<u8>),
    Write(u32),
    Readdir(Vec<(String, u64)>),
    Getattr(Attr),
    Statfs,
    Clunk,
    Remove,
    Flush,
}

pub fn reply(frame: &[u8]) -> (u16, Reply) {
    let (tag, message) = parse_r(frame).expect("a server sends replies");
    let reply = match message {
        Rmessage::Error(errno) => Reply::Error(errno),
        Rmessage::Version { msize, version } => Reply::Version(msize, version.into()),
        Rmessage::Attach { qid } => Reply::Attach(qid),
        Rmessage::Walk { qids } => Reply::Walk(qids.as_slice().into()),
        Rmessage::Open { qid, iounit } => Reply::Open(qid, iounit),
        Rmessage::Read { data } => Reply::Read(data.into()),
        Rmessage::Write { count } => Reply::Write(count),
        Rmessage::Readdir { entries } => Reply::Readdir(
            entries
                .iter()
                .map(|entry| (entry.name.as_str().into(), entry.next))
                .collect(),
        ),
        Rmessage::Getattr(attr) => Reply::Getattr(attr),
        Rmessage::Statfs(_) => Reply::Statfs,
        Rmessage::Clunk => Reply::Clunk,
        Rmessage::Remove => Reply::Remove,
        Rmessage::Flush => Reply::Flush,
    };
    (tag.0, reply)
}

/// A server fed by hand.
pub struct Hand {
    pub feed: Feed,
}

impl Hand {
    pub fn new<T: FileTree + 'static>(tree: T, config: ServerConfig) -> Hand {
        Hand {
            feed: Feed::new(Rc::new(Server::new(tree, config))),
        }
    }

    /// With the version said and fid 0 attached.
    pub fn attached<T: FileTree + 'static>(tree: T, config: ServerConfig) -> Hand {
        let mut hand = Hand::new(tree, config);
        let version = Tmessage::Version {
            msize: config.msize,
            version: VERSION,
        };
        assert!(matches!(hand.ask(version), Reply::Version(..)));
        assert!(matches!(hand.ask(attach(0)), Reply::Attach(_)));
        hand
    }

    /// Sends a request; returns what the server sends until it waits.
    pub fn send(&mut self, tag: u16, message: Tmessage<'_>) -> Vec<(u16, Reply)> {
        let mut frame = vec![0; 16_384];
        let len = message.emit(Tag(tag), &mut frame).unwrap();
        self.raw(&frame[..len]).expect("the connection lives")
    }

    /// Sends bytes.
    pub fn raw(&mut self, frame: &[u8]) -> Result<Vec<(u16, Reply)>, Ended> {
        let mut replies = Vec::new();
        match self.feed.frame(frame, |bytes| replies.push(reply(bytes))) {
            Some(ended) => Err(ended),
            None => Ok(replies),
        }
    }

    /// What the server sends now without being asked.
    pub fn more(&mut self) -> Vec<(u16, Reply)> {
        let mut replies = Vec::new();
        assert_eq!(self.feed.wake(|bytes| replies.push(reply(bytes))), None);
        replies
    }

    /// A request with one answer, at once.
    pub fn ask(&mut self, message: Tmessage<'_>) -> Reply {
        let tag = if matches!(message, Tmessage::Version { .. }) {
            0xffff
        } else {
            7777
        };
        let mut replies = self.send(tag, message);
        assert_eq!(replies.len(), 1, "one answer to {message:?}: {replies:?}");
        let (answered, reply) = replies.remove(0);
        assert_eq!(answered, tag);
        reply
    }

    /// A request that is refused at once.
    pub fn refused(&mut self, message: Tmessage<'_>) -> Errno {
        match self.ask(message) {
            Reply::Error(errno) => errno,
            other => panic!("{message:?} was answered {other:?}"),
        }
    }

    /// Walks from fid 0 to a new fid and opens it.
    pub fn opened(&mut self, number: u32, names: &[&str], flags: OpenFlags) -> Reply {
        assert!(matches!(self.ask(walk(0, number, names)), Reply::Walk(_)));
        self.ask(open(number, flags))
    }
}
