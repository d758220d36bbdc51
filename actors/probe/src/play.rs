//! Plays a script: connects, authenticates, attaches as queen, says each line and tells what comes back.
//!
//! Answers for telling every line in the order it came, with the virtual time of each request's last line, and for
//! ending: with success after the script, with a reason otherwise.
//! Never retries a request, and never says two at once.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

use netstack::{LinkDevice, Stack, StackConfig, TcpStream};
use protocol::ack::Reply;
use protocol::frame::{self, Decoder, Event, Phase};
use protocol::limits::FRAME_BYTES;
use runtime::Context;
use runtime::link::Link;

use crate::script::{Script, Step};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts to connect, and the pause between them: the console is up within a second of the boot.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Whom to talk to, and as whom.
pub struct Config {
    /// The probe's own end of the network.
    pub stack: StackConfig,
    /// The console's address.
    pub server: Ipv4Addr,
    /// The console's port.
    pub port: u16,
    /// What to authenticate with.
    pub token: String,
    /// What to play.
    pub script: Script,
}

/// Hears what the probe has to tell.
pub trait Listener {
    /// One line: `> ` before what was said, `< ` before what came back.
    fn line(&self, text: fmt::Arguments<'_>);
}

/// Why a script was not played to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayError {
    /// The stack cannot be configured so.
    Stack,
    /// Nobody listens at the console's port.
    Connect,
    /// The connection ended in the middle of the script.
    Ended,
    /// No answer came in time.
    Silent,
    /// What came is no frame.
    Frame,
    /// The console did not let the probe in; its answer.
    Refused(String),
}

impl fmt::Display for PlayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack => f.write_str("the probe's network stack cannot be configured so"),
            Self::Connect => f.write_str("nobody listens at the console's port"),
            Self::Ended => f.write_str("the console ended the connection"),
            Self::Silent => write!(f, "no answer within {PATIENCE:?}"),
            Self::Frame => f.write_str("the console sent what is no frame"),
            Self::Refused(answer) => write!(f, "the console answered {answer}"),
        }
    }
}

impl core::error::Error for PlayError {}

/// Plays the script over `link`.
///
/// # Errors
/// See [`PlayError`].
pub async fn play(
    ctx: &Context,
    link: Link,
    config: Config,
    listener: &impl Listener,
) -> Result<(), PlayError> {
    let stack = Stack::new(ctx, LinkDevice::new(link), config.stack.clone()).map_err(|_| PlayError::Stack)?;
    let driver = stack.clone();
    ctx.spawn(async move { driver.run().await })
        .map_err(|_| PlayError::Stack)?;
    let stream = connect(ctx, &stack, &config).await?;
    let mut talk = Talk {
        ctx,
        stream,
        decoder: Decoder::new(Phase::Client),
        received: [0; 2048],
        unread: 0..0,
    };
    talk.enter(&config.token).await?;
    listener.line(format_args!("attached at {} us", ctx.now().as_micros()));
    for step in config.script.steps() {
        match step {
            Step::Wait { ms } => ctx.sleep(Duration::from_millis(ms)).await,
            Step::Say(line) => {
                listener.line(format_args!("> {line}"));
                talk.say(line, |answer| listener.line(format_args!("< {answer}")))
                    .await?;
                listener.line(format_args!("at {} us", ctx.now().as_micros()));
            }
        }
    }
    Ok(())
}

async fn connect(ctx: &Context, stack: &Stack, config: &Config) -> Result<TcpStream, PlayError> {
    for _ in 0..ATTEMPTS {
        if let Ok(stream) = stack.connect(config.server, config.port).await {
            return Ok(stream);
        }
        ctx.sleep(PAUSE).await;
    }
    Err(PlayError::Connect)
}

struct Talk<'a> {
    ctx: &'a Context,
    stream: TcpStream,
    decoder: Decoder<FRAME_BYTES>,
    received: [u8; 2048],
    unread: core::ops::Range<usize>,
}

impl Talk<'_> {
    async fn enter(&mut self, token: &str) -> Result<(), PlayError> {
        for line in [format!("AUTH {token}"), String::from("ATTACH queen")] {
            let mut first = String::new();
            self.say(&line, |answer| first.push_str(answer)).await?;
            if !first.starts_with("OK ") {
                return Err(PlayError::Refused(first));
            }
        }
        Ok(())
    }

    /// Says a line and tells what comes back: an acknowledgement, and what the verb has after it.
    async fn say(&mut self, line: &str, mut tell: impl FnMut(&str)) -> Result<(), PlayError> {
        let mut frame = Box::new([0; FRAME_BYTES]);
        let frame = frame::encode(line, &mut frame[..]).ok_or(PlayError::Frame)?;
        self.stream.write_all(frame).await.map_err(|_| PlayError::Ended)?;
        let mut rest = Rest::Acknowledgement;
        while rest != Rest::Nothing {
            self.next(|line| {
                tell(line);
                rest = rest.after(line);
            })
            .await?;
        }
        Ok(())
    }

    /// Passes the next line on.
    async fn next(&mut self, take: impl FnOnce(&str)) -> Result<(), PlayError> {
        loop {
            let bytes = self.received.get(self.unread.clone()).unwrap_or_default();
            let mut input = bytes;
            let event = self.decoder.next(&mut input);
            self.unread.start = self.unread.end - input.len();
            match event {
                Some(Event::Line(line)) => {
                    take(line);
                    return Ok(());
                }
                Some(_) => return Err(PlayError::Frame),
                None => {}
            }
            let read = self
                .ctx
                .timeout(PATIENCE, self.stream.read(&mut self.received))
                .await;
            let count = read
                .map_err(|_| PlayError::Silent)?
                .map_err(|_| PlayError::Ended)?;
            if count == 0 {
                return Err(PlayError::Ended);
            }
            self.unread = 0..count;
        }
    }
}

/// What still has to come of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Acknowledgement,
    /// Lines, up to `END`.
    Stream,
    /// The one line `PONG`.
    Pong,
    Nothing,
}

impl Rest {
    fn after(self, line: &str) -> Self {
        match (self, Reply::parse(line)) {
            (Self::Acknowledgement, Reply::Ok { verb, .. }) => match verb {
                "LS" | "CAT" | "TAIL" | "LOG" => Self::Stream,
                "PING" => Self::Pong,
                _ => Self::Nothing,
            },
            // A stream that its owner's death cut short ends with a refusal.
            (_, Reply::Err { .. }) | (Self::Stream, Reply::End) | (Self::Pong, _) => Self::Nothing,
            (rest, _) => rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_verb_says() {
        for (lines, whole) in [
            (&["OK ECHO path=/x bytes=1"][..], true),
            (&["OK PING reply=pong"], false),
            (&["OK PING reply=pong", "PONG"], true),
            (&["OK CAT path=/x data=", "text"], false),
            (&["OK CAT path=/x data=", "text", "END"], true),
            (&["OK CAT path=/x data=", "text", "ERR CAT reason=busy"], true),
            (&["ERR CAT reason=policy"], true),
        ] {
            let rest = lines
                .iter()
                .fold(Rest::Acknowledgement, |rest, line| rest.after(line));
            assert_eq!(rest == Rest::Nothing, whole, "{lines:?}");
        }
    }
}
