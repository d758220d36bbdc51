//! Bytes of memory of each domain of the hive.
//!
//! Answers for: every byte that the system file or a program asks for, in whole pages. A link counts for both its
//! domains; the last line counts each region once.
//! Never: counts the kernel's own objects (page tables, capability tables, threads); Microkit's report has those.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context;
use hive::Manifest;
use hive::microkit::{ProtectionDomain, System};
use hive::qemu::{Image, elf};

/// What a domain's host logs when it is up, with the heap in use after it.
pub const STARTED: &str = ": started at ";

/// The domains that say so.
pub fn names(manifest: &Manifest) -> impl Iterator<Item = &str> {
    manifest.domain.iter().map(|domain| domain.name.as_str())
}

/// KiB by kind.
#[derive(Default)]
struct Row {
    program: u64,
    stack: u64,
    heap: u64,
    kept: u64,
    links: u64,
    dma: u64,
    other: u64,
}

pub fn print(manifest: &Manifest, system: &System, image: &Image, started: &str) -> anyhow::Result<()> {
    println!(
        "{:<13} {:>8} {:>6} {:>8} {:>8} {:>6} {:>6} {:>5} {:>6} {:>8}",
        "KiB", "program", "stack", "heap", "in use", "kept", "links", "dma", "other", "sum"
    );
    let mut seen = BTreeSet::new();
    let (mut total, mut total_used) = (Row::default(), 0);
    for domain in &system.domains {
        let mut row = Row::of(domain, image)?;
        let regions = || {
            domain
                .maps
                .iter()
                .filter(|map| !map.device)
                .map(|map| map.region.as_str())
        };
        regions().for_each(|region| row.add(region, system.bytes_of(region)));
        let used = match names(manifest).any(|name| name == domain.name) {
            true => Some(heap_in_use(started, &domain.name)?),
            // The timer and the supervisor do not say.
            false => None,
        };
        row.print(&domain.name, used);
        total.program += row.program;
        total.stack += row.stack;
        total_used += used.unwrap_or_default();
        for region in regions().filter(|region| seen.insert((*region).to_owned())) {
            total.add(region, system.bytes_of(region));
        }
    }
    total.print("all, once", Some(total_used));
    println!();
    Ok(())
}

impl Row {
    fn of(domain: &ProtectionDomain, image: &Image) -> anyhow::Result<Self> {
        let path = image.program(&domain.program);
        let program = fs::read(&path).with_context(|| path.display().to_string())?;
        let bytes =
            elf::loaded_bytes(&program).with_context(|| format!("{} is no program", path.display()))?;
        Ok(Self {
            program: bytes / 1024,
            stack: domain.stack / 1024,
            ..Self::default()
        })
    }

    fn add(&mut self, region: &str, bytes: u64) {
        let place = match region {
            "dma" => &mut self.dma,
            region if region.ends_with("-heap") => &mut self.heap,
            region if region.contains("-kept-") => &mut self.kept,
            region if region.starts_with("link-") => &mut self.links,
            _ => &mut self.other,
        };
        *place += bytes / 1024;
    }

    fn print(&self, name: &str, used: Option<u64>) {
        let Self {
            program,
            stack,
            heap,
            kept,
            links,
            dma,
            other,
        } = self;
        let sum = program + stack + heap + kept + links + dma + other;
        let used = used.map_or("-".to_owned(), |used| used.to_string());
        println!(
            "{name:<13} {program:>8} {stack:>6} {heap:>8} {used:>8} {kept:>6} {links:>6} {dma:>5} {other:>6} {sum:>8}"
        );
    }
}

fn heap_in_use(log: &str, domain: &str) -> anyhow::Result<u64> {
    let beginning = format!("{domain}{STARTED}");
    let rest = log.lines().find_map(|line| line.strip_prefix(&beginning));
    let heap = rest
        .and_then(|rest| rest.split_once(" us, "))
        .map(|(_, heap)| heap);
    let number = heap.and_then(|heap| heap.split(' ').next()?.parse().ok());
    number.with_context(|| format!("{domain} did not say how much of its heap is in use:\n{log}"))
}
