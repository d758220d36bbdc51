//! A hive without its console, and an operator who speaks 9P to the door.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ninep::{Client, ClientConfig, ClientError, OpenFlags};
use protocol::refusal::Refusal;
use protocol::role::Role;
use protocol::ticket::Key;
use runtime::Context;
use runtime::link::{Connection, Link};
use runtime::sim::{Outcome, Regions, Sim, SimConfig};
use runtime::supervision::RestartPolicy;
use runtime::topology::{DomainSpec, LinkSpec, Topology};

/// Wall time at which simulations begin.
pub const UNIX_MS: u64 = 1_700_000_000_000;

/// What an operation may take before the operator gives up: more than the queen's own bounds.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    /// The operator's connections: to the door, and past it to the queen. A simulation runs on one thread.
    static CONNECTIONS: RefCell<[Option<Client<Connection>>; 2]> = const { RefCell::new([const { None }; 2]) };
}

/// How a test wants its hive.
#[derive(Clone)]
pub struct Options {
    pub seed: u64,
    pub tick: Duration,
    /// Pause before a domain of that name is started again.
    pub slow_restart: Option<(&'static str, Duration)>,
    /// Restarts in a minute before a domain is given up.
    pub intensity: u32,
    pub regions: Regions,
    /// Wall time at the start, Unix milliseconds.
    pub unix_ms: u64,
    /// The operator is the queen's client in NineDoor's place, which forwards nothing.
    pub direct: bool,
    pub gpu: queen::GpuConfig,
    pub ingest: queen::IngestConfig,
}

impl Options {
    pub fn seed(seed: u64) -> Options {
        Options {
            seed,
            tick: Duration::from_millis(100),
            slow_restart: None,
            intensity: 1_000_000,
            regions: Regions::default(),
            unix_ms: UNIX_MS,
            direct: false,
            gpu: queen::GpuConfig::default(),
            ingest: queen::IngestConfig::default(),
        }
    }

    /// With the two mock GPUs of the profile `dev`.
    pub fn seeded(seed: u64) -> Options {
        Options {
            gpu: queen::GpuConfig {
                seeded: true,
                ..queen::GpuConfig::default()
            },
            ..Options::seed(seed)
        }
    }
}

/// A simulated hive and its operator.
pub struct Hive {
    pub sim: Sim,
    began_unix_ms: u64,
}

/// What became of an operation.
pub type Answer<T> = Result<T, Refusal>;

impl Hive {
    pub fn new(options: Options) -> Hive {
        CONNECTIONS.with(|all| *all.borrow_mut() = [None, None]);
        let key = || Key::from_secret("a secret of this test");
        let config = queen::Config {
            tick: options.tick,
            gpu: options.gpu.clone(),
            ingest: options.ingest.clone(),
            ..queen::Config::new(key(), key())
        };
        let journal_bytes = config.journal_bytes();
        let mut door_config = ninedoor::Config {
            keys: vec![(Role::WorkerHeartbeat, key()), (Role::WorkerGpu, key())],
            ..ninedoor::Config::default()
        };
        for prefix in ["/gpu", "/proc/ingest"] {
            door_config.mounts.push(ninedoor::Mount {
                prefix: prefix.into(),
                link: "ninedoor-queen".into(),
            });
        }
        if options.direct {
            door_config.mounts.clear();
            door_config.lifecycle = None;
        }
        let queens_client = if options.direct { "console-tcp" } else { "ninedoor" };
        let policy = |name: &str| RestartPolicy {
            intensity: options.intensity,
            window: Duration::from_secs(60),
            delay: options
                .slow_restart
                .filter(|slow| slow.0 == name)
                .map_or(Duration::ZERO, |slow| slow.1),
        };
        let mut domains = vec![
            DomainSpec::new("console-tcp", |ctx| {
                for (index, link) in ["console-ninedoor", "ninedoor-queen"].into_iter().enumerate() {
                    if let Some(link) = ctx.link(link) {
                        ctx.spawn(operator(link, index)).unwrap();
                    }
                }
            }),
            DomainSpec::new("ninedoor", move |ctx| {
                ninedoor::spawn(ctx, door_config.clone()).unwrap()
            })
            .with_region("journal", 524_288),
            DomainSpec::new("queen", move |ctx| {
                queen::spawn(ctx, config.clone()).unwrap();
            })
            .with_region("journal", journal_bytes)
            .with_region("gpu", queen::GpuConfig::region_bytes())
            .with_region("telemetry", options.ingest.limits.region_bytes()),
            DomainSpec::new("worker-heart", |ctx| {
                worker_heart::spawn(ctx, Default::default()).unwrap()
            }),
            DomainSpec::new("worker-gpu", |ctx| {
                worker_gpu::spawn(ctx, Default::default()).unwrap()
            }),
        ];
        for domain in &mut domains {
            domain.restart = policy(&domain.name);
        }
        let links = vec![
            LinkSpec::new("console-ninedoor", "console-tcp", "ninedoor", 32, 8192),
            LinkSpec::new("worker-heart-ninedoor", "worker-heart", "ninedoor", 16, 8192),
            LinkSpec::new("worker-gpu-ninedoor", "worker-gpu", "ninedoor", 16, 8192),
            LinkSpec::new("ninedoor-queen", queens_client, "queen", 32, 8192),
            LinkSpec::new("queen-ninedoor", "queen", "ninedoor", 16, 8192),
            LinkSpec::new("queen-worker-heart", "queen", "worker-heart", 16, 8192),
            LinkSpec::new("queen-worker-gpu", "queen", "worker-gpu", 16, 8192),
        ];
        let sim = Sim::new(
            Topology {
                domains,
                links,
                fault_injection: false,
            },
            SimConfig {
                seed: options.seed,
                panic_domains: ["ninedoor", "queen", "worker-heart", "worker-gpu"]
                    .map(String::from)
                    .to_vec(),
                unix_ms: options.unix_ms,
                regions: options.regions,
                ..SimConfig::default()
            },
        );
        Hive {
            sim: sim.expect("the topology is sound"),
            began_unix_ms: options.unix_ms,
        }
    }

    /// Stops everything at once, as power does, and after some time starts a hive that finds what was preserved.
    pub fn killed(self, off: Duration, options: Options) -> Hive {
        let regions = self.sim.regions().copy();
        let unix_ms = self.unix_ms() + off.as_millis() as u64;
        drop(self);
        Hive::new(Options {
            regions,
            unix_ms,
            ..options
        })
    }

    /// Wall time, Unix milliseconds.
    pub fn unix_ms(&self) -> u64 {
        self.began_unix_ms + self.sim.now().as_millis()
    }

    pub fn run(&mut self, time: Duration) {
        self.sim.run_for(time);
    }

    /// Has the operator do something and waits for the outcome; the operator's patience is bounded.
    pub fn ask<T: 'static, F>(&mut self, act: impl FnOnce(Session) -> F + 'static) -> Answer<T>
    where
        F: Future<Output = Result<T, ClientError>> + 'static,
    {
        self.ask_on(0, act)
    }

    fn ask_on<T: 'static, F>(
        &mut self,
        connection: usize,
        act: impl FnOnce(Session) -> F + 'static,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T, ClientError>> + 'static,
    {
        let outcome = Rc::new(RefCell::new(None));
        let slot = outcome.clone();
        self.sim.with_context("console-tcp", |ctx| {
            let task = ctx.clone();
            let work = async move {
                let client = connected(&task, connection).await;
                let answer = match Session::begin(task, client).await {
                    Ok(session) => act(session).await,
                    Err(error) => Err(error),
                };
                *slot.borrow_mut() = Some(answer);
            };
            ctx.spawn(work).unwrap();
        });
        let answered = outcome.clone();
        assert_eq!(
            self.sim.run_until(move || answered.borrow().is_some(), PATIENCE),
            Outcome::Reached,
            "a request was never answered"
        );
        let answer = outcome.borrow_mut().take().unwrap();
        answer.map_err(|error| match error {
            ClientError::Remote(errno) => Refusal::from_errno(errno.raw()),
            // The door died with the request.
            ClientError::Closed => Refusal::OwnerDown,
            error => panic!("the operator's session: {error}"),
        })
    }

    pub fn echo(&mut self, path: &str, text: &str) -> Answer<()> {
        let (path, text) = (path.to_string(), text.to_string());
        self.ask(move |session| async move { session.echo(&path, &text).await })
    }

    /// As [`echo`](Self::echo), past the door.
    pub fn echo_direct(&mut self, path: &str, text: &str) -> Answer<()> {
        let (path, text) = (path.to_string(), text.to_string());
        self.ask_on(1, move |session| async move { session.echo(&path, &text).await })
    }

    pub fn cat(&mut self, path: &str) -> Answer<String> {
        let path = path.to_string();
        self.ask(move |session| async move { session.cat(&path).await })
    }

    pub fn ls(&mut self, path: &str) -> Answer<Vec<String>> {
        let path = path.to_string();
        self.ask(move |session| async move { session.ls(&path).await })
    }

    /// As an operator who repeats what is refused as busy.
    pub fn settled<T>(&mut self, mut act: impl FnMut(&mut Hive) -> Answer<T>) -> T {
        for _ in 0..200 {
            match act(self) {
                Ok(value) => return value,
                Err(Refusal::OwnerDown) => self.run(Duration::from_millis(50)),
                Err(refusal) => panic!("{refusal}"),
            }
        }
        panic!("an owner does not come back");
    }

    pub fn ctl(&mut self, line: &str) -> Answer<()> {
        self.echo("/queen/ctl", line)
    }

    pub fn spawn(&mut self, ticks: u64) -> Answer<()> {
        self.ctl(&format!(r#"{{"spawn":"heartbeat","ticks":{ticks}}}"#))
    }

    pub fn kill(&mut self, number: u64) -> Answer<()> {
        self.ctl(&format!(r#"{{"kill":"worker-{number}"}}"#))
    }

    /// Numbers of the workers that have files.
    pub fn workers(&mut self) -> Vec<u64> {
        let names = self.settled(|hive| hive.ls("/worker"));
        let mut numbers: Vec<u64> = names
            .iter()
            .filter_map(|name| name.strip_prefix("worker-")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// The ticks in a worker's telemetry.
    pub fn ticks(&mut self, number: u64) -> Vec<protocol::telemetry::Heartbeat> {
        let text = self.settled(|hive| hive.cat(&format!("/worker/worker-{number}/telemetry")));
        // The ring may have cut the oldest.
        text.lines()
            .filter_map(protocol::telemetry::Heartbeat::parse)
            .collect()
    }

    pub fn log(&mut self) -> Vec<String> {
        self.settled(|hive| hive.cat("/log/queen.log"))
            .lines()
            .map(String::from)
            .collect()
    }

    pub fn state(&mut self) -> String {
        self.settled(|hive| hive.cat("/proc/lifecycle/state"))
            .trim_end()
            .to_string()
    }
}

/// Keeps one of the operator's connections.
async fn operator(link: Link, index: usize) {
    let set = |client| CONNECTIONS.with(|all| all.borrow_mut()[index] = client);
    loop {
        let client = Client::new(link.connect().await, ClientConfig::default());
        let opened = async {
            if client.version().await.is_ok() {
                set(Some(client.clone()));
            }
            std::future::pending::<()>().await;
        };
        futures::future::select(std::pin::pin!(client.run()), std::pin::pin!(opened)).await;
        set(None);
    }
}

async fn connected(ctx: &Context, index: usize) -> Client<Connection> {
    loop {
        if let Some(client) = CONNECTIONS.with(|all| all.borrow()[index].clone()) {
            return client;
        }
        ctx.sleep(Duration::from_millis(1)).await;
    }
}

/// An attached session of the operator.
pub struct Session {
    ctx: Context,
    client: Client<Connection>,
    root: ninep::Fid,
}

impl Session {
    async fn begin(ctx: Context, client: Client<Connection>) -> Result<Session, ClientError> {
        let root = client.attach(Role::Queen.label(), "").await?;
        Ok(Session { ctx, client, root })
    }

    /// A second session of the same operator.
    pub async fn another(&self) -> Result<Session, ClientError> {
        Session::begin(self.ctx.clone(), self.client.clone()).await
    }

    pub async fn sleep(&self, time: Duration) {
        self.ctx.sleep(time).await;
    }

    /// Loses patience: `None` if the line was not answered within that time, and the request was dropped.
    pub async fn echo_within(
        &self,
        path: &str,
        text: &str,
        time: Duration,
    ) -> Option<Result<(), ClientError>> {
        self.ctx.timeout(time, self.echo(path, text)).await.ok()
    }

    pub async fn echo(&self, path: &str, text: &str) -> Result<(), ClientError> {
        let flags = OpenFlags::WRONLY | OpenFlags::APPEND;
        let fid = self.client.walk_open(&self.root, &names(path), flags).await?;
        let taken = self.client.write(&fid, 0, text.as_bytes()).await?;
        assert_eq!(taken, text.len());
        Ok(())
    }

    pub async fn cat(&self, path: &str) -> Result<String, ClientError> {
        let fid = self
            .client
            .walk_open(&self.root, &names(path), OpenFlags::RDONLY)
            .await?;
        let mut text = vec![0; 1 << 17];
        let count = self.client.read_all(&fid, &mut text).await?;
        text.truncate(count);
        Ok(String::from_utf8(text).expect("text"))
    }

    pub async fn ls(&self, path: &str) -> Result<Vec<String>, ClientError> {
        let fid = self
            .client
            .walk_open(&self.root, &names(path), OpenFlags::RDONLY)
            .await?;
        let (mut entries, mut offset) = (Vec::new(), 0);
        loop {
            let mut last = offset;
            let visited = self
                .client
                .readdir(&fid, offset, |entry| {
                    entries.push(entry.name.as_str().to_string());
                    last = entry.next;
                })
                .await?;
            if visited == 0 {
                return Ok(entries);
            }
            offset = last;
        }
    }
}

fn names(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}
