//! Boot and image: the hive beside the least image.
//!
//! Answers for: virtual time from power-up, and bytes of the file that is loaded.
//! Never: counts QEMU's own start.

use std::fs;

use anyhow::Context;
use hive::qemu::Image;

/// What the probe and the domain `ping` say.
const ATTACHED: &str = "net: attached at ";
const UP: &str = "ping: up at ";

pub fn print(played: &str, measured: &str, hive: &Image, least: &Image) -> anyhow::Result<()> {
    println!("{:<52} {:>9} {:>9} {:>7}", "", "hive", "peer", "ratio");
    let (ready, up) = (time(played, ATTACHED)?, time(measured, UP)?);
    row("power-up to an attached console / first program, us", ready, up);
    let size = |image: &Image| fs::metadata(&image.path).map(|file| file.len() / 1024);
    row("image, KiB", size(hive)?, size(least)?);
    println!();
    Ok(())
}

fn row(what: &str, hive: u64, peer: u64) {
    println!(
        "{what:<52} {hive:>9} {peer:>9} {:>7.2}",
        hive as f64 / peer as f64
    );
}

/// The number of microseconds in the line that begins so.
fn time(log: &str, beginning: &str) -> anyhow::Result<u64> {
    let rest = log.lines().find_map(|line| line.strip_prefix(beginning));
    let number = rest.and_then(|rest| rest.split(' ').next()?.parse().ok());
    number.with_context(|| format!("no line of the log begins with {beginning:?}:\n{log}"))
}
