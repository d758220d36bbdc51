//! A server under random requests, flushes and damage: every request ends, in legal order.

mod common;

use std::collections::BTreeMap;

use common::*;
use ninep::codec::{Tag, Tmessage, VERSION};
use ninep::{Ended, OpenFlags, ServerConfig};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    Walk(u32, u32, &'static [&'static str]),
    Open(u32),
    Read(u32),
    Write(u32),
    Readdir(u32),
    Getattr(u32),
    Clunk(u32),
    Attach(u32),
    /// Of the n-th request that is not answered yet.
    Flush(prop::sample::Index),
    /// Opens or shuts reads, walks and clunks.
    Gates(bool, bool, bool),
}

impl Event {
    fn message(&self, pending: &[u16]) -> Option<Tmessage<'static>> {
        Some(match *self {
            Event::Walk(from, to, names) => walk(from, to, names),
            Event::Open(number) => open(number, OpenFlags::RDWR),
            Event::Read(number) => read(number, 0, 100),
            Event::Write(number) => write(number, 0, b"data"),
            Event::Readdir(number) => readdir(number, 0, 200),
            Event::Getattr(number) => getattr(number),
            Event::Clunk(number) => clunk(number),
            Event::Attach(number) => attach(number),
            Event::Flush(which) if pending.is_empty() => flush(which.index(100) as u16),
            Event::Flush(which) => flush(*which.get(pending)),
            Event::Gates(..) => return None,
        })
    }
}

const PATHS: [&[&str]; 4] = [&[], &["gate"], &["dir", "a"], &["no"]];

fn any_event() -> impl Strategy<Value = Event> {
    let number = || 0..5u32;
    prop_oneof![
        4 => (number(), number(), prop::sample::select(PATHS.to_vec()))
            .prop_map(|(from, to, names)| Event::Walk(from, to, names)),
        3 => number().prop_map(Event::Open),
        4 => number().prop_map(Event::Read),
        1 => number().prop_map(Event::Write),
        1 => number().prop_map(Event::Readdir),
        2 => number().prop_map(Event::Getattr),
        2 => number().prop_map(Event::Clunk),
        1 => number().prop_map(Event::Attach),
        4 => any::<prop::sample::Index>().prop_map(Event::Flush),
        3 => any::<[bool; 3]>().prop_map(|[reads, walks, clunks]| Event::Gates(reads, walks, clunks)),
    ]
}

fn set(gate: &Gate, open: bool) {
    if open { gate.open() } else { gate.shut() }
}

/// The client's book: what was asked and is not answered, and what flushes wait for.
#[derive(Default)]
struct Book {
    pending: BTreeMap<u16, Option<u16>>,
    /// Requests that may have no answer any more: their flush was answered.
    flushed: usize,
}

impl Book {
    fn take(&mut self, replies: Vec<(u16, Reply)>) {
        for (tag, reply) in replies {
            let asked = self.pending.remove(&tag);
            assert!(
                asked.is_some(),
                "{tag} was answered {reply:?} twice, or after its flush"
            );
            if let (Some(Some(old)), Reply::Flush) = (asked, reply) {
                self.flushed += usize::from(self.pending.remove(&old).is_some());
            }
        }
    }
}

proptest! {
    #[test]
    fn every_request_is_answered_or_flushed(
        events in prop::collection::vec(any_event(), 1..150),
        handlers in 1..5usize,
        tags in 1..9usize,
    ) {
        let tree = TestTree::new();
        let config = ServerConfig { msize: 512, fids: 4, tags, handlers };
        let mut hand = Hand::attached(tree.clone(), config);
        let mut book = Book::default();
        for (tag, event) in (0..).zip(&events) {
            if let Event::Gates(reads, walks, clunks) = *event {
                set(&tree.reads, reads);
                set(&tree.walks, walks);
                set(&tree.clunks, clunks);
                book.take(hand.more());
                continue;
            }
            let pending: Vec<u16> = book.pending.keys().copied().collect();
            let Some(message) = event.message(&pending) else { continue };
            let flushes = if let Tmessage::Flush { old } = message { Some(old.0) } else { None };
            book.pending.insert(tag, flushes);
            book.take(hand.send(tag, message));
        }
        for gate in [&tree.reads, &tree.walks, &tree.clunks] {
            gate.open();
        }
        book.take(hand.more());
        prop_assert!(book.pending.is_empty(), "not answered: {:?}", book.pending);
        prop_assert_eq!(hand.feed.close(), Some(Ended::Closed));
        prop_assert_eq!(tree.open_files.get(), 0);
    }

    /// Whatever bytes come, the server answers or ends; then nothing is left of the session.
    #[test]
    fn damage_ends_a_connection_at_worst(
        events in prop::collection::vec((any_event(), any::<u16>(), prop::option::weighted(0.2, any::<(prop::sample::Index, u8)>())), 1..60),
        raw in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let tree = TestTree::new();
        let mut hand = Hand::attached(tree.clone(), ServerConfig { msize: 512, fids: 4, tags: 3, handlers: 2 });
        let mut ended = None;
        for (event, tag, flip) in &events {
            let version = Tmessage::Version { msize: 400, version: VERSION };
            let message = event.message(&[1, 2, 3]).unwrap_or(version);
            let mut frame = vec![0; 600];
            let len = message.emit(Tag(tag % 8), &mut frame).unwrap();
            frame.truncate(len);
            if let Some((at, value)) = flip {
                frame[at.index(len)] = *value;
            }
            if let Err(why) = hand.raw(&frame) {
                ended = Some(why);
                break;
            }
        }
        if ended.is_none() {
            ended = hand.raw(&raw).err();
            prop_assert!(ended.is_some() || raw.len() >= 7, "{raw:?} is no message");
        }
        for gate in [&tree.reads, &tree.walks, &tree.clunks] {
            gate.open();
        }
        prop_assert_eq!(ended.or_else(|| hand.feed.close()), ended.or(Some(Ended::Closed)));
        prop_assert_eq!((tree.open_files.get(), tree.reads.waiting()), (0, 0));
    }
}
