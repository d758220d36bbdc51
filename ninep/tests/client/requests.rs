//! Requests that nothing disturbs, and those that are refused.

use ninep::codec::NamesError;
use ninep::{ClientConfig, ClientError, Errno, NameError, OpenFlags, Qid};

use crate::rig::{RDONLY, RDWR, Rig, client_config};

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
