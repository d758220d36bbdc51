//! After boot the door allocates nothing, whatever it is asked.

mod house;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use counting_alloc::{CountingAlloc, allocations_by_thread};
use house::{Session, config, connect, console, topology, worker_token};
use ninep::OpenFlags;
use runtime::Context;
use runtime::hosted::{Hosted, HostedConfig};
use runtime::topology::Build;

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

#[test]
fn the_request_path_allocates_nothing() {
    let memory = Arc::new(Mutex::new(house::queen::Memory {
        state: "ONLINE".to_owned(),
        ..Default::default()
    }));
    let mut topology = topology(config(), &memory, house::JOURNAL_BYTES);
    let (sender, result) = mpsc::channel();
    let sender = Mutex::new(sender);
    for domain in &mut topology.domains {
        domain.thread = domain.name.clone();
        if domain.name == "clients" {
            let sender = sender.lock().unwrap().clone();
            domain.build = Build::Plain(Arc::new(move |ctx| {
                let (ctx, sender) = (ctx.clone(), sender.clone());
                ctx.clone()
                    .spawn(async move { sender.send(measure(ctx).await).unwrap() })
                    .unwrap();
            }));
        }
    }
    let hive = Hosted::start(topology, HostedConfig::default()).expect("it starts");
    let (booted, warm, after) = result
        .recv_timeout(Duration::from_secs(60))
        .expect("the scenario ends");
    assert!(booted > 0, "the counter does not count");
    assert_eq!(
        after - warm,
        0,
        "{} allocations in the steady state, {} before",
        after - warm,
        warm
    );
    drop(hive);
}

async fn measure(ctx: Context) -> (u64, u64, u64) {
    let now = || allocations_by_thread()["ninedoor"];
    let actor = connect(&ctx, "queen-ninedoor")
        .await
        .attach("queen-actor", "")
        .await
        .unwrap();
    let heart = connect(&ctx, "worker-heart-ninedoor").await;
    let peer = console(&ctx).await;
    let queen = peer.queen().await;
    while queen.cat("/proc/lifecycle/state").await.is_err() {
        ctx.sleep(Duration::from_millis(1)).await;
    }
    let (booted, mut warm) = (now(), 0);
    for round in 0..220 {
        if round == 20 {
            warm = now();
        }
        actor
            .echo("/worker/ctl", r#"{"create":{"id":"worker-1"}}"#)
            .await
            .unwrap();
        let worker = heart
            .attach("worker-heartbeat", &worker_token("worker-1"))
            .await
            .unwrap();
        let outside = peer.attach("worker", &worker_token("worker-1")).await.unwrap();
        worker
            .echo("/worker/worker-1/telemetry", "{\"tick\":1}\n")
            .await
            .unwrap();
        outside.cat("/shard/13/worker/worker-1/telemetry").await.unwrap();
        round_of(&peer.queen().await).await;
        assert!(outside.echo("/log/queen.log", "denied").await.is_err());
        assert!(peer.attach("queen", "forged").await.is_err());
        actor
            .echo("/worker/ctl", r#"{"end":{"id":"worker-1"}}"#)
            .await
            .unwrap();
    }
    (booted, warm, now())
}

async fn round_of(queen: &Session) {
    for directory in ["/", "/proc", "/proc/9p/session", "/queen", "/worker", "/shard"] {
        queen.ls(directory).await.unwrap();
    }
    for file in [
        "/proc/boot",
        "/proc/supervisor",
        "/proc/9p/sessions",
        "/proc/pressure/policy",
        "/proc/actors/ninedoor/counters",
        "/proc/tests/selftest_full.coh",
        "/proc/lifecycle/state",
        "/log/queen.log",
    ] {
        queen.cat(file).await.unwrap();
        queen.stat(file).await.unwrap();
    }
    queen
        .echo("/log/queen.log", "a line that is longer than nothing")
        .await
        .unwrap();
    queen
        .echo("/queen/ctl", r#"{"bind":{"from":"/log","to":"/shadow"}}"#)
        .await
        .unwrap();
    queen.cat("/shadow/queen.log").await.unwrap();
    assert!(queen.echo("/queen/ctl", "{}").await.is_err());
    assert!(queen.cat("/nope").await.is_err());
    assert!(queen.open("/proc/boot", OpenFlags::WRONLY).await.is_err());
}
