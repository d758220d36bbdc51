//! Why a line is no command.
//!
//! Answers for the words, and for the acknowledgement that a hive would have given: scripts expect `ERR` for what this
//! shell refuses by itself as well.

use core::fmt;

use protocol::path::PathError;

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// No such verb.
    UnknownVerb(String),
    /// Arguments are missing, too many, or not of their form.
    Usage {
        /// What is wrong.
        what: String,
        /// The right form.
        usage: &'static str,
    },
    /// A path that no hive has.
    Path {
        /// The verb of the console that would have been sent.
        verb: &'static str,
        /// The path.
        path: String,
        /// What is wrong with it.
        why: PathError,
    },
}

impl CommandError {
    /// What a hive would have answered.
    pub fn response(&self) -> String {
        match self {
            Self::UnknownVerb(_) => "ERR PARSE reason=policy detail=unsupported console command".to_owned(),
            Self::Usage { what, .. } => format!("ERR PARSE reason=policy detail={what}"),
            Self::Path { verb, path, .. } => {
                format!("ERR {verb} reason=policy detail=invalid-path path={path} error=invalid path")
            }
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVerb(verb) => write!(f, "no command `{verb}`; type help for those there are"),
            Self::Usage { what, usage } => write!(f, "{what}; usage: {usage}"),
            Self::Path { path, why, .. } => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for CommandError {}
