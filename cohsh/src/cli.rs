//! The command line.
//!
//! Answers for the flags, their defaults and their help. Never opens a file or a connection.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use client::Options;
use client::state::Environment;
use protocol::role::Role;
use protocol::ticket::{Quotas, ScopeVerb};

use crate::exit::MEANINGS;
use crate::shell::Config;

/// The operator's shell: commands for a hive, typed, piped or from a script.
#[derive(Debug, Parser)]
#[command(name = "cohsh", version, after_help = MEANINGS.to_string())]
pub struct Cli {
    /// How to reach the hive; the TCP console is the only way there is.
    #[arg(long, value_parser = ["tcp"], default_value = "tcp")]
    pub transport: String,
    /// Host of the console.
    #[arg(
        long,
        value_name = "HOST",
        env = "COHSH_TCP_HOST",
        default_value = "127.0.0.1"
    )]
    pub tcp_host: String,
    /// Port of the console.
    #[arg(long, value_name = "PORT", env = "COHSH_TCP_PORT", default_value_t = 31337)]
    pub tcp_port: u16,
    /// Role to attach as; queen unless told otherwise.
    #[arg(long)]
    pub role: Option<Role>,
    /// Ticket to attach with: the token, env:NAME or file:/abs/path.
    #[arg(long)]
    pub ticket: Option<String>,
    /// Auth token of the hive: the token, env:NAME or file:/abs/path. Else COH_AUTH_TOKEN, COHSH_AUTH_TOKEN, and the
    /// file auth-token in the state directory.
    #[arg(long, value_name = "TOKEN")]
    pub auth_token: Option<String>,
    /// State directory with auth-token and tickets.toml. Else COH_STATE, and cohesix in the user's XDG state directory.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Run a .coh script.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "mint_ticket"])]
    pub script: Option<PathBuf>,
    /// Read a .coh script and say whether it is one; run nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "mint_ticket")]
    pub check: Option<PathBuf>,
    /// Make a ticket, print it, and do nothing else.
    #[arg(long)]
    pub mint_ticket: bool,
    /// What the ticket says.
    #[command(flatten)]
    pub mint: Mint,
    /// Run this one command, for example `ls /` or `test --mode full`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, conflicts_with_all = ["script", "check", "mint_ticket"])]
    pub command: Vec<String>,
}

/// What a minted ticket says.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "With --mint-ticket")]
pub struct Mint {
    /// Worker id or sidecar scope that the ticket is for; workers need one.
    #[arg(long, value_name = "ID", requires = "mint_ticket")]
    pub ticket_subject: Option<String>,
    /// Secret of the role: the secret, env:NAME or file:/abs/path. Else COHSH_TICKET_SECRET.
    #[arg(
        long,
        value_name = "SECRET",
        requires = "mint_ticket",
        conflicts_with = "ticket_config"
    )]
    pub ticket_secret: Option<String>,
    /// TOML file with a `tickets` table of role and secret. Else COHSH_TICKET_CONFIG, and tickets.toml in the state
    /// directory.
    #[arg(long, value_name = "FILE", requires = "mint_ticket")]
    pub ticket_config: Option<PathBuf>,
    /// Seconds the ticket is valid.
    #[arg(long, value_name = "S", requires = "mint_ticket")]
    pub ticket_ttl_s: Option<u64>,
    /// Ticks it is good for.
    #[arg(long, value_name = "N", requires = "mint_ticket")]
    pub ticket_ticks: Option<u64>,
    /// Operations it is good for.
    #[arg(long, value_name = "N", requires = "mint_ticket")]
    pub ticket_ops: Option<u64>,
    /// A path the session is limited to, and what it may do there: PATH:read, PATH:write or PATH:read-write, with
    /// :PER_SECOND behind it to limit the rate. May be given several times.
    #[arg(long, value_name = "SCOPE", value_parser = scope, requires = "mint_ticket")]
    pub ticket_scope: Vec<ScopeArg>,
    /// Bytes the session may read and write in all.
    #[arg(long, value_name = "BYTES", requires = "mint_ticket")]
    pub ticket_bandwidth: Option<u64>,
    /// Times the session may go back in telemetry.
    #[arg(long, value_name = "N", requires = "mint_ticket")]
    pub ticket_cursor_resumes: Option<u32>,
    /// Times the session may read telemetry.
    #[arg(long, value_name = "N", requires = "mint_ticket")]
    pub ticket_cursor_advances: Option<u32>,
    /// When it was issued, Unix milliseconds; else now.
    #[arg(long, value_name = "MS", requires = "mint_ticket")]
    pub ticket_issued_at_ms: Option<u64>,
    /// Encoding of its claims: 1, or 2, which is shorter and not known to every hive.
    #[arg(long, value_name = "1|2", value_parser = ["1", "2"], requires = "mint_ticket")]
    pub ticket_version: Option<String>,
}

impl Mint {
    /// The quotas, if any is given.
    pub fn quotas(&self) -> Option<Quotas> {
        let quotas = Quotas {
            bandwidth_bytes: self.ticket_bandwidth.unwrap_or(0),
            cursor_resumes: self.ticket_cursor_resumes.unwrap_or(0),
            cursor_advances: self.ticket_cursor_advances.unwrap_or(0),
        };
        (quotas != Quotas::default()).then_some(quotas)
    }
}

/// A scope as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeArg {
    /// The path.
    pub path: String,
    /// What may be done there.
    pub verb: ScopeVerb,
    /// Operations a second; 0 is no limit.
    pub rate_per_s: u32,
}

impl Cli {
    /// The shell's settings.
    pub fn config(&self) -> Config {
        Config {
            host: self.tcp_host.clone(),
            port: self.tcp_port,
            auth_token: self.auth_token.clone(),
            state: self.state.clone(),
            role: self.role.unwrap_or(Role::Queen),
            ticket: self.ticket.clone(),
            env: Environment::process(),
            options: Options {
                connect_timeout: Duration::from_secs(5),
                ..Options::default()
            },
        }
    }
}

fn scope(text: &str) -> Result<ScopeArg, String> {
    let wrong = || "write PATH:read|write|read-write[:PER_SECOND]".to_owned();
    let mut parts = text.split(':');
    let (path, verb, rate) = (
        parts.next().unwrap_or(""),
        parts.next().ok_or_else(wrong)?,
        parts.next(),
    );
    let verb = match verb {
        "read" => ScopeVerb::Read,
        "write" => ScopeVerb::Write,
        "read-write" => ScopeVerb::ReadWrite,
        _ => return Err(wrong()),
    };
    let rate_per_s = rate.map_or(Ok(0), str::parse).map_err(|_| wrong())?;
    if parts.next().is_some() {
        return Err(wrong());
    }
    protocol::path::Path::parse(path).map_err(|why| why.to_string())?;
    Ok(ScopeArg {
        path: path.to_owned(),
        verb,
        rate_per_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn public_invocations_are_understood() {
        let cli = |line: &str| Cli::try_parse_from(line.split(' '));
        let parsed =
            cli("cohsh --transport tcp --tcp-host h --tcp-port 4 --auth-token changeme --script x.coh")
                .unwrap();
        assert_eq!((parsed.tcp_host.as_str(), parsed.tcp_port), ("h", 4));
        assert_eq!(parsed.config().role, Role::Queen);
        let minted = cli("cohsh --mint-ticket --role worker-heartbeat --ticket-subject worker-1").unwrap();
        assert!(minted.mint_ticket && minted.role == Some(Role::WorkerHeartbeat));
        assert_eq!(
            cli("cohsh test --mode full --json").unwrap().command,
            ["test", "--mode", "full", "--json"]
        );
        for wrong in [
            "cohsh --transport rest",
            "cohsh --role king",
            "cohsh --ticket-subject x",
            "cohsh --script a --check b",
        ] {
            assert_eq!(cli(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn scopes() {
        let expected = ScopeArg {
            path: "/log".into(),
            verb: ScopeVerb::Read,
            rate_per_s: 4,
        };
        assert_eq!(scope("/log:read:4"), Ok(expected));
        assert_eq!(scope("/:read-write").unwrap().rate_per_s, 0);
        for wrong in ["/log", "/log:r", "/log:read:x", "/log:read:1:2", "log:read"] {
            assert!(scope(wrong).is_err(), "{wrong}");
        }
    }
}
