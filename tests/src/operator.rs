//! An operator who does not give up: asks, is answered or refused or cut off, and never waits longer than is allowed.
//!
//! Answers for the time of every answer, and for connecting again after a connection was lost.
//! Never repeats a request: what became of one that was cut off is the test's to find out.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Console, Hive};

/// How long a request may go without an answer, whatever dies meanwhile.
pub const LIMIT: Duration = Duration::from_secs(2);
/// How long a part of the hive may take to come back.
const RETURN_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `OK`, and what followed up to `END` if the verb streams.
    Done(String, Vec<String>),
    /// `ERR`.
    Refused(String),
    /// The connection ended first, or could not be made.
    Lost,
}

/// What an operator saw so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were answered.
    pub done: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests whose connection ended.
    pub lost: u64,
    /// The longest wait.
    pub slowest: Duration,
}

/// A queen's console that is opened again whenever it was lost.
pub struct Operator {
    addr: SocketAddr,
    token: String,
    limit: Duration,
    console: Option<Console>,
    /// What it saw.
    pub tally: Tally,
}

impl Operator {
    /// An operator of that hive, who panics if an answer takes more than [`LIMIT`].
    pub fn new(hive: &Hive) -> Self {
        Self::patient(hive, LIMIT)
    }

    /// An operator who waits so long for an answer.
    pub fn patient(hive: &Hive, limit: Duration) -> Self {
        Self {
            addr: hive.addr(),
            token: hive.token().to_owned(),
            limit,
            console: None,
            tally: Tally::default(),
        }
    }

    /// Asks once.
    ///
    /// # Panics
    /// If there is no answer in time.
    pub fn ask(&mut self, command: &str) -> Answer {
        let answer = match self.connected() {
            Some(mut console) => {
                let answer = self.exchange(&mut console, command);
                if answer != Answer::Lost {
                    self.console = Some(console);
                }
                answer
            }
            None => Answer::Lost,
        };
        match &answer {
            Answer::Done(..) => self.tally.done += 1,
            Answer::Refused(_) => self.tally.refused += 1,
            Answer::Lost => {
                self.tally.lost += 1;
                thread::sleep(PAUSE);
            }
        }
        answer
    }

    /// Asks until it is done: what was refused as busy, or cut off, is asked again. For requests that may be repeated.
    ///
    /// # Panics
    /// If it is refused otherwise, or nothing comes back.
    pub fn settle(&mut self, command: &str) -> Vec<String> {
        let deadline = Instant::now() + RETURN_LIMIT;
        loop {
            match self.ask(command) {
                Answer::Done(_, lines) => return lines,
                Answer::Refused(ack) => assert!(ack.contains("reason=busy"), "{command}: {ack}"),
                Answer::Lost => {}
            }
            assert!(Instant::now() < deadline, "{command}: not served any more");
            thread::sleep(PAUSE);
        }
    }

    fn connected(&mut self) -> Option<Console> {
        if let Some(console) = self.console.take() {
            return Some(console);
        }
        // The kernel's own queue is not the hive: it may hold a connection back for some seconds.
        let stream = TcpStream::connect_timeout(&self.addr, RETURN_LIMIT).ok()?;
        let mut console = Console::over(stream).ok()?;
        for (line, right) in [
            (format!("AUTH {}", self.token), "OK AUTH"),
            ("ATTACH queen ".to_owned(), "OK ATTACH"),
        ] {
            match self.exchange(&mut console, &line) {
                Answer::Done(ack, _) if ack.starts_with(right) => {}
                // A console without its door refuses; later it will not.
                Answer::Done(..) | Answer::Refused(_) | Answer::Lost => return None,
            }
        }
        Some(console)
    }

    fn exchange(&mut self, console: &mut Console, command: &str) -> Answer {
        let begun = Instant::now();
        let answer = self.try_exchange(console, command, begun);
        self.tally.slowest = self.tally.slowest.max(begun.elapsed());
        match answer {
            Ok(answer) => answer,
            Err(error) => {
                let hung = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                assert!(!hung, "{command:?} was not answered in {:?}", begun.elapsed());
                Answer::Lost
            }
        }
    }

    fn try_exchange(&self, console: &mut Console, command: &str, begun: Instant) -> io::Result<Answer> {
        console.try_send_frame(command.as_bytes())?;
        let mut line = || {
            let left = self.limit.saturating_sub(begun.elapsed());
            console.set_patience(left.max(Duration::from_millis(1)));
            console.try_receive()
        };
        let ack = line()?;
        if !ack.starts_with("OK ") {
            return Ok(Answer::Refused(ack));
        }
        let mut lines = Vec::new();
        if streams(command) {
            loop {
                let next = line()?;
                match next.as_str() {
                    "END" => break,
                    // A stream that breaks off ends with this in the place of END.
                    broken if broken.starts_with("ERR ") => return Ok(Answer::Refused(next)),
                    _ => lines.push(next),
                }
            }
        }
        Ok(Answer::Done(ack, lines))
    }
}

fn streams(command: &str) -> bool {
    let verb = command.split(' ').next().unwrap_or_default();
    ["CAT", "LS", "TAIL", "LOG"].contains(&verb)
}
