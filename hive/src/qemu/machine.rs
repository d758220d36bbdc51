//! QEMU as a child process: booted, listened to, stopped.
//!
//! Answers for the ports being forwarded, for the serial line being relayed, and for the machine ending with this value.
//!
//! Never talks to the hive; who wants to know whether it answers asks at the console.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use super::QemuError;
use super::at;
use super::serial::{Terminals, relay};
use super::tools::{QEMU, find_qemu};
use crate::assemble::{CONSOLE_ADDRESS, NET_ADDRESS};

/// Where Microkit's images are loaded.
const IMAGE_ADDRESS: &str = "0x70000000";

/// A running machine.
pub struct Machine {
    qemu: Child,
    boot: Receiver<String>,
    relay: Option<JoinHandle<()>>,
}

/// What a machine has besides its image.
#[derive(Debug, Default)]
pub struct Wiring {
    /// What leads into the machine over its network card. Without it there is no card, and a domain of the image may end
    /// the machine by semihosting.
    pub network: Option<Vec<Forward>>,
    /// Time is counted in instructions, from a fixed date.
    pub icount: bool,
    /// Where the serial log goes, byte for byte.
    pub serial_log: Option<File>,
    /// Where whoever connects sits at the serial line. Without it nobody types there.
    pub serial: Option<UnixListener>,
}

/// A port of this machine's that leads into the hive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to listen.
    pub from: SocketAddr,
    /// The port inside the hive's own network.
    pub guest_port: u16,
}

impl Machine {
    /// Boots an image.
    pub fn boot(image: &Path, wiring: Wiring) -> Result<Self, QemuError> {
        find_qemu()?;
        let mut command = Command::new(QEMU);
        command
            .args([
                "-machine",
                "virt,virtualization=on",
                "-cpu",
                "cortex-a53",
                "-m",
                "size=2G",
                "-nodefaults",
            ])
            .args([
                "-display", "none", "-monitor", "none", "-serial", "stdio", "-device",
            ])
            .arg(format!(
                "loader,file={},addr={IMAGE_ADDRESS},cpu-num=0",
                image.display()
            ));
        match &wiring.network {
            Some(forwards) => {
                let network = network(forwards);
                command.args(["-device", "virtio-net-device,netdev=n0", "-netdev", &network]);
            }
            None => {
                command.args(["-semihosting-config", "enable=on,target=native,userspace=on"]);
            }
        }
        if wiring.icount {
            command.args(["-icount", "shift=3,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]);
        }
        let mut qemu = command
            .stdin(match wiring.serial {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .spawn()
            .map_err(at(Path::new(QEMU)))?;
        let terminals = Arc::new(Terminals::default());
        if let (Some(listener), Some(keys)) = (wiring.serial, qemu.stdin.take()) {
            terminals.listen(listener, keys);
        }
        let (sender, boot) = mpsc::channel();
        let relay = qemu.stdout.take().map(|serial| {
            std::thread::spawn(move || {
                relay(serial, wiring.serial_log, &terminals, |id| {
                    // Nobody listens any more once the first one was heard.
                    let _ = sender.send(id.to_owned());
                });
            })
        });
        Ok(Self { qemu, boot, relay })
    }

    /// The boot id, once the timer has logged it.
    pub fn boot_id(&self) -> Option<String> {
        self.boot.try_recv().ok()
    }

    /// Whether QEMU still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.qemu.try_wait(), Ok(None))
    }

    /// How QEMU ended, once it has; the whole serial log was relayed then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.qemu.try_wait().ok().flatten()?;
        if let Some(relay) = self.relay.take() {
            // It ends with QEMU's output; if it panicked, there is nothing left to relay.
            let _ = relay.join();
        }
        Some(status)
    }
}

/// QEMU's own network: no way out, and a way in for each forward.
fn network(forwards: &[Forward]) -> String {
    let [a, b, c, _] = CONSOLE_ADDRESS.octets();
    let at_end = |last| Ipv4Addr::new(a, b, c, last);
    let mut network = format!(
        "user,id=n0,restrict=on,ipv6=off,net={}/24,host={NET_ADDRESS},dns={},dhcpstart={}",
        at_end(0),
        at_end(3),
        at_end(4),
    );
    for Forward { from, guest_port } in forwards {
        let way_in = format!(
            ",hostfwd=tcp:{}:{}-{CONSOLE_ADDRESS}:{guest_port}",
            from.ip(),
            from.port()
        );
        network.push_str(&way_in);
    }
    network
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
