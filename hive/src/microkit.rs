//! The manifest as a Microkit system: protection domains, memory regions, mappings and channels.
//!
//! Answers for least authority: a domain maps its own links, its own pages and what all may read; a device's registers
//! are mapped by its driver alone, and so is memory that a device writes. The `.system` file says nothing that is not
//! here.
//!
//! Never holds a secret, and never decides what an actor may do.

use std::fmt::{self, Write};

use hive_boot::{DMA_BYTES, LINK_HEAD_BYTES, LOG_BYTES, channel};
use probe::Script;
use runtime::link::{LinkMemory, ShapeError};
use runtime::supervision::RawStatus;

use crate::assemble::console_config;
use crate::manifest::{Link, Manifest};

/// The board that all of this is for.
pub const BOARD: &str = "qemu_virt_aarch64";

/// Highest priority of all: nobody runs while a child is buried.
const SUPERVISOR_PRIORITY: u8 = 253;
/// Second highest: the wall clock is there before anybody reads it.
const TIMER_PRIORITY: u8 = 252;

/// The driver of the serial line.
const SERIAL: &str = "serial";

const PAGE: u64 = 0x1000;
const LARGE_PAGE: u64 = 0x20_0000;
/// Where mappings begin: well above the program, which starts at 0x200000, and its copies for restarts.
const MAPPINGS: u64 = 0x1000_0000;
/// Stack of an actor: its futures are built there before they go to the heap.
const ACTOR_STACK: u64 = 0x10_0000;
const SMALL_STACK: u64 = 0x1_0000;

/// Heap of the console for each of its places, with its TCP buffers. Measured are 180 KiB on average; a place for a 9P
/// client takes more than one for a console session.
const CONSOLE_PLACE_BYTES: u64 = 0x4_0000;

/// Registers of devices on QEMU's `virt` machine.
const UART: u64 = 0x900_0000;
const RTC: u64 = 0x901_0000;
const NETWORK_CARD: u64 = 0xa00_3000;
/// Interrupts of these devices, as the kernel counts them.
const NETWORK_CARD_IRQ: u32 = 79;
const UART_IRQ: u32 = 33;
const TIMER_IRQ: u32 = 30;

/// What stands in the domain `net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetDomain {
    /// The driver of the network card.
    Driver,
    /// A client that plays this script. No domain sees a network card then.
    Probe(Script),
}

/// A Microkit system.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// Memory regions.
    pub regions: Vec<Region>,
    /// Protection domains; a child comes after its parent.
    pub domains: Vec<ProtectionDomain>,
    /// Channels, by their ends.
    pub channels: Vec<[End; 2]>,
}

/// A memory region.
#[derive(Clone, Debug)]
pub struct Region {
    /// Unique.
    pub name: String,
    /// Bytes, whole pages.
    pub bytes: u64,
    /// Where it is, if that matters: a device's registers.
    pub physical: Option<u64>,
    /// File with its first contents.
    pub prefill: Option<String>,
}

/// A protection domain.
#[derive(Clone, Debug)]
pub struct ProtectionDomain {
    /// Unique.
    pub name: String,
    /// File name of its program.
    pub program: String,
    /// 0..=254.
    pub priority: u8,
    /// Bytes of its stack.
    pub stack: u64,
    /// Its number as a child of the supervisor, if it is one.
    pub child: Option<usize>,
    /// What it maps.
    pub maps: Vec<Map>,
    /// Interrupts and their channels.
    pub irqs: Vec<(u32, u8)>,
    /// Symbols that are given a region's physical address.
    pub physical: Vec<(String, String)>,
    next: u64,
}

/// A mapping.
#[derive(Clone, Debug)]
pub struct Map {
    /// The region.
    pub region: String,
    /// Where in the domain.
    pub address: u64,
    /// Whether the domain may write.
    pub writable: bool,
    /// Whether it is registers.
    pub device: bool,
    /// Symbol that is given the address.
    pub symbol: Option<&'static str>,
}

/// One end of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The domain.
    pub domain: String,
    /// Its channel number.
    pub channel: u8,
    /// Whether it may signal the other end.
    pub signals: bool,
}

/// Why a manifest cannot be a Microkit system.
#[derive(Debug)]
pub enum PlanError {
    /// A link cannot have that shape.
    Link(String, ShapeError),
    /// Nobody would print the log.
    NoSerial,
    /// A priority leaves no room for the timer and the supervisor.
    Priority(String, u8),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name, error) => write!(f, "manifest: [[link]] {name:?}: {error}"),
            Self::NoSerial => write!(
                f,
                "manifest: [[domain]] \"{SERIAL}\" is missing; on seL4 it prints the log"
            ),
            Self::Priority(name, priority) => write!(
                f,
                "manifest: [[domain]] {name:?} has priority {priority}; on seL4 at most {} is possible, above are the \
                 timer and the supervisor",
                TIMER_PRIORITY - 1
            ),
        }
    }
}

impl std::error::Error for PlanError {}

/// The channel of the `index`-th domain's end of a link: its place among the domain's links.
pub fn link_channel(manifest: &Manifest, domain: &str, link: &Link) -> u8 {
    let own = manifest
        .link
        .iter()
        .filter(|link| link.between.iter().any(|end| end == domain));
    let place = own.take_while(|other| other.name != link.name).count();
    u8::try_from(place).unwrap_or(u8::MAX)
}

/// Lays out the system of a manifest.
pub fn plan(manifest: &Manifest, net: &NetDomain) -> Result<System, PlanError> {
    if !manifest.domain.iter().any(|domain| domain.name == SERIAL) {
        return Err(PlanError::NoSerial);
    }
    let mut system = System::default();
    system.shared_pages(manifest)?;
    system.supervisor(manifest);
    for (index, domain) in manifest.domain.iter().enumerate() {
        if domain.priority >= TIMER_PRIORITY {
            return Err(PlanError::Priority(domain.name.clone(), domain.priority));
        }
        system.actor(manifest, index, net);
    }
    system.timer(manifest);
    system.log_channels(manifest);
    for link in &manifest.link {
        let ends = link.between.each_ref();
        system
            .channels
            .push(ends.map(|domain| End::new(domain, link_channel(manifest, domain, link))));
    }
    Ok(system)
}

impl System {
    /// The domain of that name.
    pub fn domain(&self, name: &str) -> Option<&ProtectionDomain> {
        self.domains.iter().find(|domain| domain.name == name)
    }

    fn shared_pages(&mut self, manifest: &Manifest) -> Result<(), PlanError> {
        self.region("clock", PAGE);
        self.region("status", size_of::<RawStatus>() as u64);
        for link in &manifest.link {
            let bytes = LinkMemory::bytes_needed(link.frames, link.frame_bytes);
            let bytes = bytes.map_err(|error| PlanError::Link(link.name.clone(), error))? as u64;
            let head = LINK_HEAD_BYTES as u64;
            self.region(&format!("link-{}-head", link.name), head);
            self.region(&format!("link-{}-body", link.name), bytes - head);
        }
        Ok(())
    }

    fn supervisor(&mut self, manifest: &Manifest) {
        // It remembers the times of so many restarts of each child, in a block each; the allocator takes its region in
        // pieces of 64 KiB.
        let times = (u64::from(manifest.supervision.intensity) * 8).next_multiple_of(0x1_0000) + 0x1_0000;
        let heap = 0x1_0000 + manifest.domain.len() as u64 * times;
        let mut domain = self.begin("supervisor", SUPERVISOR_PRIORITY, SMALL_STACK, heap);
        domain.map("status", self, true);
        for link in &manifest.link {
            domain.map(&format!("link-{}-head", link.name), self, true);
        }
        self.domains.push(domain);
        for (index, child) in manifest.domain.iter().enumerate() {
            self.one_way(
                End::new("supervisor", small(index)),
                End::new(&child.name, channel::SUPERVISION),
            );
        }
    }

    fn actor(&mut self, manifest: &Manifest, index: usize, net: &NetDomain) {
        let told = &manifest.domain[index];
        let name = told.name.as_str();
        let mut domain = self.begin(name, told.priority, ACTOR_STACK, heap_bytes(manifest, name));
        domain.child = Some(index);
        domain.map("clock", self, false);
        domain.map("status", self, false);
        let deadline = self.region(&format!("{name}-deadline"), PAGE);
        domain.map(&deadline, self, true);
        let counters = self.region(&format!("{name}-counters"), PAGE);
        if name != "ninedoor" {
            domain.map(&counters, self, true);
        } else {
            // The door shows everybody's counters, and sets their fault words if that is allowed.
            for other in &manifest.domain {
                let counters = self.region(&format!("{}-counters", other.name), PAGE);
                domain.map(
                    &counters,
                    self,
                    other.name == name || manifest.supervision.fault_injection,
                );
            }
        }
        for link in manifest
            .link
            .iter()
            .filter(|link| link.between.iter().any(|end| end == name))
        {
            domain.map_adjacent(
                [
                    &format!("link-{}-head", link.name),
                    &format!("link-{}-body", link.name),
                ],
                self,
            );
        }
        for (kept, bytes) in told.kept() {
            let region = self.region(&kept_region(name, kept), bytes as u64);
            domain.map(&region, self, true);
        }
        if name == "net" && matches!(net, NetDomain::Probe(_)) {
            domain.program = "pd-probe.elf".to_owned();
        } else if name == "net" {
            self.device("network-card", NETWORK_CARD);
            domain.map_as("network-card", self, true, true, Some("mmio_vaddr"));
            self.region("dma", DMA_BYTES as u64);
            domain.map_as("dma", self, true, false, Some("dma_vaddr"));
            domain.physical.push(("dma_paddr".to_owned(), "dma".to_owned()));
            domain.irqs.push((NETWORK_CARD_IRQ, channel::DEVICE));
        }
        if name == SERIAL {
            self.device("uart", UART);
            domain.map_as("uart", self, true, true, None);
            domain.irqs.push((UART_IRQ, channel::DEVICE));
            // Its own log it has already.
            for source in log_sources(manifest).filter(|source| *source != SERIAL) {
                let log = self.region(&log_region(source), LOG_BYTES as u64);
                domain.map(&log, self, true);
            }
        }
        self.domains.push(domain);
    }

    fn timer(&mut self, manifest: &Manifest) {
        let mut domain = self.begin("timer", TIMER_PRIORITY, SMALL_STACK, 0x1_0000);
        domain.map("clock", self, true);
        self.device("rtc", RTC);
        domain.map_as("rtc", self, false, true, None);
        for sleeper in &manifest.domain {
            domain.map(&format!("{}-deadline", sleeper.name), self, false);
        }
        domain.irqs.push((TIMER_IRQ, channel::TIMER_IRQ));
        self.domains.push(domain);
        for (index, sleeper) in manifest.domain.iter().enumerate() {
            self.channels.push([
                End::new("timer", small(index)),
                End::new(&sleeper.name, channel::TIMER),
            ]);
        }
    }

    /// Everybody tells the serial domain of new lines.
    fn log_channels(&mut self, manifest: &Manifest) {
        for (index, source) in log_sources(manifest).enumerate() {
            if source != SERIAL {
                let channel = channel::LOG_SOURCES + small(index);
                self.one_way(End::new(source, channel::LOG), End::new(SERIAL, channel));
            }
        }
    }

    /// A domain with what every domain has: boot blob, heap, and a log.
    fn begin(&mut self, name: &str, priority: u8, stack: u64, heap: u64) -> ProtectionDomain {
        let mut domain = ProtectionDomain {
            name: name.to_owned(),
            program: format!("pd-{name}.elf"),
            priority,
            stack,
            child: None,
            maps: Vec::new(),
            irqs: Vec::new(),
            physical: Vec::new(),
            next: MAPPINGS,
        };
        let heap = self.region(&format!("{name}-heap"), heap);
        domain.map_as(&heap, self, true, false, Some("heap_vaddr"));
        let boot = self.region(&format!("{name}-boot"), 4 * PAGE);
        if let Some(region) = self.regions.last_mut() {
            region.prefill = Some(format!("{name}.boot"));
        }
        domain.map_as(&boot, self, false, false, Some("boot_vaddr"));
        let log = self.region(&log_region(name), LOG_BYTES as u64);
        domain.map_as(&log, self, true, false, Some("log_vaddr"));
        domain
    }

    /// The region of that name, added if it is not there yet.
    fn region(&mut self, name: &str, bytes: u64) -> String {
        if !self.regions.iter().any(|region| region.name == name) {
            let bytes = bytes.next_multiple_of(PAGE);
            self.regions.push(Region {
                name: name.to_owned(),
                bytes,
                physical: None,
                prefill: None,
            });
        }
        name.to_owned()
    }

    fn device(&mut self, name: &str, address: u64) {
        self.regions.push(Region {
            name: name.to_owned(),
            bytes: PAGE,
            physical: Some(address),
            prefill: None,
        });
    }

    /// A channel on which `a` alone signals.
    fn one_way(&mut self, a: End, b: End) {
        self.channels.push([a, End { signals: false, ..b }]);
    }

    /// Bytes of the region of that name; 0 if there is none.
    pub fn bytes_of(&self, name: &str) -> u64 {
        self.regions
            .iter()
            .find(|region| region.name == name)
            .map_or(0, |region| region.bytes)
    }

    /// The `.system` file.
    pub fn to_xml(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<system>\n");
        // Writing to a string cannot fail.
        let _ = self.write_xml(&mut xml);
        xml
    }

    fn write_xml(&self, xml: &mut String) -> fmt::Result {
        for region in &self.regions {
            write!(
                xml,
                "    <memory_region name=\"{}\" size=\"{:#x}\"",
                region.name, region.bytes
            )?;
            if region.bytes.is_multiple_of(LARGE_PAGE) {
                write!(xml, " page_size=\"{LARGE_PAGE:#x}\"")?;
            }
            if let Some(physical) = region.physical {
                write!(xml, " phys_addr=\"{physical:#x}\"")?;
            }
            if let Some(prefill) = &region.prefill {
                write!(xml, " prefill_path=\"{prefill}\"")?;
            }
            writeln!(xml, " />")?;
        }
        for domain in self.domains.iter().filter(|domain| domain.child.is_none()) {
            domain.open(xml, 1)?;
            if domain.name == "supervisor" {
                for child in self.domains.iter().filter(|domain| domain.child.is_some()) {
                    child.open(xml, 2)?;
                    writeln!(xml, "        </protection_domain>")?;
                }
            }
            writeln!(xml, "    </protection_domain>")?;
        }
        for ends in &self.channels {
            write!(xml, "    <channel>")?;
            for End {
                domain,
                channel,
                signals,
            } in ends
            {
                let notify = if *signals { "" } else { " notify=\"false\"" };
                write!(xml, " <end pd=\"{domain}\" id=\"{channel}\"{notify} />")?;
            }
            writeln!(xml, " </channel>")?;
        }
        writeln!(xml, "</system>")
    }
}

impl ProtectionDomain {
    /// Where the region is mapped.
    pub fn address(&self, region: &str) -> Option<u64> {
        self.maps
            .iter()
            .find(|map| map.region == region)
            .map(|map| map.address)
    }

    fn map(&mut self, region: &str, system: &System, writable: bool) {
        self.map_as(region, system, writable, false, None);
    }

    fn map_as(
        &mut self,
        region: &str,
        system: &System,
        writable: bool,
        device: bool,
        symbol: Option<&'static str>,
    ) {
        let bytes = system.bytes_of(region);
        if bytes.is_multiple_of(LARGE_PAGE) {
            self.next = self.next.next_multiple_of(LARGE_PAGE);
        }
        let address = self.next;
        // A page that is not mapped lies between two regions.
        self.next = address + bytes + PAGE;
        self.maps.push(Map {
            region: region.to_owned(),
            address,
            writable,
            device,
            symbol,
        });
    }

    /// Two regions that are one to the domain.
    fn map_adjacent(&mut self, regions: [&str; 2], system: &System) {
        for region in regions {
            self.map(region, system, true);
            self.next -= PAGE;
        }
        self.next += PAGE;
    }

    fn open(&self, xml: &mut String, depth: usize) -> fmt::Result {
        let indent = "    ".repeat(depth);
        write!(
            xml,
            "{indent}<protection_domain name=\"{}\" priority=\"{}\"",
            self.name, self.priority
        )?;
        if let Some(child) = self.child {
            write!(xml, " id=\"{child}\"")?;
        }
        writeln!(xml, " stack_size=\"{:#x}\">", self.stack)?;
        writeln!(xml, "{indent}    <program_image path=\"{}\" />", self.program)?;
        for map in &self.maps {
            let perms = if map.writable { "rw" } else { "r" };
            write!(
                xml,
                "{indent}    <map mr=\"{}\" vaddr=\"{:#x}\" perms=\"{perms}\"",
                map.region, map.address
            )?;
            if map.device {
                write!(xml, " cached=\"false\"")?;
            }
            match map.symbol {
                Some("heap_vaddr") => write!(xml, " setvar_vaddr=\"heap_vaddr\" setvar_size=\"heap_size\"")?,
                Some("boot_vaddr") => write!(xml, " setvar_vaddr=\"boot_vaddr\" setvar_size=\"boot_size\"")?,
                Some(symbol) => write!(xml, " setvar_vaddr=\"{symbol}\"")?,
                None => {}
            }
            writeln!(xml, " />")?;
        }
        for (irq, channel) in &self.irqs {
            writeln!(xml, "{indent}    <irq irq=\"{irq}\" id=\"{channel}\" />")?;
        }
        for (symbol, region) in &self.physical {
            writeln!(
                xml,
                "{indent}    <setvar symbol=\"{symbol}\" region_paddr=\"{region}\" />"
            )?;
        }
        Ok(())
    }
}

impl End {
    fn new(domain: &str, channel: u8) -> Self {
        Self {
            domain: domain.to_owned(),
            channel,
            signals: true,
        }
    }
}

/// The memory region of a domain's preserved memory of that name.
pub fn kept_region(domain: &str, name: &str) -> String {
    format!("{domain}-kept-{name}")
}

/// The memory region of a domain's log.
fn log_region(domain: &str) -> String {
    format!("{domain}-log")
}

/// The domains that have a log, in the order of the serial domain's channels.
pub fn log_sources(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let actors = manifest.domain.iter().map(|domain| domain.name.as_str());
    actors.chain(["supervisor", "timer"])
}

/// Heap of an actor: tables and buffers of all its sessions, taken at boot. It is not part of the image.
fn heap_bytes(manifest: &Manifest, name: &str) -> u64 {
    match name {
        "console-tcp" => {
            let places = console_config(manifest).map_or(0, |config| config.places()) as u64;
            (places * CONSOLE_PLACE_BYTES).next_multiple_of(LARGE_PAGE)
        }
        "ninedoor" => 4 * LARGE_PAGE,
        "queen" => 2 * LARGE_PAGE,
        _ => LARGE_PAGE,
    }
}

/// The manifest has few domains; its check says so.
fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}
