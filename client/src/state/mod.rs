//! Where our tools find the auth token and the ticket secrets.
//!
//! Answers for what the hive and the tools of one user share on disk: the state directory with `auth-token` and
//! `tickets.toml`, both mode 0600 and replaced atomically, and for the order in which a token is looked for
//! (flag, `COH_AUTH_TOKEN`, `COHSH_AUTH_TOKEN`, state directory). The hive writes these files, the tools read them.
//!
//! Never opens a connection, and never keeps what else a hive has in its state directory.

mod dir;
mod env;
mod secret;
mod tickets;
mod token;

pub use dir::{StateDir, StateError};
pub use env::Environment;
pub use secret::{MAX_SECRET_BYTES, Secret, SecretError};
pub use tickets::{TicketSecrets, TicketsError};
pub use token::{FoundToken, TOKEN_VARIABLES, TokenError, TokenSource, find_auth_token};
