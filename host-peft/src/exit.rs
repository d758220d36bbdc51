//! What `coh`'s exit statuses mean.
//!
//! Answers for the words, and for the three statuses that only `coh run` has. The others' numbers are every tool's:
//! [`client::exit`].

use client::exit::Meanings;

/// In `coh`'s words.
pub const MEANINGS: Meanings = Meanings {
    local: "a local file or directory failed",
    usage: "wrong usage",
    refused: "refused, by the hive or by a check made here",
    shortfall: "a check of `doctor` failed",
};

/// `coh run` itself failed, and the command was not started. Like `timeout(1)`, so that the numbers below are the
/// command's.
pub const RUN_FAILED: u8 = 125;
/// The command was found and cannot be run.
pub const RUN_NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
pub const RUN_NOT_FOUND: u8 = 127;

/// The text below `--help`.
pub fn statuses() -> String {
    format!(
        "{MEANINGS:3}\n`coh run` ends with the command's status (128 + N if signal N ended it), or with\n  \
         {RUN_FAILED}  coh failed before it started the command\n  \
         {RUN_NOT_EXECUTABLE}  the command cannot be run\n  \
         {RUN_NOT_FOUND}  there is no such command"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Exit;

    #[test]
    fn statuses_are_documented() {
        let readme = include_str!("../README.md");
        for row in Exit::ALL.map(|exit| MEANINGS.row(exit)) {
            assert!(readme.contains(&row), "README.md has no row {row}");
        }
        for status in [RUN_FAILED, RUN_NOT_EXECUTABLE, RUN_NOT_FOUND] {
            assert!(readme.contains(&format!("| {status} | `coh run`:")), "{status}");
        }
    }
}
