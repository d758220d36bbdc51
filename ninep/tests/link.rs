//! Over the runtime's links, in the simulator: the owner of the files dies, its user goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{join_all, select};
use ninep::ramtree::RamTree;
use ninep::{Client, ClientConfig, ClientError, Fid, OpenFlags, Server, ServerConfig, Transport};
use runtime::Context;
use runtime::sim::{Sim, SimConfig};
use runtime::supervision::RestartPolicy;
use runtime::topology::{DomainSpec, LinkSpec, Topology};

const TASKS: usize = 5;

/// What the user has seen.
#[derive(Default)]
struct Seen {
    rounds: AtomicU64,
    deaths: AtomicU64,
    surprises: AtomicU64,
}

async fn own(ctx: Context) {
    let tree = RamTree::new();
    let dir = tree.add_dir(RamTree::ROOT, "dir").unwrap();
    tree.add_file(dir, "file", b"", 20_000).unwrap();
    let server = Server::new(tree, ServerConfig::default());
    let link = ctx.link("files").unwrap();
    loop {
        let conn = link.connect().await;
        server.serve(&conn).await;
    }
}

async fn use_files(ctx: Context, seen: Arc<Seen>) {
    let link = ctx.link("files").unwrap();
    loop {
        let client = Client::new(
            link.connect().await,
            ClientConfig {
                tags: 3,
                ..ClientConfig::default()
            },
        );
        let work = std::pin::pin!(work(&client, &seen));
        // Whichever ends first: the work ends only with an error, which the driver has caused.
        select(work, std::pin::pin!(client.run())).await;
        seen.deaths.fetch_add(1, Ordering::Relaxed);
    }
}

async fn work<C: Transport>(client: &Client<C>, seen: &Seen) {
    let session = async {
        client.version().await?;
        client.attach("user", "").await
    };
    let errors = match session.await {
        Ok(root) => {
            let root = &root;
            join_all((0..TASKS).map(|task| async move {
                loop {
                    if let Err(error) = round(client, root, task as u8).await {
                        return error;
                    }
                    seen.rounds.fetch_add(1, Ordering::Relaxed);
                }
            }))
            .await
        }
        Err(error) => vec![error],
    };
    let surprises = errors
        .iter()
        .filter(|error| **error != ClientError::Closed)
        .count();
    seen.surprises.fetch_add(surprises as u64, Ordering::Relaxed);
}

/// Each task has its part of the file to itself.
async fn round<C: Transport>(client: &Client<C>, root: &Fid, task: u8) -> Result<(), ClientError> {
    let file = client.walk_open(root, &["dir", "file"], OpenFlags::RDWR).await?;
    let (offset, mut back) = (u64::from(task) * 3000, [0; 3000]);
    client.write_all(&file, offset, &[task + 1; 3000]).await?;
    assert_eq!(client.read(&file, offset, &mut back).await?, 3000);
    assert_eq!(back, [task + 1; 3000]);
    if task == 0 {
        Ok(())
    } else {
        client.clunk(file).await
    }
}

#[test]
fn every_request_ends_when_its_server_dies() {
    let mut deaths = 0;
    for seed in 0..15 {
        let seen = Arc::new(Seen::default());
        let watched = seen.clone();
        let mut owner = DomainSpec::new("owner", |ctx| ctx.spawn(own(ctx.clone())).unwrap());
        owner.restart = RestartPolicy {
            intensity: 1_000_000,
            ..RestartPolicy::default()
        };
        let user = DomainSpec::new("user", move |ctx| {
            ctx.spawn(use_files(ctx.clone(), watched.clone())).unwrap();
        });
        let topology = Topology {
            domains: vec![user, owner],
            links: vec![LinkSpec::new("files", "user", "owner", 4, 8192)],
            fault_injection: false,
        };
        let config = SimConfig {
            seed,
            panics_per_million_turns: 20_000,
            panic_domains: vec!["owner".into()],
            ..SimConfig::default()
        };
        let mut sim = Sim::new(topology, config).unwrap();
        sim.run_for(Duration::from_millis(20));
        sim.set_panics(0);
        let before = seen.rounds.load(Ordering::Relaxed);
        sim.run_for(Duration::from_millis(20));
        let after = seen.rounds.load(Ordering::Relaxed);
        assert!(after > before + 20, "seed {seed}: {before} rounds, then {after}");
        assert_eq!(seen.surprises.load(Ordering::Relaxed), 0, "seed {seed}");
        deaths += seen.deaths.load(Ordering::Relaxed);
    }
    assert!(deaths > 30, "{deaths} connections died");
}
