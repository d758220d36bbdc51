//! `coh doctor`: whether everything that the other commands need is there.
//!
//! Answers for checks that go on after one has failed, each telling what to do about it. Never changes anything in a
//! hive; a registry is repaired as by any command.

use std::path::PathBuf;

use clap::Args;
use client::{Exit, Session};
use protocol::gpu::is_gpu_id;

use crate::connection::Connection;
use crate::disk::Disk;
use crate::registry::{ModelId, Registry};
use crate::report::{Failure, Report};

/// `coh doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// A registry to check as well: that its files agree, and that every model is what its manifest says.
    #[arg(long, value_name = "R")]
    pub registry: Option<PathBuf>,
}

/// Does it.
pub async fn run(doctor: &Doctor, connection: &Connection, disk: Disk<'_>) -> Result<Report, Failure> {
    let mut checks = Checks::default();
    let target = connection.target(&client::state::Environment::process());
    let address = format!("{}:{}", connection.tcp_host, connection.tcp_port);
    checks.note("credentials", target.map(|_| "found".to_owned()));
    let session = connection.open().await;
    checks.note("attach", session.as_ref().map(|_| address).map_err(Clone::clone));
    if let Ok(session) = session {
        checks.note("boot", boot(&session).await);
        checks.note("lifecycle", lifecycle(&session).await);
        checks.note("gpus", gpus(&session).await);
        session.quit().await;
    }
    if let Some(root) = &doctor.registry {
        match Registry::open(root, disk) {
            Ok(None) => checks.note(
                "registry",
                Err(Failure::local(format!("{} is no directory", root.display()))),
            ),
            Ok(Some(registry)) => {
                checks.note("registry", state(&registry));
                models(&registry, &mut checks);
            }
            Err(why) => checks.note("registry", Err(why.into())),
        }
    }
    checks.report()
}

#[derive(Default)]
struct Checks {
    lines: Vec<String>,
    failed: Vec<String>,
}

impl Checks {
    fn note(&mut self, name: &str, result: Result<String, Failure>) {
        match result {
            Ok(found) => self.lines.push(format!("OK DOCTOR check={name} ({found})")),
            Err(why) => {
                self.lines.push(format!("ERR DOCTOR check={name} reason={why}"));
                self.failed.push(name.to_owned());
            }
        }
    }

    /// With a failed check the lines are the reason.
    fn report(self) -> Result<Report, Failure> {
        if !self.failed.is_empty() {
            let checks = self.lines.join("\n");
            let why = format!("failed: {}\n{checks}", self.failed.join(", "));
            return Err(Failure::new(Exit::Shortfall, why));
        }
        let mut report = Report::new();
        report.set("checks", self.lines.clone());
        report.lines = self.lines;
        Ok(report)
    }
}

async fn boot(session: &Session) -> Result<String, Failure> {
    let lines = session.cat("/proc/boot").await?;
    if !lines
        .first()
        .is_some_and(|line| line.starts_with("Cohesix boot:"))
    {
        return Err(Failure::refused("/proc/boot is not that of a hive"));
    }
    let named = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
    let profile = named("manifest.profile=").unwrap_or("unknown");
    let schema = named("manifest.schema=").unwrap_or("unknown");
    Ok(format!("profile={profile} schema={schema}"))
}

async fn lifecycle(session: &Session) -> Result<String, Failure> {
    let state = session.cat("/proc/lifecycle/state").await?.join(" ");
    match state.as_str() {
        "state=ONLINE" => Ok(state),
        _ => Err(Failure::refused(format!(
            "{state}; cat /proc/lifecycle/reason tells why, lifecycle resume in cohsh goes on"
        ))),
    }
}

async fn gpus(session: &Session) -> Result<String, Failure> {
    let names = session.ls("/gpu").await?;
    let models = if names.iter().any(|name| name == "models") {
        "published"
    } else {
        "not published yet: gpu-bridge-host --publish"
    };
    let gpus = names.iter().filter(|name| is_gpu_id(name));
    Ok(format!("gpus={} models={models}", gpus.count()))
}

fn state(registry: &Registry<'_>) -> Result<String, Failure> {
    let active = registry.active()?;
    let name = |id: &Option<ModelId>| id.as_ref().map_or("none", ModelId::as_str).to_owned();
    let mut found = format!(
        "current={} previous={}",
        name(&active.current),
        name(&active.previous)
    );
    for repair in registry.repairs() {
        found.push_str(&format!("; {repair}"));
    }
    if registry.pending()?.is_some() {
        found.push_str("; the hive may not know: coh peft activate tells it");
    }
    if let Some(model) = &active.current
        && !registry.has(model)
    {
        return Err(Failure::refused(format!(
            "{found}: model {model} is not available"
        )));
    }
    Ok(found)
}

fn models(registry: &Registry<'_>, checks: &mut Checks) {
    let models = match registry.models() {
        Ok(models) => models,
        Err(why) => return checks.note("models", Err(why.into())),
    };
    for name in models {
        let checked = ModelId::new(&name)
            .map_err(Failure::refused)
            .and_then(|model| Ok(registry.verify(&model)?));
        let said = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        checks.note(
            &format!("model:{name}"),
            checked.map(|manifest| {
                let job = said(manifest.provenance.job_id);
                format!("base={} job={job}", said(manifest.model.base))
            }),
        );
    }
}
