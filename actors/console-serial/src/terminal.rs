//! The way to the operator's terminal: lines, and edits of the open one.
//!
//! Answers for each line leaving whole, and for nothing that a file holds reaching the terminal as a control character.
//! Never waits for anybody but the driver.

use console::{Gone, Sink};
use heapless::Vec;
use protocol::serial::END;
use runtime::link::Connection;

/// Bytes that are shown together.
const SHOWN_BYTES: usize = 256;
/// What stands for a character that must not reach a terminal.
const UNPRINTABLE: char = '?';

/// What is shown of the open line, on its way.
pub(crate) struct Terminal<'c> {
    connection: &'c Connection,
    /// A line on its way, of at most a frame.
    frame: &'c mut [u8],
    shown: Vec<u8, SHOWN_BYTES>,
}

impl<'c> Terminal<'c> {
    /// The terminal at the other end; `frame` is as long as the link's frames are.
    pub(crate) fn new(connection: &'c Connection, frame: &'c mut [u8]) -> Terminal<'c> {
        Terminal {
            connection,
            frame,
            shown: Vec::new(),
        }
    }

    /// Shows bytes of the open line, soon.
    pub(crate) async fn show(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        for byte in bytes {
            if self.shown.is_full() {
                self.flush().await?;
            }
            // There is room.
            let _ = self.shown.push(*byte);
        }
        Ok(())
    }

    /// Shows them now.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        if !self.shown.is_empty() {
            self.connection.send(&self.shown).await.map_err(|_| Gone)?;
            self.shown.clear();
        }
        Ok(())
    }
}

impl Sink for Terminal<'_> {
    async fn line(&mut self, line: &str) -> Result<(), Gone> {
        self.flush().await?;
        let Some((last, room)) = self.frame.split_last_mut() else {
            return Err(Gone);
        };
        *last = END;
        let mut bytes = 0;
        for char in line.chars() {
            let char = if char.is_control() { UNPRINTABLE } else { char };
            // The longest line and its end are shorter than a frame, and no character becomes longer here.
            let Some(place) = room.get_mut(bytes..bytes + char.len_utf8()) else {
                break;
            };
            char.encode_utf8(place);
            bytes += char.len_utf8();
        }
        if let Some(end) = self.frame.get_mut(bytes) {
            *end = END;
        }
        let frame = self.frame.get(..=bytes).unwrap_or_default();
        self.connection.send(frame).await.map_err(|_| Gone)
    }
}
