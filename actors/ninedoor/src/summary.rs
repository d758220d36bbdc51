//! Counts under names, as a line of text and as a CBOR map of the same names (CONTROL 4).
//!
//! Answers for both showing the same. Never keeps a count: each summary is taken when somebody reads it.

use core::convert::Infallible;
use core::fmt;

use heapless::Vec;
use minicbor::Encoder;
use minicbor::encode::{Error, Write};

use crate::hall::Hall;
use crate::procfs::{House, Lines};
use crate::session::State;

/// Bits of a shard label.
const SHARD_BITS: u32 = 8;

/// Something that is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    /// `/proc/9p/sessions`
    Sessions,
    /// `/proc/9p/outstanding`
    Outstanding,
    /// `/proc/9p/short_writes`
    ShortWrites,
    /// `/proc/9p/session/active`
    Active,
}

/// A summary at one moment; `Display` is its line.
pub(crate) struct Counts {
    /// What the line begins with, if anything.
    label: &'static str,
    fields: Vec<(&'static str, u64), 4>,
}

impl Summary {
    /// Takes the counts.
    pub(crate) fn counts(self, hall: &Hall, house: &dyn House) -> Counts {
        let sessions = || hall.sessions.iter();
        let in_state = |state| sessions().filter(|session| session.state() == state).count() as u64;
        match self {
            Self::Sessions => Counts::new(
                "sessions",
                [
                    ("total", sessions().count() as u64),
                    (
                        "worker",
                        sessions().filter(|session| session.is_worker()).count() as u64,
                    ),
                    ("shard_bits", u64::from(SHARD_BITS)),
                    ("shard_count", 1 << SHARD_BITS),
                ],
            ),
            Self::Outstanding => Counts::new(
                "outstanding",
                [
                    ("current", u64::from(house.outstanding())),
                    ("limit", hall.config.handlers() as u64),
                ],
            ),
            Self::ShortWrites => Counts::new(
                "short_writes",
                [("total", hall.short_writes), ("retries", hall.write_retries)],
            ),
            Self::Active => Counts::new(
                "",
                [
                    ("active", in_state(State::Active)),
                    ("draining", in_state(State::Draining)),
                ],
            ),
        }
    }
}

impl Counts {
    fn new<const N: usize>(label: &'static str, fields: [(&'static str, u64); N]) -> Self {
        Self {
            label,
            // No summary has more fields than there is room for.
            fields: fields.into_iter().collect(),
        }
    }

    /// Renders the map.
    pub(crate) fn cbor(&self, out: &mut dyn Lines) {
        // Writing cannot fail: what does not fit is left out by whoever keeps it.
        let _: Result<(), Error<Infallible>> = self.encode(&mut Encoder::new(Bytes(out)));
    }

    fn encode<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.map(self.fields.len() as u64)?;
        for (name, value) in &self.fields {
            encoder.str(name)?.u64(*value)?;
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label)?;
        for (index, (name, value)) in self.fields.iter().enumerate() {
            let space = if index == 0 && self.label.is_empty() {
                ""
            } else {
                " "
            };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}

struct Bytes<'a>(&'a mut dyn Lines);

impl Write for Bytes<'_> {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.bytes(bytes);
        Ok(())
    }
}
