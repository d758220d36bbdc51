//! Many requests at once: they share few tags and fids, and none waits for another that it need not wait for.

use std::cell::RefCell;
use std::rc::Rc;

use futures::future::join_all;
use ninep::{ClientConfig, ClientError};

use crate::rig::{RDONLY, Rig, client_config, start};

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
