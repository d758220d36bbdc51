//! A hive with its clients in one simulation, and what has to hold at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::state::{Secret, TicketSecrets};
use hive::assemble::{Net, assemble, net_stack};
use hive::{Manifest, Secrets};
use netstack::Stack;
use netstack::sim::{Weather, client_stack};
use protocol::gpu::{Lease, LeaseState};
use protocol::role::Role;
use runtime::Context;
use runtime::region::Crash;
use runtime::sim::{Outcome, Regions, Sim, SimConfig};
use runtime::topology::Build;

use crate::console::{Console, Trouble};

const TOKEN: &str = "simulated-token";
const CLIENTS: usize = 3;
/// Lines that each client writes. All of them together stay within the log's 128, so that none may be missing.
const LINES: usize = 12;
/// What the mock GPU-0 of the profile `dev` has, MiB: enough for two of the clients' leases at once.
const GPU_MB: u32 = 24_576;
/// What a client leases, MiB; its number is added, so that its leases are known by their size.
const LEASE_MB: u32 = 10_000;
const LEASE_MS: u64 = 1000;
const TICK_MS: u64 = 200;
/// The whole work takes no longer than this, in virtual time.
const LIMIT: Duration = Duration::from_secs(1800);
/// The first day of 2026, so that times look like times.
const UNIX_MS: u64 = 1_767_225_600_000;

/// What a simulation does to the hive.
#[derive(Clone, Copy)]
pub struct Plan {
    pub weather: Weather,
    pub panics_per_million_turns: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            weather: Weather::fair(Duration::from_millis(1)),
            panics_per_million_turns: 0,
        }
    }
}

/// What the clients learnt: the oracle.
#[derive(Default)]
struct Report {
    acknowledged: Vec<String>,
    workers: BTreeSet<String>,
    /// When each client asked for the lease that it was granted, Unix milliseconds.
    granted: BTreeMap<usize, u64>,
    /// Workers whose lease was seen in force, and since when: no lease begins later than it is seen.
    seen: BTreeMap<String, u64>,
    wrong: Vec<String>,
    finished: usize,
    reconnects: usize,
}

/// A hive with its clients.
pub struct World {
    sim: Sim,
    plan: Plan,
    report: Arc<Mutex<Report>>,
    began_unix_ms: u64,
}

impl World {
    pub fn new(plan: Plan, seed: u64, keep_trace: bool) -> Self {
        Self::on(
            plan,
            seed,
            keep_trace,
            Regions::default(),
            Arc::default(),
            UNIX_MS,
        )
    }

    /// The hive after a kill -9: the same preserved memory, everything else new.
    pub fn restarted(self, seed: u64) -> Self {
        self.report.lock().unwrap().finished = 0;
        let unix_ms = self.began_unix_ms + self.sim.now().as_millis();
        let regions = self.sim.regions();
        Self::on(self.plan, seed ^ 0xdead, false, regions, self.report, unix_ms)
    }

    fn on(
        plan: Plan,
        seed: u64,
        keep_trace: bool,
        regions: Regions,
        report: Arc<Mutex<Report>>,
        unix_ms: u64,
    ) -> Self {
        let text = hive::manifest::DEFAULT
            .replacen("tick_ms = 1000", "tick_ms = 200", 1)
            .replacen("intensity = 60", "intensity = 10000", 1);
        let manifest = Manifest::parse(&text).expect("the default manifest is valid");
        let mut tickets = TicketSecrets::new();
        for role in [Role::WorkerHeartbeat, Role::WorkerGpu] {
            tickets.set(role, Secret::new("simulated-secret").expect("a secret"));
        }
        let secrets = Secrets {
            auth_token: Secret::new(TOKEN).expect("a secret"),
            tickets,
        };
        let port = manifest.console.guest_port;
        let net = {
            let report = report.clone();
            Build::Plain(Arc::new(move |ctx: &Context| {
                let link = ctx.link("net").expect("the manifest has a link named net");
                let stack = client_stack(ctx, link, plan.weather, net_stack(ctx.random_u64()))
                    .expect("a sound stack");
                let driver = stack.clone();
                ctx.spawn(async move { driver.run().await })
                    .expect("room for a task");
                for number in 0..CLIENTS {
                    let client = Client {
                        number,
                        ctx: ctx.clone(),
                        stack: stack.clone(),
                        port,
                        report: report.clone(),
                    };
                    ctx.spawn(client.work()).expect("room for a task");
                }
            }))
        };
        let topology = assemble(
            &manifest,
            &secrets,
            "0123456789abcdef",
            Net {
                build: net,
                tasks: CLIENTS + 1,
            },
        );
        let sim = Sim::new(
            topology,
            SimConfig {
                seed,
                panics_per_million_turns: plan.panics_per_million_turns,
                // The clients live in `net`; an oracle that dies knows nothing.
                panic_domains: ["console-tcp", "ninedoor", "queen", "worker-heart", "worker-gpu"]
                    .map(str::to_owned)
                    .to_vec(),
                unix_ms,
                keep_trace,
                regions,
            },
        );
        Self {
            sim: sim.expect("a sound topology"),
            plan,
            report,
            began_unix_ms: unix_ms,
        }
    }

    /// Runs until all clients have finished.
    pub fn run(&mut self) -> Outcome {
        let report = self.report.clone();
        self.sim
            .run_until(|| report.lock().unwrap().finished == CLIENTS, LIMIT)
    }

    pub fn run_for(&mut self, time: Duration) -> Outcome {
        self.sim.run_for(time)
    }

    /// The domain panics at that write to its journal.
    pub fn crash_at_journal_write(&self, domain: &str, nth: u64, crash: Crash) {
        self.sim
            .region(domain, "journal")
            .expect("the manifest gives it a journal")
            .crash_at(nth, crash);
    }

    /// Restarts of all domains so far.
    pub fn deaths(&self) -> u64 {
        let page = self.sim.supervision();
        (0..page.len())
            .filter_map(|index| page.child(index))
            .map(|child| child.restarts)
            .sum()
    }

    pub fn trace(&self) -> Vec<String> {
        self.sim.trace().to_vec()
    }

    pub fn hash(&self) -> u64 {
        self.sim.trace_hash()
    }

    /// What has to hold when the clients are done.
    pub fn verdict(&self, outcome: Outcome) -> Result<(), String> {
        let report = self.report.lock().unwrap();
        if let Some(wrong) = report.wrong.first() {
            return Err(wrong.clone());
        }
        if outcome != Outcome::Reached {
            return Err(format!(
                "{outcome:?} with {} of {CLIENTS} clients done",
                report.finished
            ));
        }
        Ok(())
    }
}

/// A client that remembers what was acknowledged and looks for it at the end.
struct Client {
    number: usize,
    ctx: Context,
    stack: Stack,
    port: u16,
    report: Arc<Mutex<Report>>,
}

impl Client {
    async fn work(self) {
        loop {
            match self.session().await {
                Ok(()) => break,
                Err(Trouble::Ended) => self.report.lock().unwrap().reconnects += 1,
                Err(Trouble::Wrong(why)) => {
                    let place = format!("client {} at {:?}: {why}", self.number, self.ctx.now());
                    self.report.lock().unwrap().wrong.push(place);
                    break;
                }
            }
            self.ctx.sleep(Duration::from_millis(100)).await;
        }
        self.report.lock().unwrap().finished += 1;
    }

    async fn session(&self) -> Result<(), Trouble> {
        let mut console = Console::open(&self.ctx, &self.stack, self.port, TOKEN).await?;
        for n in 0..LINES {
            let line = format!("client-{}-line-{n}", self.number);
            if self.report.lock().unwrap().acknowledged.contains(&line) {
                continue;
            }
            self.write(&mut console, &line).await?;
        }
        if self.number == 0 && self.report.lock().unwrap().workers.is_empty() {
            self.spawn_worker(&mut console).await?;
        }
        self.hold_a_lease(&mut console).await?;
        self.check_log(&mut console).await?;
        self.check_workers(&mut console).await
    }

    /// Leases a part of the GPU that all clients want, and waits until it is over.
    async fn hold_a_lease(&self, console: &mut Console) -> Result<(), Trouble> {
        let request = format!(
            r#"{{"spawn":"gpu","lease":{{"gpu_id":"GPU-0","mem_mb":{},"streams":1,"ttl_s":{}}}}}"#,
            self.lease_mb(),
            LEASE_MS / 1000
        );
        while !self.report.lock().unwrap().granted.contains_key(&self.number) {
            let asked = self.ctx.unix_ms();
            let answer = console.ask(&format!("ECHO /queen/ctl {request}")).await?;
            if answer.starts_with("OK ECHO") {
                self.report.lock().unwrap().granted.insert(self.number, asked);
            } else {
                self.must_be_busy("ECHO", &answer).await?;
                self.ctx.sleep(Duration::from_millis(300)).await;
            }
            self.check_leases(console).await?;
        }
        while self.check_leases(console).await? {
            self.ctx.sleep(Duration::from_millis(150)).await;
        }
        Ok(())
    }

    fn lease_mb(&self) -> u32 {
        LEASE_MB + self.number as u32
    }

    /// What is in force fits the GPU, nothing is in force a tick after its time, and what was granted is in force until
    /// then. Gives whether a lease of this client is in force.
    async fn check_leases(&self, console: &mut Console) -> Result<bool, Trouble> {
        let asked = self.ctx.unix_ms();
        let lines = self.read(console, "CAT /gpu/GPU-0/lease").await?;
        let answered = self.ctx.unix_ms();
        let mut standing = BTreeMap::new();
        for line in &lines {
            let lease = Lease::parse(line).map_err(|error| Trouble::Wrong(format!("{line}: {error}")))?;
            standing.insert(lease.worker_id, (lease.state, lease.mem_mb));
        }
        standing.retain(|_, (state, _)| *state == LeaseState::Active);
        let leased: u32 = standing.values().map(|(_, mem_mb)| mem_mb).sum();
        if leased > GPU_MB {
            return Err(Trouble::Wrong(format!("{leased} MiB are leased: {lines:?}")));
        }
        let ours = standing.values().any(|(_, mem_mb)| *mem_mb == self.lease_mb());
        let mut report = self.report.lock().unwrap();
        for worker in standing.into_keys() {
            let seen = *report.seen.entry(worker.to_owned()).or_insert(answered);
            if asked > seen + LEASE_MS + TICK_MS {
                return Err(Trouble::Wrong(format!(
                    "the lease of {worker} is in force at {asked}, and was at {seen}"
                )));
            }
        }
        match report.granted.get(&self.number) {
            Some(granted) if answered < granted + LEASE_MS && !ours => Err(Trouble::Wrong(format!(
                "a lease that was granted after {granted} is not in force at {answered}: {lines:?}"
            ))),
            _ => Ok(ours),
        }
    }

    /// Writes one line until it is acknowledged.
    async fn write(&self, console: &mut Console, line: &str) -> Result<(), Trouble> {
        let expected = format!("OK ECHO path=/log/queen.log bytes={}", line.len());
        loop {
            let answer = console.ask(&format!("ECHO /log/queen.log {line}")).await?;
            if answer == expected {
                self.report.lock().unwrap().acknowledged.push(line.to_owned());
                return Ok(());
            }
            self.must_be_busy("ECHO", &answer).await?;
        }
    }

    async fn spawn_worker(&self, console: &mut Console) -> Result<(), Trouble> {
        let request = r#"{"spawn":"heartbeat","ticks":100000,"budget":{"ttl_s":86400,"ops":1000000}}"#;
        loop {
            let before = self.list(console, "/worker").await?;
            let answer = console.ask(&format!("ECHO /queen/ctl {request}")).await?;
            if answer.starts_with("OK ECHO") {
                let after = self.list(console, "/worker").await?;
                // A worker of another client's lease is told of in the lease file before it is listed.
                let leased = self.read(console, "CAT /gpu/GPU-0/lease").await?;
                let has_lease = |id: &String| leased.iter().any(|line| line.contains(&format!("\"{id}\"")));
                // An unacknowledged attempt may have left a worker too; whichever is new has to stay.
                let fresh: Vec<_> = after
                    .into_iter()
                    .filter(|id| !before.contains(id) && !has_lease(id))
                    .collect();
                if fresh.is_empty() {
                    return Err(Trouble::Wrong("an acknowledged worker is not there".to_owned()));
                }
                self.report.lock().unwrap().workers.extend(fresh);
                return Ok(());
            }
            self.must_be_busy("ECHO", &answer).await?;
        }
    }

    async fn check_log(&self, console: &mut Console) -> Result<(), Trouble> {
        let mine = format!("client-{}-", self.number);
        let lines = self.read(console, "CAT /log/queen.log").await?;
        let acknowledged = self.report.lock().unwrap().acknowledged.clone();
        for line in acknowledged.iter().filter(|line| line.starts_with(&mine)) {
            if !lines.contains(line) {
                return Err(Trouble::Wrong(format!(
                    "{line} was acknowledged and is gone from {lines:?}"
                )));
            }
        }
        let firsts =
            lines
                .iter()
                .filter(|line| line.starts_with(&mine))
                .fold(Vec::new(), |mut firsts, line| {
                    if !firsts.contains(&line) {
                        firsts.push(line);
                    }
                    firsts
                });
        let in_order = firsts
            .iter()
            .zip(acknowledged.iter().filter(|line| line.starts_with(&mine)));
        match in_order
            .into_iter()
            .find(|(logged, written)| **logged != *written)
        {
            None => Ok(()),
            Some((logged, written)) => Err(Trouble::Wrong(format!(
                "{logged} stands where {written} was written"
            ))),
        }
    }

    async fn check_workers(&self, console: &mut Console) -> Result<(), Trouble> {
        let workers = self.report.lock().unwrap().workers.clone();
        let alive = self.list(console, "/worker").await?;
        for worker in workers {
            if !alive.contains(&worker) {
                return Err(Trouble::Wrong(format!(
                    "{worker} was acknowledged and is not in {alive:?}"
                )));
            }
            let records = self
                .read(console, &format!("TAIL /worker/{worker}/telemetry"))
                .await?;
            let ticks: Option<Vec<u64>> = records
                .iter()
                .map(|record| record.strip_prefix("{\"tick\":")?.split(',').next()?.parse().ok())
                .collect();
            let contiguous = ticks.is_some_and(|ticks| ticks.windows(2).all(|pair| pair[1] == pair[0] + 1));
            if !contiguous {
                return Err(Trouble::Wrong(format!(
                    "a tick of {worker} is lost or doubled: {records:?}"
                )));
            }
        }
        Ok(())
    }

    async fn list(&self, console: &mut Console, path: &str) -> Result<Vec<String>, Trouble> {
        let mut names = self.read(console, &format!("LS {path}")).await?;
        names.retain(|name| name.starts_with("worker-"));
        Ok(names)
    }

    async fn read(&self, console: &mut Console, command: &str) -> Result<Vec<String>, Trouble> {
        loop {
            let (ack, lines) = console.stream(command).await?;
            if ack.starts_with("OK ") {
                return Ok(lines);
            }
            self.must_be_busy(command, &ack).await?;
        }
    }

    /// While domains die, `busy` is the one refusal that is allowed; it is worth another try.
    async fn must_be_busy(&self, command: &str, answer: &str) -> Result<(), Trouble> {
        if !answer.contains("reason=busy") {
            return Err(Trouble::Wrong(format!("{command} was answered {answer:?}")));
        }
        self.ctx.sleep(Duration::from_millis(50)).await;
        Ok(())
    }
}
