//! Authentication tokens and ticket secrets that everybody knows.
//!
//! Answers for what may be a token at all and for the list of placeholders that only a listener on
//! loopback may use. It never stores a secret.

use core::fmt;

use crate::limits::AUTH_TOKEN_BYTES;
use crate::role::Role;

/// Tokens and secrets found in examples and defaults; public clients refuse to send them.
pub const PLACEHOLDERS: [&str; 13] = [
    "changeme",
    "bootstrap",
    "worker",
    "worker-gpu",
    "worker-bus",
    "worker-lora",
    "password",
    "secret",
    "default",
    "placeholder",
    "replace-me",
    "your-token",
    "your-token-here",
];

/// Why a token cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It has no characters.
    Empty,
    /// `AUTH <token>` would not fit a pre-auth frame.
    TooLong,
    /// It has a character that is not visible ASCII.
    Malformed,
}

/// Checks that `token` can be sent as `AUTH <token>` and read back unchanged.
pub fn check_auth_token(token: &str) -> Result<(), TokenError> {
    match token {
        "" => Err(TokenError::Empty),
        _ if token.len() > AUTH_TOKEN_BYTES => Err(TokenError::TooLong),
        _ if !token.bytes().all(|b| b.is_ascii_graphic()) => Err(TokenError::Malformed),
        _ => Ok(()),
    }
}

/// Whether `secret` is one that everybody knows, in any letter case.
pub fn is_placeholder(secret: &str) -> bool {
    let secret = secret.trim();
    PLACEHOLDERS
        .iter()
        .any(|known| secret.eq_ignore_ascii_case(known))
}

/// The ticket secret of a role in the public default manifest (WIRE 2.2).
pub const fn well_known_ticket_secret(role: Role) -> &'static str {
    match role {
        Role::Queen => "bootstrap",
        Role::WorkerHeartbeat => "worker",
        Role::WorkerGpu => "worker-gpu",
        Role::WorkerBus => "worker-bus",
        Role::WorkerLora => "worker-lora",
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Empty => f.write_str("auth token is empty; give 1 to 251 visible ASCII characters"),
            TokenError::TooLong => write!(f, "auth token exceeds {AUTH_TOKEN_BYTES} bytes; shorten it"),
            TokenError::Malformed => f.write_str(
                "auth token has a space or another character that is not visible ASCII; remove it",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        assert_eq!(check_auth_token("s3cret-0f-mine"), Ok(()));
        assert_eq!(check_auth_token(""), Err(TokenError::Empty));
        assert_eq!(check_auth_token("two words"), Err(TokenError::Malformed));
        assert_eq!(check_auth_token("käse"), Err(TokenError::Malformed));
        let long = "x".repeat(AUTH_TOKEN_BYTES + 1);
        assert_eq!(check_auth_token(&long), Err(TokenError::TooLong));
        assert_eq!(check_auth_token(&long[1..]), Ok(()));
    }

    #[test]
    fn placeholders() {
        assert!(is_placeholder("changeme") && is_placeholder(" ChangeMe\n"));
        assert!(!is_placeholder("changeme2"));
        assert!(
            Role::ALL
                .into_iter()
                .all(|role| is_placeholder(well_known_ticket_secret(role)))
        );
    }
}
