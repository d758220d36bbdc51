//! What the serial line's two domains say to each other: the driver, which prints everybody's log, and the root console.
//!
//! Answers for the bytes that have a meaning on the link between them. To the console go bytes as they were typed. From
//! the console come whole lines, each with [`END`], and edits of the one line that is open, in which somebody types: text
//! that is added to it, [`ERASE`] and [`RESTART`]. The driver shows a log line above the open line, so it has to know it.
//! Never says how a terminal is told so; that is the driver's.

/// The link between the two.
pub const LINK: &str = "serial";
/// Ends the open line, or a whole one.
pub const END: u8 = b'\n';
/// Takes the last character off the open line.
pub const ERASE: u8 = 8;
/// Empties the open line.
pub const RESTART: u8 = b'\r';
/// What the root console shows when it waits for a line.
pub const PROMPT: &str = "hive> ";
/// Bytes of an open line: the prompt and the longest line.
pub const OPEN_BYTES: usize = PROMPT.len() + crate::limits::LINE_BYTES;
