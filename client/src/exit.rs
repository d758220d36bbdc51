//! Exit statuses: what failed, for scripts that run a host tool.
//!
//! Answers for the numbers, which are the same in every tool and do not change, for the status of a session's error,
//! and for how `--help` lists them. Never decides what else counts as a failure: the tool does, and says in its own
//! words what its statuses mean.

use core::fmt;
use std::process::ExitCode;

use crate::error::{Error, Remedy};

/// The status that a tool's process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// Something on this machine: a file, a directory, a device.
    Local = 1,
    /// The command line, or what it names, is not of its form.
    Usage = 2,
    /// No connection, a lost one, no answer in time, or a peer that is no hive.
    Connection = 3,
    /// No or a wrong auth token, a ticket that cannot work, or a refused attach.
    Authentication = 4,
    /// Refused, by the hive or by a check made here on its behalf.
    Refused = 5,
    /// It was done and fell short: a check failed, or something was left out.
    Shortfall = 6,
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
        Exit::Shortfall,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status for an error of a session.
    pub const fn of(error: &Error) -> Exit {
        match error.remedy() {
            Remedy::Call => Exit::Usage,
            Remedy::Credentials => Exit::Authentication,
            Remedy::Connection => Exit::Connection,
            Remedy::Hive => Exit::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// What the statuses mean in a tool's own words, each a few; the others mean the same everywhere.
#[derive(Debug, Clone, Copy)]
pub struct Meanings {
    /// [`Exit::Local`]: what of this machine the tool needs.
    pub local: &'static str,
    /// [`Exit::Usage`]: what it reads.
    pub usage: &'static str,
    /// [`Exit::Refused`]: what may be refused.
    pub refused: &'static str,
    /// [`Exit::Shortfall`]: what may fall short.
    pub shortfall: &'static str,
}

impl Meanings {
    /// What `exit` means.
    pub const fn of(&self, exit: Exit) -> &'static str {
        match exit {
            Exit::Ok => "success",
            Exit::Local => self.local,
            Exit::Usage => self.usage,
            Exit::Connection => "no connection, or it was lost or silent",
            Exit::Authentication => "auth token, ticket or attach not accepted",
            Exit::Refused => self.refused,
            Exit::Shortfall => self.shortfall,
        }
    }

    /// The row about `exit` of the table in the tool's README.
    pub fn row(&self, exit: Exit) -> String {
        format!("| {} | {} |", exit.code(), self.of(exit))
    }
}

/// The text below `--help`. A width is that of the numbers: `{:3}` leaves room for three digits.
impl fmt::Display for Meanings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width().unwrap_or(1);
        f.write_str("Exit status:")?;
        Exit::ALL
            .into_iter()
            .try_for_each(|exit| write!(f, "\n  {:<width$}  {}", exit.code(), self.of(exit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEANINGS: Meanings = Meanings {
        local: "no disk",
        usage: "wrong usage",
        refused: "refused",
        shortfall: "less than all",
    };

    #[test]
    fn statuses_are_numbered_in_order() {
        for (n, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), n);
        }
    }

    #[test]
    fn help_lists_every_status() {
        let text = MEANINGS.to_string();
        assert!(
            text.starts_with("Exit status:\n  0  success\n  1  no disk\n"),
            "{text}"
        );
        assert!(text.ends_with("\n  6  less than all"), "{text}");
        assert!(format!("{MEANINGS:3}").contains("\n  6    less than all"));
        assert_eq!(MEANINGS.row(Exit::Local), "| 1 | no disk |");
    }
}
