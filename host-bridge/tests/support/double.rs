//! What a hive does of `/gpu`, over the fake console: takes snapshots, has files for GPUs.
//!
//! Shares no code with the program or `protocol`, so that a mistake there cannot hide in its own test.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::support::{Act, Fake, say};

/// What it says instead for the n-th line (from 0) of a connection (from 0).
pub type Twist = fn(connection: usize, line: &str, nth: usize) -> Option<Vec<Act>>;

#[derive(Debug, Default)]
pub struct Bridge {
    transfer: Option<Transfer>,
    pub installed: Vec<String>,
    pub status: String,
    /// The next line ends its connection.
    pub hang_up: bool,
    /// Lines for status files are refused.
    pub drained: bool,
    lines: usize,
}

#[derive(Debug)]
struct Transfer {
    connection: usize,
    bytes: usize,
    sha256: String,
    digits: String,
}

/// A running double.
pub struct Double {
    pub fake: Fake,
    pub bridge: Arc<Mutex<Bridge>>,
}

impl Double {
    pub async fn start() -> Self {
        Self::with(|_, _, _| None).await
    }

    /// One that does something else for some lines of a publish; they are not taken then.
    pub async fn with(twist: Twist) -> Self {
        let bridge = Arc::new(Mutex::new(Bridge {
            status: "state=idle".into(),
            ..Bridge::default()
        }));
        let shared = Arc::clone(&bridge);
        let fake = Fake::with(move |connection, line| {
            let mut bridge = shared.lock().unwrap();
            if std::mem::take(&mut bridge.hang_up) {
                return Some(vec![Act::Close]);
            }
            if bridge.drained && line.starts_with("ECHO /gpu/GPU-") {
                return Some(vec![say("ERR ECHO reason=policy detail=denied error=EPERM")]);
            }
            if line == "CAT /gpu/bridge/status" {
                return Some(vec![
                    say("OK CAT path=/gpu/bridge/status data="),
                    say(bridge.status.clone()),
                    say("END"),
                ]);
            }
            let payload = line.strip_prefix("ECHO /gpu/bridge/ctl ")?;
            let nth = bridge.lines;
            bridge.lines += 1;
            if let Some(acts) = twist(connection, payload, nth) {
                return Some(acts);
            }
            Some(vec![say(match bridge.take(connection, payload) {
                Ok(()) => format!("OK ECHO path=/gpu/bridge/ctl bytes={}", payload.len()),
                Err(why) => {
                    bridge.status = format!("state=err reason={why}");
                    "ERR ECHO reason=policy detail=invalid-payload path=/gpu/bridge/ctl error=invalid payload"
                        .into()
                }
            })])
        })
        .await;
        for gpu in ["GPU-0", "GPU-1"] {
            fake.set_file(&format!("/gpu/{gpu}/lease"), &[]);
            fake.set_file(&format!("/gpu/{gpu}/status"), &[]);
        }
        Self { fake, bridge }
    }

    /// The snapshots that were installed.
    pub fn installed(&self) -> Vec<String> {
        self.bridge.lock().unwrap().installed.clone()
    }

    /// Does something to it.
    pub fn now(&self, act: impl FnOnce(&mut Bridge)) {
        act(&mut self.bridge.lock().unwrap());
    }

    /// The lines of a publish, in their order, of all connections.
    pub fn lines(&self) -> Vec<String> {
        let all = self.fake.received();
        let of = |line: String| line.strip_prefix("ECHO /gpu/bridge/ctl ").map(str::to_owned);
        all.into_iter().filter_map(|received| of(received.line)).collect()
    }
}

impl Bridge {
    fn take(&mut self, connection: usize, line: &str) -> Result<(), &'static str> {
        if let Some(rest) = line.strip_prefix("begin bytes=") {
            let (bytes, sha256) = rest.split_once(" sha256=").ok_or("begin")?;
            self.transfer = Some(Transfer {
                connection,
                bytes: bytes.parse().map_err(|_| "bytes")?,
                sha256: sha256.to_owned(),
                digits: String::new(),
            });
            self.status = format!("state=receiving bytes={bytes}");
            return Ok(());
        }
        let transfer = self.transfer.as_mut().ok_or("no begin")?;
        if transfer.connection != connection {
            return Err("another connection");
        }
        if let Some(digits) = line.strip_prefix("b64:") {
            transfer.digits.push_str(digits);
            return Ok(());
        }
        if line != "end" {
            return Err("unknown line");
        }
        let transfer = self.transfer.take().ok_or("no begin")?;
        let bytes = decode(&transfer.digits);
        let sha256: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        if bytes.len() != transfer.bytes || sha256 != transfer.sha256 {
            return Err("mismatch");
        }
        self.status = format!("state=ok bytes={} sha256={sha256}", bytes.len());
        self.installed.push(String::from_utf8(bytes).unwrap());
        Ok(())
    }
}

/// The bytes of base64 digits.
pub fn decode(digits: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = String::new();
    for digit in digits.trim_end_matches('=').chars() {
        bits += &format!("{:06b}", ALPHABET.find(digit).unwrap());
    }
    let bytes = bits.as_bytes().chunks_exact(8);
    bytes
        .map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}
