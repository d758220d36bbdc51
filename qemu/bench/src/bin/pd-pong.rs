//! The side that answers: notifications, then frames as they came, then 9P requests for a tree of files.
//!
//! Answers for: the first connection of the link being an echo, and every later one a 9P server.
//! Never: measures anything.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;

use ninep::ramtree::RamTree;
use ninep::{Server, ServerConfig};
use pd_bench::{Bench, LARGE, LINK, SMALL, Stage, notify};
use runtime::Context;
use runtime::link::{Connection, Link};
use sel4_host::{Host, domain, start};

domain!(init);

struct Pong;

fn init() -> Bench<Pong> {
    Bench::new(Pong)
}

impl Stage for Pong {
    fn next(&mut self) -> Host {
        notify();
        start(|context: &Context, _, _, _| {
            let link = context.link(LINK).ok_or("the link is not there")?;
            let tree = tree().ok_or("the tree cannot be made")?;
            context
                .spawn(serve(link, tree))
                .map_err(|_| "no room for the server's task")
        })
    }
}

fn tree() -> Option<RamTree> {
    let tree = RamTree::new();
    let directory = tree.add_dir(RamTree::ROOT, "dir").ok()?;
    tree.add_file(directory, "small", &[7; SMALL], SMALL).ok()?;
    tree.add_file(directory, "large", &[7; LARGE], LARGE).ok()?;
    Some(tree)
}

async fn serve(link: Link, tree: RamTree) {
    echo(link.connect().await).await;
    let server = Server::new(tree, ServerConfig::default());
    loop {
        server.serve(&link.connect().await).await;
    }
}

async fn echo(connection: Connection) {
    let mut frame = vec![0; connection.frame_bytes()];
    while let Ok(len) = connection.recv(&mut frame).await {
        if connection
            .send(frame.get(..len).unwrap_or_default())
            .await
            .is_err()
        {
            return;
        }
    }
}
