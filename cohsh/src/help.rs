//! `help`: the commands there are.
//!
//! Answers for the text. Never sends anything: `raw help` asks the hive for its own.

use crate::command::usage;
use crate::outcome::Outcome;

/// Usage and meaning of every command, in the order shown.
pub const COMMANDS: [(&str, &str); 20] = [
    ("help", "this list"),
    (usage::ATTACH, "open a session (alias: login)"),
    ("detach", "end the session, stay in the shell"),
    (usage::LS, "list a directory"),
    (usage::CAT, "read a file; --out saves it, binary files decoded"),
    (usage::TAIL, "the last lines of a log or a telemetry file"),
    ("log", "the last lines of /log/queen.log"),
    (usage::ECHO, "append a line to a file"),
    (usage::SPAWN, "spawn a worker"),
    (usage::KILL, "end a worker"),
    (usage::BIND, "show a subtree in another place, for this session"),
    (usage::MOUNT, "show a service's files, for this session"),
    (usage::LIFECYCLE, "change the node's lifecycle state"),
    ("ping", "whether the hive answers"),
    (usage::TEST, "run the hive's own test scripts"),
    (usage::TCP_DIAG, "whether a TCP connection can be made"),
    (usage::TELEMETRY, "append a text file to a device's telemetry"),
    (usage::POOL, "measure writes over several sessions"),
    (usage::RAW, "send a console line as it is"),
    ("quit", "end the session and the shell"),
];

/// The list, for standard output.
pub(crate) fn outcome() -> Outcome {
    let mut outcome = Outcome::new();
    outcome.say("Commands:");
    for (usage, meaning) in COMMANDS {
        outcome.say(format!("  {usage}"));
        outcome.say(format!("      {meaning}"));
    }
    outcome.response = Some("OK HELP".to_owned());
    outcome
}
