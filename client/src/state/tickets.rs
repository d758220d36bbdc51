//! The secrets that tickets are made with, as a table by role.
//!
//! Answers for the form of `tickets.toml`, which is also the form of the `[[tickets]]` tables of a manifest:
//!
//! ```toml
//! [[tickets]]
//! role = "queen"
//! secret = "the secret, env:NAME or file:/abs/path"
//! ```
//!
//! Never mints or verifies a ticket (`protocol::ticket` does), and never reads other tables of the file.

use core::fmt;

use protocol::role::Role;
use serde::Deserialize;

use super::env::Environment;
use super::secret::{Secret, SecretError};

/// At most one secret a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketSecrets {
    by_role: Vec<(Role, Secret)>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    tickets: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    role: String,
    secret: Option<String>,
    // The public manifests' name for a reference.
    secret_ref: Option<String>,
}

impl TicketSecrets {
    /// No secret for any role.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the `[[tickets]]` tables of a TOML text. A role without a secret is left out.
    pub fn parse(text: &str, env: &Environment) -> Result<Self, TicketsError> {
        let file: File =
            toml::from_str(text).map_err(|e| TicketsError::Toml(e.to_string().trim_end().to_owned()))?;
        let mut secrets = Self::new();
        for entry in file.tickets {
            let Some(role) = Role::from_label(&entry.role) else {
                return Err(TicketsError::UnknownRole(entry.role));
            };
            let value = match (entry.secret, entry.secret_ref) {
                (Some(_), Some(_)) => return Err(TicketsError::TwoSecrets(role)),
                (value, reference) => value.or(reference),
            };
            let Some(value) = value else { continue };
            let secret = Secret::resolve(&value, env).map_err(|why| TicketsError::BadSecret { role, why })?;
            if secrets.secret(role).is_some() {
                return Err(TicketsError::TwoSecrets(role));
            }
            secrets.set(role, secret);
        }
        Ok(secrets)
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# Ticket secrets of this hive, written by it. Whoever reads them can make tickets.\n",
        );
        for (role, secret) in &self.by_role {
            // A secret is printable ASCII, so only these two need an escape in a TOML basic string.
            let escaped = secret.expose().replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!(
                "\n[[tickets]]\nrole = \"{role}\"\nsecret = \"{escaped}\"\n"
            ));
        }
        text
    }

    /// The secret of `role`.
    pub fn secret(&self, role: Role) -> Option<&Secret> {
        self.by_role
            .iter()
            .find(|(r, _)| *r == role)
            .map(|(_, secret)| secret)
    }

    /// Sets the secret of `role`, replacing an earlier one.
    pub fn set(&mut self, role: Role, secret: Secret) {
        self.by_role.retain(|(r, _)| *r != role);
        self.by_role.push((role, secret));
    }

    /// The roles that have a secret.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.by_role.iter().map(|(role, _)| *role)
    }
}

/// Why a text holds no table of ticket secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketsError {
    /// It is not TOML, or `[[tickets]]` is no list of tables with `role` and `secret`.
    Toml(String),
    /// A `role` that does not exist.
    UnknownRole(String),
    /// More than one secret for a role.
    TwoSecrets(Role),
    /// A secret that cannot be one.
    BadSecret {
        /// The role it is for.
        role: Role,
        /// What is wrong with it.
        why: SecretError,
    },
}

impl fmt::Display for TicketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(what) => write!(f, "[[tickets]] with role and secret expected: {what}"),
            Self::UnknownRole(role) => {
                write!(
                    f,
                    "role `{role}` is unknown; use queen, worker-heartbeat, -gpu, -bus or -lora"
                )
            }
            Self::TwoSecrets(role) => write!(f, "role {role} has more than one secret; keep one"),
            Self::BadSecret { role, why } => write!(f, "role {role}: {why}"),
        }
    }
}

impl std::error::Error for TicketsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<TicketSecrets, TicketsError> {
        TicketSecrets::parse(text, &Environment::of([("GPU", "from-env")]))
    }

    #[test]
    fn a_manifest_serves_as_well() {
        let secrets = parse(
            r#"
            schema = 1
            [console]
            sessions = 4
            [[tickets]]
            role = "queen"
            secret = "bootstrap"
            [[tickets]]
            role = "worker-gpu"
            secret_ref = "env:GPU"
            [[tickets]]
            role = "worker-bus"
            "#,
        )
        .unwrap();
        assert_eq!(secrets.secret(Role::Queen).map(Secret::expose), Some("bootstrap"));
        assert_eq!(
            secrets.secret(Role::WorkerGpu).map(Secret::expose),
            Some("from-env")
        );
        assert_eq!(secrets.secret(Role::WorkerBus), None);
        assert_eq!(parse("schema = 1").unwrap(), TicketSecrets::new());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (
                "[[tickets]]\nrole = \"king\"\nsecret = \"x\"",
                "`king` is unknown",
            ),
            (
                "[[tickets]]\nrole = \"queen\"\nsecret = \"a b\"",
                "role queen: byte 1",
            ),
            (
                "[[tickets]]\nrole = \"queen\"\nsecret = \"a\"\nsecret_ref = \"env:GPU\"",
                "more than one secret",
            ),
            (
                "[[tickets]]\nrole = \"worker\"\nsecret = \"a\"\n[[tickets]]\nrole = \"worker-heartbeat\"\nsecret = \"b\"",
                "more than one secret",
            ),
            ("[[tickets]]\nsecret = \"a\"", "missing field `role`"),
            ("tickets = 3", "expected"),
        ] {
            let err = parse(text).unwrap_err().to_string();
            assert!(err.contains(expected), "{text}: {err}");
        }
    }

    proptest! {
        #[test]
        fn rendered_secrets_are_read_back(texts in prop::collection::vec("[!-~]{1,251}", 5)) {
            let mut secrets = TicketSecrets::new();
            for (role, text) in Role::ALL.into_iter().zip(texts) {
                // Such values would be taken for references.
                prop_assume!(!text.starts_with("env:") && !text.starts_with("file:"));
                secrets.set(role, Secret::new(text).unwrap());
            }
            prop_assert_eq!(parse(&secrets.render()).unwrap(), secrets);
        }
    }
}
