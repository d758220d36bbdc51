//! The command line.
//!
//! Answers for the flags that all commands have and for the list of commands. Never opens a file or a connection.

use clap::{Parser, Subcommand};

use crate::connection::Connection;
use crate::doctor::Doctor;
use crate::exit::statuses;
use crate::gpu::Gpu;
use crate::peft::Peft;
use crate::run::Run;
use crate::telemetry::Telemetry;

/// GPUs, telemetry, jobs and LoRA adapters of a hive, from a host's side.
#[derive(Debug, Parser)]
#[command(name = "coh", version, after_help = statuses())]
pub struct Cli {
    /// How to reach the hive.
    #[command(flatten)]
    pub connection: Connection,
    /// Print one JSON object instead of lines; `run` prints nothing of its own.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What GPUs there are, what happens on them, and leases of them.
    #[command(subcommand)]
    Gpu(Gpu),
    /// Files into a device's telemetry, and telemetry into files.
    #[command(subcommand)]
    Telemetry(Telemetry),
    /// Run a command under a lease, with breadcrumbs in the GPU's status.
    #[command(after_help = statuses())]
    Run(Run),
    /// From an exported LoRA job to an active adapter.
    #[command(subcommand)]
    Peft(Peft),
    /// Check the connection, the hive and a registry.
    Doctor(Doctor),
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
    fn public_invocations_are_understood() {
        for line in [
            "coh --tcp-host h --tcp-port 4 --auth-token t gpu list",
            "coh gpu list --tcp-host h --tcp-port 4 --auth-token t --json",
            "coh gpu lease --gpu GPU-0 --mem-mb 1024 --streams 1 --ttl-s 60 --priority 1",
            "coh gpu status --gpu GPU-0 --role queen",
            "coh gpu release --worker worker-1",
            "coh telemetry push f.ndjson --device d --raw-lines",
            "coh telemetry pull --out d",
            "coh run --gpu GPU-0 -- echo --json x",
            "coh peft export --job J --out O",
            "coh peft import --model M --from D --job J --export O --registry R",
            "coh peft activate --model M --registry R",
            "coh peft rollback --registry R",
            "coh doctor --registry R",
        ] {
            cli(line).unwrap_or_else(|why| panic!("{line}: {why}"));
        }
        for wrong in [
            "coh",
            "coh gpu",
            "coh gpu lease --gpu G --mem-mb 0 --ttl-s 1",
            "coh gpu lease --gpu G --mem-mb 1 --ttl-s 0",
            "coh run --gpu G",
            "coh run --gpu G echo",
            "coh peft activate --model a/b --registry R",
            "coh peft import --model .. --from D --job J --export O --registry R",
            "coh --role king gpu list",
        ] {
            assert_eq!(cli(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn a_command_is_ended_with_its_lease_unless_told_otherwise() {
        let kills = |line: &str| match cli(line).unwrap().command {
            Command::Run(run) => (run.kill_on_release, run.command),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            kills("coh run --gpu G -- a b"),
            (true, vec!["a".into(), "b".into()])
        );
        assert_eq!(
            kills("coh run --gpu G --kill-on-release -- a"),
            (true, vec!["a".into()])
        );
        assert!(!kills("coh run --gpu G --kill-on-release=false -- a").0);
    }
}
