//! Console framing: u32 little-endian total length, then a UTF-8 line (WIRE 1.1).
//!
//! Answers for splitting a byte stream into lines under the limits of either side, and for writing
//! frames. It never allocates and never holds more than one line. It never looks into a line.

use core::fmt;

/// Which rules hold for what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A server before AUTH: any wrong frame ends the connection.
    PreAuth,
    /// A server after AUTH: a frame that is too long is skipped and answered.
    Session,
    /// A client: frames of 4 to 8192 bytes, anything else ends the connection.
    Client,
}

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole line; may be empty.
    Line(&'a str),
    /// A frame over the limits was announced and is being skipped: answer `ERR FRAME`, go on.
    TooLong,
    /// The stream cannot go on: close. Feeding more gives the same again.
    Broken(FrameError),
}

/// Why the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The announced length is impossible, or over the limit in a phase without a session.
    InvalidLength(u32),
    /// The line is not UTF-8.
    NotUtf8,
}

/// A streaming decoder whose longest line is `N` bytes.
pub struct Decoder<const N: usize> {
    line: [u8; N],
    phase: Phase,
}

impl<const N: usize> Decoder<N> {
    /// A decoder at a frame boundary.
    pub const fn new(phase: Phase) -> Self {
        Decoder { line: [0; N], phase }
    }

    /// Changes the rules for the frames that follow.
    pub fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Forgets everything, for a new connection.
    pub fn reset(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Whether the decoder is inside a frame.
    pub fn mid_frame(&self) -> bool {
        unimplemented!()
    }

    /// Takes bytes from the front of `input` until there is an event; `None` once `input` is empty.
    pub fn next<'a>(&'a mut self, _input: &mut &[u8]) -> Option<Event<'a>> {
        unimplemented!()
    }
}

/// The four bytes in front of a line of `line_bytes`; `None` if no client would accept the frame.
pub const fn header(_line_bytes: usize) -> Option<[u8; 4]> {
    unimplemented!()
}

/// Writes the frame of `line` into `out`; `None` if the line is over 8188 bytes or `out` too small.
pub fn encode<'o>(_line: &str, _out: &'o mut [u8]) -> Option<&'o [u8]> {
    unimplemented!()
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::InvalidLength(n) => {
                write!(
                    f,
                    "frame length {n} is invalid; it counts its own 4 bytes and ends at 8192"
                )
            }
            FrameError::NotUtf8 => f.write_str("line is not UTF-8"),
        }
    }
}
