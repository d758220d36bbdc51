//! The way to the hive: the flags that say where it is and as whom to attach.
//!
//! Answers for a session out of the flags, the environment and the state directory, found as `cohsh` finds them.
//! Never keeps a token longer than it takes to connect.

use std::path::PathBuf;

use clap::Args;
use client::state::Environment;
use client::{Exit, Flags, Options, Resend, Session, Target, connect};
use protocol::role::Role;

use crate::report::Failure;

/// Where the hive is, and as whom to attach.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Host of the console.
    #[arg(
        long,
        value_name = "HOST",
        env = "COH_TCP_HOST",
        default_value = "127.0.0.1",
        global = true
    )]
    pub tcp_host: String,
    /// Port of the console.
    #[arg(
        long,
        value_name = "PORT",
        env = "COH_TCP_PORT",
        default_value_t = 31337,
        global = true
    )]
    pub tcp_port: u16,
    /// Role to attach as.
    #[arg(long, default_value = "queen", global = true)]
    pub role: Role,
    /// Ticket to attach with: the token, env:NAME or file:/abs/path.
    #[arg(long, global = true)]
    pub ticket: Option<String>,
    /// Auth token of the hive: the token, env:NAME or file:/abs/path. Else COH_AUTH_TOKEN, COHSH_AUTH_TOKEN, and the
    /// file auth-token in the state directory.
    #[arg(long, value_name = "TOKEN", global = true)]
    pub auth_token: Option<String>,
    /// State directory with auth-token. Else COH_STATE, and cohesix in the user's XDG state directory.
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
}

impl Connection {
    /// What the flags and the environment mean.
    pub fn target(&self, env: &Environment) -> Result<Target, Failure> {
        let flags = Flags {
            host: &self.tcp_host,
            port: self.tcp_port,
            role: self.role,
            ticket: self.ticket.as_deref(),
            auth_token: self.auth_token.as_deref(),
            state: self.state.as_deref(),
        };
        flags
            .target(env)
            .map_err(|why| Failure::new(Exit::Authentication, why))
    }

    /// Connects and attaches. What changes something is not sent twice unless the caller says so.
    pub async fn open(&self) -> Result<Session, Failure> {
        let options = Options {
            resend: Resend::ReadsOnly,
            ..Options::default()
        };
        Ok(connect(self.target(&Environment::process())?, options).await?)
    }
}
