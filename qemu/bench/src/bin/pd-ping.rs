//! The side that asks and measures, in ticks of the physical counter.
//!
//! Answers for: one line of the log for each measurement, `measured <rounds> <ticks> <turns> <polls> <signals> <what>`
//! (ticks and counts of this domain over all rounds), and the machine ending after the last.
//! Never: computes a ratio; `bench --bin sel4` does.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use core::cell::Cell;
use core::fmt;
use core::pin::pin;
use core::time::Duration;

use futures::future::{Either, select};
use ninep::{Client, ClientConfig, ClientError, Fid, OpenFlags};
use pd_bench::{Bench, LARGE, LINK, ROUNDS, SMALL, Stage, WARM_UP, notify};
use runtime::Context;
use runtime::counters::Snapshot;
use runtime::link::{Connection, Link, LinkError};
use sel4_host::{Host, domain, log, semihosting, start, time};

/// What the serial domain has to print is out by then.
const LAST_WORDS: Duration = Duration::from_millis(500);

domain!(init);

struct Ping {
    /// When the measured rounds began.
    begun: u64,
}

fn init() -> Bench<Ping> {
    log!("up at {} us", time::now().as_micros());
    notify();
    Bench::new(Ping { begun: 0 })
}

impl Stage for Ping {
    fn warm(&mut self) {
        self.begun = time::ticks();
    }

    fn next(&mut self) -> Host {
        let ticks = time::ticks() - self.begun;
        log!("measured {ROUNDS} {ticks} {ROUNDS} 0 {ROUNDS} notification");
        start(|context: &Context, _, _, _| {
            let link = context.link(LINK).ok_or("the link is not there")?;
            context
                .spawn(run(context.clone(), link))
                .map_err(|_| "no room for the task")
        })
    }
}

async fn run(context: Context, link: Link) {
    let measured = measure(&context, &link).await;
    match &measured {
        Ok(()) => log!("end ok"),
        Err(error) => log!("end error: {error}"),
    }
    context.sleep(LAST_WORDS).await;
    semihosting::exit(u32::from(measured.is_err()));
}

async fn measure(context: &Context, link: &Link) -> Result<(), Failure> {
    let connection = link.connect().await;
    for bytes in [SMALL, LARGE] {
        let frame = vec![7; bytes];
        let mut back = vec![0; connection.frame_bytes()];
        let watch = Watch::new(context);
        for round in 0..WARM_UP + ROUNDS {
            watch.begin(round);
            connection.send(&frame).await?;
            if connection.recv(&mut back).await? != bytes {
                return Err(Failure::Answer);
            }
        }
        watch.end(format_args!("frame of {bytes} bytes"));
    }
    drop(connection);
    let client = Client::new(link.connect().await, ClientConfig::default());
    // The measurement ends first, unless the connection does.
    match select(pin!(files(context, &client)), pin!(client.run())).await {
        Either::Left((measured, _)) => measured,
        Either::Right((error, _)) => Err(error.into()),
    }
}

async fn files(context: &Context, client: &Client<Connection>) -> Result<(), Failure> {
    client.version().await?;
    let root = client.attach("ping", "").await?;
    let small = client
        .walk_open(&root, &["dir", "small"], OpenFlags::RDONLY)
        .await?;
    let large = client
        .walk_open(&root, &["dir", "large"], OpenFlags::RDONLY)
        .await?;
    let watch = Watch::new(context);
    for round in 0..WARM_UP + ROUNDS {
        watch.begin(round);
        if client.getattr(&small).await?.size != SMALL as u64 {
            return Err(Failure::Answer);
        }
    }
    watch.end(format_args!("9P getattr"));
    let watch = Watch::new(context);
    for round in 0..WARM_UP + ROUNDS {
        watch.begin(round);
        let file = client.walk(&root, &["dir", "small"]).await?;
        client.clunk(file).await?;
    }
    watch.end(format_args!("9P walk and clunk"));
    read(context, client, &small, SMALL).await?;
    read(context, client, &large, LARGE).await
}

async fn read(
    context: &Context,
    client: &Client<Connection>,
    file: &Fid,
    bytes: usize,
) -> Result<(), Failure> {
    let mut data = vec![0; bytes];
    let watch = Watch::new(context);
    for round in 0..WARM_UP + ROUNDS {
        watch.begin(round);
        if client.read(file, 0, &mut data).await? != bytes {
            return Err(Failure::Answer);
        }
    }
    watch.end(format_args!("9P read of {bytes} bytes"));
    Ok(())
}

/// Ticks and counts from the end of the warm-up on.
struct Watch<'a> {
    context: &'a Context,
    begun: Cell<(u64, Snapshot)>,
}

impl<'a> Watch<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            begun: Cell::default(),
        }
    }

    /// Begins, if the warm-up is over.
    fn begin(&self, round: u32) {
        if round == WARM_UP {
            let counts = self.context.counters().snapshot();
            self.begun.set((time::ticks(), counts));
        }
    }

    fn end(&self, what: fmt::Arguments<'_>) {
        let ended = time::ticks();
        let counts = self.context.counters().snapshot();
        let (begun, before) = self.begun.get();
        log!(
            "measured {ROUNDS} {} {} {} {} {what}",
            ended - begun,
            counts.turns - before.turns,
            counts.polls - before.polls,
            counts.signals_sent - before.signals_sent,
        );
    }
}

enum Failure {
    Link(LinkError),
    Client(ClientError),
    /// The answer is not what was asked for.
    Answer,
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Client(error) => error.fmt(f),
            Self::Answer => f.write_str("the answer is not what was asked for"),
        }
    }
}
