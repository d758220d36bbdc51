//! The probe's protection domain, which stands where the network driver would.
//!
//! Answers for: the boot blob becoming `probe::Config`, and the machine ending with the script.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

use core::fmt;
use core::time::Duration;

use hive_boot::{Actor, Probe};
use netstack::StackConfig;
use probe::{Config, Listener, Script, ScriptError};
use runtime::Context;
use runtime::link::Link;
use sel4_host::{Host, domain, log, semihosting, start};

/// The link to the console.
const LINK: &str = "net";
/// What the serial domain has to print is out by then.
const LAST_WORDS: Duration = Duration::from_millis(500);

domain!(init);

fn init() -> Host {
    start(|context, boot, _, _| {
        let Actor::Probe(told) = &boot.actor else {
            return Err("the boot blob is another domain's");
        };
        let link = context.link(LINK).ok_or("the manifest has no link `net`")?;
        let config = config(told, context.random_u64()).map_err(|_| "the script was not checked")?;
        let task = run(context.clone(), link, config);
        context.spawn(task).map_err(|_| "no room for the probe's task")
    })
}

fn config(told: &Probe, seed: u64) -> Result<Config, ScriptError> {
    Ok(Config {
        stack: StackConfig::new(told.mac, told.ip.into(), told.prefix, seed),
        server: told.server.into(),
        port: told.port,
        token: told.token.clone(),
        script: Script::parse(&told.script)?,
    })
}

async fn run(context: Context, link: Link, config: Config) {
    let played = probe::play(&context, link, config, &Log).await;
    match &played {
        Ok(()) => log!("end ok"),
        Err(error) => log!("end error: {error}"),
    }
    context.sleep(LAST_WORDS).await;
    semihosting::exit(u32::from(played.is_err()));
}

struct Log;

impl Listener for Log {
    fn line(&self, text: fmt::Arguments<'_>) {
        log!("{text}");
    }
}
