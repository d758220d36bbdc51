//! The command line.
//!
//! Answers for the flags, their defaults and their help. Never opens a file or a connection.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use client::state::Environment;
use client::{Flags, FlagsError, Options, Resend, Target};
use protocol::b64;
use protocol::limits::ECHO_BYTES;
use protocol::role::Role;

use crate::exit::MEANINGS;

/// Publishes this host's GPUs and models to a hive, and follows what the hive decides about them.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "gpu-bridge-host",
    version,
    after_help = MEANINGS.to_string(),
    group = ArgGroup::new("what").args(["list", "publish"]).required(true)
)]
pub struct Cli {
    /// Print what would be published, as JSON, and do nothing else.
    #[arg(long)]
    pub list: bool,
    /// Publish to the hive.
    #[arg(long)]
    pub publish: bool,
    /// Take two GPUs that do not exist instead of those of the NVIDIA driver (and two models, unless there is a
    /// registry).
    #[arg(long)]
    pub mock: bool,
    /// Registry of models: a directory with available/<model>/manifest.toml and active, as `coh peft` keeps it.
    #[arg(long, value_name = "DIR")]
    pub registry: Option<PathBuf>,
    /// Host of the console.
    #[arg(long, value_name = "HOST", env = "COH_TCP_HOST", default_value = "127.0.0.1")]
    pub tcp_host: String,
    /// Port of the console.
    #[arg(long, value_name = "PORT", env = "COH_TCP_PORT", default_value_t = 31337)]
    pub tcp_port: u16,
    /// Auth token of the hive: the token, env:NAME or file:/abs/path. Else COH_AUTH_TOKEN, COHSH_AUTH_TOKEN, and the
    /// file auth-token in the state directory.
    #[arg(long, value_name = "TOKEN")]
    pub auth_token: Option<String>,
    /// State directory with auth-token. Else COH_STATE, and cohesix in the user's XDG state directory.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Queen's ticket to attach with: the token, env:NAME or file:/abs/path.
    #[arg(long)]
    pub ticket: Option<String>,
    /// Base64 digits in one line of a publish, a multiple of 4. Every hive takes 124; ours take 2044.
    #[arg(long, value_name = "N", default_value_t = 124, value_parser = line_digits)]
    pub line_digits: usize,
    /// Go on: look at GPUs, registry and hive each so many milliseconds, publish what has changed, report leases, and
    /// follow the active model. Ends at SIGINT or SIGTERM.
    #[arg(long, value_name = "N", conflicts_with = "list", value_parser = clap::value_parser!(u64).range(20..=86_400_000))]
    pub interval_ms: Option<u64>,
    /// Run this shell command when the hive makes another model active, with the model's directory as its argument;
    /// COHESIX_MODEL_ID and COHESIX_MODEL_PATH are set. Once for each activation.
    #[arg(long, value_name = "CMD", requires = "interval_ms", requires = "registry")]
    pub on_activate: Option<String>,
    /// Seconds that the command may take; then it is ended.
    #[arg(long, value_name = "S", default_value_t = 300, requires = "on_activate",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub activate_timeout_s: u64,
    /// Run the command again for the active model if nobody knows how its last run ended: it was under way when this
    /// program was stopped or died.
    #[arg(long, requires = "on_activate")]
    pub retry_unknown: bool,
}

impl Cli {
    /// Where the hive is and the credentials for it, found as `cohsh` finds them.
    pub(crate) fn target(&self, env: &Environment) -> Result<Target, FlagsError> {
        let flags = Flags {
            host: &self.tcp_host,
            port: self.tcp_port,
            role: Role::Queen,
            ticket: self.ticket.as_deref(),
            auth_token: self.auth_token.as_deref(),
            state: self.state.as_deref(),
        };
        flags.target(env)
    }

    /// Time limits and tries. A line that was cut off is not repeated by itself: a publish begins again.
    pub(crate) fn options(&self) -> Options {
        Options {
            resend: Resend::ReadsOnly,
            ..Options::default()
        }
    }

    /// The time between two looks, if there is to be more than one.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval_ms.map(Duration::from_millis)
    }
}

fn line_digits(text: &str) -> Result<usize, String> {
    let max = (ECHO_BYTES - b64::PREFIX.len()) / 4 * 4;
    text.parse()
        .ok()
        .filter(|digits| (4..=max).contains(digits) && digits % 4 == 0)
        .ok_or_else(|| format!("write a multiple of 4 from 4 to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn cli(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_invocation_is_understood() {
        let cli =
            cli("gpu-bridge-host --publish --tcp-host 127.0.0.1 --tcp-port 31337 --auth-token T").unwrap();
        assert!(cli.publish && !cli.list && !cli.mock);
        let target = cli.target(&Environment::empty()).unwrap();
        assert_eq!((target.host.as_str(), target.port), ("127.0.0.1", 31337));
        assert_eq!((target.auth_token.expose(), target.role), ("T", Role::Queen));
        assert_eq!((cli.line_digits, cli.interval()), (124, None));
    }

    #[test]
    fn the_token_is_found_as_the_shell_finds_it() {
        let cli = cli("gpu-bridge-host --publish").unwrap();
        let env = Environment::of([("COHSH_AUTH_TOKEN", "second"), ("COH_AUTH_TOKEN", "first")]);
        assert_eq!(cli.target(&env).unwrap().auth_token.expose(), "first");
        let missing = cli.target(&Environment::empty()).unwrap_err().to_string();
        assert!(missing.contains("--auth-token"), "{missing}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "gpu-bridge-host",
            "gpu-bridge-host --list --publish",
            "gpu-bridge-host --list --interval-ms 100",
            "gpu-bridge-host --publish --interval-ms 0",
            "gpu-bridge-host --publish --line-digits 126",
            "gpu-bridge-host --publish --line-digits 2048",
            "gpu-bridge-host --publish --on-activate x",
            "gpu-bridge-host --publish --on-activate x --interval-ms 100",
            "gpu-bridge-host --publish --retry-unknown",
        ] {
            assert_eq!(cli(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
        assert!(cli("gpu-bridge-host --publish --interval-ms 100 --registry r --on-activate x").is_ok());
        assert!(cli("gpu-bridge-host --publish --line-digits 2044").is_ok());
    }
}
