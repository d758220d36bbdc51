//! Requests and fids that are dropped: whatever the moment, nothing of them stays behind.

use futures::future::join_all;
use ninep::ClientConfig;

use crate::rig::{RDONLY, RDWR, Rig, client_config, poll_and_drop};

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
