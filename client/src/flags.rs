//! What a tool's flags say about the hive to connect to.
//!
//! Answers for making a [`Target`] of them, with the credentials found in the same places whatever the tool. Never
//! connects, and never keeps a token: the target has it.

use core::fmt;
use std::path::Path;

use protocol::role::Role;

use crate::state::{Environment, Secret, SecretError, StateDir, TokenError, find_auth_token};
use crate::target::Target;

/// Where to connect to, as whom, and what was said of the credentials.
#[derive(Debug, Clone, Copy)]
pub struct Flags<'a> {
    /// `--tcp-host`
    pub host: &'a str,
    /// `--tcp-port`
    pub port: u16,
    /// `--role`
    pub role: Role,
    /// `--ticket`: the token, or where it is.
    pub ticket: Option<&'a str>,
    /// `--auth-token`: the token, or where it is; else it is looked for ([`find_auth_token`]).
    pub auth_token: Option<&'a str>,
    /// `--state`: the directory to look in; else the user's.
    pub state: Option<&'a Path>,
}

impl Flags<'_> {
    /// What they and the environment mean.
    pub fn target(&self, env: &Environment) -> Result<Target, FlagsError> {
        // Without a home there may still be a token in a flag or a variable.
        let state = StateDir::locate(self.state, env).ok();
        let found = find_auth_token(self.auth_token, env, state.as_ref()).map_err(FlagsError::Token)?;
        let ticket = self
            .ticket
            .map(|text| Secret::resolve(text, env))
            .transpose()
            .map_err(FlagsError::Ticket)?;
        Ok(Target {
            host: self.host.to_owned(),
            port: self.port,
            auth_token: found.token,
            role: self.role,
            ticket: ticket.map(|ticket| ticket.expose().to_owned()),
        })
    }
}

/// Why there are no credentials to connect with.
#[derive(Debug)]
pub enum FlagsError {
    /// No auth token, or one that cannot be used.
    Token(TokenError),
    /// The ticket is not where the flag says.
    Ticket(SecretError),
}

impl fmt::Display for FlagsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(why) => write!(f, "{why}"),
            Self::Ticket(why) => write!(f, "the ticket is unusable: {why}"),
        }
    }
}

impl std::error::Error for FlagsError {}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: Flags<'_> = Flags {
        host: "h",
        port: 4,
        role: Role::WorkerGpu,
        ticket: Some("env:TICKET"),
        auth_token: None,
        state: None,
    };

    #[test]
    fn token_and_ticket_are_found_without_a_home() {
        let env = Environment::of([("COHSH_AUTH_TOKEN", "token"), ("TICKET", "ticket")]);
        let target = FLAGS.target(&env).unwrap();
        assert_eq!((target.host.as_str(), target.port), ("h", 4));
        assert_eq!(
            (target.role, target.ticket.as_deref()),
            (Role::WorkerGpu, Some("ticket"))
        );
        assert_eq!(target.auth_token.expose(), "token");
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = FLAGS.target(&Environment::empty()).unwrap_err().to_string();
        assert!(why.contains("--auth-token"), "{why}");
        let env = Environment::of([("COH_AUTH_TOKEN", "token")]);
        let why = FLAGS.target(&env).unwrap_err().to_string();
        assert!(why.starts_with("the ticket is unusable: "), "{why}");
        assert!(why.contains("TICKET"), "{why}");
    }
}
