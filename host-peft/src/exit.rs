//! Exit statuses: what failed, for scripts that run this program.
//!
//! Answers for the numbers and their meaning, which do not change and are the shell's (`cohsh`) as far as they go.
//! Never decides what counts as a failure.

use client::{Error, Remedy};

/// The status of the process, for every command but `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// Something on this machine: a file or a directory.
    Local = 1,
    /// The command line is not of its form.
    Usage = 2,
    /// No connection, a lost one, no answer in time, or a peer that is no hive.
    Connection = 3,
    /// No or a wrong auth token, a ticket that cannot work, or a refused attach.
    Authentication = 4,
    /// The hive said no, or a check made here did: no such model, a broken adapter, no lease.
    Refused = 5,
    /// A check of `doctor` failed.
    Check = 6,
}

/// `coh run` itself failed, and the command was not started. Like `timeout(1)`, so that the numbers below are the
/// command's.
pub const RUN_FAILED: u8 = 125;
/// The command was found and cannot be run.
pub const RUN_NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
pub const RUN_NOT_FOUND: u8 = 127;

impl Exit {
    /// Every status.
    pub const ALL: [Exit; 7] = [
        Exit::Ok,
        Exit::Local,
        Exit::Usage,
        Exit::Connection,
        Exit::Authentication,
        Exit::Refused,
        Exit::Check,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "success",
            Exit::Local => "a local file or directory failed",
            Exit::Usage => "wrong usage",
            Exit::Connection => "no connection, or it was lost or silent",
            Exit::Authentication => "auth token, ticket or attach not accepted",
            Exit::Refused => "refused, by the hive or by a check made here",
            Exit::Check => "a check of `doctor` failed",
        }
    }

    /// The status for an error of the client library.
    pub fn of(error: &Error) -> Exit {
        match error.remedy() {
            Remedy::Call => Exit::Usage,
            Remedy::Credentials => Exit::Authentication,
            Remedy::Connection => Exit::Connection,
            Remedy::Hive => Exit::Refused,
        }
    }
}

/// The text below `--help`.
pub fn statuses() -> String {
    let mut text = String::from("Exit status:");
    for exit in Exit::ALL {
        text.push_str(&format!("\n  {:<3}  {}", exit.code(), exit.meaning()));
    }
    text.push_str(&format!(
        "\n`coh run` ends with the command's status (128 + N if signal N ended it), or with\n  \
         {RUN_FAILED}  coh failed before it started the command\n  \
         {RUN_NOT_EXECUTABLE}  the command cannot be run\n  \
         {RUN_NOT_FOUND}  there is no such command"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbered_in_order_and_documented() {
        let readme = include_str!("../README.md");
        for (i, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), i);
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(readme.contains(&row), "README.md has no row {row}");
        }
        for status in [RUN_FAILED, RUN_NOT_EXECUTABLE, RUN_NOT_FOUND] {
            assert!(readme.contains(&format!("| {status} | `coh run`:")), "{status}");
        }
    }
}
