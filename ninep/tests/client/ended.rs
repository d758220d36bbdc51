//! Connections that end: everyone is told, and nothing of one connection works on another.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ninep::{Client, ClientConfig, ClientError, Ended, Transport, pipe};

use crate::rig::{RDONLY, Rig, client_config, start};

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
