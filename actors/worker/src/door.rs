//! A worker domain's connection to NineDoor.
//!
//! Answers for there being one whenever there can be one; every worker attaches on it by itself.
//! Never makes a request for a worker.

use alloc::rc::Rc;
use core::future::pending;
use core::pin::pin;

use futures::future::select;
use ninep::{Client, ClientConfig};
use runtime::link::Link;

use crate::Trade;
use crate::host::Host;

/// Bytes of the domain's messages: its longest are an attach with a ticket and a read of telemetry.
const MSIZE: u32 = 2048;

/// Keeps a connection to NineDoor, for as long as the domain lives.
pub(crate) async fn run<T: Trade>(host: Rc<Host<T>>, link: Link) {
    let slots = host.config.slots;
    // A worker has its root, its telemetry, for a moment a second one, and what its trade opens; one request at a time.
    let config = ClientConfig {
        msize: MSIZE,
        fids: (4 + T::FIDS) * slots,
        tags: slots.clamp(1, 16),
        waiters: slots,
    };
    loop {
        let connection = link.connect().await;
        let client = Client::new(connection, config);
        let opened = async {
            if client.version().await.is_ok() {
                host.set_door(Some(client.clone()));
                pending::<()>().await;
            }
        };
        select(pin!(client.run()), pin!(opened)).await;
        host.set_door(None);
        let was_closed = client.is_closed();
        client.close();
        if !was_closed {
            // The peer would not agree on a version.
            host.ctx.sleep(host.config.longest_retry_pause).await;
        }
    }
}
