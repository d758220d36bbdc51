//! The program, run as a person runs it, and files of a hive that change meanwhile.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::hive::{Act, Fake, TOKEN, say};

/// What a run of the program left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn command(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coh"));
    // With nothing in its environment but where to find nothing.
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/usr/bin:/bin");
    command
        .args(["--tcp-port", &port.to_string(), "--auth-token", TOKEN])
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub async fn finish(mut command: Command) -> Ran {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

pub async fn coh(fake: &Fake, arguments: &[&str]) -> Ran {
    finish(command(fake.addr.port(), arguments)).await
}

impl Ran {
    pub fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    pub fn says(&self, part: &str) -> &Self {
        assert!(self.err.contains(part), "{part:?} is not in {self:?}");
        self
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

pub fn lease_line(state: &str, worker: &str) -> String {
    format!(
        r#"{{"schema":"gpu-lease/v1","state":"{state}","gpu_id":"GPU-0","worker_id":"{worker}","mem_mb":1024,"streams":1,"ttl_s":60,"priority":0}}"#
    )
}

/// Lines of a file that a test changes while a client looks.
pub type Lines = Arc<Mutex<Vec<String>>>;

pub fn cat(path: &str, lines: &Lines) -> Vec<Act> {
    let lines = lines.lock().unwrap();
    let mut acts = vec![say(format!("OK CAT path={path} data={}", lines.join("|")))];
    acts.extend(lines.iter().map(say));
    acts.push(say("END"));
    acts
}
