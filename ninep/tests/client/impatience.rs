//! Tasks that start and drop requests at random, on connections that live and on those that die.

use futures::future::join_all;
use ninep::pipe::Pipe;
use ninep::{Client, ClientConfig, Fid, Transport};
use proptest::prelude::*;

use crate::common::TestTree;
use crate::rig::{RDWR, Rig, client_config, poll_and_drop, turn};

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
