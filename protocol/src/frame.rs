//! Console framing: u32 little-endian total length, then a UTF-8 line (WIRE 1.1).
//!
//! Answers for splitting a byte stream into lines under the limits of either side, and for writing
//! frames. It never allocates and never holds more than one line. It never looks into a line.

use core::fmt;

use crate::limits::{FRAME_HEADER_BYTES, LINE_BYTES, OUT_LINE_BYTES, PRE_AUTH_LINE_BYTES};

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

/// A streaming decoder whose longest line is `N` bytes. What the phase allows may be less.
#[derive(Debug)]
pub struct Decoder<const N: usize> {
    line: [u8; N],
    phase: Phase,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Inside the length field.
    Header {
        bytes: [u8; FRAME_HEADER_BYTES],
        got: usize,
    },
    /// Inside a line.
    Line { need: usize, got: usize },
    /// Inside a frame that nobody will see.
    Skip { left: u32 },
    /// For ever.
    Broken(FrameError),
}

impl State {
    const BOUNDARY: State = State::Header {
        bytes: [0; FRAME_HEADER_BYTES],
        got: 0,
    };
}

impl<const N: usize> Decoder<N> {
    /// A decoder at a frame boundary.
    pub const fn new(phase: Phase) -> Self {
        Decoder {
            line: [0; N],
            phase,
            state: State::BOUNDARY,
        }
    }

    /// Changes the rules for the frames that follow.
    pub fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Forgets everything, for a new connection.
    pub fn reset(&mut self, phase: Phase) {
        self.phase = phase;
        self.state = State::BOUNDARY;
    }

    /// Whether the decoder is inside a frame.
    pub fn mid_frame(&self) -> bool {
        !matches!(self.state, State::Header { got: 0, .. } | State::Broken(_))
    }

    /// Takes bytes from the front of `input` until there is an event; `None` once `input` is empty.
    pub fn next<'a>(&'a mut self, input: &mut &[u8]) -> Option<Event<'a>> {
        let bytes = loop {
            match self.state {
                State::Header { mut bytes, got } => {
                    let free = bytes.get_mut(got..).unwrap_or_default();
                    let got = got + take(input, free);
                    if got < FRAME_HEADER_BYTES {
                        self.state = State::Header { bytes, got };
                        return None;
                    }
                    self.state = self.after_header(u32::from_le_bytes(bytes));
                    if let State::Skip { .. } = self.state {
                        return Some(Event::TooLong);
                    }
                }
                State::Line { need, got } => {
                    let free = self.line.get_mut(got..need).unwrap_or_default();
                    let got = got + take(input, free);
                    if got < need {
                        self.state = State::Line { need, got };
                        return None;
                    }
                    self.state = State::BOUNDARY;
                    break need;
                }
                State::Skip { left } => {
                    let skipped = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    *input = input.get(skipped..).unwrap_or_default();
                    let left = left - u32::try_from(skipped).unwrap_or(left);
                    self.state = if left == 0 {
                        State::BOUNDARY
                    } else {
                        State::Skip { left }
                    };
                    if left > 0 {
                        return None;
                    }
                }
                State::Broken(error) => return Some(Event::Broken(error)),
            }
        };
        match core::str::from_utf8(self.line.get(..bytes).unwrap_or_default()) {
            Ok(line) => Some(Event::Line(line)),
            Err(_) => {
                self.state = State::Broken(FrameError::NotUtf8);
                Some(Event::Broken(FrameError::NotUtf8))
            }
        }
    }

    fn after_header(&self, total: u32) -> State {
        let invalid = State::Broken(FrameError::InvalidLength(total));
        let (Some(left), Ok(header)) = (total.checked_sub(4), usize::try_from(total)) else {
            return invalid;
        };
        let need = header - FRAME_HEADER_BYTES;
        let limit = match self.phase {
            Phase::PreAuth => PRE_AUTH_LINE_BYTES,
            Phase::Session => LINE_BYTES,
            Phase::Client => OUT_LINE_BYTES,
        };
        match self.phase {
            _ if need <= limit.min(N) => State::Line { need, got: 0 },
            Phase::Session => State::Skip { left },
            Phase::PreAuth | Phase::Client => invalid,
        }
    }
}

/// Moves as many bytes as possible from the front of `input` to the front of `free`.
fn take(input: &mut &[u8], free: &mut [u8]) -> usize {
    let bytes = input.len().min(free.len());
    let (head, tail) = input.split_at(bytes);
    for (to, from) in free.iter_mut().zip(head) {
        *to = *from;
    }
    *input = tail;
    bytes
}

/// The four bytes in front of a line of `line_bytes`; `None` if no client would accept the frame.
pub const fn header(line_bytes: usize) -> Option<[u8; FRAME_HEADER_BYTES]> {
    if line_bytes > OUT_LINE_BYTES {
        return None;
    }
    // At most 8192, so nothing is lost in the cast.
    Some(((line_bytes + FRAME_HEADER_BYTES) as u32).to_le_bytes())
}

/// Writes the frame of `line` into `out`; `None` if the line is over 8188 bytes or `out` too small.
pub fn encode<'o>(line: &str, out: &'o mut [u8]) -> Option<&'o [u8]> {
    let frame = out.get_mut(..FRAME_HEADER_BYTES + line.len())?;
    let (head, tail) = frame.split_at_mut(FRAME_HEADER_BYTES);
    head.copy_from_slice(&header(line.len())?);
    tail.copy_from_slice(line.as_bytes());
    Some(frame)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    /// What a test sees of the events: lines in full.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Seen {
        Line(String),
        TooLong,
        Broken(FrameError),
    }

    /// Feeds `stream` in pieces of the given sizes, round and round; stops when the stream breaks.
    fn decode<const N: usize>(phase: Phase, stream: &[u8], sizes: &[usize]) -> (Vec<Seen>, bool) {
        let mut decoder = Decoder::<N>::new(phase);
        let (mut seen, mut rest, mut sizes) = (Vec::new(), stream, sizes.iter().cycle());
        while !rest.is_empty() {
            let (mut piece, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            rest = tail;
            while let Some(event) = decoder.next(&mut piece) {
                seen.push(match event {
                    Event::Line(line) => Seen::Line(line.to_string()),
                    Event::TooLong => Seen::TooLong,
                    Event::Broken(error) => {
                        seen.push(Seen::Broken(error));
                        return (seen, decoder.mid_frame());
                    }
                });
            }
            assert!(piece.is_empty());
        }
        (seen, decoder.mid_frame())
    }

    fn frame(total: u32, payload: &[u8]) -> Vec<u8> {
        [&total.to_le_bytes()[..], payload].concat()
    }

    #[test]
    fn the_example_of_wire_1_1() {
        let mut out = [0; 32];
        let bytes = encode("AUTH changeme", &mut out).unwrap();
        assert_eq!(bytes, b"\x11\0\0\0AUTH changeme");
        let line = Seen::Line("AUTH changeme".into());
        assert_eq!(decode::<256>(Phase::PreAuth, bytes, &[1]), (vec![line], false));
    }

    #[test]
    fn limits_of_encoding() {
        let line = "x".repeat(OUT_LINE_BYTES + 1);
        let mut out = vec![0; 9000];
        assert_eq!(encode(&line, &mut out), None);
        assert_eq!(encode(&line[1..], &mut out).unwrap()[..4], [0, 32, 0, 0]);
        assert_eq!(encode("abc", &mut out[..6]), None);
        assert_eq!(header(0), Some([4, 0, 0, 0]));
        assert_eq!(header(OUT_LINE_BYTES + 1), None);
    }

    /// Every row of the table in WIRE 1.1, with the limits of CONTROL 1.
    #[test]
    fn wrong_lengths() {
        let x = |n: usize| vec![b'x'; n];
        let broken = |n| vec![Seen::Broken(FrameError::InvalidLength(n))];
        let ping = frame(8, b"PING");
        let line = |bytes: usize| Seen::Line("x".repeat(bytes));
        let after = |first: Seen| vec![first, Seen::Line("PING".into())];
        for (phase, total, payload, want) in [
            (Phase::PreAuth, 3, 0, broken(3)),
            (Phase::Session, 3, 0, broken(3)),
            (Phase::Client, 0, 0, broken(0)),
            (Phase::PreAuth, 4, 0, after(line(0))),
            (Phase::PreAuth, 260, 256, after(line(256))),
            (Phase::PreAuth, 261, 257, broken(261)),
            (Phase::Session, 4, 0, after(line(0))),
            (Phase::Session, 2308, 2304, after(line(2304))),
            (Phase::Session, 2309, 2305, after(Seen::TooLong)),
            (Phase::Session, 8192, 8188, after(Seen::TooLong)),
            (Phase::Session, 8193, 8189, after(Seen::TooLong)),
            (Phase::Session, 100_004, 100_000, after(Seen::TooLong)),
            (Phase::Client, 8192, 8188, after(line(8188))),
            (Phase::Client, 8193, 8189, broken(8193)),
            (Phase::Client, u32::MAX, 9, broken(u32::MAX)),
        ] {
            let stream = [frame(total, &x(payload)), ping.clone()].concat();
            for sizes in [&[1][..], &[4096], &[usize::MAX], &[3, 1, 7]] {
                let got = decode::<8188>(phase, &stream, sizes);
                assert_eq!(got, (want.clone(), false), "{phase:?} {total}");
            }
        }
    }

    #[test]
    fn the_buffer_is_a_limit_as_well() {
        assert_eq!(
            decode::<8>(Phase::Session, &frame(13, b"123456789"), &[9]).0,
            [Seen::TooLong]
        );
        let broken = [Seen::Broken(FrameError::InvalidLength(13))];
        assert_eq!(
            decode::<8>(Phase::PreAuth, &frame(13, b"123456789"), &[9]).0,
            broken
        );
    }

    #[test]
    fn text_that_is_not_utf_8_breaks_the_stream_for_good() {
        let mut decoder = Decoder::<16>::new(Phase::Session);
        let bytes = frame(6, b"\xc3\x28");
        assert_eq!(
            decoder.next(&mut &bytes[..]),
            Some(Event::Broken(FrameError::NotUtf8))
        );
        assert_eq!(
            decoder.next(&mut &frame(4, b"")[..]),
            Some(Event::Broken(FrameError::NotUtf8))
        );
        decoder.reset(Phase::Session);
        assert_eq!(decoder.next(&mut &frame(4, b"")[..]), Some(Event::Line("")));
    }

    #[test]
    fn half_a_frame_is_seen_as_such() {
        let mut decoder = Decoder::<16>::new(Phase::Session);
        assert!(!decoder.mid_frame());
        assert_eq!(decoder.next(&mut &b"\x08\0"[..]), None);
        assert!(decoder.mid_frame());
        assert_eq!(decoder.next(&mut &b"\0\0PI"[..]), None);
        assert!(decoder.mid_frame());
        assert_eq!(decoder.next(&mut &b"NG"[..]), Some(Event::Line("PING")));
        assert!(!decoder.mid_frame());
    }

    proptest! {
        #[test]
        fn lines_survive_any_split(
            lines in proptest::collection::vec("\\PC{0,40}", 0..8),
            sizes in proptest::collection::vec(1usize..50, 1..8),
        ) {
            let mut stream = Vec::new();
            for line in &lines {
                stream.extend_from_slice(encode(line, &mut [0; 256]).unwrap());
            }
            let want: Vec<_> = lines.into_iter().map(Seen::Line).collect();
            prop_assert_eq!(decode::<2304>(Phase::Session, &stream, &sizes), (want, false));
        }

        #[test]
        fn arbitrary_bytes_mean_the_same_however_they_are_split(
            stream in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => 0u8..16, 1 => any::<u8>()], 0..400),
            sizes in proptest::collection::vec(1usize..50, 1..8),
            phase in proptest::sample::select(&[Phase::PreAuth, Phase::Session, Phase::Client][..]),
        ) {
            prop_assert_eq!(decode::<64>(phase, &stream, &sizes), decode::<64>(phase, &stream, &[usize::MAX]));
        }
    }
}
