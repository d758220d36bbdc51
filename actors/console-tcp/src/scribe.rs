//! Puts failed authentications into `/log/queen.log`.
//!
//! Answers for every failure being counted in some line and for the lines being few, so that a stranger cannot wash
//! the log away. Never writes what the stranger said.

use core::cell::Cell;
use core::time::Duration;

use console::{Door, Fault, Mailbox, QUEEN_LOG};
use ninep::OpenFlags;
use protocol::ack::AuthError;
use protocol::line::Line;
use protocol::path::Path;
use protocol::role::CONSOLE_ACTOR;
use runtime::Context;

/// Pause between the first line and the second; it doubles while failures go on.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two lines.
const MAX_PAUSE: Duration = Duration::from_secs(64);
/// Bytes of a line.
const LINE_BYTES: usize = 128;

/// Failures that are not in the log yet.
pub(crate) struct Scribe {
    untold: Cell<u32>,
    total: Cell<u64>,
    last: Cell<AuthError>,
    bell: Mailbox<()>,
}

impl Scribe {
    /// Nothing to tell.
    pub(crate) fn new() -> Scribe {
        Scribe {
            untold: Cell::new(0),
            total: Cell::new(0),
            last: Cell::new(AuthError::InvalidToken),
            bell: Mailbox::new(),
        }
    }

    /// Somebody failed to authenticate.
    pub(crate) fn note(&self, error: AuthError) {
        self.untold.set(self.untold.get().saturating_add(1));
        self.total.set(self.total.get().saturating_add(1));
        self.last.set(error);
        self.bell.put(());
    }

    /// Writes the lines; never ends.
    pub(crate) async fn run(&self, ctx: &Context, door: &Door) {
        let mut pause = PAUSE;
        loop {
            self.bell.take().await;
            let told = self.untold.get();
            if told == 0 {
                continue;
            }
            match self.write(door, told).await {
                Ok(()) => self.untold.set(self.untold.get().saturating_sub(told)),
                // NineDoor is away, or has no room: the count is in the next line that can be written.
                Err(_) => drop(self.bell.put(())),
            }
            ctx.sleep(pause).await;
            pause = if self.untold.get() == 0 {
                PAUSE
            } else {
                (pause * 2).min(MAX_PAUSE)
            };
        }
    }

    async fn write(&self, door: &Door, failures: u32) -> Result<(), Fault> {
        let mut buf = [0; LINE_BYTES];
        let mut line = Line::new(&mut buf);
        let reason = self
            .last
            .get()
            .line()
            .rsplit_once('=')
            .map_or("none", |(_, reason)| reason);
        let total = self.total.get();
        // The longest reason and the largest numbers have 110 bytes.
        let _ = line.put(format_args!(
            "console-auth outcome=deny reason={reason} failures={failures} total={total}"
        ));
        let pass = door.attach(CONSOLE_ACTOR, "").await?;
        let log = Path::parse(QUEEN_LOG).map_err(|_| protocol::refusal::Refusal::InvalidPath)?;
        let file = door.open(&pass, log, OpenFlags::WRONLY).await?;
        file.write_all(line.as_str().as_bytes()).await
    }
}
