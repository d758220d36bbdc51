//! A guest with an echo server, and what tests do with it.
#![allow(dead_code)] // Each test program uses its own part.

use std::net::Ipv4Addr;
use std::rc::Rc;

use netstack::{LinkDevice, Stack, StackConfig, TcpListener, TcpStream};
use runtime::Context;

pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const ECHO: u16 = 31_337;
pub const LINK: &str = "net";

pub fn config(context: &Context, ip: Ipv4Addr, connections: u16) -> StackConfig {
    let mut config = StackConfig::new([2, 0, 0, 0, 0, ip.octets()[3]], ip, 24, context.random_u64());
    config.limits.connections = connections;
    config
}

pub fn run(context: &Context, stack: &Stack) {
    let stack = stack.clone();
    context
        .spawn(async move { stack.run().await })
        .expect("room for the driver");
}

/// The stack of a guest, running.
pub fn guest_stack(context: &Context, connections: u16) -> Stack {
    let link = context.link(LINK).expect("the topology has the link");
    let stack = Stack::new(
        context,
        LinkDevice::new(link),
        config(context, GUEST, connections),
    )
    .expect("a good configuration");
    run(context, &stack);
    stack
}

/// Serves every connection to `port` with `serve`, `tasks` at a time.
pub fn serve<F: Future<Output = ()> + 'static>(
    context: &Context,
    stack: &Stack,
    port: u16,
    tasks: u16,
    serve: impl Fn(TcpStream) -> F + 'static,
) {
    let listener = Rc::new(TcpListener::bind(stack, port, tasks).expect("the port is free"));
    let serve = Rc::new(serve);
    for _ in 0..tasks {
        let (listener, serve) = (listener.clone(), serve.clone());
        let task = async move {
            loop {
                let stream = listener.accept().await;
                serve(stream).await;
            }
        };
        context.spawn(task).expect("room for the servers");
    }
}

/// Sends back what it reads, until the peer closes its direction; then closes.
pub async fn echo(stream: TcpStream) {
    let mut buf = [0; 2_048];
    loop {
        match stream.read(&mut buf).await {
            Ok(0) => break,
            Ok(len) => {
                if stream.write_all(&buf[..len]).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    let _ = stream.close().await;
}

/// The `i`-th byte of a stream of test data.
pub fn pattern(stream: u64, i: usize) -> u8 {
    let word = (i as u64 ^ stream << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> 56) as u8
}
