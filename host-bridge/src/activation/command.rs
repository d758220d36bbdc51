//! The operator's command for a model that became active.
//!
//! Answers for its argument and environment, for its time, and for nothing of it being left when it is ended: it has a
//! process group of its own. Its output goes to standard error. Never looks at what it does.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::receipts::State;
use crate::report::complain;

/// How long a command that was asked to end may take to.
const GRACE: Duration = Duration::from_secs(5);

/// A command to run.
#[derive(Debug)]
pub(super) struct Command {
    /// As the operator wrote it, for a shell.
    pub(super) line: String,
    pub(super) model_id: String,
    /// The model's directory.
    pub(super) path: PathBuf,
    pub(super) timeout: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Well, badly, too late, or stopped.
    pub state: State,
    /// Its status, if it ended by itself.
    pub exit_code: Option<i32>,
    /// How long it ran.
    pub duration_ms: u64,
}

impl Outcome {
    /// Whether the command did what it was for, as far as it says.
    pub fn is_ok(&self) -> bool {
        self.state == State::Ok
    }

    /// One that is only a state.
    pub(super) fn of(state: State) -> Self {
        Self {
            state,
            exit_code: None,
            duration_ms: 0,
        }
    }
}

impl Command {
    /// Runs it to its end, which comes by itself, with its time, or when `stop` says so.
    pub(super) async fn run(self, stop: oneshot::Receiver<()>) -> Outcome {
        let began = Instant::now();
        let spawned = tokio::process::Command::new("/bin/sh")
            // As git runs a hook's command: it may have arguments of its own, and gets the path as the last.
            .arg("-c")
            .arg(format!("{} \"$@\"", self.line))
            .arg(&self.line)
            .arg(&self.path)
            .env("COHESIX_MODEL_ID", &self.model_id)
            .env("COHESIX_MODEL_PATH", &self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::io::stderr()))
            .process_group(0)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(why) => {
                complain(&format!("cannot start /bin/sh for --on-activate: {why}"));
                return Outcome::of(State::Failed);
            }
        };
        let (state, exit_code) = tokio::select! {
            ended = child.wait() => match ended {
                Ok(status) if status.success() => (State::Ok, status.code()),
                Ok(status) => (State::Failed, status.code()),
                Err(_) => (State::Unknown, None),
            },
            () = tokio::time::sleep(self.timeout) => {
                end(&mut child).await;
                (State::Timeout, None)
            }
            Ok(()) = stop => {
                end(&mut child).await;
                (State::Stopped, None)
            }
        };
        Outcome {
            state,
            exit_code,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Ends a command and everything it started: politely, then not.
async fn end(child: &mut Child) {
    // Without an id it has been waited for.
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let Some(group) = group else { return };
    // That there is nobody to kill is what is wanted.
    let _ = kill_process_group(group, Signal::TERM);
    let _ = timeout(GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str, timeout_ms: u64) -> Command {
        Command {
            line: line.to_owned(),
            model_id: "m-1".to_owned(),
            path: PathBuf::from("/registry/available/m 1"),
            timeout: Duration::from_millis(timeout_ms),
        }
    }

    /// Runs a line to its end; a stop comes after `stop_ms`.
    async fn run(line: &str, timeout_ms: u64, stop_ms: u64) -> Outcome {
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(command(line, timeout_ms).run(stopped));
        let stopper = async {
            tokio::time::sleep(Duration::from_millis(stop_ms)).await;
            // It may have ended by itself.
            let _ = stop.send(());
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = running => outcome.unwrap(),
            () = stopper => unreachable!(),
        }
    }

    #[tokio::test]
    async fn the_command_is_told_what_became_active() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let line = format!(
            "f() {{ printf '%s|%s|%s|%s' \"$1\" \"$2\" \"$COHESIX_MODEL_ID\" \"$COHESIX_MODEL_PATH\" > '{}'; }}; f --flag",
            out.display()
        );
        let outcome = run(&line, 60_000, 60_000).await;
        assert_eq!((outcome.state, outcome.exit_code), (State::Ok, Some(0)));
        let told = std::fs::read_to_string(out).unwrap();
        assert_eq!(told, "--flag|/registry/available/m 1|m-1|/registry/available/m 1");
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let failed = run("exit 7 #", 60_000, 60_000).await;
        assert_eq!((failed.state, failed.exit_code), (State::Failed, Some(7)));
        let missing = run("/nonexistent/command", 60_000, 60_000).await;
        assert_eq!((missing.state, missing.exit_code), (State::Failed, Some(127)));
        let killed = run("kill -9 $$ #", 60_000, 60_000).await;
        assert_eq!((killed.state, killed.exit_code), (State::Failed, None));
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let line = format!("sleep 600 & echo $! > '{}'; wait #", pid.display());
        let late = run(&line, 300, 60_000).await;
        assert_eq!((late.state, late.exit_code), (State::Timeout, None));
        assert!(late.duration_ms >= 300 && late.duration_ms < 5000, "{late:?}");
        let child: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        // It is dead, or a zombie that init has not looked at yet.
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        let stopped = run("sleep 600 #", 60_000, 100).await;
        assert_eq!(stopped.state, State::Stopped);
    }
}
