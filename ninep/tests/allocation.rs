//! The request path allocates nothing: counted.

mod common;

use common::TestTree;
use counting_alloc::{CountingAlloc, allocations};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use ninep::codec::{Tag, parse_r, parse_t};
use ninep::pipe::{self, Pipe};
use ninep::{Client, ClientConfig, ClientError, Errno, Fid, OpenFlags, Server, ServerConfig};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

/// Every kind of request once, good and refused.
async fn round(client: &Client<Pipe>, root: &Fid, buf: &mut [u8]) -> u32 {
    let mut file = client.walk(root, &["dir", "a"]).await.unwrap();
    client.open(&mut file, OpenFlags::RDWR).await.unwrap();
    client.write_all(&file, 0, buf).await.unwrap();
    assert_eq!(client.read_all(&file, buf).await, Ok(buf.len()));
    client.getattr(&file).await.unwrap();
    client.statfs(&file).await.unwrap();
    client.clunk(file).await.unwrap();
    let dir = client.walk_open(root, &["dir"], OpenFlags::RDONLY).await.unwrap();
    assert_eq!(client.readdir(&dir, 0, |_| {}).await, Ok(2));
    drop(dir); // the driver clunks it
    assert_eq!(
        client.walk(root, &["no"]).await.err(),
        Some(ClientError::Remote(Errno::ENOENT))
    );
    client.attach("queen", "ticket").await.unwrap();
    16
}

#[test]
fn ten_thousand_requests_allocate_nothing() {
    let mut pool = LocalPool::new();
    let tree = TestTree::new();
    let (left, right) = pipe::pair(8, 8192);
    let client = Client::new(
        left,
        ClientConfig {
            tags: 4,
            ..ClientConfig::default()
        },
    );
    let driver = client.clone();
    let server = Server::new(tree, ServerConfig::default());
    let spawner = pool.spawner();
    spawner
        .spawn_local(async move {
            let _why = server.serve(&right).await;
        })
        .unwrap();
    spawner
        .spawn_local(async move {
            let _why = driver.run().await;
        })
        .unwrap();
    let mut buffers = [vec![1; 9000], vec![2; 9000], vec![3; 9000]];
    let [a, b, c] = &mut buffers;
    let (requests, allocated) = pool.run_until(async {
        client.version().await.unwrap();
        let root = client.attach("queen", "").await.unwrap();
        round(&client, &root, a).await;
        let before = allocations();
        let mut requests = 0;
        while requests < 10_000 {
            let rounds = futures::future::join3(
                round(&client, &root, a),
                round(&client, &root, b),
                round(&client, &root, c),
            );
            let (x, y, z) = rounds.await;
            requests += x + y + z;
        }
        (requests, allocations() - before)
    });
    assert!(requests >= 10_000);
    assert_eq!(allocated, 0, "allocations in {requests} requests");
    let before = allocations();
    drop(Box::new(0));
    assert_eq!(allocations(), before + 1, "the counter counts");
}

#[test]
fn parsing_allocates_nothing() {
    let mut frame = [0u8; 64];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let before = allocations();
    let mut parsed = 0;
    for _ in 0..100_000 {
        for byte in &mut frame {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8 & 3; // small numbers make plausible lengths
        }
        frame[..4].copy_from_slice(&64u32.to_le_bytes());
        for kind in [8, 12, 24, 40, 100, 104, 108, 110, 116, 118, 120] {
            frame[4] = kind;
            parsed += u32::from(matches!(parse_t(&frame), Ok((Tag(_), _))));
            frame[4] = kind + 1;
            parsed += u32::from(parse_r(&frame).is_ok());
        }
    }
    assert_eq!(
        allocations(),
        before,
        "parsing allocates ({parsed} frames were legal)"
    );
}
