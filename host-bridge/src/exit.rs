//! Exit statuses: what failed, for scripts that run this program.
//!
//! Answers for the numbers and their meaning, which do not change and are the shell's (`cohsh`) as far as they go.
//! Never decides what counts as a failure.

use client::{Error, Remedy};

/// The status of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// Something on this machine: no NVIDIA driver, no GPU, a file or a directory.
    Local = 1,
    /// The command line is not of its form.
    Usage = 2,
    /// No connection, a lost one, no answer in time, or a peer that is no hive.
    Connection = 3,
    /// No or a wrong auth token, a ticket that cannot work, or a refused attach.
    Authentication = 4,
    /// The hive refused the snapshot.
    Refused = 5,
    /// Done, but something of the registry was left out.
    Incomplete = 6,
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
        Exit::Incomplete,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "success",
            Exit::Local => "no NVIDIA driver or GPU here, or a local file failed",
            Exit::Usage => "wrong usage",
            Exit::Connection => "no connection, or it was lost or silent",
            Exit::Authentication => "auth token, ticket or attach not accepted",
            Exit::Refused => "the hive refused the snapshot",
            Exit::Incomplete => "done, but something of the registry was left out",
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
