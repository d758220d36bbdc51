//! What this program's exit statuses mean.
//!
//! Answers for the words. The numbers are every tool's: [`client::exit`].

use client::exit::Meanings;

/// In this program's words.
pub const MEANINGS: Meanings = Meanings {
    local: "no NVIDIA driver or GPU here, or a local file failed",
    usage: "wrong usage",
    refused: "the hive refused the snapshot",
    shortfall: "done, but something of the registry was left out",
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
