//! The `data=` preview in the ack of CAT (WIRE 1.7, CONTROL 1).
//!
//! Answers for choosing its lines in one pass over a file: the newest that fit, in file order, lines
//! that begin with `[` only if there are no others. It never holds more than 128 bytes of each kind.

use core::fmt;

use crate::limits::{CAT_DETAIL_BYTES, SUMMARY_LINE_BYTES};

/// A preview being collected.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Bytes the preview may have, so that `path=<p> data=<preview>` fits 128.
    budget: usize,
    plain: Newest,
    bracketed: Newest,
    /// The beginning of the newest line that was not blank, for files of long lines only.
    last: Newest,
    /// The beginning of the first line, if that is a `b64:` line.
    first: Option<Newest>,
    empty: bool,
}

impl Summary {
    /// An empty preview for a file whose path has `path_bytes` bytes.
    pub fn new(path_bytes: usize) -> Summary {
        let budget = CAT_DETAIL_BYTES.saturating_sub("path= data=".len() + path_bytes);
        let none = Newest::new();
        Summary {
            budget,
            plain: none.clone(),
            bracketed: none.clone(),
            last: none,
            first: None,
            empty: true,
        }
    }

    /// Takes the next line of the file.
    pub fn push(&mut self, line: &str) {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            return;
        }
        let beginning = line
            .get(..line.floor_char_boundary(self.budget))
            .unwrap_or_default();
        if self.empty && line.starts_with(crate::b64::PREFIX) {
            let mut first = Newest::new();
            first.push(beginning, self.budget);
            self.first = Some(first);
        }
        self.empty = false;
        self.last.clear();
        self.last.push(beginning, self.budget);
        if line.len() <= SUMMARY_LINE_BYTES {
            let kind = if line.starts_with('[') {
                &mut self.bracketed
            } else {
                &mut self.plain
            };
            kind.push(line, self.budget);
        }
    }

    /// The preview so far.
    pub fn as_str(&self) -> &str {
        if let Some(first) = &self.first {
            return first.as_str();
        }
        let kinds = [&self.plain, &self.bracketed];
        kinds
            .into_iter()
            .map(Newest::as_str)
            .find(|text| !text.is_empty())
            .unwrap_or(self.last.as_str())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The newest lines that fit, joined with `|`.
#[derive(Clone, Debug)]
struct Newest {
    text: heapless::String<CAT_DETAIL_BYTES>,
    /// Bytes of each line in `text`, so that a `|` of the file's own is not taken for a joint.
    lines: heapless::Deque<usize, CAT_DETAIL_BYTES>,
}

impl Newest {
    fn new() -> Newest {
        Newest {
            text: heapless::String::new(),
            lines: heapless::Deque::new(),
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    fn as_str(&self) -> &str {
        &self.text
    }

    /// Appends `line`, dropping the oldest lines until it fits. A line that does not fit at all ends
    /// the run: what is older than it is not newest.
    fn push(&mut self, line: &str, budget: usize) {
        if line.len() > budget {
            return self.clear();
        }
        while !self.text.is_empty() && self.text.len() + 1 + line.len() > budget {
            let oldest = self.lines.pop_front().unwrap_or(self.text.len());
            let mut kept = heapless::String::new();
            // A part of a string fits where all of it did.
            let _ = kept.push_str(self.text.get(oldest + 1..).unwrap_or_default());
            self.text = kept;
        }
        // The loop has made room for the line and its joint.
        if !self.text.is_empty() {
            let _ = self.text.push('|');
        }
        let _ = self.text.push_str(line);
        let _ = self.lines.push_back(line.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn summary(path: &str, lines: &[&str]) -> String {
        let mut summary = Summary::new(path.len());
        lines.iter().for_each(|line| summary.push(line));
        summary.as_str().into()
    }

    #[test]
    fn the_examples_of_wire() {
        let log = "/log/queen.log";
        assert_eq!(
            summary(log, &["batch-1", "batch-2", "batch-3"]),
            "batch-1|batch-2|batch-3"
        );
        assert_eq!(
            summary("/proc/lifecycle/state", &["state=ONLINE"]),
            "state=ONLINE"
        );
        assert_eq!(summary(log, &[]), "");
        assert_eq!(summary(log, &["", " ", "\r"]), "");
        assert_eq!(summary(log, &["[INFO a] x", "hello", "[INFO a] y"]), "hello");
        assert_eq!(summary(log, &["[a] x", "", "[a] y\r"]), "[a] x|[a] y");
    }

    #[test]
    fn the_newest_lines_are_kept_whole() {
        let lines: Vec<String> = (0..100).map(|i| std::format!("line-{i}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let got = summary("/log/queen.log", &lines);
        assert!(
            got.ends_with("|line-98|line-99") && got.starts_with("line-8"),
            "{got}"
        );
        assert!(got.len() <= 128 - "path=/log/queen.log data=".len());
    }

    #[test]
    fn long_lines_are_skipped_and_cut_only_when_alone() {
        let long = "x".repeat(65);
        assert_eq!(summary("/a", &["short", &long]), "short");
        assert_eq!(summary("/a", &[&long]), long);
        let lease = String::from("{\"schema\":") + &"ä".repeat(100);
        let cut = summary("/gpu/GPU-0/lease", &[&lease]);
        assert!(
            cut.len() <= 128 && cut.len() > 95 && lease.starts_with(&cut),
            "{cut}"
        );
    }

    #[test]
    fn a_path_that_leaves_little_room() {
        let path = "x".repeat(96);
        assert_eq!(
            summary(&path, &["0123456789", "abcdefghij"]),
            "0123456789|abcdefghij"
        );
        assert_eq!(summary(&path, &["0123456789", "abcdefghijk"]), "abcdefghijk");
        assert_eq!(
            summary(&path, &["old", "abcdefghijklmnopqrstuvwxyz"]),
            "abcdefghijklmnopqrstu"
        );
        assert_eq!(summary(&"x".repeat(200), &["a"]), "");
    }

    #[test]
    fn bars_of_the_file_are_not_joints() {
        let path = "x".repeat(96);
        assert_eq!(
            summary(&path, &["a|b", "0123456789", "abcdefghij"]),
            "0123456789|abcdefghij"
        );
    }

    #[test]
    fn a_file_of_base64_shows_its_first_line() {
        assert_eq!(
            summary("/updates/1/manifest.cbor", &["b64:AAAA", "b64:BBBB"]),
            "b64:AAAA"
        );
    }

    proptest! {
        #[test]
        fn it_fits_and_is_made_of_the_file(lines in proptest::collection::vec("\\PC{0,80}", 0..20), path in 1usize..97) {
            let mut summary = Summary::new(path);
            lines.iter().for_each(|line| summary.push(line));
            let got = summary.as_str();
            prop_assert!("path= data=".len() + path + got.len() <= CAT_DETAIL_BYTES);
            let whole = lines.iter().any(|line| line.starts_with(got.split('|').next().unwrap_or_default()));
            prop_assert!(got.is_empty() || whole);
        }
    }
}
