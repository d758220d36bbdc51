//! Keys to lines: the least that typing on a serial line needs.
//!
//! Answers for CR, LF and CR LF each ending one line, for taking back a character or all of them, for keys that are no
//! text (cursor keys, control characters) doing nothing, and for a line that is too long being told at its end, whole.
//! Never shows anything, and never holds more than one line.

use protocol::limits::LINE_BYTES;

const CTRL_C: u8 = 0x03;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// This byte was added.
    Typed(u8),
    /// The last character is gone.
    Erased,
    /// The whole line is gone.
    Emptied,
    /// The operator thought better of the line.
    Dropped,
    /// The line is there.
    Line,
    /// A line ended that was too long.
    TooLong,
}

/// The line in which somebody types.
pub(crate) struct Editor {
    line: [u8; LINE_BYTES],
    len: usize,
    /// More was typed than fits.
    over: bool,
    /// The last key was CR: LF after it belongs to it.
    after_cr: bool,
    keys: Keys,
}

/// Where in a key's bytes the next one is (ECMA-48).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Plain,
    /// After ESC.
    Escape,
    /// Inside a control sequence.
    Sequence,
    /// One more byte belongs to the key.
    Last,
}

impl Editor {
    pub(crate) const fn new() -> Editor {
        Editor {
            line: [0; LINE_BYTES],
            len: 0,
            over: false,
            after_cr: false,
            keys: Keys::Plain,
        }
    }

    /// What was typed. After an ended line, until [`Editor::clear`].
    pub(crate) fn bytes(&self) -> &[u8] {
        self.line.get(..self.len).unwrap_or_default()
    }

    /// Begins the next line.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.over = false;
    }

    /// Begins anew: whoever typed is gone.
    pub(crate) fn reset(&mut self) {
        self.clear();
        self.after_cr = false;
        self.keys = Keys::Plain;
    }

    /// Takes the next byte of what is typed.
    pub(crate) fn push(&mut self, byte: u8) -> Effect {
        let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
        if matches!(byte, b'\r' | b'\n' | CTRL_C | CTRL_U) {
            // Whatever key was under way, nobody waits for its end.
            self.keys = Keys::Plain;
        }
        match (byte, self.keys) {
            (b'\n', _) if after_cr => Effect::None,
            (b'\r' | b'\n', _) if self.over => Effect::TooLong,
            (b'\r' | b'\n', _) => Effect::Line,
            (CTRL_C, _) => {
                self.clear();
                Effect::Dropped
            }
            (CTRL_U, _) => {
                self.clear();
                Effect::Emptied
            }
            (ESCAPE, _) => {
                self.keys = Keys::Escape;
                Effect::None
            }
            (_, Keys::Plain) => self.edit(byte),
            (b'[', Keys::Escape) => {
                self.keys = Keys::Sequence;
                Effect::None
            }
            (b'O', Keys::Escape) => {
                self.keys = Keys::Last;
                Effect::None
            }
            // Parameters; anything else is the end of the sequence.
            (0x20..=0x3f, Keys::Sequence) => Effect::None,
            _ => {
                self.keys = Keys::Plain;
                Effect::None
            }
        }
    }

    fn edit(&mut self, byte: u8) -> Effect {
        match byte {
            BACKSPACE | DELETE => self.erase(),
            _ if byte.is_ascii_control() || self.over => Effect::None,
            _ => match self.line.get_mut(self.len) {
                Some(place) => {
                    *place = byte;
                    self.len += 1;
                    Effect::Typed(byte)
                }
                None => {
                    self.over = true;
                    Effect::None
                }
            },
        }
    }

    /// Takes back the last character. Of a line that is too long, nobody knows what that would be.
    fn erase(&mut self) -> Effect {
        if self.over || self.len == 0 {
            return Effect::None;
        }
        while let Some(byte) = self.bytes().last().copied() {
            self.len -= 1;
            let continues = byte & 0xc0 == 0x80;
            if !continues {
                break;
            }
        }
        Effect::Erased
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    /// The lines that come of these keys; one that is too long is `None`.
    fn lines(keys: &[u8]) -> Vec<Option<String>> {
        let (mut editor, mut lines) = (Editor::new(), Vec::new());
        for key in keys {
            match editor.push(*key) {
                Effect::Line => lines.push(Some(String::from_utf8_lossy(editor.bytes()).into_owned())),
                Effect::TooLong => lines.push(None),
                _ => continue,
            }
            editor.clear();
        }
        lines
    }

    #[test]
    fn each_kind_of_end_ends_one_line() {
        let some = |text: &str| Some(String::from(text));
        assert_eq!(
            lines(b"a\rb\nc\r\nd\n\re\r\r"),
            [
                some("a"),
                some("b"),
                some("c"),
                some("d"),
                some(""),
                some("e"),
                some("")
            ]
        );
    }

    #[test]
    fn what_was_typed_can_be_taken_back() {
        for (keys, line) in [
            (&b"pinf\x08g\r"[..], "ping"),
            (b"pinf\x7fg\r", "ping"),
            (b"\x08\x08ping\r", "ping"),
            ("né\x7fo\r".as_bytes(), "no"),
            ("é\x7f\x7fx\r".as_bytes(), "x"),
            (b"rm -rf\x15ping\r", "ping"),
            (b"kill\x03ping\r", "ping"),
        ] {
            assert_eq!(lines(keys), [Some(String::from(line))], "{keys:?}");
        }
    }

    #[test]
    fn keys_that_are_no_text_do_nothing() {
        for keys in [
            &b"pi\x1b[A\x1b[1;5Cng\r"[..],
            b"p\x1bOPing\r",
            b"pi\x00\x01\x07\tng\r",
            b"ping\x1b\r",
            b"ping\x1b[\r",
            b"\x1b\x1b[Aping\r",
            b"ping\x1b[12\n",
        ] {
            assert_eq!(lines(keys), [Some(String::from("ping"))], "{keys:?}");
        }
    }

    #[test]
    fn the_longest_line_is_taken_and_a_longer_one_told_once() {
        let mut keys = std::vec![b'x'; LINE_BYTES];
        keys.push(b'\r');
        assert_eq!(lines(&keys)[0].as_ref().map(String::len), Some(LINE_BYTES));
        keys.insert(0, b'x');
        // Nobody knows how much of it would have to be taken back.
        keys.splice(LINE_BYTES + 1..LINE_BYTES + 1, *b"\x08\x08");
        keys.extend_from_slice(b"ping\r");
        assert_eq!(lines(&keys), [None, Some(String::from("ping"))]);
        keys.insert(LINE_BYTES + 1, 0x15);
        assert_eq!(lines(&keys), [Some(String::new()), Some(String::from("ping"))]);
    }

    proptest! {
        #[test]
        fn whatever_was_before_a_line_can_be_typed(noise in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let mut keys = noise;
            keys.extend_from_slice(b"\x03PING\r");
            let lines = lines(&keys);
            prop_assert_eq!(lines.last(), Some(&Some(String::from("PING"))));
        }
    }
}
