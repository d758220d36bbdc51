//! Which auth token a tool uses, and where it came from.
//!
//! Answers for the order in which the token is looked for. Never guesses: with no token anywhere the answer is an
//! error that names every place, and a source that is there but unusable ends the search.

use core::fmt;
use std::path::PathBuf;

use super::dir::{StateDir, StateError};
use super::env::Environment;
use super::secret::{Secret, SecretError};

/// Environment variables with the auth token, in the order they are tried.
pub const TOKEN_VARIABLES: [&str; 2] = ["COH_AUTH_TOKEN", "COHSH_AUTH_TOKEN"];

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// The tool's `--auth-token` flag.
    Flag,
    /// An environment variable.
    Variable(&'static str),
    /// The file in the state directory.
    File(PathBuf),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--auth-token"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A token and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundToken {
    /// The token.
    pub token: Secret,
    /// Its source, for messages.
    pub source: TokenSource,
}

/// Finds the auth token: the flag, then [`TOKEN_VARIABLES`], then the state directory. The first source that exists
/// decides; the values of flag and variables may be `env:` or `file:` references.
pub fn find_auth_token(
    flag: Option<&str>,
    env: &Environment,
    state: Option<&StateDir>,
) -> Result<FoundToken, TokenError> {
    if let Some(value) = flag {
        return resolved(value, env, TokenSource::Flag);
    }
    for name in TOKEN_VARIABLES {
        if let Some(value) = env.var(name) {
            return resolved(&value, env, TokenSource::Variable(name));
        }
    }
    let Some(state) = state else {
        return Err(TokenError::Missing { looked_in: None });
    };
    let path = state.auth_token_path();
    match state.auth_token().map_err(TokenError::State)? {
        Some(token) => Ok(FoundToken {
            token,
            source: TokenSource::File(path),
        }),
        None => Err(TokenError::Missing {
            looked_in: Some(path),
        }),
    }
}

fn resolved(value: &str, env: &Environment, source: TokenSource) -> Result<FoundToken, TokenError> {
    match Secret::resolve(value, env) {
        Ok(token) => Ok(FoundToken { token, source }),
        Err(why) => Err(TokenError::Unusable { source, why }),
    }
}

/// Why there is no auth token to use.
#[derive(Debug)]
pub enum TokenError {
    /// No source has one.
    Missing {
        /// The file that was looked for last; none if there was no state directory to look in.
        looked_in: Option<PathBuf>,
    },
    /// A source has something that is no token.
    Unusable {
        /// The source.
        source: TokenSource,
        /// What is wrong with its value.
        why: SecretError,
    },
    /// The state directory has a token file that cannot be used.
    State(StateError),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { looked_in } => {
                f.write_str("no auth token: give --auth-token, set COH_AUTH_TOKEN")?;
                match looked_in {
                    Some(path) => write!(f, ", or run as the user whose hive wrote {}", path.display()),
                    None => f.write_str(", or name the hive's state directory"),
                }
            }
            Self::Unusable { source, why } => write!(f, "the auth token from {source} is unusable: {why}"),
            Self::State(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flag: Option<&str>, env: &Environment, state: &StateDir) -> (String, TokenSource) {
        let found = find_auth_token(flag, env, Some(state)).unwrap();
        (found.token.expose().to_owned(), found.source)
    }

    #[test]
    fn flag_then_variables_then_the_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        state
            .write_auth_token(&Secret::new("from-state").unwrap())
            .unwrap();
        let both = Environment::of([("COH_AUTH_TOKEN", "first"), ("COHSH_AUTH_TOKEN", "second")]);
        let second = Environment::of([
            ("COH_AUTH_TOKEN", ""),
            ("COHSH_AUTH_TOKEN", "env:REAL"),
            ("REAL", "third"),
        ]);

        assert_eq!(
            found(Some("flag"), &both, &state),
            ("flag".into(), TokenSource::Flag)
        );
        assert_eq!(
            found(None, &both, &state),
            ("first".into(), TokenSource::Variable("COH_AUTH_TOKEN"))
        );
        assert_eq!(
            found(None, &second, &state),
            ("third".into(), TokenSource::Variable("COHSH_AUTH_TOKEN"))
        );
        let file = TokenSource::File(state.auth_token_path());
        assert_eq!(
            found(None, &Environment::empty(), &state),
            ("from-state".into(), file)
        );
    }

    #[test]
    fn a_source_that_is_there_but_unusable_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        state
            .write_auth_token(&Secret::new("from-state").unwrap())
            .unwrap();
        let err = find_auth_token(Some("env:NOPE"), &Environment::empty(), Some(&state)).unwrap_err();
        assert!(err.to_string().contains("--auth-token"), "{err}");
        assert!(err.to_string().contains("NOPE is not set"), "{err}");
    }

    #[test]
    fn with_none_the_message_names_every_place() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let err = find_auth_token(None, &Environment::empty(), Some(&state))
            .unwrap_err()
            .to_string();
        for part in ["--auth-token", "COH_AUTH_TOKEN", "auth-token"] {
            assert!(err.contains(part), "{err}");
        }
    }
}
