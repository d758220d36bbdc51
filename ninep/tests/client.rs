//! Client and server together: concurrency, cancellation, death, and servers that lie.

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use common::*;
use futures::executor::{LocalPool, LocalSpawner};
use futures::future::{join_all, poll_fn};
use futures::task::LocalSpawnExt;
use ninep::client::ProtocolError;
use ninep::codec::{Malformed, NamesError, Qids, Rmessage, Tag, parse_t};
use ninep::pipe::{self, Pipe};
use ninep::{
    Client, ClientConfig, ClientError, Ended, Errno, Fid, NameError, OpenFlags, Qid, Server, ServerConfig,
    Transport,
};
use proptest::prelude::*;

const RDONLY: OpenFlags = OpenFlags::RDONLY;
const RDWR: OpenFlags = OpenFlags::RDWR;

fn client_config() -> ClientConfig {
    ClientConfig {
        msize: 1024,
        fids: 8,
        tags: 4,
        waiters: 8,
    }
}

/// A client and a server on one thread.
struct Rig {
    pool: LocalPool,
    tree: Rc<TestTree>,
    client: Client<Pipe>,
    ended: Rc<RefCell<(Option<Ended>, Option<ClientError>)>>,
}

impl Rig {
    fn new(config: ClientConfig) -> Rig {
        let pool = LocalPool::new();
        let tree = TestTree::new();
        let (left, right) = pipe::pair(4, 8192);
        let client = Client::new(left, config);
        let ended: Rc<RefCell<(Option<Ended>, Option<ClientError>)>> = Rc::default();
        let server = Server::new(
            tree.clone(),
            ServerConfig {
                msize: 8192,
                fids: 32,
                tags: 8,
                handlers: 4,
            },
        );
        let (serving, running, driver) = (ended.clone(), ended.clone(), client.clone());
        spawn(&pool.spawner(), async move {
            let why = server.serve(&right).await;
            serving.borrow_mut().0 = Some(why);
        });
        spawn(&pool.spawner(), async move {
            let why = driver.run().await;
            running.borrow_mut().1 = Some(why);
        });
        Rig {
            pool,
            tree,
            client,
            ended,
        }
    }

    /// With a session begun.
    fn attached(config: ClientConfig) -> (Rig, Fid) {
        let mut rig = Rig::new(config);
        let client = rig.client.clone();
        let root = rig.pool.run_until(async {
            client.version().await?;
            client.attach("queen", "").await
        });
        (rig, root.unwrap())
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn(&self.pool.spawner(), task);
    }

    fn run<R>(&mut self, task: impl Future<Output = R>) -> R {
        let result = self.pool.run_until(task);
        self.pool.run_until_stalled();
        result
    }

    fn settle(&mut self) {
        self.pool.run_until_stalled();
    }
}

fn spawn(spawner: &LocalSpawner, task: impl Future<Output = ()> + 'static) {
    spawner.spawn_local(task).unwrap();
}

/// The result of a spawned request, when it is there.
type Slot<R> = Rc<RefCell<Option<R>>>;

fn start<R: 'static>(rig: &Rig, task: impl Future<Output = R> + 'static) -> Slot<R> {
    let slot: Slot<R> = Rc::default();
    let result = slot.clone();
    rig.spawn(async move {
        let value = task.await;
        *result.borrow_mut() = Some(value);
    });
    slot
}

/// Polls a future `polls` times, with a turn for everyone else between, and drops it.
async fn poll_and_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let mut output = None;
        poll_fn(|cx| {
            if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                output = Some(ready);
            }
            Poll::Ready(())
        })
        .await;
        if output.is_some() {
            return output;
        }
        turn().await;
    }
    None
}

/// Lets every other task run once.
async fn turn() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn files_are_read_and_written_whole() {
    let (mut rig, root) = Rig::attached(client_config());
    let client = rig.client.clone();
    rig.run(async {
        assert_eq!(client.version().await, Ok(1024), "once is enough");
        assert!(root.qid().is_dir());
        let data: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let file = client
            .walk_open(&root, &["dir", "a"], RDWR | OpenFlags::TRUNC)
            .await
            .unwrap();
        client.write_all(&file, 0, &data).await.unwrap();
        let mut back = vec![0; 20_000];
        assert_eq!(client.read_all(&file, &mut back).await, Ok(10_000));
        assert_eq!(back[..10_000], data);
        assert_eq!(client.read_all(&file, &mut back[..3000]).await, Ok(3000));
        assert_eq!(client.read(&file, 9_999, &mut back).await, Ok(1));
        assert_eq!(client.read(&file, 0, &mut back).await, Ok(1000), "one message");
        assert_eq!(client.getattr(&file).await.unwrap().size, 10_000);
        assert_eq!(client.statfs(&file).await.unwrap().namelen, 255);
        let full = client.write_all(&file, 0, &vec![1; 70_000]).await;
        assert_eq!(full, Err(ClientError::Remote(Errno::ENOSPC)));
        assert_eq!(client.clunk(file).await, Ok(()));
        // A server's iounit bounds a write.
        let file = client.walk_open(&root, &["file"], RDWR).await.unwrap();
        assert_eq!(client.write(&file, 0, &[0; 2000]).await, Ok(512));
    });
    assert_eq!(rig.tree.open_files.get(), 0, "the dropped fid was clunked");
}

#[test]
fn directories_are_listed_whole() {
    let (mut rig, root) = Rig::attached(ClientConfig {
        msize: 256,
        ..client_config()
    });
    for n in 0..100 {
        rig.tree
            .ram
            .add_file(ninep::ramtree::RamTree::ROOT, &format!("n{n}"), b"", 0)
            .unwrap();
    }
    let client = rig.client.clone();
    let names = rig.run(async {
        let dir = client.walk_open(&root, &[], RDONLY).await.unwrap();
        let (mut names, mut offset) = (Vec::new(), 0);
        while client
            .readdir(&dir, offset, |entry| {
                names.push(entry.name.to_string());
                offset = entry.next;
            })
            .await
            .unwrap()
            > 0
        {}
        names
    });
    assert_eq!(
        (names.len(), names[3].as_str(), names[102].as_str()),
        (103, "n0", "n99")
    );
}

#[test]
fn refusals_and_bad_paths() {
    let (mut rig, root) = Rig::attached(client_config());
    let client = rig.client.clone();
    rig.run(async {
        let refused = |errno| Some(ClientError::Remote(errno));
        assert_eq!(
            client.attach("stranger", "").await.err(),
            refused(Errno::EKEYREJECTED)
        );
        assert_eq!(client.walk(&root, &["no"]).await.err(), refused(Errno::ENOENT));
        assert_eq!(
            client.walk(&root, &["dir", "no"]).await.err(),
            refused(Errno::ENOENT)
        );
        assert_eq!(client.walk(&root, &["x"; 9]).await.err(), refused(Errno::EINVAL));
        for (names, error) in [
            (&["x"; 17][..], NamesError::TooMany),
            (&["dir", ".."], NamesError::Name(NameError::Dots)),
            (&["dir/a"], NamesError::Name(NameError::Separator)),
        ] {
            assert_eq!(
                client.walk(&root, names).await.err(),
                Some(ClientError::Names(error))
            );
        }
        // As far as it goes.
        let mut qids = [Qid::default(); 3];
        let (walked, file) = client
            .walk_part(&root, &["dir", "no", "a"], &mut qids)
            .await
            .unwrap();
        assert_eq!((walked, file.is_none()), (1, true));
        assert!(qids[0].is_dir() && qids[1] == Qid::default());
        let (walked, file) = client.walk_part(&root, &["dir", "a"], &mut qids).await.unwrap();
        assert_eq!((walked, file.map(|file| file.qid())), (2, Some(qids[1])));
        let long = "x".repeat(1100);
        assert_eq!(client.attach(&long, "").await.err(), Some(ClientError::TooLong));
        for _ in 0..50 {
            // None of these keeps a fid.
            assert_eq!(
                client.walk(&root, &["dir", "no"]).await.err(),
                refused(Errno::ENOENT)
            );
            assert_eq!(client.attach(&long, "").await.err(), Some(ClientError::TooLong));
        }
    });
}

#[test]
fn a_blocked_read_blocks_nobody_else() {
    let (mut rig, root) = Rig::attached(client_config());
    let client = rig.client.clone();
    let gate = rig.run(client.walk_open(&root, &["gate"], RDONLY)).unwrap();
    let file = rig.run(client.walk_open(&root, &["file"], RDONLY)).unwrap();
    let reader = rig.client.clone();
    let blocked = start(&rig, async move {
        let mut buf = [0; 64];
        reader
            .read(&gate, 0, &mut buf)
            .await
            .map(|count| buf[..count].to_vec())
    });
    rig.run(async {
        let mut buf = [0; 4];
        for _ in 0..100 {
            assert_eq!(client.read(&file, 3, &mut buf).await, Ok(4));
            assert_eq!(&buf, b"3456");
        }
    });
    assert_eq!(*blocked.borrow(), None);
    rig.tree.reads.open();
    rig.settle();
    assert_eq!(*blocked.borrow(), Some(Ok(b"passed".to_vec())));
}

#[test]
fn a_dropped_read_is_flushed_and_its_fid_is_of_use_again() {
    let (mut rig, root) = Rig::attached(client_config());
    let client = rig.client.clone();
    let gate = rig.run(client.walk_open(&root, &["gate"], RDONLY)).unwrap();
    for _ in 0..20 {
        let mut buf = [0; 8];
        assert_eq!(rig.run(poll_and_drop(client.read(&gate, 0, &mut buf), 10)), None);
        assert_eq!(rig.tree.reads.waiting(), 0, "the server dropped it as well");
    }
    assert!(rig.run(client.getattr(&gate)).is_ok());
    assert_eq!(rig.run(client.clunk(gate)), Ok(()));
    assert_eq!(rig.tree.open_files.get(), 0);
}

#[test]
fn many_tasks_share_few_tags() {
    let (mut rig, root) = Rig::attached(ClientConfig {
        tags: 2,
        waiters: 30,
        ..client_config()
    });
    let client = rig.client.clone();
    let file = rig.run(client.walk_open(&root, &["file"], RDONLY)).unwrap();
    let done = RefCell::new(Vec::new());
    rig.run(join_all((0..10u64).map(|task| {
        let (client, file, done) = (&client, &file, &done);
        async move {
            for round in 0..20 {
                let mut byte = [0];
                assert_eq!(client.read(file, task, &mut byte).await, Ok(1));
                assert_eq!(byte[0], b'0' + task as u8);
                done.borrow_mut().push((round, task));
            }
        }
    })));
    let rounds: Vec<i32> = done.borrow().iter().map(|(round, _)| *round).collect();
    assert_eq!(rounds.len(), 200);
    assert!(
        rounds.is_sorted(),
        "first come, first served: nobody is a round ahead"
    );
}

#[test]
fn waiting_is_bounded() {
    let (mut rig, root) = Rig::attached(ClientConfig {
        tags: 1,
        waiters: 2,
        ..client_config()
    });
    let client = rig.client.clone();
    let root = Rc::new(root);
    let gate = rig.run(client.walk_open(&root, &["gate"], RDONLY)).unwrap();
    let reader = rig.client.clone();
    let blocked = start(&rig, async move { reader.read(&gate, 0, &mut [0; 8]).await });
    rig.settle();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (client, root) = (rig.client.clone(), root.clone());
            start(&rig, async move { client.getattr(&root).await.map(|_| ()) })
        })
        .collect();
    rig.settle();
    assert_eq!(*waiting[0].borrow(), None);
    assert_eq!(*waiting[1].borrow(), None);
    assert_eq!(*waiting[2].borrow(), Some(Err(ClientError::Exhausted)));
    rig.tree.reads.open();
    rig.settle();
    assert_eq!(*blocked.borrow(), Some(Ok(6)));
    assert_eq!(
        (*waiting[0].borrow(), *waiting[1].borrow()),
        (Some(Ok(())), Some(Ok(())))
    );
}

#[test]
fn fids_are_bounded_and_come_back() {
    let (mut rig, root) = Rig::attached(client_config());
    let client = rig.client.clone();
    rig.run(async {
        let mut fids = Vec::new();
        for _ in 0..7 {
            fids.push(client.walk(&root, &["file"]).await.unwrap());
        }
        assert_eq!(
            client.walk(&root, &["file"]).await.err(),
            Some(ClientError::Exhausted)
        );
        for fid in fids {
            assert_eq!(client.clunk(fid).await, Ok(()));
        }
        // A dropped fid is waited for: there is always one soon.
        for _ in 0..100 {
            let fids = join_all((0..7).map(|_| client.walk(&root, &["file"]))).await;
            assert!(fids.iter().all(Result::is_ok));
        }
        let fids = join_all((0..7).map(|_| client.walk(&root, &["file"]))).await;
        assert_eq!(
            client.walk(&root, &["file"]).await.err(),
            Some(ClientError::Exhausted)
        );
        drop(fids);
    });
    assert_eq!(rig.tree.clunked.get(), 714);
}

#[test]
fn a_busy_task_does_not_keep_dropped_fids_from_ending() {
    let (mut rig, root) = Rig::attached(ClientConfig {
        tags: 1,
        ..client_config()
    });
    let (client, tree) = (rig.client.clone(), rig.tree.clone());
    rig.run(async {
        drop(client.walk(&root, &[]).await);
        for _ in 0..3 {
            client.getattr(&root).await.unwrap();
        }
        assert_eq!(tree.clunked.get(), 1);
    });
}

#[test]
fn whatever_is_dropped_and_when_nothing_leaks() {
    let (mut rig, root) = Rig::attached(ClientConfig {
        tags: 2,
        ..client_config()
    });
    let client = rig.client.clone();
    for polls in 0..12 {
        for slow in [false, true] {
            if slow {
                rig.tree.walks.shut();
            }
            rig.run(async {
                poll_and_drop(client.walk(&root, &["dir", "a"]), polls).await;
                poll_and_drop(client.walk(&root, &["dir", "no"]), polls).await;
                poll_and_drop(client.walk_open(&root, &["dir", "a"], RDWR), polls).await;
                poll_and_drop(client.attach("queen", ""), polls).await;
                poll_and_drop(client.attach("stranger", ""), polls).await;
            });
            rig.tree.walks.open();
            rig.run(async {
                let fid = client.walk(&root, &["file"]).await.unwrap();
                poll_and_drop(client.clunk(fid), polls).await;
                let fid = client.walk_open(&root, &["gate"], RDONLY).await.unwrap();
                poll_and_drop(client.read(&fid, 0, &mut [0; 8]), polls).await;
                poll_and_drop(client.getattr(&fid), polls).await;
            });
            // All fids but the root's, and all tags, are to be had.
            let fids = rig.run(join_all((0..7).map(|_| client.walk(&root, &["file"]))));
            assert!(fids.iter().all(Result::is_ok), "after {polls} polls, slow {slow}");
            assert_eq!(rig.tree.open_files.get(), 0);
        }
    }
    assert!(!client.is_closed());
}

#[test]
fn tags_that_come_back_together_are_used_together() {
    let (mut rig, root) = Rig::attached(ClientConfig {
        tags: 2,
        ..client_config()
    });
    let client = rig.client.clone();
    let root = Rc::new(root);
    for _ in 0..2 {
        let gate = rig.run(client.walk_open(&root, &["gate"], RDONLY)).unwrap();
        let client = rig.client.clone();
        rig.spawn(async move {
            client.read(&gate, 0, &mut [0; 8]).await.unwrap();
            std::future::pending::<()>().await; // keeps the fid
        });
    }
    rig.settle();
    rig.tree.walks.shut();
    for _ in 0..2 {
        let (client, root) = (rig.client.clone(), root.clone());
        rig.spawn(async move { drop(client.walk(&root, &["file"]).await) });
    }
    rig.settle();
    assert_eq!((rig.tree.reads.waiting(), rig.tree.walks.waiting()), (2, 0));
    rig.tree.reads.open();
    rig.settle();
    assert_eq!((rig.tree.reads.waiting(), rig.tree.walks.waiting()), (0, 2));
}

#[test]
fn everyone_is_told_when_the_connection_dies() {
    for kill in 0..3 {
        let (mut rig, root) = Rig::attached(ClientConfig {
            tags: 2,
            fids: 4,
            ..client_config()
        });
        let client = rig.client.clone();
        let root = Rc::new(root);
        let gate = Rc::new(rig.run(client.walk_open(&root, &["gate"], RDONLY)).unwrap());
        let (kept, dropped) = rig.run(async {
            (
                client.walk(&root, &[]).await.unwrap(),
                client.walk(&root, &[]).await.unwrap(),
            )
        });
        // Two tasks have the tags, one waits for a tag, two wait for a fid.
        let reads: Vec<_> = (0..3)
            .map(|_| {
                let (client, gate) = (rig.client.clone(), gate.clone());
                start(&rig, async move { client.read(&gate, 0, &mut [0; 8]).await })
            })
            .collect();
        rig.settle();
        drop(dropped);
        let walks: Vec<_> = (0..2)
            .map(|_| {
                let (client, root) = (rig.client.clone(), root.clone());
                start(&rig, async move { client.walk(&root, &[]).await.map(|_| ()) })
            })
            .collect();
        rig.settle();
        assert!(reads.iter().all(|read| read.borrow().is_none()));
        assert!(walks.iter().all(|walk| walk.borrow().is_none()));
        match kill {
            0 => client.close(),
            1 => rig.run(async { client.transport().send(b"garbage").await.unwrap() }),
            _ => client.transport().close(),
        }
        rig.settle();
        let closed = ClientError::Closed;
        assert!(reads.iter().all(|read| *read.borrow() == Some(Err(closed))));
        assert!(walks.iter().all(|walk| *walk.borrow() == Some(Err(closed))));
        assert_eq!(rig.run(client.getattr(&root)).err(), Some(closed));
        assert_eq!(rig.run(client.version()).err(), Some(closed));
        assert_eq!(rig.run(client.attach("queen", "")).err(), Some(closed));
        assert!(client.is_closed());
        let (served, ran) = *rig.ended.borrow();
        let served = served.unwrap();
        assert_eq!(matches!(served, Ended::Malformed(_)), kill == 1, "{served:?}");
        assert_eq!(ran, Some(closed));
        assert_eq!(rig.tree.clunked.get(), 4, "the server clunked every fid");
        assert_eq!((rig.tree.open_files.get(), rig.tree.reads.waiting()), (0, 0));
        drop((root, gate, kept));
        rig.settle();
    }
}

#[test]
fn a_client_without_a_driver_is_over() {
    let (left, _right) = pipe::pair(4, 8192);
    let client = Client::new(left, client_config());
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut run = pin!(client.run());
        assert!(run.as_mut().poll(&mut cx).is_pending());
        let mut second = pin!(client.run());
        assert_eq!(second.as_mut().poll(&mut cx), Poll::Ready(ClientError::Exhausted));
        let mut version = pin!(client.version());
        assert!(version.as_mut().poll(&mut cx).is_pending());
        assert!(!client.is_closed());
    }
    assert!(client.is_closed());
    let mut version = pin!(client.version());
    assert_eq!(
        version.as_mut().poll(&mut cx),
        Poll::Ready(Err(ClientError::Closed))
    );
}

#[test]
fn a_fid_of_another_connection_is_refused() {
    let (mut old, old_root) = Rig::attached(client_config());
    let (mut new, _root) = Rig::attached(client_config());
    let client = new.client.clone();
    assert_eq!(
        new.run(client.getattr(&old_root)).err(),
        Some(ClientError::Closed)
    );
    assert_eq!(new.run(client.clunk(old_root)).err(), Some(ClientError::Closed));
    old.settle();
    assert_eq!(
        (old.tree.clunked.get(), new.tree.clunked.get()),
        (1, 0),
        "its own client clunks it"
    );
}

/// A client against a server that answers what the test says.
fn against(script: impl Fn(u16, &[u8]) -> Vec<u8> + 'static) -> (LocalPool, Client<Pipe>) {
    let pool = LocalPool::new();
    let (left, right) = pipe::pair(4, 8192);
    let client = Client::new(left, client_config());
    let driver = client.clone();
    spawn(&pool.spawner(), async move {
        let _why = driver.run().await;
    });
    spawn(&pool.spawner(), async move {
        let mut buf = vec![0; 8192];
        while let Ok(len) = right.recv(&mut buf).await {
            let (tag, _) = parse_t(&buf[..len]).unwrap();
            if right.send(&script(tag.0, &buf[..len])).await.is_err() {
                break;
            }
        }
    });
    (pool, client)
}

fn answer(tag: u16, message: Rmessage<'_>) -> Vec<u8> {
    let mut frame = vec![0; 8192];
    let len = message.emit(Tag(tag), &mut frame).unwrap();
    frame.truncate(len);
    frame
}

#[test]
fn a_server_without_the_version_is_left() {
    for (msize, version, works) in [
        (1024, "9P2000.L", true),
        (256, "9P2000.L", true),
        (255, "9P2000.L", false),
        (1025, "9P2000.L", false),
        (1024, "unknown", false),
        (1024, "9P2000.u", false),
    ] {
        let (mut pool, client) = against(move |tag, _| answer(tag, Rmessage::Version { msize, version }));
        let expected = if works {
            Ok(msize)
        } else {
            Err(ClientError::Protocol(ProtocolError::Version))
        };
        assert_eq!(pool.run_until(client.version()), expected, "{msize} {version}");
        pool.run_until_stalled();
        assert_eq!(client.is_closed(), !works);
    }
}

#[test]
fn a_lying_server_is_left() {
    let qids = Qids::new(&[Qid::file(1); 3]).unwrap();
    let data = [0; 100];
    type Script = Box<dyn Fn(u16) -> Vec<u8>>;
    let lie = |script: Script, error| (script, ClientError::Protocol(error));
    let cases = [
        lie(
            Box::new(|tag| answer(tag + 1, Rmessage::Clunk)),
            ProtocolError::UnexpectedTag(1),
        ),
        lie(
            Box::new(|_| answer(4, Rmessage::Flush)),
            ProtocolError::UnexpectedTag(4),
        ),
        lie(
            Box::new(|_| answer(999, Rmessage::Flush)),
            ProtocolError::UnexpectedTag(999),
        ),
        lie(
            Box::new(|_| answer(0xffff, Rmessage::Flush)),
            ProtocolError::UnexpectedTag(0xffff),
        ),
        lie(
            Box::new(|tag| answer(tag, Rmessage::Clunk)),
            ProtocolError::UnexpectedKind(121),
        ),
        lie(
            Box::new(|_| b"\x05\0\0\0\x75".into()),
            ProtocolError::Malformed(Malformed::Short),
        ),
        lie(Box::new(|_| vec![]), ProtocolError::Malformed(Malformed::Short)),
        lie(
            Box::new(move |tag| answer(tag, Rmessage::Walk { qids })),
            ProtocolError::Excess,
        ),
        // Longer than the buffer: the transport ends it.
        (Box::new(|_| vec![0; 2000]), ClientError::Closed),
    ];
    for (script, error) in cases {
        let (mut pool, client) = against(move |tag, frame| match parse_t(frame).unwrap().1 {
            ninep::codec::Tmessage::Attach { .. } => answer(tag, Rmessage::Attach { qid: Qid::dir(1) }),
            _ => script(tag),
        });
        let root = pool.run_until(client.attach("", "")).unwrap();
        let got = pool.run_until(client.walk(&root, &["x", "y"])).err();
        assert_eq!(got, Some(error));
        pool.run_until_stalled();
        assert!(client.is_closed() && client.transport().is_closed());
    }
    // More data than was asked for.
    let (mut pool, client) = against(move |tag, frame| match parse_t(frame).unwrap().1 {
        ninep::codec::Tmessage::Attach { .. } => answer(tag, Rmessage::Attach { qid: Qid::file(1) }),
        ninep::codec::Tmessage::Write { .. } => answer(tag, Rmessage::Write { count: 100 }),
        _ => answer(tag, Rmessage::Read { data: &data }),
    });
    let file = pool.run_until(client.attach("", "")).unwrap();
    assert_eq!(pool.run_until(client.read(&file, 0, &mut [0; 100])), Ok(100));
    assert_eq!(pool.run_until(client.write(&file, 0, &[0; 100])), Ok(100));
    let excess = ClientError::Protocol(ProtocolError::Excess);
    assert_eq!(pool.run_until(client.read(&file, 0, &mut [0; 99])), Err(excess));
    assert_eq!(
        pool.run_until(client.write(&file, 0, &[0; 99])),
        Err(excess),
        "the reason stays"
    );
}

/// One thing a task does, and after how many polls it loses patience.
#[derive(Debug, Clone)]
struct Step {
    what: u8,
    polls: usize,
}

async fn act(client: &Client<Pipe>, root: &Fid, tree: &TestTree, step: &Step) {
    let Step { what, polls } = *step;
    let mut buf = [0; 64];
    match what {
        0 => drop(poll_and_drop(client.walk(root, &["dir", "a"]), polls).await),
        1 => drop(poll_and_drop(client.walk(root, &["dir", "no"]), polls).await),
        2 => drop(poll_and_drop(client.attach("queen", ""), polls).await),
        3 => tree.walks.shut(),
        4 => tree.walks.open(),
        5 => tree.reads.open(),
        6 => tree.reads.shut(),
        7 => drop(poll_and_drop(client.getattr(root), polls).await),
        _ => {
            let names: &[&str] = if what == 8 { &["gate"] } else { &["file"] };
            let opened = poll_and_drop(client.walk_open(root, names, RDWR), 2 * polls).await;
            if let Some(Ok(fid)) = opened {
                let read = poll_and_drop(client.read(&fid, 0, &mut buf), polls).await;
                assert!(read.is_none_or(|read| read.is_ok()));
                let wrote = poll_and_drop(client.write(&fid, 20, b"x"), polls).await;
                assert!(wrote.is_none_or(|wrote| wrote.is_ok()));
                if what != 9 {
                    let _ended = poll_and_drop(client.clunk(fid), polls).await;
                }
            }
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    (0..11u8, 0..14usize).prop_map(|(what, polls)| Step { what, polls })
}

proptest! {
    /// Tasks that start and drop requests at random leave nothing behind.
    #[test]
    fn random_impatience_leaks_nothing(
        tasks in prop::collection::vec(prop::collection::vec(any_step(), 1..25), 1..6),
        tags in 1..4usize,
    ) {
        let config = ClientConfig { tags, fids: 8, waiters: 32, msize: 1024 };
        let (mut rig, root) = Rig::attached(config);
        let (client, tree) = (rig.client.clone(), rig.tree.clone());
        let (client, root, tree) = (&client, root, &tree);
        rig.run(join_all(tasks.iter().map(|steps| (steps, &root)).map(|(steps, root)| async move {
            for step in steps {
                act(client, root, tree, step).await;
            }
        })));
        tree.walks.open();
        tree.reads.open();
        rig.settle();
        prop_assert!(!client.is_closed());
        prop_assert_eq!(tree.open_files.get(), 0);
        let clunked = tree.clunked.get();
        let fids = rig.run(join_all((0..7).map(|_| client.walk(&root, &["file"]))));
        prop_assert!(fids.iter().all(Result::is_ok), "every fid is to be had");
        let many: Vec<_> = rig.run(join_all((0..20).map(|_| client.getattr(&root))));
        prop_assert!(many.iter().all(Result::is_ok), "every tag is to be had");
        drop((fids, root));
        rig.settle();
        prop_assert_eq!(tree.clunked.get(), clunked + 8, "the server has no fid but these");
    }

    /// The same when the connection dies on the way: everyone ends, and all is clunked.
    #[test]
    fn random_death_ends_everything(
        tasks in prop::collection::vec(prop::collection::vec(any_step(), 1..25), 1..6),
        life in 0..60usize,
    ) {
        let (mut rig, root) = Rig::attached(ClientConfig { tags: 2, ..client_config() });
        let (client, tree) = (rig.client.clone(), rig.tree.clone());
        let (client, root, tree) = (&client, &root, &tree);
        let acting = join_all(tasks.iter().map(|steps| async move {
            for step in steps {
                let Step { what, polls } = *step;
                if (3..=6).contains(&what) {
                    act(client, root, tree, step).await;
                } else {
                    // Patient: only the end of the connection ends these.
                    let _ended = match what % 3 {
                        0 => client.walk_open(root, &["file"], RDWR).await.err(),
                        1 => match client.walk_open(root, &["gate"], RDWR).await {
                            Ok(gate) => client.read(&gate, 0, &mut [0; 8]).await.err(),
                            Err(error) => Some(error),
                        },
                        _ => poll_and_drop(client.attach("queen", ""), polls).await.and_then(Result::err),
                    };
                }
            }
        }));
        rig.run(futures::future::join(acting, async {
            for _ in 0..life {
                turn().await;
            }
            client.transport().close();
        }));
        prop_assert!(client.is_closed());
        prop_assert_eq!((tree.open_files.get(), tree.reads.waiting(), tree.walks.waiting()), (0, 0, 0));
        prop_assert!(rig.ended.borrow().0.is_some());
    }
}
