//! QEMU as a child process: booted, listened to, stopped.
//!
//! Answers for the console's port being forwarded, the serial log being relayed line by line, and the machine ending
//! with this value.
//!
//! Never talks to the hive; who wants to know whether it answers asks at the console.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use super::QemuError;
use super::at;
use super::tools::{QEMU, find_qemu};
use crate::assemble::{CONSOLE_ADDRESS, NET_ADDRESS};

/// Where Microkit's images are loaded.
const IMAGE_ADDRESS: &str = "0x70000000";
/// What the timer logs once, with the boot id after it.
const BOOT: &str = "timer: boot=";

/// A running machine.
pub struct Machine {
    qemu: Child,
    boot: Receiver<String>,
}

impl Machine {
    /// Boots an image; its console port is forwarded from `console`. With `icount`, time is counted in instructions.
    pub fn boot(image: &Path, console: SocketAddr, guest_port: u16, icount: bool) -> Result<Self, QemuError> {
        find_qemu()?;
        let [a, b, c, _] = CONSOLE_ADDRESS.octets();
        let at_end = |last| Ipv4Addr::new(a, b, c, last);
        let network = format!(
            "user,id=n0,restrict=on,ipv6=off,net={}/24,host={NET_ADDRESS},dns={},dhcpstart={},hostfwd=tcp:{}:{}-{}:{}",
            at_end(0),
            at_end(3),
            at_end(4),
            console.ip(),
            console.port(),
            CONSOLE_ADDRESS,
            guest_port
        );
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
            ))
            .args(["-device", "virtio-net-device,netdev=n0", "-netdev", &network]);
        if icount {
            command.args(["-icount", "shift=3,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]);
        }
        let mut qemu = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(at(Path::new(QEMU)))?;
        let (sender, boot) = mpsc::channel();
        if let Some(serial) = qemu.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line);
                    let line = line.trim_end();
                    if let Some(id) = line.strip_prefix(BOOT) {
                        // Nobody listens any more once the first one was heard.
                        let _ = sender.send(id.to_owned());
                    }
                    tracing::info!("| {line}");
                }
            });
        }
        Ok(Self { qemu, boot })
    }

    /// The boot id, once the timer has logged it.
    pub fn boot_id(&self) -> Option<String> {
        self.boot.try_recv().ok()
    }

    /// Whether QEMU still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.qemu.try_wait(), Ok(None))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
