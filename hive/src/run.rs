//! A hive on Linux: the topology on threads, behind an ordinary TCP listener.
//!
//! Answers for binding the console, for telling when a client can connect, and for an orderly stop.
//!
//! Never sees a request: the listener's connections are carried into the hive's own network stack.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netstack::forward::{self, ForwardConfig, Route};
use protocol::frame::{Decoder, Event, Phase};
use protocol::hex::Hex;
use runtime::hosted::{Handle, Hosted, HostedConfig};
use runtime::topology::Build;

use crate::assemble::{CONSOLE_ADDRESS, Net, assemble, console_connections, net_stack};
use crate::manifest::Manifest;
use crate::secrets::Secrets;

/// How long a hive may take from its start until a client can connect.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two attempts to connect.
const READY_PAUSE: Duration = Duration::from_millis(5);
/// What is ready when a hive is stopped has this long to be worked off.
const STOP_GRACE: Duration = Duration::from_millis(200);

/// A running hive.
pub struct Hive {
    handle: Handle,
    console: SocketAddr,
    ninep: Option<SocketAddr>,
    boot_id: String,
}

/// Why a hive does not run.
#[derive(Debug)]
pub enum RunError {
    /// The console's address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The address for 9P clients cannot be listened on.
    ListenNinep(SocketAddr, io::Error),
    /// The host did not start.
    Start(runtime::hosted::StartError),
    /// Nobody could connect in time.
    NotReady(io::Error),
    /// Another hive uses the state directory.
    Locked(std::path::PathBuf),
    /// The state directory's lock cannot be used.
    Lock(io::Error),
    /// The operating system gave no random bytes.
    Entropy(getrandom::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(addr, error) => {
                write!(
                    f,
                    "cannot listen on {addr}: {error}; give another address with --console"
                )
            }
            Self::ListenNinep(addr, error) => write!(
                f,
                "cannot listen on {addr} for 9P clients: {error}; give another address with --ninep, or --ninep off"
            ),
            Self::Start(error) => write!(f, "the hive did not start: {error}"),
            Self::NotReady(error) => write!(f, "the console did not answer within {READY_LIMIT:?}: {error}"),
            Self::Locked(path) => {
                write!(
                    f,
                    "another hive runs on {}; stop it, or give another --state",
                    path.display()
                )
            }
            Self::Lock(error) => write!(f, "the state directory cannot be locked: {error}"),
            Self::Entropy(error) => write!(f, "no random bytes from the operating system: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// Keeps a second hive off the same state directory, for as long as it lives.
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock. It goes with the process, however that ends.
    pub fn acquire(state: &Path) -> Result<Self, RunError> {
        let file = File::create(state.join("lock")).map_err(RunError::Lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(RunError::Locked(state.to_owned())),
            Err(TryLockError::Error(error)) => Err(RunError::Lock(error)),
        }
    }
}

impl Hive {
    /// Starts a hive that listens on `listen`, and where the manifest says for 9P clients, and keeps its journals in
    /// `state`, or in memory if there is none.
    ///
    /// # Errors
    /// See [`RunError`]. If it is about an address, nothing has been started.
    pub fn start(
        manifest: &Manifest,
        secrets: &Secrets,
        listen: SocketAddr,
        state: Option<&Path>,
    ) -> Result<Self, RunError> {
        let listener = TcpListener::bind(listen).map_err(|error| RunError::Listen(listen, error))?;
        let console = listener
            .local_addr()
            .map_err(|error| RunError::Listen(listen, error))?;
        let mut routes = vec![(listener, manifest.console.guest_port)];
        let mut ninep = None;
        if let Some(wanted) = &manifest.ninep {
            let error = |error| RunError::ListenNinep(wanted.address, error);
            let listener = TcpListener::bind(wanted.address).map_err(error)?;
            ninep = Some(listener.local_addr().map_err(error)?);
            routes.push((listener, wanted.guest_port));
        }
        let boot_id = boot_id()?;
        let topology = assemble(manifest, secrets, &boot_id, net(manifest, routes));
        let config = HostedConfig {
            state_dir: state.map(|state| state.join("regions")),
            stop_grace: STOP_GRACE,
            ..HostedConfig::default()
        };
        let handle = Hosted::start(topology, config).map_err(RunError::Start)?;
        let domains = manifest.domain.iter().filter(|domain| domain.is_on_linux());
        tracing::info!("{} domains started, console on {console}", domains.count());
        if let Some(ninep) = ninep {
            tracing::info!("9P on {ninep}");
        }
        Ok(Self {
            handle,
            console,
            ninep,
            boot_id,
        })
    }

    /// Where the console listens.
    pub fn console(&self) -> SocketAddr {
        self.console
    }

    /// Where it listens for 9P clients, if it does.
    pub fn ninep(&self) -> Option<SocketAddr> {
        self.ninep
    }

    /// Identity of this start.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The host, for counters and fault injection.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until a client that authenticates with `token` is answered.
    pub fn wait_until_ready(&self, token: &str) -> Result<(), RunError> {
        wait_until_ready(self.console, token)
    }

    /// Stops all domains; journals are on their disk when this returns.
    pub fn stop(self) {
        if let Err(error) = self.handle.stop() {
            tracing::error!("a journal could not be written to its disk: {error}");
        }
    }
}

/// Waits until the console at that address answers a client that authenticates with `token`.
pub fn wait_until_ready(console: SocketAddr, token: &str) -> Result<(), RunError> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        match probe(console, token) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(RunError::NotReady(error)),
            Err(_) => std::thread::sleep(READY_PAUSE),
        }
    }
}

fn net(manifest: &Manifest, routes: Vec<(TcpListener, u16)>) -> Net {
    let connections = console_connections(manifest);
    let handshakes = handshakes(manifest);
    let tasks = forward::tasks(connections, routes.len());
    let routes = Arc::new(routes);
    let build = Build::Io(Arc::new(move |ctx, io| {
        let mut stack = net_stack(ctx.random_u64());
        stack.limits.connections = connections + 8;
        let config = ForwardConfig {
            link: "net".to_owned(),
            connections,
            handshakes,
            stack,
        };
        let route = |(listener, port): &(TcpListener, u16)| {
            let guest = SocketAddrV4::new(CONSOLE_ADDRESS, *port);
            listener.try_clone().map(|listener| Route { listener, guest })
        };
        let routes: io::Result<Vec<Route>> = routes.iter().map(route).collect();
        let spawned = routes
            .map_err(|error| error.to_string())
            .and_then(|routes| forward::spawn(ctx, io, routes, config).map_err(|error| error.to_string()));
        if let Err(error) = spawned {
            panic!("net cannot start: {error}");
        }
    }));
    Net { build, tasks }
}

/// Connections that the hive is asked for at once: a few, and no more than the smaller backlog holds.
fn handshakes(manifest: &Manifest) -> u16 {
    const A_FEW: usize = 4;
    const { assert!(A_FEW <= console_tcp::Ninep::STRANGERS) };
    manifest.console.unauthenticated.clamp(1, A_FEW) as u16
}

/// 64 random bits as 16 hexadecimal digits.
fn boot_id() -> Result<String, RunError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(RunError::Entropy)?;
    Ok(Hex(&bytes).to_string())
}

/// Authenticates, says PING, and leaves. It does not attach: a probe is no operator.
fn probe(console: SocketAddr, token: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&console, READY_LIMIT)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    for line in [&format!("AUTH {token}"), "PING", "QUIT"] {
        let mut frame = [0; 512];
        let frame = protocol::frame::encode(line, &mut frame).ok_or(io::ErrorKind::InvalidInput)?;
        stream.write_all(frame)?;
    }
    let mut decoder = Decoder::<256>::new(Phase::Client);
    let mut seen_pong = false;
    loop {
        let mut chunk = [0; 512];
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return if seen_pong {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let mut rest = &chunk[..count];
        while let Some(event) = decoder.next(&mut rest) {
            seen_pong |= event == Event::Line("PONG");
        }
    }
}
