//! An in-process console to test clients against: it does what a hive does, except where a test says otherwise.
//!
//! Shares no code with the client, so that a mistake in the client cannot hide in its own test.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The auth token it accepts.
pub const TOKEN: &str = "fake-3f9a";

/// What it does for one received line, in order.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends a line as a frame.
    Say(String),
    /// Sends bytes as they are.
    Bytes(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// Closes the connection.
    Close,
}

pub fn say(line: impl Into<String>) -> Act {
    Act::Say(line.into())
}

/// One received line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The connection it came on, from 0.
    pub connection: usize,
    /// The line.
    pub line: String,
}

/// The files and the workers of the fake.
#[derive(Debug, Default)]
pub struct World {
    pub files: BTreeMap<String, Vec<String>>,
    pub workers: usize,
}

/// A running fake.
pub struct Fake {
    pub addr: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    pub world: Arc<Mutex<World>>,
}

impl Fake {
    /// A fake that does what a hive does.
    pub async fn start() -> Self {
        Self::with(|_, _| None).await
    }

    /// A fake that does something else for the lines for which `instead` says so. It is given the connection's number
    /// and the line.
    pub async fn with(instead: impl Fn(usize, &str) -> Option<Vec<Act>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let world = Arc::new(Mutex::new(World::new()));
        let (log, shared, instead) = (Arc::clone(&received), Arc::clone(&world), Arc::new(instead));
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (log, world, instead) = (Arc::clone(&log), Arc::clone(&shared), Arc::clone(&instead));
                tokio::spawn(async move {
                    // A client that goes away in the middle is part of the game.
                    let _ = serve(stream, |line| {
                        log.lock().unwrap().push(Received {
                            connection,
                            line: line.to_owned(),
                        });
                        instead(connection, line).unwrap_or_else(|| world.lock().unwrap().answer(line))
                    })
                    .await;
                });
            }
        });
        Self {
            addr,
            received,
            world,
        }
    }

    /// Every line received so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The lines received on one connection.
    pub fn lines_of(&self, connection: usize) -> Vec<String> {
        self.received()
            .into_iter()
            .filter(|r| r.connection == connection)
            .map(|r| r.line)
            .collect()
    }

    /// How many of the received lines begin with `start`.
    pub fn count(&self, start: &str) -> usize {
        self.received()
            .iter()
            .filter(|r| r.line.starts_with(start))
            .count()
    }

    /// The content of a file.
    pub fn file(&self, path: &str) -> Vec<String> {
        self.world
            .lock()
            .unwrap()
            .files
            .get(path)
            .cloned()
            .unwrap_or_default()
    }

    /// Sets the content of a file.
    pub fn set_file(&self, path: &str, lines: &[&str]) {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.world.lock().unwrap().files.insert(path.to_owned(), lines);
    }
}

async fn serve(mut stream: TcpStream, mut on_line: impl FnMut(&str) -> Vec<Act>) -> std::io::Result<()> {
    loop {
        let mut header = [0; 4];
        stream.read_exact(&mut header).await?;
        let len = u32::from_le_bytes(header) as usize;
        assert!(len >= 4, "a client sent a frame of {len} bytes");
        let mut line = vec![0; len - 4];
        stream.read_exact(&mut line).await?;
        let line = String::from_utf8(line).expect("clients send UTF-8");
        for act in on_line(&line) {
            match act {
                Act::Say(line) => stream.write_all(&framed(&line)).await?,
                Act::Bytes(bytes) => stream.write_all(&bytes).await?,
                Act::Pause(time) => tokio::time::sleep(time).await,
                Act::Close => return stream.shutdown().await,
            }
        }
    }
}

/// A line as a frame.
pub fn framed(line: &str) -> Vec<u8> {
    let mut frame = (line.len() as u32 + 4).to_le_bytes().to_vec();
    frame.extend_from_slice(line.as_bytes());
    frame
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        let mut put = |path: &str, lines: &[&str]| {
            world
                .files
                .insert(path.to_owned(), lines.iter().map(|l| (*l).to_owned()).collect());
        };
        put(
            "/proc/boot",
            &["Cohesix boot: root-task online", "manifest.schema=1.5"],
        );
        put("/proc/lifecycle/state", &["state=ONLINE"]);
        put("/log/queen.log", &[]);
        put(
            "/proc/tests/selftest_quick.coh",
            &[
                "# quick",
                "ping",
                "EXPECT OK",
                "cat /proc/boot",
                "EXPECT OK",
                "tail /log/queen.log",
                "EXPECT OK",
            ],
        );
        put(
            "/proc/tests/selftest_negative.coh",
            &[
                "cat /a/b/c/d/e/f/g/h/i/j",
                "EXPECT ERR",
                "echo {{msize_overflow}} > /queen/ctl",
                "EXPECT ERR",
            ],
        );
        world
            .files
            .get_mut("/proc/tests/selftest_quick.coh")
            .unwrap()
            .extend(["WAIT 1".into(), "quit".into()]);
        world
    }

    fn answer(&mut self, line: &str) -> Vec<Act> {
        if line.len() > 2304 {
            return vec![say("ERR FRAME reason=invalid-length")];
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        let path = rest.split(' ').next().unwrap_or("");
        let no_path = || {
            vec![say(format!(
                "ERR {verb} reason=policy detail=invalid-path path={path} error=invalid path"
            ))]
        };
        match verb.as_str() {
            "AUTH" if rest == TOKEN => vec![say("OK AUTH")],
            "AUTH" => vec![say("ERR AUTH reason=invalid-token"), Act::Close],
            "ATTACH" => vec![say(format!("OK ATTACH role={path}"))],
            "PING" => vec![say("OK PING reply=pong"), say("PONG")],
            "QUIT" => vec![say("OK QUIT"), Act::Close],
            "HELP" => vec![say("OK HELP"), say("Commands:"), say("  help  - Show this help")],
            "LS" => {
                let prefix = if path == "/" {
                    "/".to_owned()
                } else {
                    format!("{path}/")
                };
                let below = self.files.keys().filter_map(|p| p.strip_prefix(prefix.as_str()));
                let names: std::collections::BTreeSet<_> =
                    below.filter_map(|p| p.split('/').next()).collect();
                if names.is_empty() {
                    return no_path();
                }
                let mut acts = vec![say(format!("OK LS path={path} entries={}", names.len()))];
                acts.extend(names.into_iter().map(say));
                acts.push(say("END"));
                acts
            }
            "CAT" | "TAIL" => {
                let Some(lines) = self.files.get(path) else {
                    return no_path();
                };
                let summary = if verb == "CAT" {
                    format!(" data={}", lines.join("|"))
                } else {
                    String::new()
                };
                let mut acts = vec![say(format!("OK {verb} path={path}{summary}"))];
                acts.extend(lines.iter().map(say));
                acts.push(say("END"));
                acts
            }
            "ECHO" => {
                let text = rest.strip_prefix(path).unwrap_or("").trim_start().to_owned();
                if text.is_empty() {
                    return vec![say(
                        "ERR PARSE reason=policy detail=missing required argument: payload",
                    )];
                }
                if path.starts_with("/proc/") {
                    return vec![say(format!(
                        "ERR ECHO reason=policy detail=denied path={path} error=EPERM"
                    ))];
                }
                if path == "/queen/ctl" && text.contains("\"spawn\"") {
                    self.workers += 1;
                }
                let mut bytes = text.len().to_string();
                if path.starts_with("/queen/telemetry/") && path.ends_with("/ctl") {
                    bytes.push_str(" seg_id=seg-000001");
                }
                self.files.entry(path.to_owned()).or_default().push(text);
                vec![say(format!("OK ECHO path={path} bytes={bytes}"))]
            }
            _ => vec![say("ERR PARSE reason=policy detail=unsupported console command")],
        }
    }
}
