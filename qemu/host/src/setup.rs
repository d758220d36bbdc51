//! From the boot blob to a running domain.
//!
//! Answers for: every address, channel and limit of the blob becoming what the runtime asks of a host.
//! Never: decides anything; the image builder did.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt::Display;

use hive_boot::{Actor, Boot, boot_id, channel};
use runtime::Context;
use runtime::badge::{Badges, Channel};
use runtime::counters::Counters;
use runtime::domain::{Directory, Domain, DomainSetup, LinkSetup, WallClock};
use runtime::link::{Line, LinkMemory, Side};
use runtime::page::Page;
use runtime::random::mix;
use runtime::region::Region;
use runtime::supervision::StatusPage;
use runtime::sync::{AtomicU64, Ordering};
use runtime::topology::DomainLimits;

use crate::handler::{Bell, Host};
use crate::log;
use crate::memory::{blob, shared, shared_slice};
use crate::pool::PoolExecutor;
use crate::time::{self, Deadline, ticks};

/// Reads the boot blob and starts the domain. `spawn` is given its context, its boot data, the boot id and the bell of
/// its device.
///
/// # Panics
/// If the blob is not of this build, or the actor cannot start. The panic is a fault, and the supervisor shows it.
pub fn start<E: Display>(spawn: impl FnOnce(&Context, &Boot, &str, Rc<Bell>) -> Result<(), E>) -> Host {
    let boot: Boot = match hive_boot::decode(blob()) {
        Ok(boot) => boot,
        Err(error) => panic!("{error}"),
    };
    // SAFETY: the blob's addresses are those at which the system file of the same image maps these pages.
    let (clock, deadline) = unsafe {
        (
            shared::<AtomicU64>(boot.clock),
            shared::<AtomicU64>(boot.deadline),
        )
    };
    let id = boot_id(boot.seed, clock.load(Ordering::Acquire));
    let bell = Rc::new(Bell::default());
    let again = Rc::new(Cell::new(false));
    let (setup, links) = setup(&boot, clock, &again);
    let executor = PoolExecutor::new(boot.limits.tasks);
    let domain = Domain::new(setup, executor, time::now(), |context| {
        if let Err(error) = spawn(context, &boot, &id, Rc::clone(&bell)) {
            panic!("cannot start: {error}");
        }
    });
    let host = Host::new(domain, Deadline::new(deadline), links, bell, rings(&boot), again);
    let (at, heap) = (time::now().as_micros(), crate::heap::used_bytes() / 1024);
    log!("started at {at} us, {heap} KiB of heap in use");
    host
}

fn setup(boot: &Boot, clock: &'static AtomicU64, again: &Rc<Cell<bool>>) -> (DomainSetup, Badges) {
    let name = boot
        .domains
        .get(usize::from(boot.index))
        .cloned()
        .unwrap_or_default();
    let links: Vec<LinkSetup> = boot.links.iter().filter_map(link).collect();
    let badges = links
        .iter()
        .fold(Badges::EMPTY, |set, link| set.union(Badges::of(link.channel)));
    let directory = Directory::with(
        boot.domains
            .iter()
            .cloned()
            .zip(boot.counters.iter().map(counters)),
    );
    let names: Arc<[String]> = boot.domains.iter().cloned().collect();
    // SAFETY: the system file maps the status page there, read-only; a view only loads.
    let status = StatusPage::over(Page::Mapped(unsafe { shared(boot.status) }), names).view();
    let supervision = Channel::new(channel::SUPERVISION).map(|channel| (status, channel));
    let setup = DomainSetup {
        counters: directory.counters(&name).cloned().unwrap_or_default(),
        limits: DomainLimits {
            tasks: boot.limits.tasks as usize,
            timers: boot.limits.timers as usize,
            ..DomainLimits::default()
        },
        links,
        regions: boot.regions.iter().map(region).collect(),
        directory,
        supervision,
        clock: WallClock::over(Page::Mapped(clock)),
        seed: mix(mix(boot.seed ^ u64::from(boot.index)) ^ ticks()),
        fault_injection: boot.fault_injection,
        fault_asked: boot.fault_injection.then(|| fault_asked(boot, again)),
        // Each domain has its own address space, whose first page is never mapped, and a parent that hears of faults.
        address_faults: true,
        name,
    };
    (setup, badges)
}

/// The channels that ring the bell.
fn rings(boot: &Boot) -> Badges {
    let logs = match &boot.actor {
        Actor::Serial(told) => told.logs.len(),
        _ => 0,
    };
    let logs = (channel::LOG_SOURCES..channel::DEVICE).take(logs);
    logs.chain([channel::DEVICE])
        .filter_map(Channel::new)
        .fold(Badges::EMPTY, |set, channel| set.union(Badges::of(channel)))
}

fn link(link: &hive_boot::Link) -> Option<LinkSetup> {
    let bytes = LinkMemory::bytes_needed(link.slots, link.frame_bytes).ok()?;
    // SAFETY: the system file maps that many bytes of the link's own regions there, zeroed before either side ran.
    let lines = unsafe { shared_slice::<Line>(link.address, bytes / size_of::<Line>()) };
    Some(LinkSetup {
        name: link.name.clone(),
        peer: link.peer.clone(),
        channel: Channel::new(link.channel)?,
        memory: LinkMemory::from_static(lines, link.slots, link.frame_bytes).ok()?,
        side: if link.side_b { Side::B } else { Side::A },
    })
}

fn region(region: &hive_boot::Region) -> (String, Region) {
    let words = usize::try_from(region.bytes).unwrap_or_default() / size_of::<AtomicU64>();
    // SAFETY: the system file maps the region there, for this domain alone.
    let words = unsafe { shared_slice::<AtomicU64>(region.address, words) };
    (region.name.clone(), Region::from_static(words))
}

/// The counters at that address; of a domain whose page is not mapped here, a page that stays zero.
fn counters(address: &u64) -> Counters {
    match *address {
        0 => Counters::new(),
        // SAFETY: the system file maps the counters' page there; if it is another domain's it is mapped read-only,
        // unless faults may be injected, and only the fault word is then written.
        address => Counters::over(Page::Mapped(unsafe { shared(address) })),
    }
}

/// Gives a domain that is to fault a turn: over a link if there is one, and this domain in its own loop.
fn fault_asked(boot: &Boot, again: &Rc<Cell<bool>>) -> Rc<dyn Fn(usize)> {
    let over = |name: &String| {
        boot.links
            .iter()
            .find(|link| link.peer == *name)
            .map(|link| link.channel)
    };
    let channels: Vec<Option<u8>> = boot.domains.iter().map(over).collect();
    let (own, again) = (usize::from(boot.index), Rc::clone(again));
    Rc::new(move |domain| {
        if domain == own {
            again.set(true);
        } else if let Some(channel) = channels.get(domain).copied().flatten() {
            sel4_microkit::Channel::new(channel.into()).notify();
        }
    })
}
