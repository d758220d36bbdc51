//! The console's protection domain.
//!
//! Answers for: the boot blob becoming `console_tcp::Config`.
//! Never: has logic of its own; that is the actor's.

#![no_std]
#![no_main]

use core::time::Duration;

use hive_boot::{Actor, ConsoleTcp};
use netstack::StackConfig;
use sel4_host::{Host, domain, start};

domain!(init);

fn init() -> Host {
    start(|context, boot, _, _| match &boot.actor {
        Actor::ConsoleTcp(told) => config(told)
            .map_err(console_tcp::StartError::Config)
            .and_then(|config| console_tcp::spawn(context, config)),
        _ => panic!("the boot blob is another domain's"),
    })
}

fn config(told: &ConsoleTcp) -> Result<console_tcp::Config, console_tcp::ConfigError> {
    // The actor takes its own seed at each start.
    let mut stack = StackConfig::new(told.mac, told.ip.into(), told.prefix, 0);
    stack.limits.connections = told.connections;
    stack.timers.link_grace = Duration::from_millis(told.link_grace_ms);
    let mut config = console_tcp::Config::new(told.token.as_bytes(), told.port, stack)?;
    config.ninep = told.ninep.map(|(port, connections)| console_tcp::Ninep {
        port,
        connections: connections.into(),
    });
    config.sessions = told.sessions.into();
    config.unauthenticated = told.unauthenticated.into();
    config.auth_timeout = Duration::from_millis(told.auth_timeout_ms);
    config.idle_timeout = Duration::from_secs(told.idle_timeout_s);
    Ok(config)
}
