//! What is on the operator's terminal: whole lines, and at the bottom the one in which somebody types.
//!
//! Answers for a line being printed whole, above the open one, whoever it is from; and for nothing that a domain wrote
//! reaching the terminal as a control character. Never reads what is typed, and never holds more than the open line.

use heapless::Vec;
use protocol::serial::{END, ERASE, OPEN_BYTES, RESTART};

/// Goes to the beginning of the line and empties it, on any terminal that knows ECMA-48.
const WIPE: &[u8] = b"\r\x1b[K";
/// What stands for a byte that must not reach a terminal.
const UNPRINTABLE: u8 = b'?';
/// What stands for the second byte of a C1 control: U+00BF.
const HARMLESS: u8 = 0xbf;

/// The terminal, as far as this side knows it.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// The open line, as it is shown.
    open: Vec<u8, OPEN_BYTES>,
    /// Of what the console wrote.
    text: Text,
}

/// Where in the bytes of a character the next one is.
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    /// Bytes that are still to come.
    missing: u8,
    /// After the byte that C1 controls begin with in UTF-8, as U+0080 to U+00BF do.
    after_c2: bool,
}

impl Screen {
    /// Prints a line above the open one. Everything that is no text in it is shown as `?`.
    pub(crate) fn line(&self, bytes: impl Iterator<Item = u8>, put: &mut dyn FnMut(u8)) {
        self.hide(put);
        let mut text = Text::default();
        bytes.for_each(|byte| put(text.shown(byte)));
        end_line(put);
        self.show(put);
    }

    /// Shows what the console wrote: lines, and edits of the open one.
    pub(crate) fn console(&mut self, bytes: &[u8], put: &mut dyn FnMut(u8)) {
        for byte in bytes {
            match *byte {
                END => {
                    end_line(put);
                    self.open.clear();
                }
                ERASE => {
                    if self.erase() {
                        b"\x08 \x08".iter().for_each(|byte| put(*byte));
                    }
                }
                RESTART => {
                    self.hide(put);
                    self.open.clear();
                }
                byte => {
                    let byte = self.text.shown(byte);
                    // What is longer than an open line can be is a whole line, which is not shown again.
                    let _ = self.open.push(byte);
                    put(byte);
                }
            }
        }
    }

    /// Leaves the open line as it stands, because whose it was is gone.
    pub(crate) fn abandon(&mut self, put: &mut dyn FnMut(u8)) {
        if !self.open.is_empty() {
            end_line(put);
            self.open.clear();
        }
    }

    fn hide(&self, put: &mut dyn FnMut(u8)) {
        if !self.open.is_empty() {
            WIPE.iter().for_each(|byte| put(*byte));
        }
    }

    fn show(&self, put: &mut dyn FnMut(u8)) {
        self.open.iter().for_each(|byte| put(*byte));
    }

    /// Takes the last character, which may be several bytes; whether there was one.
    fn erase(&mut self) -> bool {
        while let Some(byte) = self.open.pop() {
            let continues = byte & 0xc0 == 0x80;
            if !continues {
                return true;
            }
        }
        false
    }
}

fn end_line(put: &mut dyn FnMut(u8)) {
    put(b'\r');
    put(b'\n');
}

impl Text {
    /// The byte, or what stands for one that would control a terminal.
    fn shown(&mut self, byte: u8) -> u8 {
        let Text { missing, after_c2 } = *self;
        self.after_c2 = byte == 0xc2;
        self.missing = match byte {
            0x80..=0xbf => missing.saturating_sub(1),
            0xc2..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => 0,
        };
        match byte {
            _ if byte.is_ascii_control() => UNPRINTABLE,
            // Some terminals take such a byte for a control of its own.
            0x80..=0x9f if missing == 0 => UNPRINTABLE,
            0x80..=0x9f if after_c2 => HARMLESS,
            _ => byte,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    /// What the terminal was sent.
    fn sent(act: impl FnOnce(&mut Screen, &mut Vec<u8>)) -> String {
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        act(&mut screen, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_log_line_comes_above_the_open_line() {
        let out = sent(|screen, out| {
            screen.line(b"one".iter().copied(), &mut |byte| out.push(byte));
            screen.console(b"hive> pi", &mut |byte| out.push(byte));
            screen.line(b"two".iter().copied(), &mut |byte| out.push(byte));
            screen.console(b"ng\nOK PING\nhive> ", &mut |byte| out.push(byte));
        });
        assert_eq!(
            out,
            "one\r\nhive> pi\r\x1b[Ktwo\r\nhive> ping\r\nOK PING\r\nhive> "
        );
    }

    #[test]
    fn the_open_line_is_edited_by_characters() {
        let out = sent(|screen, out| {
            screen.console("aé\x08\x08\x08b\rc".as_bytes(), &mut |byte| out.push(byte));
            screen.line(b"x".iter().copied(), &mut |byte| out.push(byte));
            screen.abandon(&mut |byte| out.push(byte));
            screen.abandon(&mut |byte| out.push(byte));
        });
        assert_eq!(out, "aé\x08 \x08\x08 \x08b\r\x1b[Kc\r\x1b[Kx\r\nc\r\n");
    }

    #[test]
    fn nobody_controls_the_terminal() {
        let out = sent(|screen, out| {
            screen.line(b"\x1b[2Ja\nb\x07".iter().copied(), &mut |byte| out.push(byte));
            screen.console(b"\x1b]0;x\x07\t\n", &mut |byte| out.push(byte));
        });
        assert_eq!(out, "?[2Ja?b?\r\n?]0;x??\r\n");
        let out = sent(|screen, out| {
            screen.line("\u{9b}2J é€".bytes(), &mut |byte| out.push(byte));
            screen.console(b"\x9b\xc2", &mut |byte| out.push(byte));
            screen.console(b"\x9b\n", &mut |byte| out.push(byte));
        });
        assert_eq!(out, "¿2J é€\r\n?¿\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_order_do_no_harm(pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..3000)), 0..8)) {
            let (mut screen, mut out) = (Screen::default(), Vec::new());
            for (log, bytes) in pieces {
                if log {
                    screen.line(bytes.into_iter(), &mut |byte| out.push(byte));
                } else {
                    screen.console(&bytes, &mut |byte| out.push(byte));
                }
            }
            let escapes = out.windows(3).filter(|bytes| bytes == b"\x1b[K").count();
            prop_assert_eq!(out.iter().filter(|byte| **byte == 0x1b).count(), escapes);
        }
    }
}
