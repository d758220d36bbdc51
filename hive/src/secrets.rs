//! The auth token and the ticket secrets a hive starts with.
//!
//! Answers for where each comes from, for generating what is missing into the state directory, and for refusing
//! placeholders on an address that others can reach (docs/decisions/0003).
//!
//! Never logs a secret, never writes one anywhere but into the state directory.

use std::fmt;
use std::net::SocketAddr;

use client::state::{Environment, Secret, SecretError, StateDir, StateError, TicketSecrets};
use protocol::hex::Hex;
use protocol::role::Role;
use protocol::secret::is_placeholder;

use crate::manifest::Manifest;

/// What the console and the door are given.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Expected after `AUTH `.
    pub auth_token: Secret,
    /// One per role that the manifest lists.
    pub tickets: TicketSecrets,
}

/// Why a hive cannot start with these secrets.
#[derive(Debug)]
pub enum SecretsError {
    /// The state directory cannot be used.
    State(StateError),
    /// A value is no secret.
    Value(&'static str, SecretError),
    /// A placeholder, and the listener is not on loopback.
    Placeholder(SocketAddr),
    /// The manifest names a role that does not exist.
    Role(String),
    /// The operating system gave no random bytes.
    Entropy(getrandom::Error),
}

impl fmt::Display for SecretsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(error) => write!(f, "{error}"),
            Self::Value(what, error) => write!(f, "{what}: {error}"),
            Self::Placeholder(addr) => write!(
                f,
                "the auth token is a placeholder that everybody knows, and {addr} is not a loopback address: \
                 give another --auth-token, or none to have one generated"
            ),
            Self::Role(role) => {
                let known = Role::ALL.map(Role::label).join(", ");
                write!(
                    f,
                    "manifest: [[tickets]] role = {role:?} is not known; the roles are {known}"
                )
            }
            Self::Entropy(error) => write!(f, "no random bytes from the operating system: {error}"),
        }
    }
}

impl std::error::Error for SecretsError {}

impl From<StateError> for SecretsError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl Secrets {
    /// Gathers the secrets of a hive that listens on `listen`. `token` is the operator's flag or variable.
    pub fn gather(
        manifest: &Manifest,
        state: &StateDir,
        token: Option<&str>,
        listen: SocketAddr,
    ) -> Result<Self, SecretsError> {
        let auth_token = match token {
            Some(value) => Secret::resolve(value, &Environment::process())
                .map_err(|error| SecretsError::Value("--auth-token", error))?,
            None => {
                let fresh = generate()?;
                state.auth_token_or_create(|| fresh)?
            }
        };
        if is_placeholder(auth_token.expose()) && !listen.ip().is_loopback() {
            return Err(SecretsError::Placeholder(listen));
        }
        let tickets = tickets(manifest, state, listen)?;
        Ok(Self { auth_token, tickets })
    }
}

/// The manifest's secret where it may count, else the one an earlier start generated, else a new one. What is in
/// force is written down, so that the tools of the same user mint tickets that this hive accepts.
fn tickets(manifest: &Manifest, state: &StateDir, listen: SocketAddr) -> Result<TicketSecrets, SecretsError> {
    let earlier = state.tickets()?.unwrap_or_default();
    let allowed = |secret: &str| listen.ip().is_loopback() || !is_placeholder(secret);
    let mut tickets = TicketSecrets::new();
    for entry in &manifest.tickets {
        let role = Role::from_label(&entry.role).ok_or_else(|| SecretsError::Role(entry.role.clone()))?;
        let named = entry.secret.as_deref().filter(|secret| allowed(secret));
        let secret = match (named, earlier.secret(role)) {
            (Some(named), _) => {
                Secret::new(named).map_err(|error| SecretsError::Value("[[tickets]] secret", error))?
            }
            (None, Some(earlier)) if allowed(earlier.expose()) => earlier.clone(),
            (None, _) => generate()?,
        };
        tickets.set(role, secret);
    }
    state.write_tickets(&tickets)?;
    Ok(tickets)
}

/// 32 hexadecimal digits: 128 bits of entropy.
fn generate() -> Result<Secret, SecretsError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(SecretsError::Entropy)?;
    Secret::new(Hex(&bytes).to_string()).map_err(|error| SecretsError::Value("generated", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    const LOOPBACK: &str = "127.0.0.1:31337";
    const OPEN: &str = "0.0.0.0:31337";

    fn gather(state: &StateDir, token: Option<&str>, listen: &str) -> Result<Secrets, SecretsError> {
        Secrets::gather(
            &Manifest::parse(manifest::DEFAULT).unwrap(),
            state,
            token,
            listen.parse().unwrap(),
        )
    }

    #[test]
    fn a_generated_token_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        let first = gather(&state, None, LOOPBACK).unwrap();
        let second = gather(&state, None, OPEN).unwrap();
        assert_eq!(first.auth_token, second.auth_token);
        assert_eq!(first.auth_token.expose().len(), 32);
    }

    #[test]
    fn placeholders_count_only_on_loopback() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        assert!(gather(&state, Some("changeme"), LOOPBACK).is_ok());
        let refused = gather(&state, Some("changeme"), OPEN).unwrap_err();
        assert!(refused.to_string().contains("--auth-token"), "{refused}");
        let local = gather(&state, Some("fine-token"), LOOPBACK).unwrap();
        assert_eq!(local.tickets.secret(Role::Queen).unwrap().expose(), "bootstrap");
        let open = gather(&state, Some("fine-token"), OPEN).unwrap();
        let secret = open.tickets.secret(Role::Queen).unwrap().clone();
        assert_eq!(secret.expose().len(), 32);
        let again = gather(&state, Some("fine-token"), OPEN).unwrap();
        assert_eq!(
            again.tickets.secret(Role::Queen),
            Some(&secret),
            "a generated secret is kept"
        );
    }
}
