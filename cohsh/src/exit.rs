//! Exit statuses: what failed, for scripts that run this shell.
//!
//! Answers for the numbers and their meaning, which do not change. Never decides what counts as a failure.

use client::{Error, Remedy};

/// The status of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// Something on this machine: a file that cannot be read or written.
    Local = 1,
    /// The command line, a script or a command is not of its form.
    Usage = 2,
    /// No connection, a lost one, no answer in time, or a peer that is no hive.
    Connection = 3,
    /// No or a wrong auth token, a ticket that cannot work, or a refused attach.
    Authentication = 4,
    /// A command was refused, by the hive or by a check made here on its behalf.
    Refused = 5,
    /// An `EXPECT` did not hold, or a check of `test` failed.
    Expectation = 6,
}

impl Exit {
    /// Every status.
    pub const ALL: [Exit; 7] = [
        Exit::Ok,
        Exit::Local,
        Exit::Usage,
        Exit::Connection,
        Exit::Authentication,
        Exit::Refused,
        Exit::Expectation,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "success",
            Exit::Local => "a local file or the terminal failed",
            Exit::Usage => "wrong usage, script or command syntax",
            Exit::Connection => "no connection, or it was lost or silent",
            Exit::Authentication => "auth token, ticket or attach not accepted",
            Exit::Refused => "a command was refused",
            Exit::Expectation => "an EXPECT or a check of `test` failed",
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
    }
}
