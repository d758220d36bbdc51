//! `tcp-diag`: whether a TCP connection can be made.
//!
//! Answers for the addresses of both ends. Never sends a byte.

use client::Exit;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::outcome::Outcome;
use crate::shell::Config;

/// Connects and lets go.
pub(crate) async fn tcp(config: &Config, port: Option<u16>) -> Outcome {
    let mut outcome = Outcome::new();
    let (host, port) = (config.host.as_str(), port.unwrap_or(config.port));
    outcome.say(format!("tcp-diag: connecting to {host}:{port}"));
    let connected = match timeout(config.options.connect_timeout, TcpStream::connect((host, port))).await {
        Ok(connected) => connected,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    };
    match connected {
        Ok(stream) => {
            let local = stream
                .local_addr()
                .map_or_else(|e| e.to_string(), |a| a.to_string());
            let peer = stream
                .peer_addr()
                .map_or_else(|e| e.to_string(), |a| a.to_string());
            outcome.say(format!("tcp-diag: local={local} peer={peer}"));
            outcome.say("tcp-diag: connect succeeded");
            outcome.response = Some(format!("OK TCP-DIAG local={local} peer={peer}"));
        }
        Err(why) => {
            outcome.refuse(
                Exit::Connection,
                format!("ERR TCP-DIAG address={host}:{port} error={why}"),
            );
        }
    }
    outcome
}
