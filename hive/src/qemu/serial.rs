//! The machine's serial line: its log relayed, and who connects put at its terminal.
//!
//! Answers for the log being relayed line by line and kept as it is where that is wanted, for one terminal at a time (the
//! newest), and for the machine never waiting for a terminal that does not read: that one is dropped.
//!
//! Never looks into what is typed, and asks nobody who they are: who can connect sits at the machine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ChildStdin;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What the timer logs once, with the boot id after it.
const BOOT: &str = "timer: boot=";
/// Bytes of one read.
const CHUNK_BYTES: usize = 4096;
/// Reads that a terminal may be behind before it is dropped.
const CHUNKS_BEHIND: usize = 1024;
/// What the driver sends before it prints a log line over the line in which somebody types (`actors/serial`).
const WIPE: &str = "\r\x1b[K";

/// The terminal that is there, if one is.
#[derive(Default)]
pub(super) struct Terminals {
    present: Mutex<Option<Terminal>>,
}

struct Terminal {
    stream: UnixStream,
    output: SyncSender<Vec<u8>>,
}

impl Terminals {
    /// Puts whoever connects at the terminal, for as long as the process lives.
    pub(super) fn listen(self: &Arc<Self>, listener: UnixListener, keys: ChildStdin) {
        let (this, keys) = (Arc::clone(self), Arc::new(Mutex::new(keys)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let arrived = stream.and_then(|stream| this.arrive(stream, &keys));
                if let Err(error) = arrived {
                    tracing::warn!("nobody could be put at the serial line: {error}");
                }
            }
        });
    }

    fn arrive(&self, stream: UnixStream, keys: &Arc<Mutex<ChildStdin>>) -> io::Result<()> {
        let (mut typed, mut shown) = (stream.try_clone()?, stream.try_clone()?);
        let (output, chunks) = mpsc::sync_channel::<Vec<u8>>(CHUNKS_BEHIND);
        tracing::info!("somebody is at the serial line");
        self.put(Terminal { stream, output });
        thread::spawn(move || {
            for chunk in chunks {
                if shown.write_all(&chunk).is_err() {
                    break;
                }
            }
            // Whoever was replaced is told so by the end of the connection; one that is gone knows.
            let _ = shown.shutdown(Shutdown::Both);
        });
        let keys = Arc::clone(keys);
        thread::spawn(move || {
            let mut chunk = [0; CHUNK_BYTES];
            while let Ok(count @ 1..) = typed.read(&mut chunk) {
                let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
                // The machine takes as many as its UART has room for, and ends with its launcher.
                if keys
                    .write_all(&chunk[..count])
                    .and_then(|()| keys.flush())
                    .is_err()
                {
                    break;
                }
            }
        });
        Ok(())
    }

    /// Shows bytes to whoever is there.
    fn show(&self, bytes: &[u8]) {
        let mut present = self.lock();
        let is_behind = |terminal: &mut Terminal| terminal.output.try_send(bytes.to_vec()).is_err();
        if let Some(former) = present.take_if(is_behind) {
            former.leave();
        }
    }

    fn put(&self, terminal: Terminal) {
        if let Some(former) = self.lock().replace(terminal) {
            former.leave();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Terminal>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminal {
    fn leave(self) {
        // Already closed is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Relays what the machine sends until it ends: to the file byte for byte, to the terminal, and line by line to the log;
/// tells the boot id.
pub(super) fn relay(
    mut serial: impl Read,
    mut file: Option<File>,
    terminals: &Terminals,
    mut told: impl FnMut(&str),
) {
    let (mut chunk, mut pending) = ([0; CHUNK_BYTES], Vec::new());
    while let Ok(count @ 1..) = serial.read(&mut chunk) {
        let bytes = &chunk[..count];
        if let Some(Err(error)) = file.as_mut().map(|file| file.write_all(bytes)) {
            tracing::error!("the serial log cannot be written to its file: {error}");
            file = None;
        }
        terminals.show(bytes);
        pending.extend_from_slice(bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            tell(&pending[..end], &mut told);
            pending.drain(..=end);
        }
    }
    if !pending.is_empty() {
        tell(&pending, &mut told);
    }
}

fn tell(line: &[u8], told: &mut impl FnMut(&str)) {
    let line = String::from_utf8_lossy(line);
    let line = line.rsplit(WIPE).next().unwrap_or_default().trim_end();
    if let Some(id) = line.strip_prefix(BOOT) {
        told(id);
    }
    tracing::info!("| {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_heard_among_what_is_typed() {
        let mut ids = Vec::new();
        let serial = b"net: up\r\nhive> PI\r\x1b[Ktimer: boot=0123\r\nhive> PING\r\n";
        relay(&serial[..], None, &Terminals::default(), |id| {
            ids.push(id.to_owned())
        });
        assert_eq!(ids, ["0123"]);
    }
}
