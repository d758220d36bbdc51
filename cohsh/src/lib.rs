//! The operator's shell.
//!
//! Answers for turning what an operator types, pipes or writes into a script into commands for a hive, and for an exit
//! status that says what failed. The program is `main.rs`; everything is here, so that it can be tested.
//!
//! Never speaks the console's protocol itself: `client` does.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod batch;
pub mod cli;
pub mod command;
pub mod complete;
pub mod exit;
pub mod help;
pub mod interactive;
pub mod mint;
pub mod outcome;
pub mod runner;
pub mod script;
pub mod shell;
mod verbs;

use client::Exit;
use client::state::Environment;

use crate::cli::Cli;
use crate::outcome::Outcome;
use crate::shell::Shell;

/// Does what the command line asks for.
pub fn run(cli: &Cli) -> Exit {
    if let Some(file) = &cli.check {
        return batch::check(file);
    }
    if cli.mint_ticket {
        return mint(cli);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            batch::complain(&format!("cannot start: {why}"));
            return Exit::Local;
        }
    };
    let mut shell = Shell::new(cli.config());
    runtime.block_on(async {
        if let Some(file) = &cli.script {
            batch::script(&mut shell, file).await
        } else if !cli.command.is_empty() {
            batch::command(&mut shell, &cli.command.join(" ")).await
        } else if interactive::is_terminal() {
            interactive::run(&mut shell).await
        } else {
            batch::stdin(&mut shell, cli.role.is_some()).await
        }
    })
}

fn mint(cli: &Cli) -> Exit {
    match mint::mint(cli, &Environment::process()) {
        Ok(token) => {
            let mut outcome = Outcome::new();
            outcome.say(token);
            batch::Printer::default().show(&outcome);
            Exit::Ok
        }
        Err((exit, why)) => {
            batch::complain(&why);
            exit
        }
    }
}
