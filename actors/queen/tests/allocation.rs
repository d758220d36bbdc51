//! After boot neither the queen nor the worker domain allocates, whatever they are asked.
//!
//! The real actors on threads of their own, behind a real NineDoor, which is not counted here (its own suite does).

use std::pin::pin;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use counting_alloc::{CountingAlloc, allocations_by_thread};
use ninep::{Client, ClientConfig, ClientError, Fid, OpenFlags};
use protocol::role::Role;
use protocol::ticket::Key;
use runtime::Context;
use runtime::hosted::{Hosted, HostedConfig};
use runtime::link::Connection;
use runtime::topology::{DomainSpec, LinkSpec, Topology};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

/// Rounds before the count begins: every slot, place and buffer has been used by then.
const WARM_ROUNDS: usize = 30;
/// Rounds in all. Each writes some two dozen records, so that the journal is compacted on the way.
const ROUNDS: usize = 150;

#[test]
fn spawning_ticking_killing_and_refusing_allocate_nothing() {
    let (sender, result) = mpsc::channel();
    let sender = Mutex::new(sender);
    let key = || Key::from_secret("a secret of this test");
    let config = queen::Config {
        tick: Duration::from_millis(1),
        gpu: queen::GpuConfig {
            seeded: true,
            ..queen::GpuConfig::default()
        },
        ..queen::Config::new(key(), key())
    };
    let journal_bytes = config.journal_bytes();
    let door = ninedoor::Config {
        keys: vec![(Role::WorkerHeartbeat, key()), (Role::WorkerGpu, key())],
        ..ninedoor::Config::default()
    };
    let domains = [
        DomainSpec::new("console-tcp", move |ctx| {
            let (ctx, sender) = (ctx.clone(), sender.lock().unwrap().clone());
            ctx.clone()
                .spawn(async move { sender.send(measure(ctx).await).unwrap() })
                .unwrap();
        }),
        DomainSpec::new("ninedoor", move |ctx| {
            ninedoor::spawn(ctx, door.clone()).unwrap();
        })
        .with_region("journal", 524_288),
        DomainSpec::new("queen", move |ctx| {
            queen::spawn(ctx, config.clone()).unwrap();
        })
        .with_region("journal", journal_bytes),
        DomainSpec::new("worker-heart", |ctx| {
            worker_heart::spawn(ctx, worker_heart::Config::default()).unwrap();
        }),
        DomainSpec::new("worker-gpu", |ctx| {
            worker_gpu::spawn(ctx, worker_gpu::Config::default()).unwrap();
        }),
    ];
    let links = [
        ("console-ninedoor", "console-tcp", "ninedoor"),
        ("worker-heart-ninedoor", "worker-heart", "ninedoor"),
        ("worker-gpu-ninedoor", "worker-gpu", "ninedoor"),
        ("ninedoor-queen", "ninedoor", "queen"),
        ("queen-ninedoor", "queen", "ninedoor"),
        ("queen-worker-heart", "queen", "worker-heart"),
        ("queen-worker-gpu", "queen", "worker-gpu"),
    ];
    let topology = Topology {
        domains: domains
            .into_iter()
            .map(|domain| {
                let thread = domain.name.clone();
                domain.on_thread(&thread)
            })
            .collect(),
        links: links
            .map(|(name, a, b)| LinkSpec::new(name, a, b, 32, 8192))
            .to_vec(),
        fault_injection: false,
    };
    let hive = Hosted::start(topology, HostedConfig::default()).expect("it starts");
    let (booted, warm, after) = result
        .recv_timeout(Duration::from_secs(120))
        .expect("the scenario ends");
    assert!(booted > 0, "the counter does not count");
    assert_eq!(after, warm, "allocations on the request path");
    drop(hive);
}

/// What the domains that are counted have allocated so far.
fn allocations() -> u64 {
    let by_thread = allocations_by_thread();
    ["queen", "worker-heart", "worker-gpu"]
        .map(|domain| by_thread[domain])
        .iter()
        .sum()
}

async fn measure(ctx: Context) -> (u64, u64, u64) {
    let link = ctx.link("console-ninedoor").expect("there is one");
    let client = Client::new(link.connect().await, ClientConfig::default());
    let work = async {
        client.version().await.unwrap();
        let root = client.attach(Role::Queen.label(), "").await.unwrap();
        while cat(&client, &root, "/proc/lifecycle/state").await != Ok("state=ONLINE\n".into()) {
            ctx.sleep(Duration::from_millis(1)).await;
        }
        let (booted, mut warm) = (allocations(), 0);
        let mut next = 1;
        for round in 0..ROUNDS {
            if round == WARM_ROUNDS {
                warm = allocations();
            }
            next = one_round(&ctx, &client, &root, next).await;
        }
        (booted, warm, allocations())
    };
    match futures::future::select(pin!(client.run()), pin!(work)).await {
        futures::future::Either::Left((error, _)) => panic!("the door broke off: {error}"),
        futures::future::Either::Right((counts, _)) => counts,
    }
}

/// Spawns workers of both kinds that are killed and that end, asks for what is refused; gives the next worker's number.
async fn one_round(ctx: &Context, client: &Client<Connection>, root: &Fid, next: u64) -> u64 {
    let ctl = |line: String| async move { echo(client, root, "/queen/ctl", &line).await };
    let lifecycle = |word| async move { echo(client, root, "/queen/lifecycle/ctl", word).await };
    for ticks in [100_000, 100_000, 3, 1] {
        ctl(format!(r#"{{"spawn":"heartbeat","ticks":{ticks}}}"#))
            .await
            .unwrap();
    }
    for streams in [1, 2] {
        ctl(format!(
            r#"{{"spawn":"gpu","lease":{{"gpu_id":"GPU-1","mem_mb":4096,"streams":{streams},"ttl_s":60}}}}"#
        ))
        .await
        .unwrap();
    }
    ctl(r#"{"budget":{"ttl_s":60,"ops":1000}}"#.into()).await.unwrap();
    ctl(r#"{"bind":{"from":"/log","to":"/shadow"}}"#.into())
        .await
        .unwrap();
    for refused in [
        "{",
        r#"{"kill":"worker-0"}"#,
        r#"{"spawn":"gpu","lease":{"gpu_id":"GPU-0","mem_mb":24577,"streams":1,"ttl_s":60}}"#,
        r#"{"mount":{"service":"x","at":"/x"}}"#,
    ] {
        assert!(ctl(refused.into()).await.is_err(), "{refused}");
    }
    assert!(lifecycle("quiesce").await.is_err());
    lifecycle("cordon").await.unwrap();
    assert!(ctl(r#"{"spawn":"heartbeat"}"#.into()).await.is_err());
    lifecycle("resume").await.unwrap();
    ctx.sleep(Duration::from_millis(8)).await;
    for number in [next, next + 1, next + 4, next + 5] {
        ctl(format!(r#"{{"kill":"worker-{number}"}}"#)).await.unwrap();
    }
    for file in ["/proc/lifecycle/reason", "/proc/lifecycle/since"] {
        cat(client, root, file).await.unwrap();
    }
    next + 6
}

fn names(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}

async fn echo(client: &Client<Connection>, root: &Fid, path: &str, text: &str) -> Result<(), ClientError> {
    let flags = OpenFlags::WRONLY | OpenFlags::APPEND;
    let fid = client.walk_open(root, &names(path), flags).await?;
    client.write_all(&fid, 0, text.as_bytes()).await
}

async fn cat(client: &Client<Connection>, root: &Fid, path: &str) -> Result<String, ClientError> {
    let fid = client.walk_open(root, &names(path), OpenFlags::RDONLY).await?;
    let mut text = [0; 256];
    let count = client.read_all(&fid, &mut text).await?;
    Ok(String::from_utf8_lossy(&text[..count]).into_owned())
}
