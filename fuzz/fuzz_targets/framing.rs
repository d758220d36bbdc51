//! Console frames: how a stream is split never changes what is decoded; every line is parsed without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::command;
use protocol::frame::{Decoder, Event, Phase};

#[derive(Debug, PartialEq)]
enum Seen {
    Line(String),
    TooLong,
    Broken,
}

fn decode<'a>(phase: Phase, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::<8192>::new(phase);
    let mut seen = Vec::new();
    for mut piece in pieces {
        while let Some(event) = decoder.next(&mut piece) {
            seen.push(match event {
                Event::Line(line) => {
                    // Parsed for its side effect, a panic if there is a mistake.
                    let _ = command::parse(line, &mut [0; 8192]);
                    Seen::Line(line.to_owned())
                }
                Event::TooLong => Seen::TooLong,
                Event::Broken(_) => Seen::Broken,
            });
            if seen.last() == Some(&Seen::Broken) {
                return seen;
            }
        }
    }
    seen
}

fuzz_target!(|data: &[u8]| {
    for phase in [Phase::PreAuth, Phase::Session, Phase::Client] {
        let whole = decode(phase, std::iter::once(data));
        assert_eq!(decode(phase, data.chunks(1)), whole);
        assert_eq!(decode(phase, data.chunks(7)), whole);
    }
});
