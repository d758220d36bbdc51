//! `coh peft activate` and `rollback`: which model is active, in the registry and in the hive.
//!
//! Answers for both saying the same: the hive is reached before the registry changes, is told after it has, and if it
//! refuses, the registry goes back. If nobody can say whether the hive took it, the registry stays changed, and the next
//! of these commands tells the hive again.
//!
//! Never activates a model whose files are not those that were imported.

use client::{Error, Exit, Refusal, Session};

use super::{Activate, Rollback, tell_repairs};
use crate::connection::Connection;
use crate::disk::Disk;
use crate::registry::{Active, ModelId, Pending, Registry, RegistryError};
use crate::report::{Failure, Report};

/// The hive's file of activations; its last line is the active model.
const HIVE_ACTIVE: &str = "/gpu/models/active";
/// The hive's directory of models that a host published.
const HIVE_AVAILABLE: &str = "/gpu/models/available";

pub(super) async fn activate(
    activate: &Activate,
    connection: &Connection,
    disk: Disk<'_>,
) -> Result<Report, Failure> {
    let model = &activate.model;
    let registry = Registry::open(&activate.registry, disk)?
        .ok_or_else(|| RegistryError::NotAvailable(model.clone()))?;
    registry.verify(model)?;
    let mut report = Report::new();
    tell_repairs(&registry, &mut report);
    let session = connection.open().await?;
    catch_up(&registry, &session, &mut report).await?;
    let to = registry.active()?.with(model);
    change(&registry, &session, to, &mut report).await?;
    report.say(format!(
        "peft activated model={model} previous={}",
        previous(&registry)?
    ));
    session.quit().await;
    Ok(report)
}

pub(super) async fn rollback(
    rollback: &Rollback,
    connection: &Connection,
    disk: Disk<'_>,
) -> Result<Report, Failure> {
    let registry = Registry::open(&rollback.registry, disk)?.ok_or(RegistryError::NoPrevious)?;
    let mut report = Report::new();
    tell_repairs(&registry, &mut report);
    let session = connection.open().await?;
    catch_up(&registry, &session, &mut report).await?;
    let to = registry.active()?.rolled_back()?;
    if let Some(model) = &to.current {
        registry.verify(model)?;
    }
    let name = |id: &Option<ModelId>| id.as_ref().map_or("none", ModelId::as_str).to_owned();
    let line = format!(
        "peft rollback from={} to={}",
        name(&to.previous),
        name(&to.current)
    );
    change(&registry, &session, to, &mut report).await?;
    report.say(line);
    session.quit().await;
    Ok(report)
}

fn previous(registry: &Registry<'_>) -> Result<String, Failure> {
    let previous = registry.active()?.previous;
    Ok(previous.map_or_else(|| "none".to_owned(), |model| model.to_string()))
}

/// Makes `to` active, here and there.
async fn change(
    registry: &Registry<'_>,
    session: &Session,
    to: Active,
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(model) = to.current.clone() else {
        return Err(RegistryError::NoPrevious.into());
    };
    report.set("model", model.as_str());
    report.set("previous", to.previous.as_ref().map(ModelId::as_str));
    // The same again: the registry stays, and the hive is told, which may have another one.
    let pending = if registry.active()? == to {
        None
    } else {
        Some(registry.commit(to)?)
    };
    report.set("changed", pending.is_some());
    match (tell(session, &model).await, pending) {
        (Told::Yes, pending) => {
            if pending.is_some() {
                registry.settle()?;
            }
            look_for(session, &model, report).await;
            Ok(())
        }
        (Told::Refused(refusal), Some(pending)) => {
            registry.revert(&pending)?;
            Err(refused(&model, &refusal, "the registry is as it was"))
        }
        (Told::Refused(refusal), None) => {
            Err(refused(&model, &refusal, "in the registry it was active already"))
        }
        (Told::Perhaps(error), _) => Err(perhaps(&model, &error)),
    }
}

/// Says so if the hive has not been shown the model: it takes its name all the same.
async fn look_for(session: &Session, model: &ModelId, report: &mut Report) {
    let shown = session.ls(HIVE_AVAILABLE).await.unwrap_or_default();
    if !shown.iter().any(|name| name == model.as_str()) {
        report.note(format!(
            "the hive has not been shown {model} yet, its workers cannot read its manifest: gpu-bridge-host --publish \
             --registry"
        ));
    }
}

/// Brings a change to its end that an earlier command made in the registry and perhaps not in the hive.
async fn catch_up(registry: &Registry<'_>, session: &Session, report: &mut Report) -> Result<(), Failure> {
    let Some(pending) = registry.pending()? else {
        return Ok(());
    };
    let Pending {
        to: Active {
            current: Some(model), ..
        },
        ..
    } = &pending
    else {
        return Ok(registry.settle()?);
    };
    if is_active(session, model).await {
        return Ok(registry.settle()?);
    }
    match tell(session, model).await {
        Told::Yes => {
            report.note(format!(
                "told the hive that {model} is active, which an earlier command had not"
            ));
            Ok(registry.settle()?)
        }
        Told::Refused(refusal) => {
            registry.revert(&pending)?;
            report.note(format!(
                "took back that {model} is active, which an earlier command had not told the hive: {refusal}"
            ));
            Ok(())
        }
        Told::Perhaps(error) => Err(perhaps(model, &error)),
    }
}

/// Whether the hive knows.
enum Told {
    Yes,
    Refused(Refusal),
    Perhaps(Error),
}

async fn tell(session: &Session, model: &ModelId) -> Told {
    // After a broken connection the hive is asked before it is told again: somebody else may have activated another.
    for _ in 0..2 {
        match session.echo(HIVE_ACTIVE, model.as_str()).await {
            Ok(_) => return Told::Yes,
            Err(Error::Refused(refusal)) => return Told::Refused(refusal),
            Err(Error::Interrupted { .. }) if is_active(session, model).await => return Told::Yes,
            Err(Error::Interrupted { .. }) => {}
            Err(error) => return Told::Perhaps(error),
        }
    }
    Told::Perhaps(Error::Interrupted { verb: "ECHO".into() })
}

async fn is_active(session: &Session, model: &ModelId) -> bool {
    let lines = session.cat(HIVE_ACTIVE).await.unwrap_or_default();
    let last = lines
        .iter()
        .rev()
        .map(|line| line.trim())
        .find(|line| !line.is_empty());
    last == Some(model.as_str())
}

fn refused(model: &ModelId, refusal: &Refusal, stands: &str) -> Failure {
    let hint = match refusal.detail() {
        "invalid-path" => {
            "; a hive has models once a host has published: gpu-bridge-host --publish --registry"
        }
        _ => "",
    };
    Failure::refused(format!(
        "the hive did not take {model} ({refusal}); {stands}{hint}"
    ))
}

fn perhaps(model: &ModelId, error: &Error) -> Failure {
    Failure::new(
        Exit::of(error),
        format!(
            "{model} is active in the registry, and the hive may not know: {error}; the next coh peft activate or rollback \
             tells it"
        ),
    )
}
