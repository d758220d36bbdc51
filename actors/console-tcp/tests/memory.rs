//! After boot the console allocates nothing, on the host that runs it in earnest.

mod support;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use counting_alloc::{CountingAlloc, allocations_by_thread};
use netstack::sim::{Weather, client_stack};
use runtime::hosted::{Hosted, HostedConfig};
use runtime::topology::DomainSpec;

use support::door::World;
use support::{Net, stack_config, topology};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

/// What the console's thread has allocated so far.
fn allocations() -> u64 {
    allocations_by_thread()["console-tcp"]
}

static DONE: AtomicBool = AtomicBool::new(false);

/// Everything a client may ask, and everything a stranger may do.
async fn round(net: &Net) {
    let mut client = net.queen().await;
    for n in 0..20 {
        let payload = "x".repeat(1 + n * 100);
        assert_eq!(
            client.ask(&format!("ECHO /log/queen.log {payload}")).await,
            format!("OK ECHO path=/log/queen.log bytes={}", payload.len())
        );
    }
    for line in [
        "LS /",
        "LS /many",
        "CAT /log/queen.log",
        "CAT /noise",
        "CAT /ambiguous",
        "TAIL /log/queen.log",
        "LOG",
        "CAT /nope",
        "TAIL /nope",
        "ECHO /proc/boot x",
        "SPAWN {\"spawn\":\"heartbeat\",\"ticks\":1}",
        "KILL worker-999",
        "FROB",
        "ATTACH queen forged",
        "ATTACH queen ",
        "TEST",
    ] {
        if line.starts_with("SPAWN") {
            client.ask(line).await;
        } else {
            client.stream(line).await;
        }
    }
    for line in [
        "PING", "HELP", "BI", "CAPS", "MEM", "NETTEST", "NETSTATS", "CACHELOG",
    ] {
        client.ask(line).await;
        client.send("FENCE").await;
        while !client.line().await.starts_with("ERR PARSE") {}
    }
    client.send_frame(&[b'x'; 5000]).await;
    assert!(client.line().await.starts_with("ERR FRAME"));
    drop(client);
    let mut wrong = net.connect().await;
    wrong.send("AUTH wrong").await;
    assert_eq!(wrong.rest().await.len(), 1);
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(net.connect().await);
    }
    drop(flood);
    let mut last = net.queen().await;
    assert_eq!(last.ask("QUIT").await, "OK QUIT");
}

#[test]
fn nothing_is_allocated_after_boot() {
    let world = World::new();
    let noise: Vec<u8> = (0..30_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    world.set("/noise", &noise);
    world.set("/ambiguous", "END\nOK x\n".repeat(50).as_bytes());
    for n in 0..1000 {
        world.set(&format!("/many/entry-{n}"), b"");
    }
    let net_world = world.clone();
    let net = DomainSpec::new("net", move |ctx| {
        let link = ctx.link("net").unwrap();
        let weather = Weather::fair(Duration::ZERO);
        let stack = Rc::new(client_stack(ctx, link, weather, stack_config(true)).unwrap());
        let driver = stack.clone();
        ctx.spawn(async move { driver.run().await }).unwrap();
        let net = Net {
            ctx: ctx.clone(),
            stack,
            world: net_world.clone(),
        };
        ctx.spawn(async move {
            // The first rounds touch everything once.
            for _ in 0..2 {
                round(&net).await;
            }
            net.sleep(Duration::from_millis(100)).await;
            let before = allocations();
            assert!(before > 0, "the counter counts");
            for _ in 0..5 {
                round(&net).await;
            }
            net.sleep(Duration::from_millis(100)).await;
            assert_eq!(allocations() - before, 0);
            DONE.store(true, Ordering::Relaxed);
        })
        .unwrap();
    })
    .on_thread("client");
    let mut topology = topology(&world, |_| {}, net);
    for domain in &mut topology.domains {
        if domain.name != "net" {
            domain.thread = domain.name.clone();
        }
    }
    let handle = Hosted::start(topology, HostedConfig::default()).unwrap();
    let begun = Instant::now();
    while !DONE.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let net = handle
            .supervision()
            .child(0)
            .map(|child| child.last_reason.as_str().to_owned());
        assert_eq!(net.as_deref(), Some(""));
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "the client does not get to its end"
        );
    }
    handle.stop().unwrap();
}
