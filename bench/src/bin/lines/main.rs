//! Lines of code inside the VM, by crate and by domain.
//!
//! `cargo run --release -p bench --bin lines`, after `hive-qemu --build-only`
//!
//! Which files count is the compiler's word: those that cargo's dependency files of the built programs name. A line of
//! code is one that is not blank, not only a comment, and not in an item for tests; tests in files of their own are not
//! compiled into a domain, so they are not among the files. What a feature or the linker leaves out of a file counts.
//! Not counted: seL4 and Microkit, which are C and not ours, and Rust's own library.

mod count;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use hive::Manifest;
use hive::microkit::{self, NetDomain};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where `hive-qemu` has the programs compiled.
const BUILT: &str = "qemu/target/release/aarch64-sel4/release";

fn main() -> anyhow::Result<()> {
    let repository = fs::canonicalize(REPOSITORY)?;
    let built = repository.join(BUILT);
    let manifest = Manifest::parse(hive::manifest::DEFAULT)?;
    let system = microkit::plan(&manifest, &NetDomain::Driver)?;
    let mut programs = BTreeMap::new();
    for domain in &system.domains {
        let listed = built.join(&domain.program).with_extension("d");
        let files = sources(&listed)
            .with_context(|| format!("{} is not there: run hive-qemu --build-only", listed.display()))?;
        programs.insert(domain.name.clone(), by_crate(&files)?);
    }

    bench::heading("cargo run --release -p bench --bin lines");
    println!(
        "code lines, without blank lines, comments and items for tests; peer: other people's crates in the image\n"
    );
    let ours = print_crates(&programs, &repository);
    println!();
    print_domains(&programs);
    println!();
    print_others(&built, &repository, ours)
}

/// A crate's files and their lines, by the directory of its `Cargo.toml`.
type Crates = BTreeMap<PathBuf, (usize, usize)>;

fn print_crates(programs: &BTreeMap<String, Crates>, repository: &Path) -> usize {
    println!("{:<24} {:>6} {:>7}  in", "crate", "files", "lines");
    let mut crates: BTreeMap<&Path, (usize, usize, Vec<&str>)> = BTreeMap::new();
    for (domain, found) in programs {
        for (root, (files, lines)) in found {
            let entry = crates.entry(root).or_default();
            // Features may differ between programs; the most is what there is.
            entry.0 = entry.0.max(*files);
            entry.1 = entry.1.max(*lines);
            entry.2.push(domain);
        }
    }
    let (mut all_files, mut all_lines) = (0, 0);
    for (root, (files, lines, domains)) in &crates {
        let name = root
            .strip_prefix(repository)
            .unwrap_or(root)
            .display()
            .to_string();
        let place = match domains.len() {
            many if many == programs.len() => "all".to_owned(),
            _ => domains.join(", "),
        };
        println!("{name:<24} {files:>6} {lines:>7}  {place}");
        all_files += files;
        all_lines += lines;
    }
    println!("{:<24} {all_files:>6} {all_lines:>7}", "all of ours");
    all_lines
}

fn print_domains(programs: &BTreeMap<String, Crates>) {
    println!("{:<24} {:>6} {:>7}", "domain", "files", "lines");
    for (domain, crates) in programs {
        let files: usize = crates.values().map(|(files, _)| files).sum();
        let lines: usize = crates.values().map(|(_, lines)| lines).sum();
        println!("{domain:<24} {files:>6} {lines:>7}");
    }
}

/// Crates from registries and git, whose dependency files are beside ours; the newest of each, should there be several.
fn print_others(built: &Path, repository: &Path, ours: usize) -> anyhow::Result<()> {
    let mut newest = BTreeMap::new();
    for entry in fs::read_dir(built.join("deps"))? {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some((name, _)) = stem
            .rsplit_once('-')
            .filter(|_| path.extension().is_some_and(|e| e == "d"))
        else {
            continue;
        };
        let time = fs::metadata(&path)?.modified()?;
        let place = newest.entry(name.to_owned()).or_insert((time, path.clone()));
        if place.0 < time {
            *place = (time, path);
        }
    }
    let mut others = Vec::new();
    for (name, (_, listed)) in newest {
        let files: Vec<PathBuf> = sources(&listed)?;
        // Cargo names the sources of its own workspace from there.
        let is_ours = |file: &PathBuf| file.starts_with(repository) || file.is_relative();
        let library = |file: &PathBuf| file.components().any(|part| part.as_os_str() == "rustlib");
        // Files that a build script made lie under our target directory.
        if files.first().is_none_or(is_ours) || files.iter().any(library) {
            continue;
        }
        let lines: usize = files.iter().map(|file| lines(file)).sum::<anyhow::Result<_>>()?;
        others.push((lines, name));
    }
    others.sort_unstable_by(|a, b| b.cmp(a));
    let all: usize = others.iter().map(|(lines, _)| lines).sum();
    ensure!(all > 0, "no other crates at {}", built.display());
    let list: Vec<String> = others
        .iter()
        .map(|(lines, name)| format!("{name} {lines}"))
        .collect();
    println!("other people's crates: {}", list.join(", "));
    println!(
        "all of theirs {all}; ours : theirs {:.2}",
        ours as f64 / all as f64
    );
    Ok(())
}

/// The Rust files that a dependency file names after its first target.
fn sources(listed: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = fs::read_to_string(listed)?;
    let rule = text.lines().next().unwrap_or_default();
    let (_, files) = rule.split_once(": ").context("no rule in it")?;
    // A space in a name is escaped.
    let files = files.replace("\\ ", "\0");
    let files: BTreeSet<PathBuf> = files
        .split(' ')
        .map(|file| PathBuf::from(file.replace('\0', " ")))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    Ok(files.into_iter().collect())
}

fn by_crate(files: &[PathBuf]) -> anyhow::Result<Crates> {
    let mut crates = Crates::new();
    for file in files {
        let file = fs::canonicalize(file).with_context(|| file.display().to_string())?;
        let root = file.ancestors().find(|place| place.join("Cargo.toml").is_file());
        let root = root.with_context(|| format!("{} is in no crate", file.display()))?;
        let entry = crates.entry(root.to_owned()).or_default();
        entry.0 += 1;
        entry.1 += lines(&file)?;
    }
    Ok(crates)
}

fn lines(file: &Path) -> anyhow::Result<usize> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(count::code_lines(&text))
}
