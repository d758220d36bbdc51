//! What the shell's exit statuses mean.
//!
//! Answers for the words. The numbers are every tool's: [`client::exit`].

use client::exit::Meanings;

/// In the shell's words.
pub const MEANINGS: Meanings = Meanings {
    local: "a local file or the terminal failed",
    usage: "wrong usage, script or command syntax",
    refused: "a command was refused",
    shortfall: "an EXPECT or a check of `test` failed",
};

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
    }
}
