//! The command as a process, and the signals that are meant for it.
//!
//! Answers for signals of this program reaching the command exactly once, and for ending it with all that it started.
//!
//! Where a person types (standard input is a terminal) the command stays in the terminal's foreground process group: it
//! can read what is typed, and what the keyboard sends (SIGINT, SIGQUIT) reaches it without our doing. Otherwise it gets
//! a process group of its own, which gets every signal.
//!
//! Never signals a process that has been waited for.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Command;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A running command.
pub(super) struct Child {
    process: tokio::process::Child,
    pid: Option<Pid>,
    has_group: bool,
    ended: bool,
}

impl Child {
    pub(super) fn spawn(words: &[OsString]) -> io::Result<Child> {
        let has_group = !io::stdin().is_terminal();
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments);
        if has_group {
            command.process_group(0);
        }
        let process = command.spawn()?;
        let pid = process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Ok(Child {
            process,
            pid,
            has_group,
            ended: false,
        })
    }

    /// Waits for its end; its status as a shell would tell it.
    pub(super) async fn wait(&mut self) -> u8 {
        let status = self.process.wait().await;
        self.ended = true;
        // A child of ours can be waited for, once.
        status.map_or(u8::MAX, code)
    }

    /// Passes on a signal that this program got.
    pub(super) fn pass_on(&self, signal: Signal) {
        let typed = matches!(signal, Signal::INT | Signal::QUIT);
        if self.has_group || !typed {
            self.send(signal);
        }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Ends what it started and did not wait for. The group's number is not given to anybody while one of it is left.
    pub(super) fn kill_rest(&self) {
        if let (true, Some(group)) = (self.has_group, self.pid) {
            // None left is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn send(&self, signal: Signal) {
        let Some(pid) = self.pid.filter(|_| !self.ended) else {
            return;
        };
        // One that is just ending does not mind.
        let _ = match self.has_group {
            true => kill_process_group(pid, signal),
            false => kill_process(pid, signal),
        };
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Signals that are passed on.
pub(super) struct Signals {
    streams: [(Signal, Stream); 6],
}

impl Signals {
    /// From now on they do not end this program.
    pub(super) fn new() -> io::Result<Signals> {
        let stream = |name, kind| Ok::<_, io::Error>((name, signal(kind)?));
        Ok(Signals {
            streams: [
                stream(Signal::INT, SignalKind::interrupt())?,
                stream(Signal::TERM, SignalKind::terminate())?,
                stream(Signal::HUP, SignalKind::hangup())?,
                stream(Signal::QUIT, SignalKind::quit())?,
                stream(Signal::USR1, SignalKind::user_defined1())?,
                stream(Signal::USR2, SignalKind::user_defined2())?,
            ],
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            for (name, stream) in &mut self.streams {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// The next one that asks for an end.
    pub(super) async fn request_to_end(&mut self) -> &'static str {
        loop {
            match self.next().await {
                Signal::INT => return "SIGINT",
                Signal::TERM => return "SIGTERM",
                _ => {}
            }
        }
    }
}
