//! What a host publishes of its GPUs: one text, a record a line (WIRE 5.2).
//!
//! Answers for the form of a snapshot, in both directions: [`Writer`] writes one, [`Records`] reads one from the bytes it
//! lies in, record by record, so that a reader may stop between two. Values are base64 of text; their digits and lengths are
//! checked, and the caller gives a buffer for what they mean. It never says what stands in a value, nor whether two
//! records name the same GPU or model: who keeps them knows.

use core::fmt;

use super::{CTL_BYTES, INFO_BYTES, LEASE_BYTES, STATUS_BYTES, is_gpu_id, is_model_id};
use crate::b64;

/// The first line of every snapshot.
pub const SNAPSHOT_SCHEMA: &str = "gpu-bridge-snapshot/v1";
/// Bytes of a whole snapshot (WIRE 5.3).
pub const SNAPSHOT_BYTES: usize = 131_072;
/// Bytes of a model's manifest (WIRE 5.3).
pub const MANIFEST_BYTES: usize = 8192;
/// Bytes of the telemetry schema (WIRE 5.3).
pub const TELEMETRY_SCHEMA_BYTES: usize = 4096;

/// One line. The values are `V`: base64 where a snapshot is read, text where one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a, V = Encoded<'a>> {
    /// A GPU, and what its files begin with.
    Node {
        /// The GPU.
        id: &'a str,
        /// What is known of it, at most [`INFO_BYTES`].
        info: V,
        /// Its `ctl`, at most [`CTL_BYTES`].
        ctl: V,
        /// Its `lease`, at most [`LEASE_BYTES`].
        lease: V,
        /// Its `status`, at most [`STATUS_BYTES`].
        status: V,
    },
    /// A model that the host has.
    Model {
        /// The model.
        id: &'a str,
        /// Its `manifest.toml`, at most [`MANIFEST_BYTES`].
        manifest: V,
    },
    /// The model that is in use; at most one such line.
    Active {
        /// The model.
        id: &'a str,
    },
    /// What telemetry of the host's GPUs looks like; at most one such line.
    Telemetry {
        /// A JSON text, at most [`TELEMETRY_SCHEMA_BYTES`].
        schema: V,
    },
}

/// The base64 digits of a text; they are well-formed, and what they mean is within its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    digits: &'a str,
    len: usize,
}

impl<'a> Encoded<'a> {
    /// Bytes of the text.
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether the text is empty.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Writes the text into `out`, for which [`Encoded::len`] bytes are enough.
    ///
    /// # Errors
    /// [`SnapshotError::NotText`] if it is not UTF-8, [`SnapshotError::NoSpace`] if it does not fit.
    pub fn decode(self, out: &mut [u8]) -> Result<&str, SnapshotError> {
        let bytes = b64::decode(self.digits, out).map_err(|_| SnapshotError::NoSpace)?;
        core::str::from_utf8(bytes).map_err(|_| SnapshotError::NotText)
    }

    fn parse(digits: &'a str, max: usize) -> Result<Encoded<'a>, SnapshotError> {
        let len = b64::decoded_len(digits).map_err(|_| SnapshotError::Base64)?;
        if len > max {
            return Err(SnapshotError::ValueTooLong);
        }
        Ok(Encoded { digits, len })
    }
}

/// Why bytes are no snapshot, or why a record cannot be written into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Longer than [`SNAPSHOT_BYTES`].
    TooLong,
    /// Not UTF-8.
    NotText,
    /// The first line is not the schema's.
    Schema,
    /// A line of no known form.
    Line,
    /// An id that can name no GPU or no model.
    Id,
    /// A value that is not base64.
    Base64,
    /// A value longer than its bound.
    ValueTooLong,
    /// A second `active` or `telemetry`.
    Repeated,
    /// No `end`, or something behind it.
    End,
    /// The reader's buffer, or the writer's, is too small.
    NoSpace,
}

impl SnapshotError {
    /// One word, for `state=err reason=`.
    pub const fn label(self) -> &'static str {
        match self {
            SnapshotError::TooLong => "too-long",
            SnapshotError::NotText => "not-utf8",
            SnapshotError::Schema => "unknown-schema",
            SnapshotError::Line => "unknown-line",
            SnapshotError::Id => "invalid-id",
            SnapshotError::Base64 => "invalid-base64",
            SnapshotError::ValueTooLong => "value-too-long",
            SnapshotError::Repeated => "repeated-line",
            SnapshotError::End => "no-end",
            SnapshotError::NoSpace => "no-space",
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SnapshotError::TooLong => "the snapshot is longer than 131072 bytes; publish fewer models",
            SnapshotError::NotText => "a snapshot and its values are UTF-8 text",
            SnapshotError::Schema => "a snapshot begins with the line `schema gpu-bridge-snapshot/v1`",
            SnapshotError::Line => {
                "a line is `node id= info= ctl= lease= status=`, `model id= manifest=`, `active id=`, `telemetry schema=` or `end`"
            }
            SnapshotError::Id => {
                "an id is plain ASCII without space, slash, quote or backslash; a GPU's at most 32 bytes, a model's 128"
            }
            SnapshotError::Base64 => "a value is base64 of the standard alphabet with = padding",
            SnapshotError::ValueTooLong => {
                "a value is too long: info, schema 4096 bytes, ctl, lease 1024, status 32768, manifest 8192"
            }
            SnapshotError::Repeated => "`active` and `telemetry` stand once",
            SnapshotError::End => "a snapshot ends with the line `end`",
            SnapshotError::NoSpace => "the buffer is too small",
        })
    }
}

impl core::error::Error for SnapshotError {}

/// The records of a snapshot, in their order. The first mistake ends it; a snapshot is good if none came.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    lines: core::str::Split<'a, char>,
    once: Once,
    ended: bool,
}

/// Lines that stand at most once.
#[derive(Clone, Copy, Debug, Default)]
struct Once {
    active: bool,
    telemetry: bool,
}

impl Once {
    fn note<V>(&mut self, record: &Record<'_, V>) -> Result<(), SnapshotError> {
        let seen = match record {
            Record::Active { .. } => &mut self.active,
            Record::Telemetry { .. } => &mut self.telemetry,
            Record::Node { .. } | Record::Model { .. } => return Ok(()),
        };
        if core::mem::replace(seen, true) {
            return Err(SnapshotError::Repeated);
        }
        Ok(())
    }
}

impl<'a> Records<'a> {
    /// Begins to read. The last line may lack its newline.
    ///
    /// # Errors
    /// [`SnapshotError::TooLong`], [`SnapshotError::NotText`] or [`SnapshotError::Schema`].
    pub fn of(snapshot: &'a [u8]) -> Result<Records<'a>, SnapshotError> {
        if snapshot.len() > SNAPSHOT_BYTES {
            return Err(SnapshotError::TooLong);
        }
        let text = core::str::from_utf8(snapshot).map_err(|_| SnapshotError::NotText)?;
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let schema = lines.next().and_then(|line| line.strip_prefix("schema "));
        if schema != Some(SNAPSHOT_SCHEMA) {
            return Err(SnapshotError::Schema);
        }
        Ok(Records {
            lines,
            once: Once::default(),
            ended: false,
        })
    }

    fn record(&mut self) -> Result<Option<Record<'a>>, SnapshotError> {
        let line = self.lines.next().ok_or(SnapshotError::End)?;
        if line == "end" {
            return match self.lines.next() {
                None => Ok(None),
                Some(_) => Err(SnapshotError::End),
            };
        }
        let record = record(line)?;
        self.once.note(&record)?;
        Ok(Some(record))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.record().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

impl core::iter::FusedIterator for Records<'_> {}

fn record(line: &str) -> Result<Record<'_>, SnapshotError> {
    let (kind, rest) = line.split_once(' ').ok_or(SnapshotError::Line)?;
    let mut fields = Fields(Some(rest));
    let record = match kind {
        "node" => Record::Node {
            id: fields.id(is_gpu_id)?,
            info: fields.value("info", INFO_BYTES)?,
            ctl: fields.value("ctl", CTL_BYTES)?,
            lease: fields.value("lease", LEASE_BYTES)?,
            status: fields.value("status", STATUS_BYTES)?,
        },
        "model" => Record::Model {
            id: fields.id(is_model_id)?,
            manifest: fields.value("manifest", MANIFEST_BYTES)?,
        },
        "active" => Record::Active {
            id: fields.id(is_model_id)?,
        },
        "telemetry" => Record::Telemetry {
            schema: fields.value("schema", TELEMETRY_SCHEMA_BYTES)?,
        },
        _ => return Err(SnapshotError::Line),
    };
    match fields {
        Fields(None) => Ok(record),
        Fields(Some(_)) => Err(SnapshotError::Line),
    }
}

/// What follows of a line; `None` behind its last field.
struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    /// The next field's value, if it is called `name`.
    fn next(&mut self, name: &str) -> Result<&'a str, SnapshotError> {
        let rest = self.0.ok_or(SnapshotError::Line)?;
        let (field, rest) = match rest.split_once(' ') {
            Some((field, rest)) => (field, Some(rest)),
            None => (rest, None),
        };
        self.0 = rest;
        field
            .strip_prefix(name)
            .and_then(|value| value.strip_prefix('='))
            .ok_or(SnapshotError::Line)
    }

    fn id(&mut self, good: fn(&str) -> bool) -> Result<&'a str, SnapshotError> {
        Some(self.next("id")?)
            .filter(|id| good(id))
            .ok_or(SnapshotError::Id)
    }

    fn value(&mut self, name: &str, max: usize) -> Result<Encoded<'a>, SnapshotError> {
        Encoded::parse(self.next(name)?, max)
    }
}

/// Writes a snapshot, record by record. What was refused is not in it.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    len: usize,
    once: Once,
}

impl<W: fmt::Write> Writer<W> {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::NoSpace`] if `out` takes no more.
    pub fn new(out: W) -> Result<Writer<W>, SnapshotError> {
        let mut writer = Writer {
            out,
            len: 0,
            once: Once::default(),
        };
        writer.line(format_args!("schema {SNAPSHOT_SCHEMA}\n"), 0)?;
        Ok(writer)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`SnapshotError::Id`], [`SnapshotError::ValueTooLong`], [`SnapshotError::Repeated`]; [`SnapshotError::TooLong`] if
    /// the snapshot would be with it, and [`SnapshotError::NoSpace`] if `out` takes no more.
    pub fn put(&mut self, record: &Record<'_, &str>) -> Result<(), SnapshotError> {
        let mut once = self.once;
        once.note(record)?;
        match *record {
            Record::Node {
                id,
                info,
                ctl,
                lease,
                status,
            } => {
                let id = sound(id, is_gpu_id)?;
                let (info, ctl) = (digits(info, INFO_BYTES)?, digits(ctl, CTL_BYTES)?);
                let (lease, status) = (digits(lease, LEASE_BYTES)?, digits(status, STATUS_BYTES)?);
                self.line(
                    format_args!("node id={id} info={info} ctl={ctl} lease={lease} status={status}\n"),
                    END.len(),
                )?;
            }
            Record::Model { id, manifest } => {
                let (id, manifest) = (sound(id, is_model_id)?, digits(manifest, MANIFEST_BYTES)?);
                self.line(format_args!("model id={id} manifest={manifest}\n"), END.len())?;
            }
            Record::Active { id } => {
                let id = sound(id, is_model_id)?;
                self.line(format_args!("active id={id}\n"), END.len())?;
            }
            Record::Telemetry { schema } => {
                let schema = digits(schema, TELEMETRY_SCHEMA_BYTES)?;
                self.line(format_args!("telemetry schema={schema}\n"), END.len())?;
            }
        }
        self.once = once;
        Ok(())
    }

    /// Ends the snapshot, and gives back what it was written to.
    ///
    /// # Errors
    /// [`SnapshotError::NoSpace`] if `out` takes no more.
    pub fn finish(mut self) -> Result<W, SnapshotError> {
        self.line(format_args!("{END}"), 0)?;
        Ok(self.out)
    }

    /// Writes a whole line, if so much room is left behind it.
    fn line(&mut self, line: fmt::Arguments<'_>, room: usize) -> Result<(), SnapshotError> {
        let mut length = Length(0);
        fmt::write(&mut length, line).map_err(|_| SnapshotError::NoSpace)?;
        let len = self.len + length.0;
        if len + room > SNAPSHOT_BYTES {
            return Err(SnapshotError::TooLong);
        }
        self.out.write_fmt(line).map_err(|_| SnapshotError::NoSpace)?;
        self.len = len;
        Ok(())
    }
}

/// The last line.
const END: &str = "end\n";

/// Counts what is written to it.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn sound(id: &str, good: fn(&str) -> bool) -> Result<&str, SnapshotError> {
    Some(id).filter(|id| good(id)).ok_or(SnapshotError::Id)
}

fn digits(text: &str, max: usize) -> Result<b64::Digits<'_>, SnapshotError> {
    if text.len() > max {
        return Err(SnapshotError::ValueTooLong);
    }
    Ok(b64::Digits(text.as_bytes()))
}

#[cfg(test)]
mod tests;
