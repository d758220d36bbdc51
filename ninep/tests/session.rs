//! What a server answers, message by message, without an executor.

mod common;

use std::future::Future;
use std::task::{Context, Waker};

use common::*;
use ninep::codec::{FidNumber, MIN_MSIZE, Malformed, OtherKind, Tag, Tmessage, VERSION, kind};
use ninep::{Attr, Closed, Ended, Errno, OpenFlags, Qid, Server, ServerConfig, Transport};

const RDONLY: OpenFlags = OpenFlags::RDONLY;
const WRONLY: OpenFlags = OpenFlags::WRONLY;
const RDWR: OpenFlags = OpenFlags::RDWR;

fn config() -> ServerConfig {
    ServerConfig {
        msize: 4096,
        fids: 8,
        tags: 4,
        handlers: 2,
    }
}

fn version(msize: u32, version: &str) -> Tmessage<'_> {
    Tmessage::Version { msize, version }
}

#[test]
fn nothing_is_served_before_the_version() {
    let mut hand = Hand::new(TestTree::new(), config());
    for message in [
        attach(0),
        getattr(0),
        clunk(0),
        flush(1),
        Tmessage::Other(OtherKind::new(14).unwrap()),
    ] {
        assert_eq!(hand.refused(message), Errno::EPROTO, "{message:?}");
    }
    assert_eq!(
        hand.ask(version(8192, VERSION)),
        Reply::Version(4096, VERSION.into())
    );
    assert!(matches!(hand.ask(attach(0)), Reply::Attach(_)));
}

#[test]
fn version_and_message_size_are_negotiated() {
    let mut hand = Hand::new(TestTree::new(), config());
    for (asked, expected) in [
        (u32::MAX, 4096),
        (4096, 4096),
        (4095, 4095),
        (MIN_MSIZE, MIN_MSIZE),
    ] {
        assert_eq!(
            hand.ask(version(asked, VERSION)),
            Reply::Version(expected, VERSION.into())
        );
    }
    for small in [0, 1, 128, MIN_MSIZE - 1] {
        assert_eq!(hand.ask(version(small, VERSION)), Reply::Error(Errno::EMSGSIZE));
        assert_eq!(
            hand.refused(attach(0)),
            Errno::EPROTO,
            "no session with {small} bytes"
        );
    }
    for other in ["9P2000", "9P2000.u", "9P2000.L2", "9p2000.l", "", "unknown"] {
        assert_eq!(
            hand.ask(version(8192, other)),
            Reply::Version(4096, "unknown".into()),
            "{other:?}"
        );
        assert_eq!(hand.refused(attach(0)), Errno::EPROTO);
    }
    assert_eq!(
        hand.ask(version(512, VERSION)),
        Reply::Version(512, VERSION.into())
    );
    assert!(matches!(hand.ask(attach(0)), Reply::Attach(_)));
}

#[test]
fn a_second_version_ends_all_fids_and_requests() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.opened(1, &["gate"], RDONLY);
    assert!(hand.send(1, read(1, 0, 10)).is_empty());
    assert!(hand.send(2, clunk(1)).is_empty(), "waits behind the read");
    hand.ask(walk(0, 2, &[]));
    assert_eq!((tree.reads.waiting(), tree.open_files.get()), (1, 1));
    assert_eq!(
        hand.ask(version(8192, VERSION)),
        Reply::Version(4096, VERSION.into())
    );
    assert_eq!(tree.reads.waiting(), 0, "the blocked read was dropped");
    assert_eq!(tree.clunked.get(), 3, "0, 1 and 2");
    assert_eq!(tree.open_files.get(), 0);
    assert_eq!(hand.refused(getattr(0)), Errno::EBADF);
    tree.reads.open();
    assert_eq!(hand.more(), [], "no answer to a request of the old session");
}

#[test]
fn nothing_of_the_old_session_is_answered_in_the_new_one() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.ask(walk(0, 1, &[]));
    tree.clunks.shut();
    assert!(hand.send(1, clunk(1)).is_empty());
    assert!(hand.send(2, flush(1)).is_empty());
    assert!(
        hand.send(0xffff, version(8192, VERSION)).is_empty(),
        "waits for the clunk"
    );
    tree.clunks.open();
    assert_eq!(hand.more(), [(0xffff, Reply::Version(4096, VERSION.into()))]);
    assert_eq!(tree.clunked.get(), 2);
}

#[test]
fn attach_is_checked() {
    let mut hand = Hand::attached(TestTree::new(), config());
    let with = |fid, afid: Option<FidNumber>, uname| Tmessage::Attach {
        fid,
        afid,
        uname,
        aname: "",
        n_uname: 0,
    };
    assert_eq!(
        hand.refused(with(fid(1), Some(fid(0)), "queen")),
        Errno::EOPNOTSUPP
    );
    assert_eq!(
        hand.refused(with(fid(0), None, "queen")),
        Errno::EINVAL,
        "the fid is in use"
    );
    assert_eq!(hand.refused(with(fid(1), None, "stranger")), Errno::EKEYREJECTED);
    assert_eq!(
        hand.ask(with(fid(1), None, "queen")),
        Reply::Attach(Qid {
            version: 3,
            ..Qid::dir(0)
        })
    );
}

#[test]
fn walks() {
    let mut hand = Hand::attached(TestTree::new(), config());
    assert_eq!(hand.ask(walk(0, 1, &[])), Reply::Walk(vec![]));
    let Reply::Walk(qids) = hand.ask(walk(1, 2, &["dir", "a"])) else {
        panic!()
    };
    assert_eq!((qids.len(), qids[0].is_dir(), qids[1].is_dir()), (2, true, false));
    // Part of the way: the qids of that part, and no new fid.
    assert_eq!(
        hand.ask(walk(0, 3, &["dir", "no", "a"])),
        Reply::Walk(qids[..1].to_vec())
    );
    assert_eq!(hand.refused(getattr(3)), Errno::EBADF);
    assert_eq!(hand.refused(walk(0, 3, &["no"])), Errno::ENOENT);
    assert_eq!(hand.refused(walk(2, 3, &["under a file"])), Errno::ENOENT);
    assert_eq!(hand.refused(walk(9, 3, &["dir"])), Errno::EBADF);
    assert_eq!(
        hand.refused(walk(0, 1, &["dir"])),
        Errno::EINVAL,
        "the new fid is in use"
    );
    // In place.
    assert_eq!(
        hand.ask(walk(1, 1, &["dir", "no"])),
        Reply::Walk(qids[..1].to_vec())
    );
    assert_eq!(hand.refused(walk(1, 1, &["no"])), Errno::ENOENT);
    assert_eq!(hand.ask(walk(1, 1, &["dir"])), Reply::Walk(qids[..1].to_vec()));
    assert_eq!(hand.ask(walk(1, 1, &["b"])), Reply::Walk(vec![Qid::file(3)]));
    assert!(matches!(hand.ask(open(1, RDONLY)), Reply::Open(..)));
    assert_eq!(hand.refused(walk(1, 1, &[])), Errno::EINVAL, "an open fid stays");
    assert_eq!(
        hand.ask(walk(1, 4, &[])),
        Reply::Walk(vec![]),
        "but may be walked from"
    );
    // Depth.
    assert_eq!(hand.refused(walk(0, 5, &["x"; 8])), Errno::ENOENT);
    assert_eq!(hand.refused(walk(0, 5, &["x"; 9])), Errno::EINVAL);
    assert_eq!(hand.refused(walk(0, 5, &["x"; 16])), Errno::EINVAL);
}

#[test]
fn a_walk_in_place_ends_the_old_file_once() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.ask(walk(0, 0, &["dir"]));
    assert_eq!(tree.clunked.get(), 1);
    assert_eq!(hand.ask(clunk(0)), Reply::Clunk);
    assert_eq!(tree.clunked.get(), 2);
    assert_eq!(hand.feed.close(), Some(Ended::Closed));
    assert_eq!(tree.clunked.get(), 2);
}

#[test]
fn opening_is_checked() {
    let mut hand = Hand::attached(TestTree::new(), config());
    assert_eq!(hand.refused(open(9, RDONLY)), Errno::EBADF);
    assert_eq!(hand.opened(1, &["dir"], WRONLY), Reply::Error(Errno::EISDIR));
    assert_eq!(hand.refused(open(1, RDWR)), Errno::EISDIR);
    assert_eq!(hand.refused(open(1, OpenFlags(3))), Errno::EINVAL);
    assert!(matches!(
        hand.ask(open(1, RDONLY | OpenFlags::DIRECTORY)),
        Reply::Open(_, 4072)
    ));
    assert_eq!(
        hand.refused(open(1, RDONLY)),
        Errno::EINVAL,
        "a fid is opened once"
    );
    assert_eq!(
        hand.opened(2, &["file"], RDONLY | OpenFlags::DIRECTORY),
        Reply::Error(Errno::ENOTDIR)
    );
    assert!(
        matches!(hand.ask(open(2, RDONLY)), Reply::Open(_, 512)),
        "the tree's iounit"
    );
    assert_eq!(
        hand.refused(write(2, 0, b"x")),
        Errno::EBADF,
        "not opened for writing"
    );
    assert_eq!(hand.refused(readdir(2, 0, 100)), Errno::ENOTDIR);
    assert_eq!(hand.refused(read(1, 0, 100)), Errno::EISDIR);
    hand.opened(3, &["file"], WRONLY);
    assert_eq!(
        hand.refused(read(3, 0, 1)),
        Errno::EBADF,
        "not opened for reading"
    );
    assert_eq!(hand.refused(read(0, 0, 1)), Errno::EBADF, "not opened");
}

#[test]
fn data_is_clipped_to_the_message() {
    let tree = TestTree::new();
    let mut hand = Hand::new(tree.clone(), config());
    hand.ask(version(256, VERSION));
    hand.ask(attach(0));
    assert!(matches!(hand.opened(1, &["dir", "a"], RDWR), Reply::Open(_, 232)));
    assert_eq!(
        hand.ask(write(1, 0, &[7; 233])),
        Reply::Write(233),
        "the most that fits"
    );
    for (offset, count, expected) in [
        (0, u32::MAX, 233),
        (0, 100, 100),
        (200, 100, 33),
        (233, 100, 0),
        (1 << 40, 1, 0),
        (0, 0, 0),
    ] {
        assert_eq!(
            hand.ask(read(1, offset, count)),
            Reply::Read(vec![7; expected]),
            "{offset} {count}"
        );
    }
    assert_eq!(hand.ask(write(1, 233, &[8; 233])), Reply::Write(233));
    let Reply::Read(data) = hand.ask(read(1, 0, 8192)) else {
        panic!()
    };
    assert_eq!(data.len(), 245, "256 less 11");
    assert_eq!(
        hand.ask(write(1, 9999, b"")),
        Reply::Write(0),
        "moves nothing, not even the end"
    );
    let Reply::Getattr(attr) = hand.ask(getattr(1)) else {
        panic!()
    };
    assert_eq!(attr.size, 466);
    assert_eq!(hand.refused(read(1, u64::MAX, 1)), Errno::EINVAL);
    assert_eq!(hand.refused(write(1, u64::MAX, b"x")), Errno::EINVAL);
}

#[test]
fn listings_come_in_pieces() {
    let tree = TestTree::new();
    for n in 0..40 {
        tree.ram
            .add_file(ninep::ramtree::RamTree::ROOT, &format!("file-{n:02}"), b"", 0)
            .unwrap();
    }
    let mut hand = Hand::new(tree, config());
    hand.ask(version(256, VERSION));
    hand.ask(attach(0));
    hand.opened(1, &[], RDONLY);
    let (mut names, mut offset, mut asked) = (Vec::new(), 0, 0);
    loop {
        let Reply::Readdir(entries) = hand.ask(readdir(1, offset, 8192)) else {
            panic!()
        };
        let Some((_, next)) = entries.last() else { break };
        offset = *next;
        names.extend(entries.into_iter().map(|(name, _)| name));
        asked += 1;
    }
    assert_eq!(
        (names.len(), names[0].as_str(), names[42].as_str()),
        (43, "dir", "file-39")
    );
    assert!(asked > 4, "{asked} messages of 256 bytes");
    assert_eq!(hand.refused(readdir(1, 0, 10)), Errno::EINVAL, "no entry fits");
    assert_eq!(
        hand.ask(readdir(1, offset, 10)),
        Reply::Readdir(vec![]),
        "the end needs no room"
    );
}

#[test]
fn attributes() {
    let mut hand = Hand::attached(TestTree::new(), config());
    let Reply::Getattr(attr) = hand.ask(getattr(0)) else {
        panic!()
    };
    assert_eq!(
        (attr.valid, attr.mode, attr.qid.is_dir()),
        (Attr::BASIC, 0o040_777, true)
    );
    hand.ask(walk(0, 1, &["file"]));
    let Reply::Getattr(attr) = hand.ask(getattr(1)) else {
        panic!()
    };
    assert_eq!((attr.mode, attr.size), (0o100_666, 10));
    assert_eq!(hand.ask(statfs(1)), Reply::Statfs);
    assert_eq!(hand.refused(statfs(5)), Errno::EBADF);
    assert_eq!(hand.refused(getattr(5)), Errno::EBADF);
}

#[test]
fn what_is_not_spoken_is_refused() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    for kind in (0..=255)
        .filter_map(OtherKind::new)
        .filter(|other| other.raw() != kind::TAUTH)
    {
        assert_eq!(
            hand.refused(Tmessage::Other(kind)),
            Errno::EOPNOTSUPP,
            "type {kind:?}"
        );
    }
    hand.ask(walk(0, 1, &["file"]));
    assert_eq!(hand.refused(Tmessage::Remove { fid: fid(1) }), Errno::EOPNOTSUPP);
    assert_eq!(tree.clunked.get(), 1, "remove ends the fid all the same");
    assert_eq!(hand.refused(clunk(1)), Errno::EBADF);
    assert_eq!(
        hand.send(Tag::NONE.0, getattr(0)),
        [(0xffff, Reply::Error(Errno::EINVAL))]
    );
}

#[test]
fn fids_are_bounded_and_come_back() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    for number in 1..8 {
        assert_eq!(hand.ask(walk(0, number * 1000, &[])), Reply::Walk(vec![]));
    }
    assert_eq!(hand.refused(walk(0, 9, &["file"])), Errno::EMFILE);
    assert_eq!(hand.refused(attach(9)), Errno::EMFILE);
    assert_eq!(hand.ask(clunk(4000)), Reply::Clunk);
    assert_eq!(
        hand.refused(walk(0, 9, &["no"])),
        Errno::ENOENT,
        "a failed walk gives the place back"
    );
    assert_eq!(
        hand.ask(walk(0, 9, &["dir", "no"])),
        Reply::Walk(vec![Qid {
            version: 2,
            ..Qid::dir(1)
        }])
    );
    assert_eq!(hand.ask(walk(0, u32::MAX - 1, &[])), Reply::Walk(vec![]));
    assert_eq!(tree.clunked.get(), 1);
}

#[test]
fn one_request_too_many_is_refused() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.opened(1, &["gate"], RDONLY);
    for tag in 1..=4 {
        assert!(hand.send(tag, read(1, 0, 1)).is_empty());
    }
    assert_eq!(
        hand.send(3, getattr(0)),
        [(3, Reply::Error(Errno::EINVAL))],
        "its tag is in use"
    );
    assert_eq!(hand.send(5, getattr(0)), [(5, Reply::Error(Errno::EBUSY))]);
    tree.reads.open();
    let answered = |tag| (tag, Reply::Read(b"p".into()));
    assert_eq!(hand.more(), [answered(1), answered(2), answered(3), answered(4)]);
    assert!(matches!(hand.ask(getattr(0)), Reply::Getattr(_)));
}

#[test]
fn requests_on_one_fid_wait_their_turn() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.opened(1, &["gate"], RDONLY);
    assert!(hand.send(1, read(1, 0, 6)).is_empty());
    assert!(hand.send(2, getattr(1)).is_empty());
    assert!(hand.send(3, clunk(1)).is_empty());
    assert!(
        hand.send(4, walk(0, 1, &["file"])).is_empty(),
        "the number is in use until the clunk"
    );
    tree.reads.open();
    let replies = hand.more();
    let tags: Vec<u16> = replies.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [1, 2, 3, 4]);
    assert!(matches!(replies[3].1, Reply::Walk(_)));
}

#[test]
fn a_blocked_request_blocks_only_its_fid() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.opened(1, &["gate"], RDONLY);
    hand.opened(2, &["file"], RDONLY);
    assert!(hand.send(1, read(1, 0, 6)).is_empty());
    for _ in 0..100 {
        assert_eq!(hand.ask(read(2, 3, 2)), Reply::Read(b"34".into()));
    }
    // The second handler blocks as well: now everyone waits, but for flushes.
    hand.opened(3, &["gate"], RDONLY);
    assert!(hand.send(2, read(3, 0, 6)).is_empty());
    assert!(hand.send(3, read(2, 0, 1)).is_empty());
    assert_eq!(
        hand.send(4, flush(2)),
        [(3, Reply::Read(b"0".into())), (4, Reply::Flush)]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
}

#[test]
fn flushes() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    assert_eq!(hand.send(1, flush(99)), [(1, Reply::Flush)], "of nothing");
    assert_eq!(hand.send(1, flush(1)), [(1, Reply::Flush)], "of itself");
    hand.opened(1, &["gate"], RDONLY);
    // Of a request in progress: it is dropped and gets no answer.
    assert!(hand.send(1, read(1, 0, 6)).is_empty());
    assert_eq!(tree.reads.waiting(), 1);
    assert_eq!(hand.send(2, flush(1)), [(2, Reply::Flush)]);
    assert_eq!(tree.reads.waiting(), 0);
    // The fid and the tag are free again.
    assert!(hand.send(1, read(1, 0, 6)).is_empty());
    // Of a request that waits behind another.
    assert!(hand.send(3, read(1, 1, 6)).is_empty());
    assert_eq!(hand.send(4, flush(3)), [(4, Reply::Flush)]);
    tree.reads.open();
    assert_eq!(hand.more(), [(1, Reply::Read(b"passed".into()))]);
    assert_eq!(hand.send(2, flush(1)), [(2, Reply::Flush)], "of what is answered");
}

#[test]
fn flushing_what_waits_in_front_lets_the_next_run() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.opened(1, &["gate"], RDONLY);
    assert!(hand.send(1, read(1, 0, 6)).is_empty());
    assert!(hand.send(2, clunk(1)).is_empty());
    assert!(hand.send(3, getattr(1)).is_empty());
    assert_eq!(hand.send(4, flush(2)), [(4, Reply::Flush)], "the clunk never ran");
    let replies = hand.send(5, flush(1));
    assert_eq!(replies[0], (5, Reply::Flush));
    assert!(matches!(replies[1], (3, Reply::Getattr(_))));
    assert_eq!(tree.clunked.get(), 0);
}

#[test]
fn flushing_what_never_ran_lets_what_waited_for_it_run() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.opened(1, &["gate"], RDONLY);
    assert!(hand.send(1, read(1, 0, 6)).is_empty());
    assert!(hand.send(2, walk(1, 2, &[])).is_empty(), "waits for the read");
    assert!(
        hand.send(3, walk(0, 2, &[])).is_empty(),
        "waits for the fid it makes"
    );
    assert_eq!(
        hand.send(4, flush(2)),
        [(4, Reply::Flush), (3, Reply::Walk(vec![]))]
    );
}

#[test]
fn all_that_one_answer_sets_free_runs_at_once() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(
        tree.clone(),
        ServerConfig {
            handlers: 4,
            ..config()
        },
    );
    hand.opened(1, &["gate"], RDONLY);
    tree.walks.shut();
    assert!(hand.send(1, read(1, 0, 6)).is_empty());
    for tag in 2..=4 {
        assert!(hand.send(tag, walk(1, u32::from(tag), &["x"])).is_empty());
    }
    assert_eq!(tree.walks.waiting(), 0);
    tree.reads.open();
    assert_eq!(hand.more(), [(1, Reply::Read(b"passed".into()))]);
    assert_eq!(tree.walks.waiting(), 3);
}

#[test]
fn a_flush_is_answered_after_what_it_cannot_drop() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.ask(walk(0, 1, &[]));
    tree.clunks.shut();
    assert!(hand.send(1, clunk(1)).is_empty());
    assert!(hand.send(2, flush(1)).is_empty());
    assert!(hand.send(3, flush(1)).is_empty(), "again");
    assert!(hand.send(4, flush(2)).is_empty(), "of the flush");
    assert_eq!(
        hand.send(3, getattr(0)),
        [(3, Reply::Error(Errno::EINVAL))],
        "a flush's tag is in use"
    );
    assert!(hand.send(5, flush(1)).is_empty());
    assert_eq!(
        hand.send(6, flush(1)),
        [(6, Reply::Error(Errno::EBUSY))],
        "flushes are bounded"
    );
    assert!(
        matches!(hand.ask(getattr(0)), Reply::Getattr(_)),
        "nobody else waits"
    );
    tree.clunks.open();
    let flushed = |tag| (tag, Reply::Flush);
    assert_eq!(
        hand.more(),
        [(1, Reply::Clunk), flushed(2), flushed(3), flushed(4), flushed(5)]
    );
    assert_eq!(tree.clunked.get(), 1);
}

#[test]
fn a_flushed_walk_makes_no_fid() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    tree.walks.shut();
    assert!(hand.send(1, walk(0, 1, &["file"])).is_empty());
    assert!(
        hand.send(2, walk(1, 2, &[])).is_empty(),
        "waits for the fid to be made"
    );
    assert_eq!(
        hand.send(3, flush(1)),
        [(3, Reply::Flush), (2, Reply::Error(Errno::EBADF))],
    );
    tree.walks.open();
    assert!(matches!(hand.ask(walk(0, 1, &["file"])), Reply::Walk(_)));
}

#[test]
fn broken_frames_end_the_connection() {
    for (frame, ended) in [
        (&b""[..], Ended::Malformed(Malformed::Short)),
        (b"\x04\0\0\0", Ended::Malformed(Malformed::Short)),
        (
            b"\x08\0\0\0\x6c\0\0",
            Ended::Malformed(Malformed::Length { field: 8, frame: 7 }),
        ),
        (
            b"\x0c\0\0\0\x78\x01\0\0\0\0\0\0",
            Ended::Malformed(Malformed::Trailing),
        ),
        (&[0; 4097], Ended::Closed), // longer than the transport's buffer
    ] {
        let tree = TestTree::new();
        let mut hand = Hand::attached(tree.clone(), config());
        hand.opened(1, &["gate"], RDONLY);
        assert!(hand.send(1, read(1, 0, 1)).is_empty());
        assert_eq!(hand.raw(frame), Err(ended));
        assert_eq!(
            (tree.clunked.get(), tree.open_files.get(), tree.reads.waiting()),
            (2, 0, 0)
        );
    }
    let mut hand = Hand::new(TestTree::new(), config());
    hand.ask(version(256, VERSION));
    assert_eq!(
        hand.raw(&[0; 257]),
        Err(Ended::Oversized {
            frame: 257,
            msize: 256
        })
    );
}

#[test]
fn the_end_of_the_connection_clunks_everything_once() {
    let tree = TestTree::new();
    let mut hand = Hand::attached(tree.clone(), config());
    hand.opened(1, &["gate"], RDONLY);
    hand.opened(2, &["gate"], RDONLY);
    hand.ask(walk(0, 3, &[]));
    assert!(hand.send(1, read(1, 0, 1)).is_empty());
    tree.clunks.shut();
    assert!(hand.send(2, clunk(3)).is_empty());
    assert!(hand.send(3, read(2, 0, 1)).is_empty(), "no handler is free");
    assert_eq!(hand.feed.close(), None, "the clunk is not given up");
    assert_eq!((tree.clunks.waiting(), tree.reads.waiting()), (1, 0));
    tree.clunks.open();
    assert_eq!(hand.feed.wake(|_| {}), Some(Ended::Closed));
    assert_eq!((tree.clunked.get(), tree.open_files.get()), (4, 0));
}

/// A client that never stops sending, and takes every answer.
struct Flood {
    frame: Vec<u8>,
    received: std::cell::Cell<usize>,
}

impl Transport for Flood {
    async fn recv(&self, buf: &mut [u8]) -> Result<usize, Closed> {
        self.received.set(self.received.get() + 1);
        buf[..self.frame.len()].copy_from_slice(&self.frame);
        Ok(self.frame.len())
    }

    async fn send(&self, _frame: &[u8]) -> Result<(), Closed> {
        Ok(())
    }
}

#[test]
fn a_flood_gets_a_bounded_turn() {
    let server = Server::new(TestTree::new(), config());
    for message in [
        getattr(0),
        flush(1),
        Tmessage::Version {
            msize: 512,
            version: VERSION,
        },
    ] {
        let mut frame = vec![0; 64];
        let len = message.emit(Tag(1), &mut frame).unwrap();
        frame.truncate(len);
        let flood = Flood {
            frame,
            received: Default::default(),
        };
        let mut serving = std::pin::pin!(server.serve(&flood));
        let mut cx = Context::from_waker(Waker::noop());
        for turn in 1..10 {
            assert!(serving.as_mut().poll(&mut cx).is_pending());
            assert!(
                flood.received.get() <= 4 * turn,
                "no more than the window in a turn"
            );
        }
        assert!(flood.received.get() >= 9, "but it is served");
    }
}

#[test]
fn authentication_is_not_required_rather_than_unknown() {
    // diod's clients go on without a Tauth only if the answer is ENOENT.
    let mut hand = Hand::new(TestTree::new(), config());
    hand.ask(version(8192, VERSION));
    let tauth = Tmessage::Other(OtherKind::new(kind::TAUTH).unwrap());
    assert_eq!(hand.refused(tauth), Errno::ENOENT);
}
