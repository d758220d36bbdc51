//! Completion: what could come next on an unfinished line.
//!
//! Answers for which words, remote paths or local files fit where the cursor is. Never asks a hive itself: it says what
//! to ask for.

use protocol::lifecycle;
use protocol::role::Role;

/// The verbs, in the order shown.
pub const VERBS: [&str; 21] = [
    "attach",
    "bind",
    "cat",
    "detach",
    "echo",
    "help",
    "kill",
    "lifecycle",
    "log",
    "login",
    "ls",
    "mount",
    "ping",
    "pool",
    "quit",
    "raw",
    "spawn",
    "tail",
    "tcp-diag",
    "telemetry",
    "test",
];

/// What fits at the end of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidates {
    /// One of these words.
    Words(Vec<&'static str>),
    /// A name in this directory of the hive.
    Remote {
        /// The directory.
        dir: String,
    },
    /// A file of this machine.
    Local,
    /// Nothing known.
    None,
}

/// Looks at the line up to the cursor. Gives the candidates, and where the part that they replace begins.
pub fn candidates(line: &str) -> (usize, Candidates) {
    let start = line.rfind([' ', '\t', '>', '"', '\'']).map_or(0, |at| at + 1);
    let (before, word) = line.split_at(start);
    let words: Vec<&str> = before.split_whitespace().collect();
    let Some((verb, arguments)) = words.split_first() else {
        return (start, Candidates::Words(VERBS.into()));
    };
    let is_path = word.starts_with('/');
    match (*verb, arguments.len()) {
        ("attach" | "login", 0) => (start, Candidates::Words(Role::ALL.map(Role::label).into())),
        ("lifecycle", 0) => (
            start,
            Candidates::Words(lifecycle::Command::ALL.map(lifecycle::Command::label).into()),
        ),
        ("spawn", 0) => (start, Candidates::Words(vec!["gpu", "heartbeat"])),
        ("spawn", _) if arguments.first() == Some(&"gpu") => {
            let keys = [
                "gpu_id=",
                "mem_mb=",
                "streams=",
                "ttl_s=",
                "priority=",
                "budget_ttl_s=",
                "budget_ops=",
            ];
            (start, Candidates::Words(keys.into()))
        }
        ("spawn", _) => (start, Candidates::Words(vec!["ticks=", "ttl_s=", "ops="])),
        ("test", _) => (
            start,
            Candidates::Words(vec!["--json", "--mode", "--timeout", "full", "quick"]),
        ),
        ("telemetry", 0) => (start, Candidates::Words(vec!["push"])),
        ("telemetry", 1) => (start, Candidates::Local),
        ("telemetry", 2) => (start, Candidates::Words(vec!["--device"])),
        ("pool", 0) => (start, Candidates::Words(vec!["bench"])),
        ("cat", 1) => (start, Candidates::Words(vec!["--out"])),
        ("cat", 2) => (start, Candidates::Local),
        ("kill", 0) => (
            start,
            Candidates::Remote {
                dir: "/worker".to_owned(),
            },
        ),
        ("ls" | "cat" | "tail", 0) | ("bind", 0 | 1) | ("mount", 1) if is_path => remote(start, word),
        ("echo", _) if is_path && before.contains('>') => remote(start, word),
        _ => (start, Candidates::None),
    }
}

/// Splits an unfinished path: the names of its directory fit behind the last slash.
fn remote(start: usize, word: &str) -> (usize, Candidates) {
    let slash = word.rfind('/').unwrap_or(0);
    let dir = if slash == 0 { "/" } else { &word[..slash] };
    (start + slash + 1, Candidates::Remote { dir: dir.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote_of(dir: &str) -> Candidates {
        Candidates::Remote { dir: dir.to_owned() }
    }

    #[test]
    fn what_fits_where() {
        for (line, start, expected) in [
            ("ls /", 4, remote_of("/")),
            ("ls /pr", 4, remote_of("/")),
            ("cat /proc/bo", 10, remote_of("/proc")),
            ("tail /shard/13/worker/", 22, remote_of("/shard/13/worker")),
            ("echo a b > /lo", 12, remote_of("/")),
            ("echo a>/lo", 8, remote_of("/")),
            ("echo /lo", 5, Candidates::None),
            ("bind /a /b", 9, remote_of("/")),
            ("bind \"/a", 7, remote_of("/")),
            ("mount logs /", 12, remote_of("/")),
            ("kill wor", 5, remote_of("/worker")),
            ("ls pr", 3, Candidates::None),
            ("telemetry push ", 15, Candidates::Local),
            ("cat /x --out ", 13, Candidates::Local),
            (
                "lifecycle c",
                10,
                Candidates::Words(vec!["cordon", "drain", "resume", "quiesce", "reset"]),
            ),
            (
                "spawn heartbeat ti",
                16,
                Candidates::Words(vec!["ticks=", "ttl_s=", "ops="]),
            ),
            ("ping ", 5, Candidates::None),
        ] {
            assert_eq!(candidates(line), (start, expected), "{line}");
        }
        let (start, Candidates::Words(words)) = candidates("te") else {
            panic!("verbs")
        };
        assert_eq!(start, 0);
        assert!(words.contains(&"test") && words.contains(&"telemetry"));
    }

    proptest::proptest! {
        #[test]
        fn the_start_is_within_any_line(line in "(ls|echo|bind|kill|cat)?[ />\"'\\PC]{0,20}") {
            let (start, _) = candidates(&line);
            proptest::prop_assert!(line.is_char_boundary(start));
        }
    }
}
