//! The supervisor: the Microkit parent of every domain of the manifest.
//!
//! Answers for: a fault (a panic is one) ending in a restart with fresh statics, as `runtime::supervision`'s policy
//! decides; for the links of the domain that died being down on its side before anybody else runs; and for the status
//! page that everybody reads.
//! Never: takes any input but faults. Who restarts the supervisor: nobody; a fault here stops at Microkit's monitor, and
//! the domains go on without supervision.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;

use core::time::Duration;

use hive_boot::{LINK_HEAD_BYTES, SupervisorBoot};
use runtime::link::{Line, LinkMemory, Side};
use runtime::page::Page;
use runtime::supervision::{ChildState, Decision, RestartPolicy, StatusPage, Supervisor};
use sel4_host::{domain, log, memory, time};
use sel4_microkit::{Channel, Child, Handler, MessageInfo, with_msg_regs};

struct Parent {
    policy: Supervisor,
    status: StatusPage,
    children: Vec<Ward>,
}

/// A child.
struct Ward {
    name: String,
    /// Where it begins anew.
    reset: u64,
    /// The beginning of each of its links, and which side of it is the child's.
    links: Vec<(&'static [Line], Side)>,
}

domain!(init);

fn init() -> Parent {
    let boot: SupervisorBoot = match hive_boot::decode(memory::blob()) {
        Ok(boot) => boot,
        Err(error) => panic!("{error}"),
    };
    let policy = RestartPolicy {
        intensity: boot.intensity,
        window: Duration::from_secs(boot.window_s),
        ..RestartPolicy::default()
    };
    let names: Arc<[String]> = boot.children.iter().map(|child| child.name.clone()).collect();
    // SAFETY: the system file maps the status page there; nobody else may write it.
    let status = StatusPage::over(Page::Mapped(unsafe { memory::shared(boot.status) }), names);
    let parent = Parent {
        policy: Supervisor::new(boot.children.iter().map(|_| policy)),
        status,
        children: boot.children.into_iter().map(ward).collect(),
    };
    log!("{} children", parent.children.len());
    parent
}

fn ward(child: hive_boot::Child) -> Ward {
    let link = |(address, side_b): (u64, bool)| {
        // SAFETY: the system file maps the first page of the link there.
        let head = unsafe { memory::shared_slice::<Line>(address, LINK_HEAD_BYTES / size_of::<Line>()) };
        (head, if side_b { Side::B } else { Side::A })
    };
    Ward {
        name: child.name,
        reset: child.reset,
        links: child.heads.into_iter().map(link).collect(),
    }
}

impl Parent {
    /// The child does not run now. Nobody else does either until this returns: the supervisor's priority is the highest.
    fn bury(&mut self, index: usize, reason: &str) {
        let Some(ward) = self.children.get(index) else {
            return;
        };
        for (head, side) in &ward.links {
            LinkMemory::mark_down_in(head, *side);
        }
        match self.policy.fault(index, time::now()) {
            Decision::Restart { .. } => {
                self.status.fault(index, ChildState::Restarting, reason);
                log!("{}: {reason}; restarted", ward.name);
                restart(Child::new(index), ward.reset);
                self.status.restarted(index);
            }
            Decision::Escalate => {
                self.status.fault(index, ChildState::Down, reason);
                log!("{}: {reason}; too often, it stays down", ward.name);
            }
        }
        for other in 0..self.children.len() {
            Channel::new(other).notify();
        }
    }
}

impl Handler for Parent {
    type Error = Infallible;

    fn fault(&mut self, child: Child, message: MessageInfo) -> Result<Option<MessageInfo>, Infallible> {
        let (label, [pc, address]) = (
            message.label(),
            with_msg_regs(|registers| [registers[0], registers[1]]),
        );
        let reason = match label {
            // A VCPU fault in the kernel's release and benchmark configurations, a debug exception in debug.
            4 | 8 => String::from("panic"),
            3 => format!("undefined instruction at {pc:#x}"),
            6 => format!("bad address {address:#x} at {pc:#x}"),
            _ => format!("fault {label} at {pc:#x}"),
        };
        self.bury(child.index(), &reason);
        // No reply: the child begins anew, or stays where it is.
        Ok(None)
    }
}

fn restart(child: Child, at: u64) {
    let mut context = sel4::UserContext::default();
    *context.pc_mut() = at;
    if let Err(error) = child.tcb().tcb_write_registers(true, 1, &mut context) {
        log!("child {} cannot be started: {error:?}", child.index());
    }
}
