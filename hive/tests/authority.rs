//! Who can reach what on seL4, read back from the generated `.system` file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use hive::microkit::NetDomain;
use hive::{Manifest, manifest, microkit};

/// The authority that the file gives one domain.
#[derive(Default)]
struct Authority {
    writes: BTreeSet<String>,
    reads: BTreeSet<String>,
    devices: BTreeSet<String>,
    irqs: BTreeSet<u32>,
    signals: BTreeSet<String>,
}

struct Read {
    domains: BTreeMap<String, Authority>,
    children: BTreeSet<String>,
}

/// Reads the file itself, not what it was made from.
fn read(xml: &str) -> Read {
    let attribute = |line: &str, name: &str| {
        let value = line.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
        Some(value.to_owned())
    };
    let mut read = Read {
        domains: BTreeMap::new(),
        children: BTreeSet::new(),
    };
    let mut devices = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    for line in xml.lines().map(|line| format!(" {}", line.trim_start())) {
        if line.starts_with(" <memory_region") && line.contains("phys_addr") {
            devices.insert(attribute(&line, "name").unwrap());
        } else if line.starts_with(" <protection_domain") {
            let name = attribute(&line, "name").unwrap();
            if !open.is_empty() {
                read.children.insert(name.clone());
            }
            read.domains.insert(name.clone(), Authority::default());
            open.push(name);
        } else if line.starts_with(" </protection_domain") {
            open.pop();
        } else if line.starts_with(" <map") {
            let region = attribute(&line, "mr").unwrap();
            let own = read.domains.get_mut(open.last().unwrap()).unwrap();
            let set = match attribute(&line, "perms").unwrap().as_str() {
                _ if devices.contains(&region) => &mut own.devices,
                "rw" => &mut own.writes,
                "r" => &mut own.reads,
                other => panic!("{other} is no right that a domain needs"),
            };
            set.insert(region);
        } else if line.starts_with(" <irq") {
            let irq = attribute(&line, "irq").unwrap().parse().unwrap();
            read.domains
                .get_mut(open.last().unwrap())
                .unwrap()
                .irqs
                .insert(irq);
        } else if line.starts_with(" <channel") {
            let ends: Vec<&str> = line.split("<end").skip(1).collect();
            for (from, to) in [(0, 1), (1, 0)] {
                if !ends[from].contains("notify=\"false\"") {
                    let [from, to] = [from, to].map(|end| attribute(ends[end], "pd").unwrap());
                    read.domains.get_mut(&from).unwrap().signals.insert(to);
                }
            }
        }
    }
    read
}

fn system() -> String {
    microkit::plan(&Manifest::parse(manifest::DEFAULT).unwrap(), &NetDomain::Driver)
        .unwrap()
        .to_xml()
}

/// A table for readers: what a domain shares with others, leaving out its own heap, blob, log and the like.
fn table(read: &Read) -> String {
    let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, own) in &read.domains {
        for region in own.writes.union(&own.reads) {
            users.entry(region).or_default().insert(name);
        }
    }
    let shared = |set: &BTreeSet<String>| {
        let names: BTreeSet<&str> = set
            .iter()
            .filter(|region| users[region.as_str()].len() > 1)
            .map(|region| region.strip_suffix("-body").unwrap_or(region))
            .filter(|region| !set.contains(&format!("{}-body", region.strip_suffix("-head").unwrap_or("?"))))
            .collect();
        if names.is_empty() {
            "-".to_owned()
        } else {
            names.into_iter().collect::<Vec<_>>().join(", ")
        }
    };
    let mut text = String::from(
        "| domain | writes | only reads | registers | interrupts | signals |\n|---|---|---|---|---|---|\n",
    );
    for (name, own) in &read.domains {
        let list = |mut items: Vec<String>| {
            items.sort();
            if items.is_empty() {
                "-".to_owned()
            } else {
                items.join(", ")
            }
        };
        let devices = list(own.devices.iter().cloned().collect());
        let irqs = list(own.irqs.iter().map(u32::to_string).collect());
        let signals = list(own.signals.iter().cloned().collect());
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {devices} | {irqs} | {signals} |",
            shared(&own.writes),
            shared(&own.reads)
        );
    }
    text
}

#[test]
fn the_table_in_the_readme_is_what_the_file_says() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../qemu/README.md")).unwrap();
    let table = table(&read(&system()));
    assert!(
        readme.contains(&table),
        "qemu/README.md is to have this table:\n{table}"
    );
}

#[test]
fn a_link_is_its_two_ends_and_its_head_the_supervisors_too() {
    let manifest = Manifest::parse(manifest::DEFAULT).unwrap();
    let read = read(&system());
    let writers = |region: &str| -> BTreeSet<&str> {
        let maps = read
            .domains
            .iter()
            .filter(|(_, own)| own.writes.contains(region) || own.reads.contains(region));
        maps.map(|(name, _)| name.as_str()).collect()
    };
    for link in &manifest.link {
        let ends: BTreeSet<&str> = link.between.iter().map(String::as_str).collect();
        assert_eq!(
            writers(&format!("link-{}-body", link.name)),
            ends,
            "{}",
            link.name
        );
        let mut head = ends.clone();
        head.insert("supervisor");
        assert_eq!(
            writers(&format!("link-{}-head", link.name)),
            head,
            "{}",
            link.name
        );
    }
}

#[test]
fn registers_interrupts_and_dma_are_their_drivers_alone() {
    let read = read(&system());
    let table = [
        ("net", "network-card", vec![79]),
        ("timer", "rtc", vec![30]),
        ("serial", "uart", vec![33]),
    ];
    for (name, own) in &read.domains {
        let driver = table.iter().find(|(driver, _, _)| driver == name);
        let devices: Vec<&str> = own.devices.iter().map(String::as_str).collect();
        let irqs: Vec<u32> = own.irqs.iter().copied().collect();
        match driver {
            Some((_, device, interrupts)) => {
                assert_eq!((devices, &irqs), (vec![*device], interrupts), "{name}")
            }
            None => assert!(
                devices.is_empty() && irqs.is_empty(),
                "{name} has {devices:?} {irqs:?}"
            ),
        }
        assert_eq!(
            own.writes.contains("dma") || own.reads.contains("dma"),
            name == "net",
            "{name}"
        );
    }
}

#[test]
fn journals_heaps_and_blobs_are_private_and_pages_for_all_have_one_writer() {
    let read = read(&system());
    let with = |region: &str, writing: bool| -> Vec<&str> {
        let has = |own: &Authority| own.writes.contains(region) || (!writing && own.reads.contains(region));
        read.domains
            .iter()
            .filter(|(_, own)| has(own))
            .map(|(name, _)| name.as_str())
            .collect()
    };
    for (name, own) in &read.domains {
        for region in own.writes.union(&own.reads) {
            let private = ["-heap", "-boot"]
                .iter()
                .find_map(|kind| region.strip_suffix(kind))
                .or(region.split_once("-kept-").map(|(owner, _)| owner));
            if let Some(owner) = private {
                assert_eq!(owner, name, "{region} is mapped by {name}");
            }
            if let Some(owner) = region
                .strip_suffix("-counters")
                .or(region.strip_suffix("-deadline"))
            {
                assert_eq!(with(region, true), [owner], "{region}");
            }
        }
    }
    assert_eq!(with("status", true), ["supervisor"]);
    assert_eq!(with("clock", true), ["timer"]);
    assert!(
        read.domains
            .values()
            .all(|own| !own.signals.contains("supervisor")),
        "it takes no input but faults"
    );
    let children: BTreeSet<&str> = manifest::KNOWN_DOMAINS.into_iter().collect();
    assert_eq!(
        read.children.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        children
    );
}

#[test]
fn faults_may_be_injected_by_the_door_alone_and_only_if_the_manifest_says_so() {
    let text = manifest::DEFAULT.replacen("fault_injection = false", "fault_injection = true", 1);
    let read = read(
        &microkit::plan(&Manifest::parse(&text).unwrap(), &NetDomain::Driver)
            .unwrap()
            .to_xml(),
    );
    for (name, own) in &read.domains {
        let of_others = own.writes.iter().filter(|region| {
            region
                .strip_suffix("-counters")
                .is_some_and(|owner| owner != name)
        });
        assert_eq!(
            of_others.count(),
            if name == "ninedoor" { 7 } else { 0 },
            "{name}"
        );
    }
}
