//! The virtio network driver: Ethernet frames between the card and the link `net`.
//!
//! Answers for: frames in both directions, each copied once; a card that is waited for only while there is room.
//! Never: looks into a frame, and never keeps one back: what does not fit on either side is lost or waits in the card.

#![no_std]
#![no_main]
#![feature(used_with_arg)]

extern crate alloc;

mod card;
mod dma;

use alloc::rc::Rc;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use runtime::Context;
use runtime::link::{Connection, LinkError, TrySendError};
use sel4_host::{Bell, Host, domain, log, start};

use crate::card::{Card, Received};

/// The link to the console.
const LINK: &str = "net";

domain!(init);

fn init() -> Host {
    start(|context, _, _, bell| {
        let card = Card::new().map_err(|_| "the network card does not answer as virtio says")?;
        let [a, b, c, d, e, f] = card.mac();
        log!("virtio-net, {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        let task = run(context.clone(), card, bell);
        context.spawn(task).map_err(|_| "no room for the driver's task")
    })
}

async fn run(context: Context, mut card: Card, bell: Rc<Bell>) {
    let Some(link) = context.link(LINK) else { return };
    // A frame that came and did not fit on the link yet.
    let mut held = None;
    loop {
        let connection = link.connect().await;
        // It ends when the console goes; what the card holds waits for the next one.
        let _ = carry(&mut card, &mut held, &bell, &connection).await;
    }
}

/// Carries frames until the connection is over.
async fn carry(
    card: &mut Card,
    held: &mut Option<Received>,
    bell: &Bell,
    connection: &Connection,
) -> Result<(), LinkError> {
    loop {
        card.acknowledge();
        while let Some(received) = held.take().or_else(|| card.receive()) {
            *held = pass(card, received, connection)?;
            if held.is_some() {
                break;
            }
        }
        while card.can_send() && card.send(|frame| connection.try_recv(frame))? {}
        let may_send = card.can_send();
        wait(bell, connection, may_send, held.is_some()).await;
    }
}

/// Passes a frame on, or gives it back if the link is full.
fn pass(card: &mut Card, received: Received, connection: &Connection) -> Result<Option<Received>, LinkError> {
    match connection.try_send(card.frame(&received)) {
        Err(TrySendError::Full) => return Ok(Some(received)),
        // Too long for the link: lost, as on a wire.
        Ok(()) | Err(TrySendError::Link(LinkError::TooLong { .. })) => card.recycle(received),
        Err(TrySendError::Link(error)) => {
            card.recycle(received);
            return Err(error);
        }
    }
    Ok(None)
}

/// Until the card has news, or the link has a frame that can be sent, or room for one that is held.
async fn wait(bell: &Bell, connection: &Connection, may_send: bool, held: bool) {
    let mut rung = pin!(bell.rung());
    let mut readable = pin!(connection.readable());
    let mut writable = pin!(connection.writable());
    poll_fn(|cx| {
        let ready = rung.as_mut().poll(cx).is_ready()
            || (may_send && readable.as_mut().poll(cx).is_ready())
            || (held && writable.as_mut().poll(cx).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
