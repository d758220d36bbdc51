//! The files that are rendered when somebody reads them.
//!
//! Answers for the text of everything below `/proc` that changes, and of `/proc/boot`, line by line as WIRE 4.2 and
//! CONTROL 4 say. Clock values are Unix milliseconds.
//!
//! Never changes anything; never keeps what it rendered (the [`snapshot`](crate::snapshot)s do).

use alloc::string::String;
use core::fmt::{self, Write};

use protocol::refusal::Reason;
use protocol::shard::Shard;
use runtime::counters::Snapshot as Counters;
use runtime::journal::Recovery;
use runtime::supervision::ChildState;

use crate::config::Config;
use crate::hall::Hall;
use crate::place::Place;
use crate::summary::Summary;

/// Where lines go: into a buffer, or only into a count.
pub(crate) trait Lines {
    /// Takes one line, without its newline.
    fn line(&mut self, line: fmt::Arguments<'_>);
    /// Takes bytes as they are, of a file that is not text.
    fn bytes(&mut self, bytes: &[u8]);
}

/// Counts bytes instead of keeping them.
#[derive(Default)]
pub(crate) struct Count(pub(crate) u64);

impl Lines for Count {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Counting cannot fail.
        let _ = writeln!(self, "{line}");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

impl Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len() as u64;
        Ok(())
    }
}

/// A child on the supervisor's page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child<'a> {
    pub(crate) name: &'a str,
    pub(crate) state: ChildState,
    pub(crate) restarts: u64,
    pub(crate) reason: &'a str,
}

/// What the door knows of the other domains.
pub(crate) trait House {
    /// The name of an actor by its place; `None` after the last.
    fn actor(&self, index: u8) -> Option<&str>;
    /// An actor's counters.
    fn counters(&self, name: &str) -> Option<Counters>;
    /// Visits the supervisor's children.
    fn each_child(&self, visit: &mut dyn FnMut(Child<'_>));
    /// Whether the supervisor gave some child up.
    fn degraded(&self) -> bool;
    /// Requests in progress.
    fn outstanding(&self) -> u32;
}

/// Renders a generated file. A session or actor that is gone gives nothing.
pub(crate) fn render(place: Place, hall: &Hall, house: &dyn House, out: &mut dyn Lines) {
    match place {
        Place::Summary(summary) => {
            out.line(format_args!("{}", summary.counts(hall, house)));
            if summary == Summary::Sessions {
                shards(hall, out);
            }
        }
        Place::SummaryMap(summary) => summary.counts(hall, house).cbor(out),
        Place::SessionState(id) => {
            if let Some(session) = hall.sessions.by_id(id) {
                out.line(format_args!("state={}", session.state().label()));
            }
        }
        Place::SessionSince(id) => {
            if let Some(session) = hall.sessions.by_id(id) {
                out.line(format_args!("since_ms={}", session.since_ms));
            }
        }
        Place::SessionOwner(id) => {
            if let Some(session) = hall.sessions.by_id(id) {
                let separator = if session.subject().is_empty() { "" } else { ":" };
                let role = hall.role_label(session);
                out.line(format_args!(
                    "owner={role}{separator}{}",
                    crate::audit::Shown(session.subject())
                ));
            }
        }
        Place::Reachable => {
            out.line(format_args!(
                "reachable={}",
                if hall.root.reachable() { "yes" } else { "no" }
            ));
        }
        Place::LastSeen => out.line(format_args!("last_seen_ms={}", hall.root.last_seen_ms())),
        Place::CutReason => out.line(format_args!("cut_reason={}", hall.root.cut_reason().label())),
        Place::Refusals(reason) => out.line(format_args!("{}={}", reason.label(), refusals(reason, house))),
        Place::Supervisor => supervisor(house, out),
        Place::ActorState(index) => actor_state(house.actor(index).unwrap_or_default(), house, out),
        Place::ActorCounters(index) => {
            if let Some(counters) = house.actor(index).and_then(|name| house.counters(name)) {
                actor_counters(&counters, out);
            }
        }
        _ => {}
    }
}

/// How many workers' sessions there are below each shard label.
fn shards(hall: &Hall, out: &mut dyn Lines) {
    let workers = || hall.sessions.iter().filter(|session| session.is_worker());
    let label_of = |subject: &str| Shard::of(subject);
    let mut last: Option<Shard> = None;
    while let Some(shard) = workers()
        .map(|s| label_of(s.subject()))
        .filter(|shard| last.is_none_or(|last| *shard > last))
        .min()
    {
        let count = workers()
            .filter(|session| label_of(session.subject()) == shard)
            .count();
        out.line(format_args!("shard {shard} {count}"));
        last = Some(shard);
    }
}

fn refusals(reason: Reason, house: &dyn House) -> u64 {
    let index = match reason {
        Reason::Busy => 0,
        Reason::Quota => 1,
        Reason::Cut => 2,
        Reason::Policy => 3,
    };
    let all = (0..=u8::MAX).map_while(|actor| house.actor(actor));
    all.filter_map(|name| house.counters(name)?.refusals.get(index).copied())
        .fold(0, u64::saturating_add)
}

fn state_label(state: ChildState) -> &'static str {
    match state {
        ChildState::Running => "running",
        ChildState::Restarting => "restarting",
        ChildState::Down => "down",
    }
}

fn supervisor(house: &dyn House, out: &mut dyn Lines) {
    out.line(format_args!(
        "degraded={}",
        if house.degraded() { "yes" } else { "no" }
    ));
    house.each_child(&mut |child| {
        let Child {
            name,
            state,
            restarts,
            reason,
        } = child;
        out.line(format_args!(
            "child={name} state={} restarts={restarts} reason={}",
            state_label(state),
            one(reason)
        ));
    });
}

fn actor_state(name: &str, house: &dyn House, out: &mut dyn Lines) {
    let mut found = false;
    house.each_child(&mut |child| {
        if child.name == name {
            found = true;
            out.line(format_args!("state={}", state_label(child.state)));
            out.line(format_args!("restarts={}", child.restarts));
            out.line(format_args!("reason={}", one(child.reason)));
        }
    });
    if !found {
        out.line(format_args!("state=unsupervised"));
    }
}

fn actor_counters(counters: &Counters, out: &mut dyn Lines) {
    let Counters {
        turns,
        polls,
        wakes,
        signals_sent,
        signals_suppressed,
        frames_in,
        frames_out,
        ..
    } = *counters;
    let plain = [
        ("turns", turns),
        ("polls", polls),
        ("wakes", wakes),
        ("signals_sent", signals_sent),
        ("signals_suppressed", signals_suppressed),
        ("frames_in", frames_in),
        ("frames_out", frames_out),
        ("link_resets", counters.link_resets),
        ("violations", counters.violations),
    ];
    let heap = ("heap_bytes", counters.heap_bytes);
    // Not every host counts it.
    for (name, value) in plain.into_iter().chain((heap.1 > 0).then_some(heap)) {
        out.line(format_args!("{name}={value}"));
    }
    for (reason, value) in ["busy", "quota", "cut", "policy"].iter().zip(counters.refusals) {
        out.line(format_args!("refusals_{reason}={value}"));
    }
    for (index, value) in counters
        .custom
        .iter()
        .enumerate()
        .filter(|(_, value)| **value > 0)
    {
        out.line(format_args!("custom_{index}={value}"));
    }
}

/// A reason on one line; nothing happened is `none`.
fn one(reason: &str) -> OneLine<'_> {
    OneLine(if reason.is_empty() { "none" } else { reason })
}

struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}

/// The text of `/proc/boot`: what the reference shows, with our values, then what is ours.
pub(crate) fn boot_text(config: &Config, recovery: Option<Recovery>) -> String {
    let mut text = String::new();
    let boot = &config.boot;
    let pump = config.doors.iter().map(|door| &door.link);
    let mut line = |line: fmt::Arguments<'_>| {
        // A `String` grows; this is boot.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("Cohesix boot: root-task online"));
    line(format_args!("manifest.schema={}", boot.schema));
    line(format_args!("manifest.profile={}", boot.profile));
    line(format_args!("manifest.sha256={}", boot.sha256));
    line(format_args!(
        "telemetry.ring_bytes_per_worker={}",
        config.limits.ring_bytes
    ));
    line(format_args!("telemetry.frame_schema=legacy-plaintext"));
    line(format_args!("telemetry.cursor.retain_on_boot=false"));
    let mut sources = String::from("timer");
    let mut owners: alloc::vec::Vec<&String> = config.mounts.iter().map(|mount| &mount.link).collect();
    owners.dedup();
    for link in pump.chain(owners) {
        sources.push(',');
        sources.push_str(link);
    }
    line(format_args!("event_pump.fds={sources}"));
    for fact in &boot.host {
        line(format_args!("{fact}"));
    }
    line(format_args!("boot.id={}", boot.id));
    match recovery {
        Some(recovery) => line(format_args!("journal.ninedoor={recovery}")),
        None => line(format_args!("journal.ninedoor=none")),
    }
    text
}
