//! A simulated house around the door: clients on its three links, a queen behind it.
//!
//! Answers for running a scenario, an async function in the clients' domain, to its end in virtual time, and for a
//! failed assertion in it failing the test.
#![allow(dead_code)] // each suite uses a part of it

pub mod queen;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ninedoor::{Boot, Config, Limits};
use ninep::{Attr, Client, ClientConfig, ClientError, Errno, Fid, OpenFlags, Transport};
use protocol::role::Role;
use protocol::ticket::{Claims, Key, Version, mint};
use runtime::Context;
use runtime::link::Connection;
use runtime::sim::{Outcome, Sim, SimConfig};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

use queen::Memory;

/// Virtual time a scenario may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of the door's journal.
pub const JOURNAL_BYTES: usize = 512 * 1024;
/// Wall clock at the beginning of every simulation.
pub const UNIX_MS: u64 = 1_700_000_000_000;

/// A simulation and what its queen remembers.
pub struct House {
    pub sim: Sim,
    pub queen: Arc<Mutex<Memory>>,
}

/// The configuration of the tests: every role has its label as secret.
pub fn config() -> Config {
    Config {
        boot: Boot {
            id: "b-1".to_owned(),
            ..Boot::default()
        },
        keys: Role::ALL
            .map(|role| (role, Key::from_secret(role.label())))
            .to_vec(),
        limits: Limits {
            sessions: 32,
            ..Limits::default()
        },
        fault_injection: true,
        ..Config::default()
    }
}

/// A ticket of these claims.
pub fn token(claims: &Claims<'_>) -> String {
    mint(claims, Version::V1, &Key::from_secret(claims.role.label()))
        .expect("it fits")
        .to_string()
}

/// A heartbeat worker's ticket.
pub fn worker_token(id: &str) -> String {
    token(&Claims {
        subject: Some(id),
        ..Claims::new(Role::WorkerHeartbeat)
    })
}

/// The domains and links: the door, clients that do nothing yet, and a queen.
pub fn topology(config: Config, queen: &Arc<Mutex<Memory>>, journal_bytes: usize) -> Topology {
    let memory = queen.clone();
    let mut topology = Topology {
        domains: vec![
            DomainSpec::new("clients", |_| {}),
            DomainSpec::new("ninedoor", move |ctx| {
                ninedoor::spawn(ctx, config.clone()).expect("it boots")
            })
            .with_region(ninedoor::JOURNAL_REGION, journal_bytes),
            DomainSpec::new("queen", move |ctx| queen::spawn(ctx, &memory)),
        ],
        links: vec![
            LinkSpec::new("console-ninedoor", "clients", "ninedoor", 32, 8192),
            LinkSpec::new("worker-heart-ninedoor", "clients", "ninedoor", 16, 8192),
            LinkSpec::new("worker-gpu-ninedoor", "clients", "ninedoor", 16, 8192),
            LinkSpec::new("queen-ninedoor", "clients", "ninedoor", 16, 8192),
            LinkSpec::new("ninedoor-queen", "ninedoor", "queen", 32, 8192),
        ],
        fault_injection: true,
    };
    for domain in &mut topology.domains {
        // Tests make them panic as often as they like.
        domain.restart.intensity = 10_000;
    }
    topology
}

impl House {
    /// A house with this configuration of the door.
    pub fn with(config: Config, sim: SimConfig) -> Self {
        Self::with_journal(config, sim, JOURNAL_BYTES)
    }

    /// The same with a journal of another size.
    pub fn with_journal(config: Config, sim: SimConfig, journal_bytes: usize) -> Self {
        let queen = Arc::new(Mutex::new(Memory {
            state: "ONLINE".to_owned(),
            ..Memory::default()
        }));
        let topology = topology(config, &queen, journal_bytes);
        let sim = Sim::new(
            topology,
            SimConfig {
                unix_ms: UNIX_MS,
                ..sim
            },
        )
        .expect("a sound topology");
        Self { sim, queen }
    }

    /// A plain house.
    pub fn new(seed: u64) -> Self {
        Self::with(
            config(),
            SimConfig {
                seed,
                ..SimConfig::default()
            },
        )
    }

    /// Runs a scenario to its end.
    pub fn run<F: Future<Output = ()> + 'static>(&mut self, scenario: impl FnOnce(Context) -> F) {
        let done = Rc::new(Cell::new(false));
        let flag = done.clone();
        let spawned = self.sim.with_context("clients", |ctx| {
            let scenario = scenario(ctx.clone());
            ctx.spawn(async move {
                scenario.await;
                flag.set(true);
            })
        });
        spawned.expect("the clients live").expect("room for a task");
        let outcome = self.sim.run_until(|| done.get(), PATIENCE);
        let page = self.sim.supervision();
        for index in 0..page.len() {
            let child = page.child(index).expect("a child");
            let reason = child.last_reason;
            assert!(
                child.name != "clients" || child.restarts == 0,
                "the scenario failed: {}",
                reason.as_str()
            );
        }
        assert_eq!(outcome, Outcome::Reached, "the scenario hangs");
    }
}

/// Runs a scenario in a plain house.
pub fn run<F: Future<Output = ()> + 'static>(scenario: impl FnOnce(Context) -> F) {
    House::new(1).run(scenario);
}

/// A 9P client on one of the door's links; it drives itself.
#[derive(Clone)]
pub struct Peer {
    client: Client<Connection>,
}

/// Connects to the door by a link; again if the door dies meanwhile.
pub async fn connect(ctx: &Context, link: &str) -> Peer {
    loop {
        let connection = ctx.link(link).expect("the link").connect().await;
        let client = Client::new(connection, ClientConfig::default());
        let driver = client.clone();
        ctx.spawn(async move {
            driver.run().await;
        })
        .expect("room for a task");
        match client.version().await {
            Ok(_) => return Peer { client },
            Err(error) => assert_eq!(error, ClientError::Closed),
        }
    }
}

/// The front door.
pub async fn console(ctx: &Context) -> Peer {
    connect(ctx, "console-ninedoor").await
}

impl Peer {
    /// Begins a session.
    pub async fn attach(&self, uname: &str, aname: &str) -> Result<Session, Errno> {
        let root = self.client.attach(uname, aname).await.map_err(errno)?;
        Ok(Session {
            client: self.client.clone(),
            root,
        })
    }

    /// Begins a queen's session.
    pub async fn queen(&self) -> Session {
        self.attach("queen", "").await.expect("a queen may attach")
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.client.close();
    }
}

/// A session at the door.
pub struct Session {
    pub client: Client<Connection>,
    pub root: Fid,
}

impl Session {
    pub async fn open(&self, path: &str, flags: OpenFlags) -> Result<Fid, Errno> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        self.client
            .walk_open(&self.root, &names, flags)
            .await
            .map_err(errno)
    }

    /// The bytes of a file.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let fid = self.open(path, OpenFlags::RDONLY).await?;
        read_to_end(&self.client, &fid, 4096).await
    }

    /// The text of a file.
    pub async fn cat(&self, path: &str) -> Result<String, Errno> {
        Ok(String::from_utf8(self.bytes(path).await?).expect("text"))
    }

    /// The names in a directory.
    pub async fn ls(&self, path: &str) -> Result<Vec<String>, Errno> {
        let fid = self.open(path, OpenFlags::RDONLY | OpenFlags::DIRECTORY).await?;
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let from = offset;
            let visit = |entry: ninep::DirEntry<'_>| {
                names.push(entry.name.as_str().to_owned());
                offset = entry.next;
            };
            if self.client.readdir(&fid, from, visit).await.map_err(errno)? == 0 {
                return Ok(names);
            }
        }
    }

    /// Appends to a file.
    pub async fn echo(&self, path: &str, text: &str) -> Result<(), Errno> {
        let fid = self.open(path, OpenFlags::WRONLY | OpenFlags::APPEND).await?;
        let count = self.client.write(&fid, 0, text.as_bytes()).await.map_err(errno)?;
        assert_eq!(count, text.len());
        Ok(())
    }

    /// What a file says of itself.
    pub async fn stat(&self, path: &str) -> Result<Attr, Errno> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let fid = self.client.walk(&self.root, &names).await.map_err(errno)?;
        self.client.getattr(&fid).await.map_err(errno)
    }

    /// The log's lines.
    pub async fn log(&self) -> Vec<String> {
        self.cat("/log/queen.log")
            .await
            .expect("the log")
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Whether the log has a line that contains a text.
    pub async fn logged(&self, text: &str) -> bool {
        self.log().await.iter().any(|line| line.contains(text))
    }

    /// Ends the session and waits for it.
    pub async fn quit(self) {
        self.client.clunk(self.root).await.expect("a clunk always works");
    }

    /// Ends the session as the console does when its client is gone.
    pub async fn lose(self) {
        self.echo("/proc/9p/session/ctl", "lost")
            .await
            .expect("every session may say so");
        self.quit().await;
    }
}

/// Reads a file in pieces.
pub async fn read_to_end<C: Transport>(
    client: &Client<C>,
    fid: &Fid,
    piece: usize,
) -> Result<Vec<u8>, Errno> {
    let (mut bytes, mut buf) = (Vec::new(), vec![0; piece]);
    loop {
        let count = client
            .read(fid, bytes.len() as u64, &mut buf)
            .await
            .map_err(errno)?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&buf[..count]);
    }
}

/// The errno of a refusal; anything else is the end of the connection.
pub fn errno(error: ClientError) -> Errno {
    match error {
        ClientError::Remote(errno) => errno,
        ClientError::Closed => Errno::ECONNRESET,
        other => panic!("{other}"),
    }
}
